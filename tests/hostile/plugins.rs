//! Plugins that mean harm, one by one: what each does ends its own session, is logged and counted,
//! and is no concern of any other session. `harness::hostile` has those that other tests make use
//! of, too.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;

use rustix::process::Signal;

use crate::harness::guests::{Guest, fixture_as_module, rust};
use crate::harness::hostile::{HOSTILE, Hostile};
use crate::harness::observe::until;
use crate::harness::{CONCURRENCIES, Client, Family, Folder, Launch, Wharf, answer, answers, ask, fixture};

/// Little enough that a test need not wait for it, and enough for whoever behaves.
const LIMITS: &str = "service-interval = '50ms'\n[limits]\ncpu = '200ms'\nmemory = '16MiB'\n[timeouts]\nsetup = '1h'\n";

/// Waits for a line with what was counted of this plugin that has all of these. One that was asked
/// for before may still be on its way, with less.
#[track_caller]
fn counts(wharf: &Wharf, plugin: &str, parts: &[&str]) {
    wharf.signal(Signal::USR1);
    let mut wanted = vec!["INFO".to_owned(), " counted ".to_owned(), format!("plugin={plugin}")];
    // A count is the last word of its own, or has a space behind it.
    wanted.extend(parts.iter().map(|part| format!(" {part} ")));
    wharf.logs(&wanted.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Serves `guest` beside a plugin that behaves, tells one of its clients to misbehave, and sees
/// what becomes of it and of all others.
#[track_caller]
fn ends_its_own_session(guest: &Guest, phase: &str, cause: &str, counted: &str) {
    let folder = Folder::new();
    let grant = "[[grants.dirs]]\nhost = '.'\nguest = '/'";
    // On a busy machine, a guest that ends in another way must not reach this limit first.
    let limits = if cause.starts_with("cpu: ") { LIMITS.to_owned() } else { LIMITS.replace("'200ms'", "'10s'") };
    folder.plugin("hostile", guest).settings("hostile", &format!("{limits}{grant}"));
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let (address, elsewhere) = (wharf.address("hostile"), wharf.address("answers"));
    let mut beside = Client::connect(address);
    beside.send("x").hears("ok\n");
    let mut hostile = Client::connect(address);
    hostile.send("x").hears("ok\n").send("!!");
    for _ in 0..10 {
        beside.send("x").hears("ok\n");
        assert_eq!(ask(elsewhere, "x"), answer("A"));
    }
    let (phase, cause) = (format!("phase={phase}"), format!("cause=\"{cause}"));
    wharf.logs(&["WARN", "session failed", "plugin=hostile", &hostile.name(), &phase, &cause]);
    assert_eq!(hostile.rest(), "", "it hears nothing more, and no reset");
    beside.send("x").hears("ok\n").ends();
    assert_eq!(beside.rest(), "");
    Client::connect(address).send("x").hears("ok\n");
    counts(&wharf, "hostile", &["sessions=3", counted]);
    let log = wharf.log();
    assert!(!log.iter().any(|line| line.contains("host fault") || line.len() > 8192), "{log:#?}");
    wharf.stop();
}

#[test]
fn a_trap_after_an_error_was_read_is_what_its_phase_came_to() {
    let folder = Folder::new();
    folder.settings("guest", LIMITS).plugin("guest", &fixture_as_module("traps_after_an_error"));
    let wharf = Wharf::serve(&folder);
    assert_eq!(ask(wharf.address("guest"), "!"), "");
    wharf.logs(&["WARN", "session failed", "phase=handle", "cause=\"trap: "]);
    counts(&wharf, "guest", &["sessions=1", "handle.unreachable=1"]);
    assert!(!wharf.log().iter().any(|line| line.contains("no handle") || line.contains("handle.error")));
    wharf.stop();
}

/// A test for each fixture in `tests/guests/hostile/`: the phase that fails, what its cause begins
/// with, what is counted.
macro_rules! hostile {
    ($($name:ident: $phase:literal, $cause:literal, $counted:literal;)*) => {
        $(#[test]
        fn $name() {
            ends_its_own_session(&fixture(&format!("hostile/{}", stringify!($name))), $phase, $cause, $counted);
        })*

        /// The same where there is no component model between the guest and the host.
        mod as_modules {
            use super::*;

            $(#[test]
            fn $name() {
                let guest = fixture_as_module(&format!("hostile/{}", stringify!($name)));
                ends_its_own_session(&guest, $phase, $cause, $counted);
            })*
        }

        #[test]
        fn every_fixture_has_its_test() {
            // These three have tests of their own, below and in `leaks`.
            let elsewhere = ["spins_in_service_actions", "floods_the_log", "looks_for_residue"];
            let tested = [$(stringify!($name)),*];
            for entry in fs::read_dir(crate::harness::guests::root().join("tests/guests/hostile")).expect("a folder") {
                let path = entry.expect("read the folder").path();
                let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
                assert!(tested.contains(&name) || elsewhere.contains(&name), "{name}");
            }
        }
    };
}

hostile! {
    // By instructions that take long, each of them, and by calls that come back at once.
    fills_memory: "handle", "cpu: ", "handle.cpu=1";
    copies_memory: "handle", "cpu: ", "handle.cpu=1";
    fills_table: "handle", "cpu: ", "handle.cpu=1";
    calls_the_host: "handle", "cpu: ", "handle.cpu=1";
    sends_nothing: "handle", "cpu: ", "handle.cpu=1";
    asks_for_randomness: "handle", "cpu: ", "handle.cpu=1";
    // By one call that takes long.
    prints_at_once: "handle", "cpu: ", "handle.cpu=1";
    asks_for_much_randomness: "handle", "cpu: ", "handle.cpu=1";
    // By going on without a client.
    reads_after_the_end: "handle", "broken-pipe: ", "handle.broken-pipe=1";
    writes_after_the_end: "handle", "broken-pipe: ", "handle.broken-pipe=1";
    // By wanting more than there is.
    grows_memory_at_once: "handle", "memory: ", "handle.memory=1";
    grows_a_huge_table: "handle", "trap: undefined element", "handle.out-of-bounds=1";
    opens_files: "handle", "resources: ", "handle.resources=1";
    // In the hooks.
    spins_in_verify_request: "verify-request", "cpu: ", "verify-request.cpu=1";
    traps_in_verify_request: "verify-request", "trap: ", "verify-request.unreachable=1";
    spins_in_handle_error: "handle-error", "cpu: ", "handle.error=1 handle-error.cpu=1";
    // By traps of every kind.
    divides_by_zero: "handle", "trap: integer divide by zero", "handle.arithmetic=1";
    overflows: "handle", "trap: integer overflow", "handle.arithmetic=1";
    reads_out_of_bounds: "handle", "trap: out of bounds memory access", "handle.out-of-bounds=1";
    calls_nothing: "handle", "trap: uninitialized element", "handle.indirect-call=1";
    // By what they tell the host.
    result_out_of_memory: "handle", "trap: ", "handle.value=1";
    result_unaligned: "handle", "trap: ", "handle.value=1";
    result_of_no_case: "handle", "trap: ", "handle.value=1";
    result_not_utf8: "handle", "trap: ", "handle.value=1";
    result_too_long: "handle", "trap: ", "handle.value=1";
    argument_of_no_case: "handle", "trap: ", "handle.value=1";
    argument_result_out_of_memory: "handle", "trap: ", "handle.value=1";
    long_error: "handle", "error: aaaaaaaa", "handle.error=1";
}

/// A guest whose allocator does this when it is asked for room for a message of two bytes.
fn with_realloc(code: &str) -> Guest {
    let Guest { bytes, .. } = fixture("traps_in_handle");
    let text = String::from_utf8(bytes).expect("WAT is text");
    let place = "(param i32 i32 i32 i32) (result i32) (i32.const 2048)";
    assert!(text.contains(place), "the template has its allocator there");
    let hostile = "(param i32 i32 i32 i32) (result i32) (if (i32.eq (local.get 3) (i32.const 2)) (then CODE)) \
                   (i32.const 2048)";
    Guest::wat(text.replace(place, &hostile.replace("CODE", code)))
}

#[test]
fn spins_in_realloc() {
    ends_its_own_session(&with_realloc("(loop $for_ever (br $for_ever))"), "handle", "cpu: ", "handle.cpu=1");
}

#[test]
fn traps_in_realloc() {
    ends_its_own_session(&with_realloc("unreachable"), "handle", "trap: ", "handle.unreachable=1");
}

#[test]
fn realloc_out_of_memory() {
    ends_its_own_session(&with_realloc("(return (i32.const 0x7ffffff0))"), "handle", "trap: ", "handle.value=1");
}

#[test]
fn recurses_in_realloc() {
    let guest = with_realloc("(drop (call 0 (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2)))");
    ends_its_own_session(&guest, "handle", "stack: ", "handle.stack=1");
}

#[test]
fn every_end_of_the_others_is_counted_too() {
    let folder = Folder::new();
    for &Hostile { fixture: name, .. } in &HOSTILE {
        folder.plugin(name, &fixture(name)).settings(name, LIMITS);
    }
    let wharf = Wharf::serve(&folder);
    for &Hostile { fixture: name, phase, cause, at_end, .. } in &HOSTILE {
        let mut hostile = Client::connect(wharf.address(name));
        hostile.send("!");
        if at_end {
            hostile.ends();
        }
        hostile.rest();
        let kind = match cause.split(':').next().expect("a word") {
            "trap" if name == "reaches_out" || name == "returns_nonsense" => "value",
            "trap" => "unreachable",
            word => word,
        };
        counts(&wharf, name, &["sessions=1", &format!("{phase}.{kind}=1")]);
    }
    wharf.stop();
}

#[test]
fn a_program_that_opens_files_without_end_leaves_descriptors_for_others() {
    // Nothing is closed, and nothing is said of what could not be opened.
    let program = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
          (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) ".")
        (func (export "_start")
          (loop $for_ever
            (drop
              (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 0)
                (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 144)))
            (br $for_ever))))"#;
    let folder = Folder::new();
    let settings = "[limits]\ncpu = '1h'\n[[grants.dirs]]\nhost = '.'\nguest = '/'";
    folder.plugin("opens", &Guest::wat(program)).settings("opens", settings).plugin("answers", &answers("A"));
    // Fewer descriptors than it would open.
    let wharf = Launch::with_descriptors(600, ["serve".as_ref(), folder.path()]).start();
    let (address, elsewhere) = (wharf.address("opens"), wharf.address("answers"));
    let client = Client::connect(address);
    wharf.logs(&[
        "session failed",
        "plugin=opens",
        &client.name(),
        "phase=handle",
        "cause=\"resources: more than 256 ",
    ]);
    assert_eq!(client.rest(), "");
    assert_eq!(ask(elsewhere, "x"), answer("A"));
    counts(&wharf, "opens", &["sessions=1", "handle.resources=1"]);
    assert!(!wharf.log().iter().any(|line| line.contains("accept")), "nobody was short of descriptors");
    wharf.stop();
}

#[test]
fn spins_in_service_actions() {
    let folder = Folder::new();
    folder.plugin("hostile", &fixture("hostile/spins_in_service_actions")).settings("hostile", LIMITS);
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let (address, elsewhere) = (wharf.address("hostile"), wharf.address("answers"));
    for _ in 0..3 {
        wharf.logs(&["WARN", "upkeep failed", "plugin=hostile", "phase=service-actions", "cause=\"cpu: "]);
        Client::connect(address).send("x").hears("ok\n");
        assert_eq!(ask(elsewhere, "x"), answer("A"));
    }
    wharf.signal(Signal::USR1);
    wharf.logs(&[" counted ", "sessions=3 ", "service-actions.cpu=", "plugin=hostile"]);
    wharf.stop();
}

#[test]
fn an_answer_without_end_is_ended_by_the_time_for_it_whether_it_is_read_or_not() {
    let folder = Folder::new();
    folder.plugin("never_reads", &fixture("never_reads")).settings("never_reads", "[timeouts]\nhandle = '500ms'");
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let (address, elsewhere) = (wharf.address("never_reads"), wharf.address("answers"));
    let [mut reader, mut deaf] = [Client::connect(address), Client::connect(address)];
    for client in [&mut reader, &mut deaf] {
        client.send("!").ends();
    }
    let (reading, silent) = (reader.name(), deaf.name());
    let reader = thread::spawn(|| reader.rest());
    for _ in 0..20 {
        assert_eq!(ask(elsewhere, "x"), answer("A"));
    }
    for name in [reading, silent] {
        wharf.logs(&["session failed", "plugin=never_reads", &name, "phase=handle", "cause=\"timeout: "]);
    }
    assert!(reader.join().expect("no reset").starts_with("I talk and do not listen. "));
    counts(&wharf, "never_reads", &["sessions=2", "handle.timeout=2"]);
    drop(deaf);
    wharf.stop();
}

#[test]
fn what_a_plugin_prints_does_not_fill_the_log() {
    let folder = Folder::new();
    folder.plugin("floods", &fixture("hostile/floods_the_log")).settings("floods", "[limits]\ncpu = '500ms'");
    folder.plugin("misbehave", &rust("misbehave"));
    let wharf = Wharf::serve(&folder);
    let (floods, other) = (wharf.address("floods"), wharf.address("misbehave"));
    let mut flood = Client::connect(floods);
    flood.send("!");
    // Another plugin's words are not among what is left out.
    assert_eq!(ask(other, "print a word\n"), "printed");
    wharf.logs(&["guest: text=\"a word", "plugin=misbehave"]);
    wharf.logs(&["session failed", "plugin=floods", &flood.name(), "cause=\"cpu: "]);
    assert_eq!(flood.rest(), "");
    let line = wharf.logs(&["WARN", "suppressed", "plugin=floods", "what=printed", "lines="]);
    wharf.signal(Signal::USR1);
    wharf.logs(&[" counted sessions=1 handle.cpu=1 suppressed.printed=", "plugin=floods"]);
    let printed = wharf.log().iter().filter(|line| line.contains("all work and no play")).count();
    // A burst of a thousand, and two hundred for each second that this test takes.
    assert!((1000..10_000).contains(&printed), "{printed} lines");
    assert!(line.contains("lines=") && !line.contains("lines=0 "), "{line}");
    wharf.stop();
}

#[test]
fn sessions_that_fail_do_not_fill_the_log_and_are_all_counted() {
    const SESSIONS: usize = 2000;
    let folder = Folder::new();
    folder.manifest("traps", &Family::Unix.listen(&folder, "traps")).plugin("traps", &fixture("traps_in_handle"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("traps");
    for _ in 0..SESSIONS {
        let mut client = Client::dial(&url);
        client.send("!");
        assert_eq!(client.rest(), "");
    }
    wharf.logs(&["WARN", "suppressed", "plugin=traps", "what=failures"]);
    wharf.signal(Signal::USR1);
    wharf.logs(&[&format!(" counted sessions={SESSIONS} handle.unreachable={SESSIONS} suppressed.failures=")]);
    let logged = wharf.log().iter().filter(|line| line.contains("session failed")).count();
    assert!((500..SESSIONS).contains(&logged), "{logged} lines");
    wharf.stop();
}

#[test]
fn clients_that_are_turned_away_do_not_fill_the_log_and_are_all_counted() {
    const CLIENTS: usize = 1000;
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", "deny = '127.0.0.2'");
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("answers");
    for _ in 0..CLIENTS {
        Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), address).sees_the_end();
    }
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.logs(&["WARN", "suppressed", "plugin=answers", "what=refusals"]);
    wharf.signal(Signal::USR1);
    wharf.logs(&[&format!(" counted sessions={} refused={CLIENTS} suppressed.refusals=", CLIENTS + 1)]);
    let logged = wharf.log().iter().filter(|line| line.contains("client refused")).count();
    assert!((500..CLIENTS).contains(&logged), "{logged} lines");
    wharf.stop();
}

#[test]
fn what_was_counted_is_logged_when_a_plugin_goes_and_when_the_host_stops() {
    for concurrency in CONCURRENCIES {
        let folder = Folder::new();
        for plugin in ["goes", "stays", "unused"] {
            folder.plugin(plugin, &fixture("fails_in_finish"));
            folder.settings(plugin, &format!("concurrency = '{concurrency}'"));
        }
        let mut wharf = Wharf::serve(&folder);
        for (plugin, failing) in [("goes", 2), ("stays", 1)] {
            let address = wharf.address(plugin);
            for message in ["x", "!!", "!!"].iter().take(1 + failing) {
                let mut client = Client::connect(address);
                client.send(message).ends();
                client.rest();
            }
        }
        wharf.event("listening", "unused");
        folder.remove("goes.wat");
        wharf.event("unloaded", "goes");
        wharf.logs(&["INFO", " counted sessions=3 finish.error=2 plugin=goes"]);
        wharf.signal(Signal::TERM);
        assert_eq!(wharf.ended(), 0);
        wharf.logs(&["INFO", " counted sessions=2 finish.error=1 plugin=stays"]);
        assert!(!wharf.log().iter().any(|line| line.contains("plugin=unused")), "there was nothing to count");
    }
}

#[test]
fn plugins_that_spin_before_they_are_instances_are_refused_and_hold_up_no_other() {
    // More than are tried out at once.
    const SPINNERS: usize = 20;
    let folder = Folder::new();
    let names: Vec<String> = (0..SPINNERS).map(|number| format!("a-spinner-{number}")).collect();
    for name in &names {
        folder.plugin(name, &fixture("spins_at_start").with_manifest(&format!("# {name}"))).settings(name, LIMITS);
    }
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    assert_eq!(ask(wharf.address("answers"), "x"), answer("A"));
    for name in &names {
        let reason = wharf.event("refused", name).reason;
        assert!(reason.contains("no instance can be made: cpu: ran for 200ms"), "{reason}");
    }
    wharf.stop();
}

/// A program with these fields beside what makes it one.
fn program(fields: &str) -> Guest {
    Guest::wat(format!("(module (memory (export \"memory\") 1) (func (export \"_start\"))\n{fields})")).assembled()
}

/// Serves `bomb` beside plugins that behave: it has to be refused, and they to be loaded, served
/// and replaced meanwhile.
#[track_caller]
fn is_refused(launch: impl FnOnce(&Folder) -> Launch, bomb: &Guest, reason: &[&str]) {
    let folder = Folder::new();
    folder.plugin("a-bomb", bomb).plugin("answers", &answers("A"));
    let wharf = launch(&folder).args(["--no-cache"]).own_cache().start();
    let address = wharf.address("answers");
    for text in ["B", "C"] {
        folder.plugin("answers", &answers(text));
        until("the new one serves", || ask(address, "x") == answer(text));
    }
    let refused = wharf.event("refused", "a-bomb").reason;
    for part in reason {
        assert!(refused.contains(part), "no {part:?} in {refused}");
    }
    assert!(!refused.contains("host fault"), "{refused}");
    assert_eq!(ask(address, "x"), answer("C"));
    wharf.stop();
}

fn serve(folder: &Folder) -> Launch {
    Launch::new(["serve".as_ref(), folder.path()])
}

const TOO_MUCH_MEMORY: [&str; 3] = ["compiling it takes more than the ", " of memory that it may", "smaller functions"];

#[test]
fn a_bomb_of_many_functions_is_refused() {
    is_refused(serve, &program(&"(func)\n".repeat(100_000)), &TOO_MUCH_MEMORY);
}

#[test]
fn a_bomb_of_nested_blocks_is_refused() {
    let (depth, param) = (100_000, "(param i32)");
    let code = format!("(func {param} {} {})", "loop local.get 0 br_if 0 ".repeat(depth), "end ".repeat(depth));
    // Too much memory, or more than the compiler can number, at which it panics.
    is_refused(serve, &program(&code), &["smaller functions"]);
}

#[test]
fn a_bomb_of_many_locals_is_refused() {
    let step = "(loop (local.set 0 (local.get 899)) (br_if 0 (local.get 1)))";
    let code = format!("(func (param {}) {})", "i32 ".repeat(900), step.repeat(20_000));
    is_refused(serve, &program(&code), &TOO_MUCH_MEMORY);
}

#[test]
fn a_bomb_that_takes_the_compiler_too_long_is_refused() {
    // Of two seconds in both lanes, which is more than the host itself has to do.
    let launch = |folder: &Folder| Launch::after("ulimit -S -t 2", ["serve".as_ref(), folder.path()]);
    let depth = 5000;
    let code = format!("(func (param i32) {} {})\n", "loop local.get 0 br_if 0 ".repeat(depth), "end ".repeat(depth));
    let expected = ["compiling it takes more than the 2s of CPU time that it may", "smaller functions"];
    is_refused(launch, &program(&code.repeat(4)), &expected);
}

#[test]
fn bombs_that_look_quick_leave_the_quick_lane_to_others() {
    // As many as are compiled at once.
    const BOMBS: usize = 8;
    let depth = 5000;
    let code = format!("(func (param i32) {} {})\n", "loop local.get 0 br_if 0 ".repeat(depth), "end ".repeat(depth));
    let bomb = program(&code.repeat(8));
    let folder = Folder::new();
    for number in 0..BOMBS {
        let name = format!("a-bomb-{number}");
        folder.settings(&name, "").plugin(&name, &bomb.with_manifest(&format!("# {number}")));
    }
    let wharf = serve(&folder).args(["--no-cache"]).own_cache().start();
    until("all are compiled that may be at once", || wharf.threads_named("load") >= BOMBS);
    folder.plugin("answers", &answers("A"));
    assert_eq!(ask(wharf.address("answers"), "x"), answer("A"));
    assert!(!wharf.events().iter().any(|line| line.contains("a-bomb")), "no bomb is through before");
}

#[test]
fn a_file_larger_than_any_plugin_or_manifest_is_not_even_read() {
    let folder = Folder::new();
    let huge = |name: &str| {
        let file = fs::File::create(folder.path().join(".huge")).expect("create a file");
        file.set_len(1 << 40).expect("a hole takes no room");
        fs::rename(folder.path().join(".huge"), folder.path().join(name)).expect("rename it into place");
    };
    folder.settings("large", "").plugin("answers", &answers("A"));
    huge("large.wasm");
    let wharf = Wharf::serve(&folder);
    let reason = wharf.event("refused", "large").reason;
    assert!(reason.contains("128 MiB is the most"), "{reason}");
    let address = wharf.address("answers");
    huge("answers.toml");
    let reason = wharf.event("kept", "answers").reason;
    assert!(reason.contains("answers.toml: a file of ") && reason.contains("1 MiB is the most"), "{reason}");
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.stop();
}

#[test]
fn more_text_than_is_assembled_is_refused() {
    let Guest { bytes, extension } = answers("A");
    let bomb = Guest { bytes: [bytes, b" ".repeat(9 << 20)].concat(), extension };
    is_refused(serve, &bomb, &["8 MiB are the most", "wasm-tools parse"]);
}
