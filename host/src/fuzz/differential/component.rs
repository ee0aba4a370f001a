//! A random module as a plugin's file: with its component type, as the component that wit-component
//! makes of it, or as one that was made by hand and does what no toolchain would.

use std::fmt::Write;
use std::sync::LazyLock;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI_0_1, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use super::choices::Choices;
use super::module::{Module, VERSION};

/// The contract, as every plugin has it.
const CONTRACT: &str = include_str!("../../../../wit/handler.wit");

/// How a module became a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    TypedModule,
    Encoded,
    ByHand,
}

/// A plugin's file in text: with its form, and with what else it is where it was made by hand.
pub(super) fn wrapped(module: &Module, choices: &mut Choices<'_>, has_wasi: bool) -> (Form, String) {
    let typed = || {
        let section = &TYPES[usize::from(module.datagrams)];
        format!("(module\n{}\n(@custom \"component-type\" (after last) \"{section}\"))", module.text())
    };
    match choices.below(5) {
        // The component type is what wit-component goes by, and is taken out by it.
        0 | 1 => (Form::TypedModule, typed()),
        2 => (Form::Encoded, typed()),
        _ if has_wasi => (Form::TypedModule, typed()),
        _ => (Form::ByHand, by_hand(module, choices)),
    }
}

/// The file's bytes.
///
/// # Panics
/// The text is no module, or none that a component can be made of: the generator is wrong then.
pub(super) fn assembled(form: Form, text: &str) -> Vec<u8> {
    let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    if form != Form::Encoded {
        return wasm;
    }
    let encoded = ComponentEncoder::default()
        .module(&wasm)
        .and_then(|encoder| encoder.adapter(WASI_0_1, ADAPTER))
        .and_then(|mut encoder| encoder.encode());
    encoded.unwrap_or_else(|error| panic!("{error:#}\n{text}"))
}

/// The encoded types of both worlds, escaped.
static TYPES: LazyLock<[String; 2]> = LazyLock::new(|| {
    ["stream-plugin", "datagram-plugin"].map(|world| {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("handler.wit", CONTRACT).expect("the contract parses");
        let world = resolve.select_world(&[package], Some(world)).expect("it has both worlds");
        let encoded = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None);
        encoded.expect("a world can be encoded").iter().map(|byte| format!("\\{byte:02x}")).collect()
    })
});

/// What a component made by hand does that others don't.
/// When, and by what, a slot is filled with another function than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twice {
    SegmentBefore,
    SegmentAfter,
    ModuleBefore,
    ModuleAfter,
}

impl Twice {
    fn of(module: &Module, choices: &mut Choices<'_>) -> (usize, Self) {
        let slot = if choices.once_in(2) { 0 } else { choices.below(module.imports.len()) };
        let [segment, module] = [[Self::SegmentBefore, Self::SegmentAfter], [Self::ModuleBefore, Self::ModuleAfter]];
        let by_module = choices.once_in(2);
        (slot, choices.pick(if by_module { &module } else { &segment }))
    }
}

#[derive(Debug)]
struct Oddities {
    /// From which core function each phase is lifted.
    lifts: [usize; 3],
    /// From which of two instances of the module.
    from: [usize; 3],
    /// A slot of the shim's table that is filled with another function as well.
    twice: Option<(usize, Twice)>,
    /// A function of the shim that passes on another parameter than it was given.
    crooked: Option<usize>,
    /// Another module beside, with state of its own.
    has_company: bool,
    /// Each function has its own `realloc`, or all have one.
    reallocs: Vec<&'static str>,
    /// Whose post-return function a phase has.
    post_returns: [Option<usize>; 3],
}

impl Oddities {
    fn of(module: &Module, choices: &mut Choices<'_>) -> Self {
        let lifts = match choices.below(4) {
            0 if module.datagrams => [1, 0, 2],
            0 => choices.pick(&[[1, 0, 2], [2, 1, 0], [0, 2, 1], [1, 2, 0], [0, 0, 2], [1, 1, 1]]),
            _ => [0, 1, 2],
        };
        let own = lifts.map(|from| module.phases[from].post_return.is_some().then_some(from));
        let any = (0..3).find(|number| module.phases[*number].post_return.is_some());
        let functions = module.imports.len() + 3;
        let realloc = choices.pick(&["cabi_realloc", "cabi_realloc", "other_realloc"]);
        let reallocs = match choices.once_in(3) {
            true => (0..functions).map(|_| choices.pick(&["cabi_realloc", "other_realloc"])).collect(),
            false => vec![realloc; functions],
        };
        Self {
            lifts,
            from: if choices.once_in(8) { std::array::from_fn(|_| choices.below(2)) } else { [0; 3] },
            twice: choices.once_in(5).then(|| Twice::of(module, choices)),
            crooked: choices.once_in(8).then(|| choices.below(module.imports.len())),
            has_company: choices.once_in(6),
            reallocs,
            post_returns: if choices.once_in(5) { [any; 3] } else { own },
        }
    }
}

fn by_hand(module: &Module, choices: &mut Choices<'_>) -> String {
    let odd = Oddities::of(module, choices);
    let interface = module.interface();
    let instances = 1 + usize::from(odd.from.contains(&1));
    let mut text = format!(";; {odd:?}\n(component\n{}\n(core module $Main\n{})\n", import(module), module.text());
    // Each instance of the module has a shim of its own, as its functions are lowered with that
    // instance's memory.
    let _ = writeln!(text, "{}\n{}", shim(module, &odd), fixups(module, &odd));
    for (name, _) in &module.imports {
        let _ = writeln!(text, "(alias export $contract \"{name}\" (func $of_{name}))");
    }
    if odd.has_company {
        text += "(core module $Company (memory 1) (global (mut i32) (i32.const 7))
                 (func (export \"idle\") (global.set 0 (i32.const 8))))\n(core instance (instantiate $Company))\n";
    }
    for number in 0..instances {
        let _ = writeln!(text, "(core instance $shim{number} (instantiate $Shim))");
        let mut given = String::new();
        for (index, (name, _)) in module.imports.iter().enumerate() {
            let _ = writeln!(given, "(export \"{name}\" (func $shim{number} \"{index}\"))");
        }
        let _ = writeln!(
            text,
            "(core instance $main{number} (instantiate $Main (with \"wharf:handler/{interface}@{VERSION}\" (instance {given}))))
             (alias core export $main{number} \"memory\" (core memory $memory{number}))
             (alias core export $shim{number} \"table\" (core table $table{number}))"
        );
        for realloc in ["cabi_realloc", "other_realloc"] {
            let _ = writeln!(text, "(alias core export $main{number} \"{realloc}\" (core func ${realloc}{number}))");
        }
        let mut lowered = format!("(export \"table\" (table $table{number}))");
        for (index, (name, _)) in module.imports.iter().enumerate() {
            let realloc = odd.reallocs[index];
            let _ = writeln!(
                text,
                "(core func $lowered{index}_{number}
                   (canon lower (func $of_{name}) string-encoding=utf8 (memory $memory{number}) (realloc ${realloc}{number})))"
            );
            let _ = writeln!(lowered, "(export \"{index}\" (func $lowered{index}_{number}))");
        }
        let again = odd.twice.is_some_and(|(_, twice)| matches!(twice, Twice::ModuleBefore | Twice::ModuleAfter));
        let mut fixups = vec!["$Fixup"];
        if again {
            fixups.insert(usize::from(odd.twice.is_some_and(|(_, twice)| twice == Twice::ModuleAfter)), "$Again");
        }
        let _ = writeln!(text, "(core instance $given{number} {lowered})");
        for fixup in fixups {
            let _ = writeln!(text, "(core instance (instantiate {fixup} (with \"\" (instance $given{number}))))");
        }
        if let Some(initialize) = &module.initialize {
            let _ = writeln!(
                text,
                "(core module $Start{number} (import \"main\" \"start\" (func $start)) (start $start))
                 (alias core export $main{number} \"{initialize}\" (core func $start{number}))
                 (core instance (instantiate $Start{number} (with \"main\" (instance (export \"start\" (func $start{number}))))))"
            );
        }
    }
    text += "(type $plain (func (result (result (error string)))))
             (type $told (func (param \"packet\" (list u8)) (result (result (error string)))))\n";
    for (number, phase) in ["setup", "handle", "finish"].into_iter().enumerate() {
        let from = odd.from[number];
        let core = &module.phases[odd.lifts[number]].call;
        let ty = if module.datagrams && phase != "finish" { "$told" } else { "$plain" };
        let realloc = odd.reallocs[module.imports.len() + number];
        let mut post_return = String::new();
        if let Some(of) = odd.post_returns[number] {
            let name = module.phases[of].post_return.as_ref().expect("one that has some");
            let _ = writeln!(text, "(alias core export $main{from} \"{name}\" (core func $post_{phase}))");
            post_return = format!("(post-return $post_{phase})");
        }
        let _ = writeln!(
            text,
            "(alias core export $main{from} \"{core}\" (core func $core_{phase}))
             (func $lifted_{phase} (type {ty}) (canon lift (core func $core_{phase}) string-encoding=utf8
               (memory $memory{from}) (realloc ${realloc}{from}) {post_return}))"
        );
    }
    let _ = write!(
        text,
        "(instance $handler
           (export \"setup\" (func $lifted_setup))
           (export \"handle\" (func $lifted_handle))
           (export \"finish\" (func $lifted_finish)))
         (export \"wharf:handler/{}-handler@{VERSION}\" (instance $handler)))",
        if module.datagrams { "datagram" } else { "stream" }
    );
    text
}

/// The import of the contract's interface, as far as the module uses it.
fn import(module: &Module) -> String {
    let error = "(variant (case \"timed-out\") (case \"connection-reset\") (case \"broken-pipe\")
                 (case \"message-too-large\") (case \"not-permitted\") (case \"other\" string))";
    let mut text = format!(
        "(import \"wharf:handler/{}@{VERSION}\" (instance $contract
           (type $e {error}) (export \"error-code\" (type $error (eq $e)))
           (type $i (record (field \"ip\" string) (field \"port\" u16))) (export \"inet-address\" (type $inet (eq $i)))
           (type $a (variant (case \"inet\" $inet) (case \"unix\" (option string))))
           (export \"address\" (type $address (eq $a)))
           (type $d (enum \"read\" \"write\" \"both\")) (export \"direction\" (type $direction (eq $d)))\n",
        module.interface()
    );
    for (name, _) in &module.imports {
        let ty = match *name {
            "recv" => "(param \"max\" u32) (result (result (list u8) (error $error)))",
            "send" => "(param \"data\" (list u8)) (result (result (error $error)))",
            "send-to" => "(param \"data\" (list u8)) (param \"destination\" $address) (result (result (error $error)))",
            "shutdown" => "(param \"direction\" $direction) (result (result (error $error)))",
            "set-timeout" => "(param \"timeout\" (option u64))",
            "start-tls" => "(result (result (error $error)))",
            _ => "(result $address)",
        };
        let _ = writeln!(text, "(export \"{name}\" (func {ty}))");
    }
    text + "))"
}

/// Calls through a table that is filled later.
fn shim(module: &Module, odd: &Oddities) -> String {
    let functions = module.imports.len();
    let mut text = format!("(core module $Shim (table (export \"table\") {functions} {functions} funcref)\n");
    for (index, (_, ty)) in module.imports.iter().enumerate() {
        let params = params_of(ty);
        let mut passed: Vec<usize> = (0..params.len()).collect();
        // Only an `i32` for another.
        if odd.crooked == Some(index) && params.len() > 1 && params.ends_with(&["i32", "i32"]) {
            passed[params.len() - 1] = params.len() - 2;
        }
        let passed: String = passed.iter().map(|param| format!("(local.get {param})")).collect();
        let _ = writeln!(text, "(type $t{index} (func {ty}))");
        let _ = writeln!(
            text,
            "(func (export \"{index}\") (type $t{index}) (call_indirect (type $t{index}) {passed} (i32.const {index})))"
        );
    }
    text + ")"
}

fn params_of(ty: &str) -> Vec<&str> {
    ty.trim_start_matches("(param ").trim_end_matches(')').split(' ').collect()
}

/// What fills the table, and, where a slot is filled by two modules, the other.
fn fixups(module: &Module, odd: &Oddities) -> String {
    let all: String = (0..module.imports.len()).map(|index| format!("{index} ")).collect();
    // A slot that is filled twice keeps what it was given last.
    let [before, after, module_before, module_after] =
        [Twice::SegmentBefore, Twice::SegmentAfter, Twice::ModuleBefore, Twice::ModuleAfter]
            .map(|when| again(module, odd, when));
    let fills = format!("{before}(elem (i32.const 0) func {all})\n{after}");
    let again = module_before + &module_after;
    fixup(module, "$Fixup", &fills) + &if again.is_empty() { again } else { fixup(module, "$Again", &again) }
}

fn fixup(module: &Module, name: &str, fills: &str) -> String {
    let functions = module.imports.len();
    let mut text = format!("(core module {name} (import \"\" \"table\" (table {functions} {functions} funcref))\n");
    for (index, (_, ty)) in module.imports.iter().enumerate() {
        let _ = writeln!(text, "(import \"\" \"{index}\" (func {ty}))");
    }
    text + fills + ")\n"
}

/// A segment that fills a slot with the function behind its own.
fn again(module: &Module, odd: &Oddities, when: Twice) -> String {
    match odd.twice {
        Some((slot, twice)) if twice == when => {
            format!("(elem (i32.const {slot}) func {})\n", (slot + 1) % module.imports.len())
        }
        _ => String::new(),
    }
}
