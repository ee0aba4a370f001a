//! A random handler as a core module in WAT. All have the same bones: each session digests all the
//! state that it can see at its beginning, takes a secret and a command from its client, does what
//! the command says, and tells the client the digest of what it has become.

use std::fmt::Write;

use super::choices::Choices;
use super::code::{Code, RESULT};
use super::shape::{Held, Realloc, Shape, Waits};

/// The contract's version, in the names of imports and exports.
pub(super) const VERSION: &str = "0.1.0";

/// What stands before random bytes that a session drew, and before a clock's two times, in what it
/// sends: no two ways have the same.
pub(super) const RANDOM: [u8; 16] = *b"16 random bytes:";
pub(super) const CLOCK: [u8; 16] = *b"a clock's times:";

/// One phase's function and its companion, by their exports' names.
pub(super) struct Exported {
    pub(super) call: String,
    pub(super) post_return: Option<String>,
}

pub(super) struct Module {
    /// Its imports of the contract: function and core type.
    pub(super) imports: Vec<(&'static str, &'static str)>,
    /// Its other imports, of WASI 0.1.
    wasi: Vec<&'static str>,
    /// All of it but its imports.
    fields: String,
    pub(super) phases: [Exported; 3],
    pub(super) initialize: Option<String>,
    pub(super) datagrams: bool,
}

const CONNECTION: [(&str, &str); 7] = [
    ("recv", "(param i32 i32)"),
    ("send", "(param i32 i32 i32)"),
    ("shutdown", "(param i32 i32)"),
    ("set-timeout", "(param i32 i64)"),
    ("client-address", "(param i32)"),
    ("server-address", "(param i32)"),
    ("start-tls", "(param i32)"),
];

const DATAGRAM: [(&str, &str); 3] = [
    ("send-to", "(param i32 i32 i32 i32 i32 i32 i32)"),
    ("client-address", "(param i32)"),
    ("server-address", "(param i32)"),
];

const WASI: [&str; 6] = [
    "\"fd_write\" (func $fd_write (param i32 i32 i32 i32) (result i32))",
    "\"fd_close\" (func $fd_close (param i32) (result i32))",
    "\"environ_sizes_get\" (func $environ_sizes_get (param i32 i32) (result i32))",
    "\"random_get\" (func $random_get (param i32 i32) (result i32))",
    "\"clock_time_get\" (func $clock_time_get (param i32 i64 i32) (result i32))",
    "\"proc_exit\" (func $proc_exit (param i32))",
];

impl Module {
    pub(super) fn of(choices: &mut Choices<'_>, shape: &Shape) -> Self {
        let mut imports = if shape.datagrams { DATAGRAM.to_vec() } else { CONNECTION.to_vec() };
        let turned = choices.below(imports.len());
        imports.rotate_left(turned);
        let interface = if shape.datagrams { "datagram-handler" } else { "stream-handler" };
        let number = std::cell::Cell::new(0);
        let phases = ["setup", "handle", "finish"].map(|phase| {
            let call = format!("wharf:handler/{interface}@{VERSION}#{phase}");
            let post_return = shape.post_returns[number.get()].then(|| format!("cabi_post_{call}"));
            number.set(number.get() + 1);
            Exported { call, post_return }
        });
        let mut fields = state(choices, shape);
        for (number, name) in ["$realloc", "$other_realloc"].into_iter().enumerate() {
            fields += &realloc(shape, name, number);
        }
        fields += &tools(shape);
        fields += &digest(shape);
        for leaf in 0..shape.leaves {
            let mut code = Code::new(choices, shape, Some(leaf));
            let (steps, value) = (code.steps(3), code.i32(2));
            let _ = writeln!(
                fields,
                "(func $leaf{leaf} (type $leaf) (param $mask i32) (result i32) (local $secret i64) {}
                 (if (i32.eqz (local.get $mask)) (then (return (i32.const {}))))
                 (local.set $secret (i64.extend_i32_u (local.get $mask)))
                 {steps}{value})",
                Code::LOCALS,
                1000 + leaf,
            );
        }
        for phase in ["setup", "handle", "finish"] {
            let mut code = Code::new(choices, shape, None);
            let steps = code.steps(8);
            let _ =
                writeln!(fields, "(func $do_{phase} (param $mask i32) (param $secret i64) {}\n{steps})", Code::LOCALS);
        }
        fields += &driver(choices, shape);
        for (exported, phase) in phases.iter().zip(["setup", "handle", "finish"]) {
            let _ = writeln!(fields, "(export \"{}\" (func ${phase}))", exported.call);
            if let Some(post_return) = &exported.post_return {
                let mut code = Code::new(choices, shape, Some(shape.leaves));
                let steps = code.steps(3);
                let _ = writeln!(
                    fields,
                    "(func (export \"{post_return}\") (param $mask i32) (local $secret i64) {}
                     (local.set $mask (global.get $command)) (local.set $secret (global.get $known))
                     {steps})",
                    Code::LOCALS
                );
            }
        }
        let beginning = |choices: &mut Choices<'_>, name: &str, export: &str| {
            let mut code = Code::new(choices, shape, Some(shape.leaves));
            let steps = code.steps(4);
            format!(
                "(func {name} {export} (local $mask i32) (local $secret i64) {}
                 (local.set $mask (i32.const 0x5a5a5a5a)) {steps})\n",
                Code::LOCALS
            )
        };
        if shape.initializes {
            fields += &beginning(choices, "$initialize", "(export \"_initialize\")");
        }
        if shape.starts {
            fields += &beginning(choices, "$start", "");
            fields += "(start $start)\n";
        }
        Self {
            imports,
            wasi: if shape.wasi { WASI.to_vec() } else { Vec::new() },
            fields,
            phases,
            initialize: shape.initializes.then(|| "_initialize".to_owned()),
            datagrams: shape.datagrams,
        }
    }

    pub(super) fn interface(&self) -> &'static str {
        if self.datagrams { "datagram" } else { "connection" }
    }

    /// All that stands in `(module …)`.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, ty) in &self.imports {
            let interface = self.interface();
            let _ = writeln!(text, "(import \"wharf:handler/{interface}@{VERSION}\" \"{name}\" (func ${name} {ty}))");
        }
        for import in &self.wasi {
            let _ = writeln!(text, "(import \"wasi_snapshot_preview1\" {import})");
        }
        text + &self.fields
    }
}

/// Memory, globals, tables and segments.
fn state(choices: &mut Choices<'_>, shape: &Shape) -> String {
    let mut text = "(type $leaf (func (param i32) (result i32)))\n(table $unset 1 1 funcref)\n".to_owned();
    let max = shape.max.map_or(String::new(), |max| max.to_string());
    let _ = writeln!(text, "(memory (export \"memory\") {} {max})", shape.pages);
    text += "(data (i32.const 512) \"127.0.0.1\")\n(data (i32.const 528) \"it failed\")\n";
    for _ in 0..choices.below(4) {
        let length = 1 + choices.below(300);
        let at = choices.below((shape.pages << 16) - length);
        let at = if choices.once_in(4) { (shape.pages << 16) - length } else { at };
        let _ = writeln!(text, "(data (i32.const {at}) \"{}\")", bytes(choices, length));
    }
    for (number, length) in shape.data.iter().enumerate() {
        let _ = writeln!(text, "(data $data{number} \"{}\")", bytes(choices, *length));
    }
    // Where the next allocation is, how many there were, and what the client said last.
    text += "(global $next (mut i32) (i32.const 4096))\n(global $taken (mut i32) (i32.const 0))\n";
    text += "(global $command (mut i32) (i32.const 0))\n(global $known (mut i64) (i64.const 0))\n";
    for (number, global) in shape.globals.iter().enumerate() {
        let value = match global.ty {
            "i32" => format!("(i32.const {})", choices.u32()),
            "i64" => format!("(i64.const {})", choices.u64()),
            "f32" => format!("(f32.const {})", choices.pick(&["0", "-1.5", "nan:0x200000", "inf"])),
            "f64" => format!("(f64.const {})", choices.pick(&["-0", "2.5", "nan", "-inf"])),
            "v128" => format!("(v128.const i64x2 {} {})", choices.u64(), choices.u64()),
            _ => choices.pick(&["(ref.null func)", "(ref.func $leaf0)"]).to_owned(),
        };
        let ty = if global.mutable { format!("(mut {})", global.ty) } else { global.ty.to_owned() };
        let _ = writeln!(text, "(global $g{number} {ty} {value})");
    }
    for (number, table) in shape.tables.iter().enumerate() {
        let max = table.max.map_or(String::new(), |max| max.to_string());
        let _ = writeln!(text, "(table $t{number} {} {max} funcref)", table.min);
        let length = choices.below(table.min + 1);
        let items: String = (0..length)
            .map(|_| match table.held {
                Held::Any if choices.once_in(2) => "$deep ".to_owned(),
                _ => format!("$leaf{} ", choices.below(shape.leaves)),
            })
            .collect();
        let at = choices.below(table.min - length + 1);
        let _ = writeln!(text, "(elem (table $t{number}) (i32.const {at}) func {items})");
    }
    for (number, length) in shape.elements.iter().enumerate() {
        let items: String = (0..*length).map(|_| format!("$leaf{} ", choices.below(shape.leaves))).collect();
        let _ = writeln!(text, "(elem $elements{number} func {items})");
    }
    let leaves: String = (0..shape.leaves).map(|leaf| format!("$leaf{leaf} ")).collect();
    let _ = writeln!(text, "(elem declare func {leaves})");
    text
}

fn bytes(choices: &mut Choices<'_>, length: usize) -> String {
    (0..length).fold(String::new(), |mut text, _| {
        let _ = write!(text, "\\{:02x}", choices.byte());
        text
    })
}

fn realloc(shape: &Shape, name: &str, number: usize) -> String {
    let export = ["cabi_realloc", "other_realloc"][number];
    let size = Code::size(shape);
    let grows = if shape.grows {
        "(drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))"
    } else {
        "(global.set $next (i32.const 4096))"
    };
    let bump = |at_end: &str| {
        format!(
            "(if (i32.gt_u (i32.add (global.get $next) (local.get $size)) {size}) (then {at_end}))
             (local.set $at (global.get $next))
             (global.set $next (i32.add (local.get $at) (local.get $size)))
             (local.get $at)"
        )
    };
    let third = |then: &str| {
        format!(
            "(if (i32.eqz (i32.rem_u (global.get $taken) (i32.const 3))) (then {then}))
             (i32.const 8192)"
        )
    };
    let body = match shape.reallocs[number] {
        Realloc::Bump => bump(grows),
        Realloc::Ring => bump("(global.set $next (i32.const 4096))"),
        Realloc::Fixed => "(i32.const 2048)".to_owned(),
        Realloc::Wild => third("(return (i32.const 0xfffffff0))"),
        Realloc::Traps => third("(unreachable)"),
    };
    // Where there is an adapter, what it wants is more than a page, and nobody else's.
    let adapter = if shape.wasi {
        "(if (i32.ge_u (local.get $size) (i32.const 65500)) (then (return
           (i32.shl (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))) (i32.const 16)))))"
    } else {
        ""
    };
    format!(
        "(func {name} (export \"{export}\") (param $old i32) (param $was i32) (param $align i32) (param $size i32) (result i32)
         (local $at i32) {adapter}
         (global.set $taken (i32.add (global.get $taken) (i32.const 1)))
         (i32.store (i32.const 96) (local.get $size)) (i32.store (i32.const 100) (local.get $align))
         (i32.store (i32.const 104) (local.get $old)) (i32.store (i32.const 108) (local.get $was))
         {body})\n"
    )
}

/// What is called to be called, and what asks WASI for what no two sessions have.
fn tools(shape: &Shape) -> String {
    let mut text = "(func $deep (local $a i64) (local.set $a (i64.load (i32.const 0))) (call $deep)
                    (i64.store (i32.const 0) (local.get $a)))\n"
        .to_owned();
    if !shape.wasi {
        return text;
    }
    let tell = |length: usize| {
        if shape.datagrams {
            format!(
                "(call $send-to (i32.const 256) (i32.const {length}) (i32.const 0) (i32.const 512) (i32.const 9) (i32.const 4711)
                   (i32.const {RESULT}))"
            )
        } else {
            format!("(call $send (i32.const 256) (i32.const {length}) (i32.const {RESULT}))")
        }
    };
    let mark = |mark: [u8; 16]| {
        let word = |at: usize| u64::from_le_bytes(mark[at..at + 8].try_into().expect("8 bytes"));
        format!(
            "(i64.store (i32.const 256) (i64.const {})) (i64.store (i32.const 264) (i64.const {}))",
            word(0),
            word(8)
        )
    };
    let forget = "(memory.fill (i32.const 256) (i32.const 0) (i32.const 64))";
    let _ = writeln!(
        text,
        "(func $random {} (if (call $random_get (i32.const 272) (i32.const 16)) (then (unreachable))) {} {forget})
         (func $clock (local $turns i32) {}
           (if (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 272)) (then (unreachable)))
           (loop $again
             (if (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 280)) (then (unreachable)))
             (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
             (br_if $again (i32.and
               (i64.eq (i64.load (i32.const 272)) (i64.load (i32.const 280)))
               (i32.lt_u (local.get $turns) (i32.const 10000)))))
           {} {forget})",
        mark(RANDOM),
        tell(32),
        mark(CLOCK),
        tell(32)
    );
    text
}

/// A digest of all state that code can look at. No change of a single part leaves it the same: each
/// step is a bijection.
fn digest(shape: &Shape) -> String {
    let mix = |value: &str| {
        format!(
            "(local.set $h (i64.mul (i64.xor (local.get $h) {value}) (i64.const 0x100000001b3)))
             (local.set $h (i64.xor (local.get $h) (i64.shr_u (local.get $h) (i64.const 29))))\n"
        )
    };
    let mut text = "(func $digest (result i64) (local $h i64) (local $i i32)\n".to_owned();
    let _ = writeln!(
        text,
        "(loop $next
           (local.set $h (i64.mul (i64.xor (local.get $h) (i64.load (local.get $i))) (i64.const 0x100000001b3)))
           (local.set $h (i64.xor (local.get $h) (i64.shr_u (local.get $h) (i64.const 29))))
           (local.set $i (i32.add (local.get $i) (i32.const 8)))
           (br_if $next (i32.lt_u (local.get $i) {})))",
        Code::size(shape)
    );
    if !shape.wasi {
        text += &mix("(i64.extend_i32_u (memory.size))");
    }
    for own in ["$next", "$taken", "$command"] {
        text += &mix(&format!("(i64.extend_i32_u (global.get {own}))"));
    }
    text += &mix("(global.get $known)");
    for (number, global) in shape.globals.iter().enumerate() {
        let get = format!("(global.get $g{number})");
        match global.ty {
            "i32" => text += &mix(&format!("(i64.extend_i32_u {get})")),
            "i64" => text += &mix(&get),
            "f32" => text += &mix(&format!("(i64.extend_i32_u (i32.reinterpret_f32 {get}))")),
            "f64" => text += &mix(&format!("(i64.reinterpret_f64 {get})")),
            "v128" => {
                text += &mix(&format!("(i64x2.extract_lane 0 {get})"));
                text += &mix(&format!("(i64x2.extract_lane 1 {get})"));
            }
            _ => text += &mix(&format!("(i64.extend_i32_u (ref.is_null {get}))")),
        }
    }
    for (number, table) in shape.tables.iter().enumerate() {
        let is_null = format!("(ref.is_null (table.get $t{number} (local.get $i)))");
        let value = match table.held {
            Held::Leaves => format!(
                "(if (result i64) {is_null} (then (i64.const 1))
                 (else (i64.extend_i32_u (call_indirect $t{number} (type $leaf) (i32.const 0) (local.get $i)))))"
            ),
            Held::Any => format!("(i64.extend_i32_u {is_null})"),
        };
        let _ = writeln!(
            text,
            "{}(local.set $i (i32.const 0))
             (loop $table{number}
               {}
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $table{number} (i32.lt_u (local.get $i) (table.size $t{number}))))",
            mix(&format!("(i64.extend_i32_u (table.size $t{number}))")),
            mix(&value)
        );
    }
    text + "(local.get $h))\n"
}

/// The phases themselves.
fn driver(choices: &mut Choices<'_>, shape: &Shape) -> String {
    let (address, size) =
        (|at: &str, size: &str| format!("(i32.rem_u {at} (i32.sub {size} (i32.const 8)))"), Code::size(shape));
    let send = if shape.datagrams {
        format!(
            "(call $send-to (i32.const 64) (i32.const 9) (i32.const 0) (i32.const 512) (i32.const 9) (i32.const 4711)
               (i32.const {RESULT}))"
        )
    } else {
        format!("(call $send (i32.const 64) (i32.const 9) (i32.const {RESULT}))")
    };
    let mut text = format!(
        "(func $report (param $what i32)
           (local $digest i64)
           (local.set $digest (call $digest))
           (i64.store (i32.const 64) (local.get $digest))
           (i32.store8 (i32.const 72) (local.get $what))
           {send})
         (func $heed (param $at i32)
           (global.set $known (i64.load {}))
           (global.set $command (i32.load {})))\n",
        address("(local.get $at)", &size),
        address("(i32.add (local.get $at) (i32.const 8))", &size),
    );
    if !shape.datagrams {
        // Waits for a command: whether there is one.
        let _ = writeln!(
            text,
            "(func $hear (result i32)
               (call $recv (i32.const 16) (i32.const {RESULT}))
               (if (i32.load8_u (i32.const {RESULT})) (then (return (i32.const 0))))
               (if (i32.eqz (i32.load (i32.const {}))) (then (return (i32.const 0))))
               (call $heed (i32.load (i32.const {})))
               (i32.const 1))",
            RESULT + 8,
            RESULT + 4
        );
    }
    let act = |phase: &str| format!("(call $do_{phase} (global.get $command) (global.get $known))");
    let own = match shape.waits {
        Waits::Own if !shape.datagrams => "(call $set-timeout (i32.const 1) (i64.const 1000000))",
        _ => "",
    };
    for (number, phase) in ["setup", "handle", "finish"].into_iter().enumerate() {
        let has_packet = shape.datagrams && phase != "finish";
        let params = if has_packet { "(param $packet i32) (param $length i32)" } else { "" };
        let act = act(phase);
        let body = match phase {
            _ if has_packet => format!("(call $heed (local.get $packet)) {act}"),
            "setup" if choices.once_in(3) => format!("(drop (call $hear)) {act}"),
            "handle" => format!(
                "(block $done (loop $next
                   (br_if $done (i32.eqz (call $hear)))
                   {act}
                   (call $report (i32.const {number}))
                   (br_if $next (i32.ge_s (global.get $command) (i32.const 0)))))"
            ),
            _ => act,
        };
        // In each of them, as any may be the first.
        let begin = if phase == "setup" { "(call $report (i32.const 9))" } else { "" };
        let result = result(choices, shape);
        let _ = writeln!(
            text,
            "(func ${phase} {params} (result i32) {own} {begin}\n{body}\n(call $report (i32.const {number}))\n{result})"
        );
    }
    text
}

/// What a phase returns: nothing, an error, or nonsense.
fn result(choices: &mut Choices<'_>, shape: &Shape) -> String {
    let mut text = String::new();
    for _ in 0..choices.below(3) {
        let bits = 1_u32 << choices.below(31) | 1 << choices.below(31);
        let fields = |tag: u32, text: u32, length: u32| {
            format!(
                "(i32.store8 (i32.const 160) (i32.const {tag})) (i32.store (i32.const 164) (i32.const {text})) \
                 (i32.store (i32.const 168) (i32.const {length})) (return (i32.const 160))"
            )
        };
        let returned = match choices.below(9) {
            0..4 => fields(1, 528, choices.pick(&[9, 9, 0, 2])),
            // Text, or none.
            4 => fields(1, choices.u32() % 65_000, 20),
            5 => fields(choices.pick(&[2, 255]), 528, 9),
            6 => fields(1, 528, 0xffff_fff0),
            7 => "(return (i32.const 162))".to_owned(),
            _ => format!("(return {})", choices.pick(&["(i32.const -16)", "(i32.const -4)", "(i32.const 0x7ffffff0)"])),
        };
        let _ = writeln!(
            text,
            "(if (i32.eq (i32.and (global.get $command) (i32.const {bits})) (i32.const {bits})) (then {returned}))"
        );
    }
    let at = if choices.once_in(4) { choices.below(shape.pages << 14) * 4 % ((shape.pages << 16) - 16) } else { 160 };
    let _ = write!(text, "(i32.store8 (i32.const {at}) (i32.const 0)) (i32.const {at})");
    text
}
