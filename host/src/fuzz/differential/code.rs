//! Random code, as text: what dirties whatever a module has, and what goes wrong in every way that
//! there is.
//!
//! It is valid by construction, and ends: loops are counted, functions call those before them.
//! Whatever depends on chance depends on what the client sent, so that two sessions of one program
//! do different things.

use super::choices::Choices;
use super::shape::{Held, Shape, Waits};

/// Where results of the contract's functions go.
pub(super) const RESULT: usize = 128;
/// An address that is beyond every memory, however much another session had it grown.
const BEYOND: u32 = 0xffff_fff0;

pub(super) struct Code<'c, 'b, 's> {
    choices: &'c mut Choices<'b>,
    shape: &'s Shape,
    /// A function that may call those before it, and nothing of the host's.
    leaf: Option<usize>,
    /// Labels so far.
    labels: usize,
}

impl<'c, 'b, 's> Code<'c, 'b, 's> {
    pub(super) fn new(choices: &'c mut Choices<'b>, shape: &'s Shape, leaf: Option<usize>) -> Self {
        Self { choices, shape, leaf, labels: 0 }
    }

    /// Locals that all code has.
    pub(super) const LOCALS: &'static str =
        "(local $a i32) (local $b i32) (local $i i32) (local $x i64) (local $y i64)";

    /// So many steps.
    pub(super) fn steps(&mut self, most: usize) -> String {
        (0..self.choices.below(most + 1)).map(|_| self.guarded()).collect()
    }

    /// A step that the client's command asks for, or does not.
    fn guarded(&mut self) -> String {
        let bit = self.choices.below(31);
        let step = self.step(2);
        format!("(if (i32.and (local.get $mask) (i32.const {})) (then {step}))\n", 1_u32 << bit)
    }

    fn step(&mut self, depth: usize) -> String {
        match self.choices.below(40) {
            0..5 => self.store(),
            5 => {
                let (at, value, length) = self.stretch();
                format!("(memory.fill {at} {value} {length})")
            }
            6 => {
                let length = self.choices.pick(&[1, 64, 4096, 30_000]);
                let (to, from) = (self.address(length), self.address(length));
                format!("(memory.copy {to} {from} (i32.const {length}))")
            }
            7 => self.take_data(),
            8..12 => self.set_global(),
            12..14 => self.set_local(),
            14..16 => self.call_leaf(),
            16 => self.grow(),
            17..20 if depth > 0 => self.nested(depth),
            20..23 => self.change_table(),
            23..33 if self.leaf.is_none() => self.ask_host(),
            33 if self.leaf.is_none() => self.call_indirect(),
            34..36 => self.end(),
            36 => self.at_the_end(),
            _ => self.store(),
        }
    }

    fn stretch(&mut self) -> (String, String, String) {
        let length = self.choices.pick(&[1, 16, 64, 4096, 10_000, 60_000]);
        (self.address(length), self.i32(1), format!("(i32.const {length})"))
    }

    /// The size of memory as far as code looks at it, in bytes.
    pub(super) fn size(shape: &Shape) -> String {
        if shape.wasi {
            format!("(i32.const {})", shape.pages << 16)
        } else {
            "(i32.shl (memory.size) (i32.const 16))".to_owned()
        }
    }

    /// An address at which there are so many bytes, somewhere.
    fn address(&mut self, bytes: usize) -> String {
        let size = Self::size(self.shape);
        match self.choices.below(6) {
            // The last ones.
            0 => format!("(i32.sub {size} (i32.const {bytes}))"),
            // Among those that the program itself uses.
            1 => format!("(i32.and {} (i32.const 0x1ff))", self.i32(1)),
            _ => format!("(i32.rem_u {} (i32.sub {size} (i32.const {bytes})))", self.i32(1)),
        }
    }

    /// A place for a result.
    fn slot(&mut self) -> String {
        if self.choices.once_in(5) {
            format!("(i32.and {} (i32.const -4))", self.address(32))
        } else {
            format!("(i32.const {RESULT})")
        }
    }

    fn store(&mut self) -> String {
        let (instruction, bytes) = self.choices.pick(&[
            ("i32.store8", 1),
            ("i32.store16", 2),
            ("i32.store", 4),
            ("i64.store", 8),
            ("i64.store32", 4),
            ("f64.store", 8),
            ("v128.store", 16),
        ]);
        let at = self.address(bytes);
        let value = match instruction.split_once('.').expect("a type").0 {
            "i32" => self.i32(2),
            "i64" => self.i64(2),
            "f64" => format!("(f64.reinterpret_i64 {})", self.i64(1)),
            _ => self.v128(),
        };
        format!("({instruction} {at} {value})")
    }

    fn take_data(&mut self) -> String {
        let Some((segment, length)) = self.segment() else { return self.store() };
        // Of a segment that was dropped, none but nothing can be taken.
        let length = self.choices.below(length + 1);
        let at = self.address(length);
        format!("(memory.init $data{segment} {at} (i32.const 0) (i32.const {length}))")
    }

    fn segment(&mut self) -> Option<(usize, usize)> {
        let segments = &self.shape.data;
        if segments.is_empty() {
            return None;
        }
        let segment = self.choices.below(segments.len());
        Some((segment, segments[segment]))
    }

    fn set_global(&mut self) -> String {
        let variables: Vec<usize> =
            self.shape.globals.iter().enumerate().filter(|(_, global)| global.mutable).map(|(n, _)| n).collect();
        if variables.is_empty() {
            return self.set_local();
        }
        let global = self.choices.pick(&variables);
        let value = match self.shape.globals[global].ty {
            "i32" => self.i32(2),
            "i64" => self.i64(2),
            "f32" => format!("(f32.reinterpret_i32 {})", self.i32(1)),
            "f64" => format!("(f64.reinterpret_i64 {})", self.i64(1)),
            "v128" => self.v128(),
            _ => self.function(),
        };
        format!("(global.set $g{global} {value})")
    }

    fn set_local(&mut self) -> String {
        if self.choices.once_in(2) {
            let local = self.choices.pick(&["$a", "$b"]);
            format!("(local.set {local} {})", self.i32(3))
        } else {
            let local = self.choices.pick(&["$x", "$y"]);
            format!("(local.set {local} {})", self.i64(3))
        }
    }

    fn call_leaf(&mut self) -> String {
        let callable = self.leaf.unwrap_or(self.shape.leaves);
        if callable == 0 {
            return self.set_global();
        }
        let leaf = self.choices.below(callable);
        let call = format!("(call $leaf{leaf} {})", self.i32(1));
        match self.choices.below(4) {
            0 => format!("(drop {call})"),
            1 if self.leaf.is_some_and(|leaf| leaf < self.shape.leaves) => {
                format!("(return_{})", &call[1..call.len() - 1])
            }
            _ => format!("(local.set $a {call})"),
        }
    }

    fn grow(&mut self) -> String {
        if !self.shape.grows {
            return self.store();
        }
        let pages = self.choices.pick(&["0", "1", "1", "2", "3", "100", "65535", "65536", "-1"]);
        format!("(local.set $b (memory.grow (i32.const {pages})))")
    }

    fn label(&mut self) -> usize {
        self.labels += 1;
        self.labels
    }

    fn nested(&mut self, depth: usize) -> String {
        let (first, second) = (self.step(depth - 1), self.step(depth - 1));
        let condition = self.i32(1);
        let label = self.label();
        match self.choices.below(5) {
            0 => format!("(if {condition} (then {first}) (else {second}))"),
            1 => format!("(block $l{label} {first} (br_if $l{label} {condition}) {second})"),
            // Neither of the two may be a loop in turn: they have one counter.
            2 if !first.contains("(loop") => format!(
                "(local.set $i (i32.const {})) (loop $l{label} {first} \
                 (local.set $i (i32.sub (local.get $i) (i32.const 1))) \
                 (br_if $l{label} (i32.gt_s (local.get $i) (i32.const 0))))",
                1 + self.choices.below(5)
            ),
            3 => format!(
                "(block $l{label} (block $m{label} (block $n{label} \
                 (br_table $l{label} $m{label} $n{label} {condition})) {first}) {second})"
            ),
            // Two values leave a block at once.
            _ => format!(
                "(block $l{label} (result i32 i64) (i32.const {label}) {} (br_if $l{label} {condition}) {first}) \
                 (local.set $y) (local.set $a) {second}",
                self.i64(1)
            ),
        }
    }

    fn table(&mut self) -> Option<usize> {
        (!self.shape.tables.is_empty()).then(|| self.choices.below(self.shape.tables.len()))
    }

    fn change_table(&mut self) -> String {
        if self.shape.frozen {
            return self.set_global();
        }
        let (segments, elements) = (self.segment(), self.shape.elements.len());
        if self.choices.once_in(4) {
            return match segments {
                Some((segment, _)) if self.choices.once_in(2) => format!("(data.drop $data{segment})"),
                _ if elements > 0 => format!("(elem.drop $elements{})", self.choices.below(elements)),
                _ => self.store(),
            };
        }
        let Some(table) = self.table() else { return self.store() };
        let value = self.function();
        let place = format!("(i32.rem_u {} (table.size $t{table}))", self.i32(1));
        match self.choices.below(6) {
            0..3 => format!("(table.set $t{table} {place} {value})"),
            3 => format!("(table.fill $t{table} {place} {value} (i32.const {}))", self.choices.below(2)),
            4 => {
                let more = self.choices.pick(&["0", "1", "2", "200000", "-1"]);
                format!("(local.set $b (table.grow $t{table} {value} (i32.const {more})))")
            }
            _ => match self.shape.tables[table].held {
                Held::Leaves if elements > 0 => {
                    let segment = self.choices.below(elements);
                    let length = self.choices.below(self.shape.elements[segment] + 1);
                    format!("(table.init $t{table} $elements{segment} {place} (i32.const 0) (i32.const {length}))")
                }
                _ => format!(
                    "(table.copy $t{table} $t{table} {place} (i32.const 0) (i32.const {}))",
                    self.choices.below(3)
                ),
            },
        }
    }

    fn call_indirect(&mut self) -> String {
        let tables = self.shape.tables_of(if self.choices.once_in(6) { Held::Any } else { Held::Leaves });
        if tables.is_empty() {
            return self.call_leaf();
        }
        let table = self.choices.pick(&tables);
        let argument = self.i32(1);
        // Some places are empty, and some are none.
        let place = match self.choices.below(3) {
            0 => format!("(i32.and {} (i32.const 15))", self.i32(1)),
            _ => format!("(i32.rem_u {} (table.size $t{table}))", self.i32(1)),
        };
        format!("(local.set $a (call_indirect $t{table} (type $leaf) {argument} {place}))")
    }

    /// A function, or none.
    fn function(&mut self) -> String {
        match self.choices.below(4) {
            0 => "(ref.null func)".to_owned(),
            _ => format!("(ref.func $leaf{})", self.choices.below(self.shape.leaves)),
        }
    }

    /// What ends a sandbox, if the client asks for it with all of its bits.
    fn end(&mut self) -> String {
        let bits = 1_u32 << self.choices.below(31) | 1 << self.choices.below(31);
        let label = self.label();
        let end = match self.choices.below(13) {
            0 | 1 => "(unreachable)".to_owned(),
            2 => "(local.set $a (i32.div_s (local.get $a) (i32.const 0)))".to_owned(),
            3 => "(local.set $a (i32.div_s (i32.const 0x80000000) (i32.const -1)))".to_owned(),
            4 => "(local.set $x (i64.trunc_f64_s (f64.const nan)))".to_owned(),
            5 => format!("(local.set $a (i32.load (i32.const {BEYOND})))"),
            6 => format!("(i64.store (i32.const {BEYOND}) (local.get $x))"),
            7 => format!("(memory.fill (i32.const 0) (i32.const 1) (i32.const {BEYOND}))"),
            8 => "(call $deep)".to_owned(),
            9 => "(local.set $a (call_indirect $unset (type $leaf) (i32.const 1) (i32.const 0)))".to_owned(),
            10 if self.shape.spins => format!("(loop $l{label} (br $l{label}))"),
            11 if self.shape.wasi && self.leaf.is_none() => {
                format!("(call $proc_exit (i32.const {}))", self.choices.pick(&[0, 1, 7]))
            }
            _ => "(unreachable)".to_owned(),
        };
        format!("(if (i32.eq (i32.and (local.get $mask) (i32.const {bits})) (i32.const {bits})) (then {end}))")
    }

    /// An access at the memory's end, or across it.
    fn at_the_end(&mut self) -> String {
        if self.shape.grows || self.shape.wasi {
            return self.store();
        }
        let size = Self::size(self.shape);
        let before = self.choices.pick(&[8, 8, 8, 7, 1, 0]);
        format!("(i64.store (i32.sub {size} (i32.const {before})) {})", self.i64(1))
    }

    fn ask_host(&mut self) -> String {
        if self.shape.wasi && !self.choices.once_in(3) {
            return self.ask_wasi();
        }
        let slot = self.slot();
        let wrong = self.choices.once_in(12);
        let slot = match self.choices.below(3) {
            0 if wrong => format!("(i32.const {BEYOND})"),
            1 if wrong => format!("(i32.const {})", RESULT + 1 + self.choices.below(3)),
            _ => slot,
        };
        match self.choices.below(10) {
            0..4 => {
                let length = self.choices.pick(&[0, 1, 16, 16, 64, 500, 5000, 65_000]);
                let (at, length) = match self.choices.below(2) {
                    0 if wrong => (format!("(i32.const {BEYOND})"), 17),
                    _ if wrong => (self.address(1), BEYOND as usize),
                    _ => (self.address(length), length),
                };
                if self.shape.datagrams {
                    let to = self.destination();
                    return format!("(call $send-to {at} (i32.const {length}) {to} {slot})");
                }
                format!("(call $send {at} (i32.const {length}) {slot})")
            }
            4..6 if self.shape.is_plain => self.store(),
            4 => format!("(call $client-address {slot})"),
            5 => format!("(call $server-address {slot})"),
            _ if self.shape.datagrams => self.store(),
            6 => {
                // To shut down reading ends what a way's client still sends: that it never does is
                // the kernel's own affair.
                let direction = if wrong { self.choices.pick(&[3, 255, 0xffff_ffff_u32]) } else { 1 };
                format!("(call $shutdown (i32.const {direction}) {slot})")
            }
            7 => self.set_timeout(wrong),
            8 => format!("(call $start-tls {slot})"),
            _ => {
                let most = self.choices.pick(&[0, 1, 3, 16, 5000, u32::MAX]);
                format!("(call $recv (i32.const {most}) {slot})")
            }
        }
    }

    fn destination(&mut self) -> String {
        match self.choices.below(8) {
            // The client's, which the program has at 512.
            0..4 => "(i32.const 0) (i32.const 512) (i32.const 9) (i32.const 4711)".to_owned(),
            4 => format!("(i32.const 0) {} (i32.const {}) (i32.const 99999)", self.address(20), self.choices.below(20)),
            5 => format!("(i32.const 1) (i32.const 0) {} (i32.const 0)", self.i32(0)),
            6 => "(i32.const 1) (i32.const 1) (i32.const 512) (i32.const 9)".to_owned(),
            _ => self
                .choices
                .pick(&[
                    "(i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0)",
                    "(i32.const 1) (i32.const 2) (i32.const 0) (i32.const 0)",
                    "(i32.const 0) (i32.const -9) (i32.const 9) (i32.const 1)",
                ])
                .to_owned(),
        }
    }

    fn set_timeout(&mut self, wrong: bool) -> String {
        if wrong {
            return "(call $set-timeout (i32.const 2) (i64.const 0))".to_owned();
        }
        match self.shape.waits {
            Waits::Own => "(call $set-timeout (i32.const 1) (i64.const 1000000))".to_owned(),
            _ => self
                .choices
                .pick(&[
                    "(call $set-timeout (i32.const 1) (i64.const 3600000000000))",
                    "(call $set-timeout (i32.const 1) (i64.const -1))",
                    "(call $set-timeout (i32.const 0) (i64.const 5))",
                ])
                .to_owned(),
        }
    }

    fn ask_wasi(&mut self) -> String {
        match self.choices.below(10) {
            0..3 => format!(
                "(i32.store (i32.const 192) {}) (i32.store (i32.const 196) (i32.const {})) \
                 (local.set $b (call $fd_write (i32.const {}) (i32.const 192) (i32.const 1) (i32.const 200)))",
                self.address(64),
                self.choices.below(64),
                self.choices.pick(&[1, 1, 2, 0, 3, 77])
            ),
            3 => format!("(local.set $b (call $fd_close (i32.const {})))", self.choices.pick(&[0, 1, 2, 3, 9])),
            4 => "(local.set $b (call $environ_sizes_get (i32.const 192) (i32.const 196)))".to_owned(),
            5..8 => "(call $random)".to_owned(),
            _ => "(call $clock)".to_owned(),
        }
    }

    pub(super) fn i32(&mut self, depth: usize) -> String {
        if depth == 0 || self.choices.once_in(4) {
            return match self.choices.below(6) {
                0 => "(local.get $mask)".to_owned(),
                1 => self.choices.pick(&["(local.get $a)", "(local.get $b)"]).to_owned(),
                2 => self.global("i32").unwrap_or_else(|| "(local.get $a)".to_owned()),
                3 => "(i32.wrap_i64 (local.get $x))".to_owned(),
                _ => format!("(i32.const {})", self.choices.u32()),
            };
        }
        let depth = depth - 1;
        match self.choices.below(14) {
            0..7 => {
                let operator = self
                    .choices
                    .pick(&["add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "rotl", "eq", "lt_u", "ge_s"]);
                format!("(i32.{operator} {} {})", self.i32(depth), self.i32(depth))
            }
            7 => format!("(i32.rem_u {} (i32.or {} (i32.const 1)))", self.i32(depth), self.i32(depth)),
            8 => format!("(i32.load {})", self.address(4)),
            9 => format!("(i32.load8_s {})", self.address(1)),
            10 => format!("(i32.wrap_i64 {})", self.i64(depth)),
            11 => format!("(select {} {} {})", self.i32(depth), self.i32(depth), self.i32(depth)),
            12 => match self.global("f32") {
                Some(global) => format!("(i32.reinterpret_f32 {global})"),
                None => format!("(i32.popcnt {})", self.i32(depth)),
            },
            _ => match self.table() {
                Some(table) => format!("(table.size $t{table})"),
                None if !self.shape.wasi => "(memory.size)".to_owned(),
                None => format!("(i32.clz {})", self.i32(depth)),
            },
        }
    }

    pub(super) fn i64(&mut self, depth: usize) -> String {
        if depth == 0 || self.choices.once_in(4) {
            return match self.choices.below(6) {
                0..3 => "(local.get $secret)".to_owned(),
                3 => self.choices.pick(&["(local.get $x)", "(local.get $y)"]).to_owned(),
                4 => self.global("i64").unwrap_or_else(|| "(local.get $secret)".to_owned()),
                _ => format!("(i64.const {})", self.choices.u64()),
            };
        }
        let depth = depth - 1;
        match self.choices.below(10) {
            0..5 => {
                let operator = self.choices.pick(&["add", "sub", "mul", "xor", "or", "rotl", "shr_u"]);
                format!("(i64.{operator} {} {})", self.i64(depth), self.i64(depth))
            }
            5 => format!("(i64.extend_i32_u {})", self.i32(depth)),
            6 => format!("(i64.load {})", self.address(8)),
            7 => match self.global("f64") {
                Some(global) => format!("(i64.reinterpret_f64 {global})"),
                None => format!("(i64.extend8_s {})", self.i64(depth)),
            },
            8 => match self.global("v128") {
                Some(global) => format!("(i64x2.extract_lane {} {global})", self.choices.below(2)),
                None => format!("(i64x2.extract_lane 0 {})", self.v128()),
            },
            _ => format!("(i64.load16_u {})", self.address(2)),
        }
    }

    fn v128(&mut self) -> String {
        match self.choices.below(3) {
            0 => format!("(i64x2.splat {})", self.i64(0)),
            1 => format!("(v128.load {})", self.address(16)),
            _ => format!("(i8x16.add (i32x4.splat {}) (i64x2.splat {}))", self.i32(0), self.i64(0)),
        }
    }

    fn global(&mut self, ty: &str) -> Option<String> {
        let globals = self.shape.readable(ty);
        (!globals.is_empty()).then(|| format!("(global.get $g{})", self.choices.pick(&globals)))
    }
}
