//! Listeners: ports in use, caps and back-pressure, resets, running out of descriptors.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::{Client, Folder, Wharf, answer, answers, ask, fixture};

#[test]
fn a_port_in_use_is_failed_and_taken_once_it_is_free() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("tcp://{}", holder.local_addr().expect("its address"));
    let folder = Folder::new();
    folder.plugin("late", &answers("A")).manifest("late", &format!("listen = '{url}'"));
    folder.plugin("fine", &answers("B"));
    let wharf = Wharf::serve(&folder);
    let failed = wharf.event("failed", "late");
    assert_eq!(failed.url, url);
    assert!(!failed.reason.is_empty(), "a reason is given");
    assert_eq!(ask(wharf.address("fine"), "x"), answer("B"), "the others serve");
    drop(holder);
    let address = wharf.address("late");
    assert_eq!(format!("tcp://{address}"), url);
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.stop();
}

#[test]
fn a_port_of_another_plugin_is_failed_naming_it() {
    let folder = Folder::new();
    folder.plugin("first", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("first");
    folder.manifest("second", &format!("listen = 'tcp://{address}'")).plugin("second", &answers("B"));
    let failed = wharf.event("failed", "second");
    assert!(failed.reason.contains("first"), "{}", failed.reason);
    assert_eq!(ask(address, "x"), answer("A"));

    folder.remove("first.wat");
    wharf.event("unloaded", "first");
    assert_eq!(wharf.address("second"), address);
    assert_eq!(ask(address, "x"), answer("B"));
    wharf.stop();
}

#[test]
fn a_restart_gets_its_port_back_though_connections_of_the_last_run_linger() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("answers");
    // The host closes first, and so is the one with TIME_WAIT afterwards.
    let mut client = Client::connect(address);
    client.send("x");
    assert_eq!(client.rest(), answer("A"));
    wharf.stop();
    folder.manifest("answers", &format!("listen = 'tcp://{address}'"));
    let wharf = Wharf::serve(&folder);
    assert_eq!(wharf.address("answers"), address);
    assert_eq!(ask(address, "x"), answer("A"));
    assert!(!wharf.stop().iter().any(|line| line.starts_with("failed")), "at once");
}

#[test]
fn allow_and_deny_lists_decide_by_address() {
    let (here, there) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    for (settings, admitted, refused, by) in [
        ("allow = '127.0.0.2'", there, here, "by=allow"),
        ("deny = ['10.0.0.0/8', '127.0.0.2/32']", here, there, "by=deny"),
        ("allow = '127.0.0.0/8'\ndeny = '127.0.0.2/31'", here, there, "by=deny"),
    ] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A")).settings("answers", settings);
        let wharf = Wharf::serve(&folder);
        let address = wharf.address("answers");
        let stranger = Client::connect_from(refused, address);
        let name = stranger.name();
        assert_eq!(stranger.rest(), "", "{settings}");
        wharf.logs(&["client refused", "plugin=answers", &name, by]);
        let mut guest = Client::connect_from(admitted, address);
        guest.send("x");
        assert_eq!(guest.rest(), answer("A"), "{settings}");
        wharf.stop();
    }
}

#[test]
fn at_the_cap_the_others_wait_in_the_backlog_and_none_is_refused() {
    for (cap, settings, host) in
        [(1, "concurrency = 'serial'", ""), (3, "max-connections = 3", ""), (3, "", "max-connections = 3")]
    {
        let folder = Folder::new();
        // It says `ok` to each message.
        folder.plugin("polite", &fixture("traps_in_handle")).settings("polite", settings).file("wharf.toml", host);
        let wharf = Wharf::serve(&folder);
        let address = wharf.address("polite");
        let talk = |client: &mut Client| _ = client.send("x").hears("ok\n");
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..cap {
            let mut client = Client::connect(address);
            talk(&mut client);
            clients.push(client);
        }
        // As many as may are inside. These connect all the same, and wait their turn.
        clients.extend((0..20).map(|_| Client::connect(address)));
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for mut client in clients {
                let (inside, most) = (&inside, &most);
                scope.spawn(move || {
                    talk(&mut client);
                    // Counted only well inside of the session, so that a count beyond the cap is a
                    // real one; and long enough for whoever is let in by mistake to be counted,
                    // too.
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    (0..100).for_each(|_| talk(&mut client));
                    inside.fetch_sub(1, Ordering::SeqCst);
                    client.ends();
                    assert_eq!(client.rest(), "");
                });
            }
        });
        let most = most.into_inner();
        assert!(most <= cap, "{most} sessions at once with {settings:?} {host:?}");
        wharf.stop();
    }
}

#[test]
fn a_client_that_resets_ends_its_own_session_only() {
    let folder = Folder::new();
    folder.plugin("tells", &fixture("tells_errors")).plugin("never_reads", &fixture("never_reads"));
    let wharf = Wharf::serve(&folder);
    let (address, flood) = (wharf.address("tells"), wharf.address("never_reads"));
    let mut neighbour = Client::connect(address);
    neighbour.hears("begin");
    for _ in 0..20 {
        // Before the host has so much as accepted it, and while the handler waits for it.
        Client::connect(address).resets();
        let mut client = Client::connect(address);
        client.hears("begin").send("x");
        let name = client.name();
        client.resets();
        wharf.logs(&["client left", "plugin=tells", &name, "phase=handle", "cause=\"error: connection-reset"]);
        // While the handler sends to it.
        let mut client = Client::connect(flood);
        client.send("!").hears("I talk");
        client.resets();
    }
    neighbour.send("x").ends();
    assert_eq!(neighbour.rest(), "");
    assert_eq!(wharf.stop().last().map(String::as_str), Some("stopped"));
}

#[test]
fn running_out_of_descriptors_delays_clients_and_loses_none() {
    const CLIENTS: usize = 120;
    let folder = Folder::new();
    for number in 0..5 {
        folder.plugin(&format!("other{number}"), &answers("B"));
    }
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("answers");
    let others: Vec<_> = (0..5).map(|number| wharf.address(&format!("other{number}"))).collect();
    // Fewer than the host has counted on for its clients.
    wharf.leave_descriptors(16);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(address)).collect();
    // None of them says anything before the host has run out.
    wharf.logs(&["ERROR", "accept", &format!("{address}")]);
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                client.send("x");
                assert_eq!(client.rest(), answer("A"));
            });
        }
    });
    assert_eq!(ask(address, "x"), answer("A"), "the listener lives on");
    for other in others {
        assert_eq!(ask(other, "x"), answer("B"));
    }
    folder.plugin("answers", &answers("C"));
    wharf.event("loaded", "answers");
    wharf.stop();
}
