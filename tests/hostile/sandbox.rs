//! What a guest can do to itself, and to nobody else.

use crate::harness::hostile::{HOSTILE, Hostile};
use crate::harness::{Client, Folder, Scene, Wharf, answer, answers, ask, fixture, guests};

#[test]
fn a_hostile_guest_ends_its_own_session_and_no_other() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    for &Hostile { fixture: name, .. } in &HOSTILE {
        folder
            .plugin(name, &fixture(name))
            .settings(name, "[limits]\ncpu = '200ms'\nmemory = '4MiB'\n[timeouts]\nsetup = '1h'");
    }
    let wharf = Wharf::serve(&folder);
    let elsewhere = wharf.address("answers");
    for &Hostile { fixture: name, phase, cause, last_words, at_end } in &HOSTILE {
        let address = wharf.address(name);
        let mut beside = Client::connect(address);
        beside.send("x").hears("ok\n");
        let mut hostile = Client::connect(address);
        hostile.send("x").hears("ok\n").send("!");
        if at_end {
            hostile.ends();
        }
        for _ in 0..20 {
            beside.send("x").hears("ok\n");
            assert_eq!(ask(elsewhere, "x"), answer("A"));
        }
        let about = [format!("plugin={name}"), format!("generation={}", fixture(name).generation())];
        let (phase, cause) = (format!("phase={phase}"), format!("cause=\"{cause}"));
        wharf.logs(&["WARN", "session failed", &about[0], &about[1], &hostile.name(), &phase, &cause]);
        assert_eq!(hostile.rest(), last_words, "{name}");
        beside.send("x").hears("ok\n");
        Client::connect(address).send("x").hears("ok\n");
    }
    assert!(!wharf.log().iter().any(|line| line.contains("host fault")), "none of it is the host's fault");
    wharf.stop();
}

#[test]
fn every_fixture_that_can_be_told_to_misbehave_is_in_the_table() {
    for entry in std::fs::read_dir(guests::root().join("tests/guests")).expect("read the fixtures' folder") {
        let path = entry.expect("read the fixtures' folder").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let told = path.is_file() && std::fs::read_to_string(&path).expect("text").contains("$told_to_misbehave");
        // These have tests of their own: one ends when its client does, another's hooks are what is
        // looked at, the third fails twice, and the last is to be told apart from another.
        if told
            && !["never_reads", "traps_in_hooks", "traps_after_an_error", "overflows_its_stack"]
                .contains(&name.as_str())
        {
            assert!(HOSTILE.iter().any(|hostile| hostile.fixture == name), "{name}");
        }
    }
}

#[test]
fn more_spinners_than_cores_starve_nobody() {
    const SPINNERS: usize = 6;
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    folder.plugin("spins", &fixture("spins_in_handle")).settings("spins", "[limits]\ncpu = '1s'");
    let wharf = Wharf::serve(&folder);
    let (spin, calm) = (wharf.address("spins"), wharf.address("answers"));
    let mut beside = Client::connect(spin);
    beside.send("x").hears("ok\n");
    let spinners: Vec<Client> = (0..SPINNERS)
        .map(|_| {
            let mut client = Client::connect(spin);
            client.send("x").hears("ok\n").send("!");
            client
        })
        .collect();
    for _ in 0..5 {
        beside.send("x").hears("ok\n");
        assert_eq!(ask(calm, "x"), answer("A"));
    }
    let ended = wharf.log().iter().filter(|line| line.contains("session failed")).count();
    assert!(ended < SPINNERS, "the others were answered only when all spinners had ended");
    for spinner in spinners {
        wharf.logs(&["session failed", &spinner.name(), "cause=\"cpu: "]);
        assert_eq!(spinner.rest(), "");
    }
    beside.ends();
    assert_eq!(beside.rest(), "");
    wharf.stop();
}

#[test]
fn the_cpu_limit_ends_a_spinner_and_not_a_long_session() {
    let folder = Folder::new();
    folder.plugin("works", &fixture("works")).settings("works", "[limits]\ncpu = '200ms'");
    let wharf = Wharf::serve(&folder);
    let mut client = Client::connect(wharf.address("works"));
    // Twenty million turns of a loop at each: in all they take longer than the limit, whatever the
    // machine.
    for _ in 0..100 {
        client.send("x").hears("ok\n");
    }
    client.ends();
    assert_eq!(client.rest(), "");
    assert!(!wharf.log().iter().any(|line| line.contains("session failed")));
    wharf.stop();
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_else() {
    let folder = Folder::new();
    folder.plugin("never_reads", &fixture("never_reads")).plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let (address, elsewhere) = (wharf.address("never_reads"), wharf.address("answers"));
    let deaf: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = Client::connect(address);
            client.send("x").hears("ok\n").send("!");
            client
        })
        .collect();
    let mut beside = Client::connect(address);
    for _ in 0..20 {
        beside.send("x").hears("ok\n");
        assert_eq!(ask(elsewhere, "x"), answer("A"));
    }
    drop(deaf);
    beside.send("x").hears("ok\n").ends();
    assert_eq!(beside.rest(), "");
    wharf.stop();
}

#[test]
fn a_guest_that_asks_for_four_gibibytes_gets_what_there_is() {
    let scene = Scene::of("asks_for_all", &fixture("asks_for_all")).serve();
    assert_eq!(scene.ask("hello"), "hello");
    scene.stop();
}

#[test]
fn what_a_guest_says_of_itself_stays_one_line_of_the_log() {
    let folder = Folder::new();
    folder.plugin("fails_in_setup", &fixture("fails_in_setup"));
    let wharf = Wharf::serve(&folder);
    let mut client = Client::connect(wharf.address("fails_in_setup"));
    client.send("!");
    wharf.logs(&["session failed", &client.name(), r"no setup\nforged"]);
    assert!(!wharf.log().iter().any(|line| line.starts_with("forged")));
    wharf.stop();
}
