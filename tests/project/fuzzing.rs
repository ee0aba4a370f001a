//! The fuzzers' targets, for a moment each: over what is kept in `fuzz/corpus/TARGET`, and over
//! mutations of it that a seed decides. `WHARF_SEED` is another seed; `cargo xtask fuzz` runs the
//! same targets for as long as one likes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use wharf::fuzz;

use crate::harness::DEADLINE;
use crate::harness::guests::root;

/// What `WHARF_SEED` is unless it is set: the same in every run, so that a run that failed fails
/// again.
const SEED: u64 = 0x77_68_61_72_66;

/// No mutation makes an input longer, in bytes.
const LONGEST: usize = 256 << 10;

#[test]
fn manifests_are_read_or_refused_in_one_line_and_give_a_plugin_no_more_than_is_its_own() {
    trial("manifest", fuzz::manifest, 20_000);
}

#[test]
fn host_wide_settings_are_read_or_refused_in_one_line() {
    trial("host-config", fuzz::host_config, 10_000);
}

#[test]
fn addresses_print_as_what_is_read_as_the_same() {
    trial("addresses", fuzz::addresses, 20_000);
}

#[test]
fn quantities_keep_within_their_bounds() {
    trial("quantities", fuzz::quantities, 10_000);
}

#[test]
fn names_of_plugins_stay_in_their_folder() {
    trial("names", fuzz::names, 5000);
}

#[test]
fn no_damaged_entry_of_the_cache_is_believed() {
    trial("cache", fuzz::cache, 20_000);
}

#[test]
fn whatever_a_file_holds_is_recognised_or_refused() {
    trial("recognise", fuzz::recognise, 4000);
}

#[test]
fn whatever_a_file_holds_is_loaded_or_refused() {
    trial("load", fuzz::load, 600);
}

/// Random bytes make better programs than mutations of others do.
#[test]
fn random_handlers_do_the_same_in_every_way_that_they_are_run() {
    let programs = std::env::var("WHARF_PROGRAMS").map_or(150, |text| text.parse().expect("a number"));
    let corpus = corpus("differential");
    run("differential", fuzz::differential, move |mut dice| {
        let random = move |_| (0..500 + dice.below(3000)).map(|_| dice.next() as u8).collect();
        corpus.into_iter().chain((0..programs).map(random))
    });
    let totals = &fuzz::TOTALS;
    eprintln!("{totals}");
    let of = |count: &AtomicU64| count.load(Relaxed);
    let programs = of(&totals.programs);
    assert!(of(&totals.refused) * 10 < programs, "most are plugins: {totals}");
    assert!(of(&totals.bare) * 2 > programs, "most run as one module: {totals}");
    assert!(of(&totals.put_back) * 3 > programs, "many are put back: {totals}");
    assert!(of(&totals.telling) * 2 > programs, "what a session left would be seen: {totals}");
    assert!(of(&totals.draws) > 0, "{totals}");
}

/// Runs a target over its corpus, then over so many mutations of it.
fn trial(name: &'static str, target: fn(&[u8]), mutations: usize) {
    let (corpus, words) = (corpus(name), words());
    run(name, target, move |mut dice| {
        let first = corpus.clone().into_iter();
        first.chain((0..mutations).map(move |_| mutation(&mut dice, &corpus, &words)))
    });
}

/// Runs a target over inputs that a seed decides. One that takes longer than [`DEADLINE`] has
/// failed, too.
fn run<I: Iterator<Item = Vec<u8>>>(
    name: &'static str,
    target: fn(&[u8]),
    inputs: impl FnOnce(Dice) -> I + Send + 'static,
) {
    let seed = std::env::var("WHARF_SEED").ok().map_or(SEED, |text| text.parse().expect("WHARF_SEED is a number"));
    let kept = kept(name, seed);
    eprintln!("{name}: WHARF_SEED={seed}; the input at hand is in {}", kept.display());
    let file = File::create(&kept).expect("a file for inputs");
    let (done, dones) = mpsc::channel();
    let worker = thread::Builder::new().name(name.to_owned()).spawn(move || {
        for input in inputs(Dice(seed)) {
            // Before it is tried: a stack that overflows takes this process with it. Over what was
            // there: some file systems write a file to the disk that was emptied and written anew.
            let written = file.write_all_at(&input, 0).and_then(|()| file.set_len(input.len() as u64));
            written.expect("the input can be kept");
            target(&input);
            let _ = done.send(());
        }
    });
    let worker = worker.expect("a thread");
    let failed = |how: &str| -> ! {
        let input = fs::read(&kept).expect("it was written before it was tried");
        let shown = input[..input.len().min(500)].escape_ascii();
        panic!("{name}: {how} at WHARF_SEED={seed}, of {} bytes, kept in {}: {shown}", input.len(), kept.display())
    };
    loop {
        match dones.recv_timeout(DEADLINE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => failed("no answer"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if worker.join().is_err() {
        failed("a panic, which is told above,");
    }
    fs::remove_file(&kept).expect("nobody else has it");
}

/// Where a run keeps the input at hand: there are others, of the same target.
fn kept(name: &str, seed: u64) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzzing");
    fs::create_dir_all(&folder).expect("a folder for inputs");
    folder.join(format!("{name}-{seed}-{}.input", std::process::id()))
}

/// What the target begins with, in the order of its files' names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = root().join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder that can be read").path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("a file that can be read")).collect();
    assert!(!corpus.is_empty(), "{} has nothing to begin with", folder.display());
    corpus
}

/// The words of `fuzz/words.dict`, in which every line is one in quotes, or a comment.
fn words() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(root().join("fuzz/words.dict")).expect("the dictionary is there");
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    let words: Vec<Vec<u8>> = quoted.map(unescaped).collect();
    assert!(!words.is_empty(), "the dictionary has words");
    words
}

/// libFuzzer's `\xNN`, `\\` and `\"`.
fn unescaped(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next().expect("something is escaped") {
            b'x' => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| char::from(digit.expect("two digits")).to_digit(16));
                let [Some(high), Some(low)] = digits else { panic!("no hexadecimal digits in {word}") };
                bytes.push((high * 16 + low) as u8);
            }
            other => bytes.push(other),
        }
    }
    bytes
}

/// Numbers that a seed decides: SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A range within so many bytes, short ones rather than long ones.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let longest = length - start;
        let most = if self.below(4) == 0 { longest } else { longest.min(8) };
        start..start + self.below(most + 1)
    }
}

/// One of the corpus, changed in one place to four.
fn mutation(dice: &mut Dice, corpus: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut input = dice.pick(corpus).clone();
    for _ in 0..=dice.below(4) {
        let length = input.len();
        let range = dice.range(length);
        // Those that leave everything at its place come as often as all others: a module whose
        // sections moved is soon refused.
        match dice.below(10) {
            0..3 if length > 0 => input[dice.below(length)] ^= 1 << dice.below(8),
            3..5 if length > 0 => input[dice.below(length)] = *dice.pick(&[0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b'-']),
            5 => drop(input.drain(range)),
            6 => {
                let copied = input[range].to_vec();
                let at = dice.below(length + 1);
                input.splice(at..at, copied);
            }
            7 => drop(input.splice(range, dice.pick(words).iter().copied())),
            8 => {
                let other = dice.pick(corpus);
                let from = dice.range(other.len());
                input.splice(range, other[from].iter().copied());
            }
            _ => {
                let at = dice.below(length + 1);
                input.insert(at, dice.next() as u8);
            }
        }
        input.truncate(LONGEST);
    }
    input
}

#[test]
fn a_seed_decides_every_mutation() {
    let (corpus, words) = (corpus("manifest"), words());
    let run = |seed| {
        let mut dice = Dice(seed);
        (0..50).map(|_| mutation(&mut dice, &corpus, &words)).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_target_that_panics_or_breaks_its_word_is_told_with_its_input() {
    let failure = std::panic::catch_unwind(|| trial("names", |input| assert!(input.len() < 3), 10)).unwrap_err();
    let text = failure.downcast_ref::<String>().expect("words");
    assert!(text.contains("WHARF_SEED=") && text.contains("a panic"), "{text}");
}
