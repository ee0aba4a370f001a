//! Makes a module of a component's module that the host can call without the component: with the
//! same code, and a few functions more that pass values in and out as the component model would.
//!
//! | the module made | |
//! | --- | --- |
//! | imports `wharf` NAME | as the canonical ABI has it, but returns how many bytes it has for the guest's memory, or -1 |
//! | imports `wharf` `place` | puts them where the guest's `realloc` said |
//! | imports `wharf` `send-later`, `send-to-later` | what `send` or `send-to` returned -2 for: they can wait, and most need not |
//! | imports `wharf` `begin` | takes the number of the phase that begins, returns the length of the packet that it is given |
//! | imports `wharf` `complain` | reads the text of an error that the phase returned |
//! | exports `serve` | calls the phases in their order: one call for all of a request |
//! | exports `initialize` | if there is anything to be called before all else |
//! | exports `memory`, [`PAGES`], [`state`]`(0)` … | all that its code can change, if that is all that it can change |
//!
//! So that a sandbox can be put back into its first state, memory does not shrink, but has a size
//! of its own: what grew is kept, and is grown into again. Beyond that size it is all zero.

use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction, MemArg,
    MemorySection, Module, NameMap, NameSection, TableSection, TagSection, TypeSection, ValType,
};
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload, Validator, WasmFeatures};

use super::extract::{Extracted, Import, Print};
use super::survey::StateSurvey;
use crate::sandbox::{abi::HOST, abi::LATER, abi::PAGES, abi::later, abi::state};

/// The first and the last of the phases by their numbers.
const SETUP: i32 = 0;
const FINISH: i32 = 2;

/// None if it does something that can't be had without its component.
pub(super) fn rewrite(extracted: &Extracted<'_>, has_packet: bool) -> Option<Vec<u8>> {
    let survey = StateSurvey::of(extracted)?;
    let module = Rewriter::new(extracted, &survey, has_packet).module(&survey)?;
    // What the compiler would refuse is to be refused as the component that it was.
    Validator::new_with_features(WasmFeatures::all()).validate_all(&module).ok()?;
    Some(module)
}

/// Types of the functions that are added.
struct Added {
    /// `(i32)`.
    place: u32,
    /// `(i32) -> i32`.
    begin: u32,
    /// `()`.
    serve: u32,
}

struct Rewriter<'a> {
    extracted: &'a Extracted<'a>,
    has_packet: bool,
    /// How many imports there were; those that were added follow.
    imports: u32,
    added: u32,
    /// The function that stands for an import, where one does.
    stand_ins: Vec<Option<u32>>,
    grow: u32,
    pages: u32,
    types: Added,
    /// Whether memory and globals are all that code can change.
    can_be_reset: bool,
}

/// The function of the contract that an import sends by, if it does.
fn sends(import: &Import) -> Option<&str> {
    match import {
        Import::Contract(name) if name == "send" || name == "send-to" => Some(name),
        _ => None,
    }
}

/// Whether a function of the contract may have bytes for the guest, and so is called by way of
/// another that makes room for them.
fn makes_room(function: &str) -> bool {
    function != "set-timeout"
}

impl<'a> Rewriter<'a> {
    fn new(extracted: &'a Extracted<'a>, survey: &StateSurvey, has_packet: bool) -> Self {
        let imports = extracted.imports.len() as u32;
        // `place`, `complain`, `begin` and one for each import that sends.
        let added = 3 + extracted.imports.iter().filter(|import| sends(import).is_some()).count() as u32;
        let types = survey.params.len() as u32;
        let mut next = imports + added + survey.defined;
        let mut take = || {
            next += 1;
            next - 1
        };
        let stand_ins = extracted
            .imports
            .iter()
            .map(|import| matches!(import, Import::Contract(name) if makes_room(name)).then(&mut take))
            .collect();
        Self {
            extracted,
            has_packet,
            imports,
            added,
            stand_ins,
            grow: take(),
            pages: survey.globals.len() as u32,
            types: Added { place: types, begin: types + 1, serve: types + 2 },
            can_be_reset: survey.can_be_reset,
        }
    }

    fn module(&mut self, survey: &StateSurvey) -> Option<Vec<u8>> {
        let (mut types, mut tables, mut memories, mut tags) =
            (TypeSection::new(), TableSection::new(), MemorySection::new(), TagSection::new());
        let (mut functions, mut globals, mut elements) =
            (FunctionSection::new(), GlobalSection::new(), ElementSection::new());
        let (mut code, mut data, mut count) = (CodeSection::new(), DataSection::new(), None);
        let mut names = NameMap::new();
        for payload in Parser::new(0).parse_all(self.extracted.module) {
            match payload.ok()? {
                Payload::TypeSection(section) => self.parse_type_section(&mut types, section).ok()?,
                Payload::FunctionSection(section) => self.parse_function_section(&mut functions, section).ok()?,
                Payload::TableSection(section) => self.parse_table_section(&mut tables, section).ok()?,
                Payload::MemorySection(section) => self.parse_memory_section(&mut memories, section).ok()?,
                Payload::TagSection(section) => self.parse_tag_section(&mut tags, section).ok()?,
                Payload::GlobalSection(section) => self.parse_global_section(&mut globals, section).ok()?,
                Payload::ElementSection(section) => self.parse_element_section(&mut elements, section).ok()?,
                Payload::DataCountSection { count: segments, .. } => count = Some(DataCountSection { count: segments }),
                Payload::CodeSectionEntry(body) => self.parse_function_body(&mut code, body).ok()?,
                Payload::DataSection(section) => self.parse_data_section(&mut data, section).ok()?,
                Payload::CustomSection(section) => self.keep_names(&mut names, section.as_known()),
                Payload::Version { .. }
                | Payload::ImportSection(_)
                | Payload::ExportSection(_)
                | Payload::CodeSectionStart { .. }
                | Payload::End(_) => {}
                _ => return None,
            }
        }
        types.ty().function([ValType::I32], []);
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([], []);
        let imports = self.imports(survey, &mut types)?;
        self.add_stand_ins(survey, &mut functions, &mut code)?;
        self.add_grow(&mut functions, &mut code);
        globals.global(
            GlobalType { val_type: ValType::I32, mutable: true, shared: false },
            &ConstExpr::i32_const(survey.pages.cast_signed()),
        );
        let exports = self.exports(survey, &mut functions, &mut code)?;

        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions);
        if !tables.is_empty() {
            module.section(&tables);
        }
        module.section(&memories);
        if !tags.is_empty() {
            module.section(&tags);
        }
        module.section(&globals).section(&exports);
        if !elements.is_empty() {
            module.section(&elements);
        }
        if let Some(count) = count {
            module.section(&count);
        }
        module.section(&code);
        if !data.is_empty() {
            module.section(&data);
        }
        if !names.is_empty() {
            let mut section = NameSection::new();
            section.functions(&names);
            module.section(&section);
        }
        Some(module.finish())
    }

    /// Keeps the names of functions, by which the cause of a trap tells where it was. What is
    /// damaged there is nobody's loss.
    fn keep_names(&self, names: &mut NameMap, section: KnownCustom<'_>) {
        let KnownCustom::Name(section) = section else { return };
        for subsection in section.into_iter().map_while(Result::ok) {
            let Name::Function(functions) = subsection else { continue };
            for naming in functions.into_iter().map_while(Result::ok) {
                // Imports are the host's, and have stand-ins out of their order.
                if naming.index >= self.imports {
                    names.append(self.index(naming.index), naming.name);
                }
            }
        }
    }

    fn imports(&self, survey: &StateSurvey, types: &mut TypeSection) -> Option<ImportSection> {
        let mut imports = ImportSection::new();
        let mut waiting = Vec::new();
        let mut next = self.types.serve + 1;
        for (import, ty) in self.extracted.imports.iter().zip(&survey.imported) {
            let (module, name, ty) = match import {
                Import::Contract(name) if makes_room(name) => {
                    types.ty().function(survey.params.get(*ty as usize)?.clone()?, [ValType::I32]);
                    if let Some(name) = sends(import) {
                        waiting.push((later(name), next));
                    }
                    next += 1;
                    (HOST, name.as_str(), next - 1)
                }
                Import::Contract(name) => (HOST, name.as_str(), *ty),
                Import::Wasi01(name) => ("wasi_snapshot_preview1", name.as_str(), *ty),
                Import::Print(Print::Stdout) => (HOST, "stdout", *ty),
                Import::Print(Print::Stderr) => (HOST, "stderr", *ty),
                Import::Print(Print::Write) => (HOST, "print", *ty),
                Import::Print(Print::Drop) => (HOST, "drop", *ty),
            };
            imports.import(module, name, EntityType::Function(ty));
        }
        imports.import(HOST, "place", EntityType::Function(self.types.place));
        imports.import(HOST, "complain", EntityType::Function(self.types.place));
        imports.import(HOST, "begin", EntityType::Function(self.types.begin));
        for (name, ty) in waiting {
            imports.import(HOST, &name, EntityType::Function(ty));
        }
        Some(imports)
    }

    fn place(&self) -> u32 {
        self.imports
    }

    fn complain(&self) -> u32 {
        self.imports + 1
    }

    fn begin(&self) -> u32 {
        self.imports + 2
    }

    /// Makes room for so many bytes as the local has, has them put there, and leaves where that is
    /// on the stack.
    fn make_room(&self, survey: &StateSurvey, body: &mut Function, length: u32, at: u32) -> Option<()> {
        let realloc = self.index(survey.function(&self.extracted.realloc)?);
        body.instructions()
            .i32_const(0)
            .i32_const(0)
            .i32_const(1)
            .local_get(length)
            .call(realloc)
            .local_tee(at)
            .call(self.place());
        Some(())
    }

    /// For each import that may have bytes for the guest: calls it, and makes room for what it has.
    fn add_stand_ins(
        &self,
        survey: &StateSurvey,
        functions: &mut FunctionSection,
        code: &mut CodeSection,
    ) -> Option<()> {
        let mut later = self.begin() + 1;
        for (import, ty) in survey.imported.iter().enumerate() {
            if self.stand_ins[import].is_none() {
                continue;
            }
            let params = survey.params.get(*ty as usize)?.as_ref()?.len() as u32;
            let (length, at) = (params, params + 1);
            let mut body = Function::new([(2, ValType::I32)]);
            let call = |body: &mut Function, function| {
                for param in 0..params {
                    body.instruction(&Instruction::LocalGet(param));
                }
                body.instructions().call(function).local_set(length);
            };
            call(&mut body, import as u32);
            if sends(&self.extracted.imports[import]).is_some() {
                body.instructions().local_get(length).i32_const(LATER).i32_eq().if_(BlockType::Empty);
                call(&mut body, later);
                body.instructions().end();
                later += 1;
            }
            body.instructions().local_get(length).i32_const(0).i32_ge_s().if_(BlockType::Empty);
            self.make_room(survey, &mut body, length, at)?;
            body.instructions().end().end();
            functions.function(*ty);
            code.function(&body);
        }
        Some(())
    }

    /// What `memory.grow` became: it takes of what is there already first.
    fn add_grow(&self, functions: &mut FunctionSection, code: &mut CodeSection) {
        let (more, wanted) = (0, 1);
        let mut body = Function::new([(1, ValType::I32)]);
        body.instructions()
            .global_get(self.pages)
            .local_get(more)
            .i32_add()
            .local_tee(wanted)
            .global_get(self.pages)
            .i32_lt_u()
            .if_(BlockType::Empty)
            .i32_const(-1)
            .return_()
            .end()
            .local_get(wanted)
            .memory_size(0)
            .i32_gt_u()
            .if_(BlockType::Empty)
            .local_get(wanted)
            .memory_size(0)
            .i32_sub()
            .memory_grow(0)
            .i32_const(-1)
            .i32_eq()
            .if_(BlockType::Empty)
            .i32_const(-1)
            .return_()
            .end()
            .end()
            .global_get(self.pages)
            .local_get(wanted)
            .global_set(self.pages)
            .end();
        functions.function(self.types.begin);
        code.function(&body);
    }

    fn exports(
        &self,
        survey: &StateSurvey,
        functions: &mut FunctionSection,
        code: &mut CodeSection,
    ) -> Option<ExportSection> {
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        exports.export("serve", ExportKind::Func, self.imports + self.added + functions.len());
        functions.function(self.types.serve);
        code.function(&self.serve(survey)?);
        if let Some(initialize) = &self.extracted.initialize {
            exports.export("initialize", ExportKind::Func, self.index(survey.function(initialize)?));
        }
        if self.can_be_reset {
            exports.export(PAGES, ExportKind::Global, self.pages);
            let changeable = survey.globals.iter().zip(0_u32..).filter(|(changeable, _)| **changeable);
            for (number, (_, index)) in changeable.enumerate() {
                exports.export(&state(number as u32), ExportKind::Global, index);
            }
        }
        Some(exports)
    }

    /// Calls the phases one after the other. After a failed `setup` there is no other; after a
    /// failed `handle` there is `finish`.
    fn serve(&self, survey: &StateSurvey) -> Option<Function> {
        let (length, at, failed) = (0, 1, 2);
        let mut body = Function::new([(3, ValType::I32)]);
        for (number, phase) in (0..).zip(&self.extracted.phases) {
            body.instructions().i32_const(number).call(self.begin()).local_set(length);
            if self.has_packet && number < FINISH {
                self.make_room(survey, &mut body, length, at)?;
                body.instructions().local_get(at).local_get(length);
            }
            // From here on `at` is where the result is: a byte that says whether it is an error,
            // and eleven more. One that can't be one is the host's to complain of.
            body.instructions()
                .call(self.index(survey.function(&phase.call)?))
                .local_tee(at)
                .i32_const(3)
                .i32_and()
                .local_get(at)
                .memory_size(0)
                .i32_const(16)
                .i32_shl()
                .i32_const(12)
                .i32_sub()
                .i32_gt_u()
                .i32_or()
                .if_(BlockType::Result(ValType::I32))
                .i32_const(1)
                .else_()
                .local_get(at)
                .i32_load8_u(MemArg { offset: 0, align: 0, memory_index: 0 })
                .end()
                .local_tee(failed)
                .if_(BlockType::Empty)
                .local_get(at)
                .call(self.complain())
                .end();
            if let Some(post_return) = &phase.post_return {
                body.instructions().local_get(at).call(self.index(survey.function(post_return)?));
            }
            if number == SETUP {
                body.instructions().local_get(failed).if_(BlockType::Empty).return_().end();
            }
        }
        body.instructions().end();
        Some(body)
    }

    /// Where a function of the module's is now.
    fn index(&self, function: u32) -> u32 {
        match self.stand_ins.get(function as usize) {
            Some(Some(stand_in)) => *stand_in,
            Some(None) => function,
            None => function + self.added,
        }
    }
}

impl Reencode for Rewriter<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error<Infallible>> {
        Ok(self.index(function))
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>, reencode::Error<Infallible>> {
        match operator {
            Operator::MemoryGrow { .. } => return Ok(Instruction::Call(self.grow)),
            Operator::MemorySize { .. } => return Ok(Instruction::GlobalGet(self.pages)),
            Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::DataDrop { .. } => self.can_be_reset = false,
            _ => {}
        }
        reencode::utils::instruction(self, operator)
    }
}
