//! What a random module has, before there is any code of it.

use super::choices::Choices;

/// What a program's sessions may wait for. One program has one of these, because a wait that ends
/// by a clock must not be able to end by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// For nothing that does not come at once.
    None,
    /// A client goes silent, and the operator's idle time runs out.
    Idle,
    /// A client goes silent, and the time that the guest set runs out.
    Own,
    /// A client goes silent, and the phase's time runs out.
    Phase,
    /// A client is quiet for long enough that its guest's memory is packed.
    Rest,
}

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Functions of the type `$leaf`, or nothing.
    Leaves,
    /// Functions of any type.
    Any,
}

pub(super) struct Table {
    pub(super) held: Held,
    pub(super) min: usize,
    pub(super) max: Option<usize>,
}

pub(super) struct Global {
    pub(super) ty: &'static str,
    pub(super) mutable: bool,
}

/// How `cabi_realloc` behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Realloc {
    /// Takes what is behind the last, and grows memory where that is at its end.
    Bump,
    /// The same, but begins anew at the memory's end.
    Ring,
    /// One place for all.
    Fixed,
    /// A place that is none, for every third.
    Wild,
    /// Traps at the third.
    Traps,
}

pub(super) struct Shape {
    pub(super) datagrams: bool,
    /// It imports WASI 0.1, whose adapter takes memory of its own where there is one. No code looks
    /// at the memory's size then, or changes it.
    pub(super) wasi: bool,
    pub(super) waits: Waits,
    /// Its code can change nothing that can't be put back.
    pub(super) frozen: bool,
    /// Memory may grow. If not, accesses just beyond its end are tried: one that was put back may
    /// have more memory than it says.
    pub(super) grows: bool,
    /// Whether anything may spin until its CPU time has run out, which takes that time.
    pub(super) spins: bool,
    pub(super) pages: usize,
    pub(super) max: Option<usize>,
    pub(super) globals: Vec<Global>,
    pub(super) tables: Vec<Table>,
    /// The lengths of passive data segments.
    pub(super) data: Vec<usize>,
    /// The lengths of passive element segments.
    pub(super) elements: Vec<usize>,
    pub(super) leaves: usize,
    pub(super) reallocs: [Realloc; 2],
    pub(super) post_returns: [bool; 3],
    pub(super) initializes: bool,
    pub(super) starts: bool,
    /// It does the same over a socket, of which nobody knows the address.
    pub(super) is_plain: bool,
}

impl Shape {
    pub(super) fn of(choices: &mut Choices<'_>, plain: bool) -> Self {
        let wasi = choices.once_in(8);
        let frozen = !choices.once_in(3);
        let grows = !wasi && !choices.once_in(3);
        let pages = 1 + choices.below(3);
        let globals = (0..choices.below(12))
            .map(|_| {
                let ty = choices.pick(&["i32", "i64", "f32", "f64", "v128", "funcref"]);
                let is_constant = choices.once_in(5) || (frozen && ty == "funcref");
                Global { ty, mutable: !is_constant }
            })
            .collect();
        let tables = (0..choices.below(3))
            .map(|_| {
                let min = 1 + choices.below(9);
                Table {
                    held: choices.pick(&[Held::Leaves, Held::Leaves, Held::Any]),
                    min,
                    max: choices.once_in(2).then(|| min + choices.below(8)),
                }
            })
            .collect();
        let waits = match choices.below(100) {
            _ if plain => Waits::None,
            93..95 => Waits::Idle,
            95..97 => Waits::Own,
            97..99 => Waits::Phase,
            99 => Waits::Rest,
            _ => Waits::None,
        };
        let realloc = |choices: &mut Choices<'_>| match choices.below(16) {
            0..6 => Realloc::Bump,
            6..10 => Realloc::Ring,
            10..14 => Realloc::Fixed,
            14 => Realloc::Wild,
            _ => Realloc::Traps,
        };
        Self {
            datagrams: choices.once_in(4) && !plain,
            wasi,
            waits,
            frozen,
            grows,
            spins: choices.once_in(40) && !plain,
            pages,
            // An adapter wants some of its own.
            max: (choices.once_in(3) && !wasi).then(|| pages + choices.below(5)),
            globals,
            tables,
            data: (0..choices.below(4)).map(|_| 1 + choices.below(200)).collect(),
            elements: (0..choices.below(3)).map(|_| 1 + choices.below(4)).collect(),
            leaves: 1 + choices.below(4),
            reallocs: [realloc(choices), realloc(choices)],
            post_returns: std::array::from_fn(|_| choices.once_in(3)),
            initializes: choices.once_in(4),
            starts: choices.once_in(12),
            is_plain: plain,
        }
    }

    /// Tables that hold this.
    pub(super) fn tables_of(&self, held: Held) -> Vec<usize> {
        self.tables.iter().enumerate().filter(|(_, table)| table.held == held).map(|(number, _)| number).collect()
    }

    /// Globals of this type.
    pub(super) fn readable(&self, ty: &str) -> Vec<usize> {
        self.globals.iter().enumerate().filter(|(_, global)| global.ty == ty).map(|(number, _)| number).collect()
    }
}
