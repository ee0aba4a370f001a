//! A thousand clients at once, many of them up to no good.

use crate::harness::client::raise_descriptor_limit;
use crate::harness::guests::shipped;
use crate::harness::hostile::{HOSTILE, Hostile};
use crate::harness::{Client, Folder, Wharf, answer, answers, fixture};

/// What one client of the crowd does.
enum Part {
    /// A whole session with a well-behaved plugin: what it sends, and what it has to hear.
    Good(&'static str, String),
    /// A well-behaved session with a plugin that misbehaves in others.
    Beside,
    /// Tells its plugin to misbehave.
    Hostile(&'static Hostile),
    /// Has bytes sent to it without end, and reads none.
    Deaf,
    /// Sends a little and goes away without a word.
    Rude,
}

#[test]
fn a_thousand_clients_among_every_hostile_guest_are_all_answered() {
    const CLIENTS: usize = 1000;
    raise_descriptor_limit();
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).plugin("upper", &shipped("upper")).plugin("echo", &shipped("echo"));
    // Setup is where some of them meet their client, who may have to wait for its turn.
    let limits = "[limits]\ncpu = '100ms'\nmemory = '4MiB'\n[timeouts]\nsetup = '1h'";
    let hostile: Vec<&str> = HOSTILE.iter().map(|hostile| hostile.fixture).collect();
    for name in hostile.iter().chain(&["never_reads"]) {
        folder.plugin(name, &fixture(name)).settings(name, limits);
    }
    let wharf = Wharf::serve(&folder);
    let good = ["answers", "upper", "echo"].map(|plugin| wharf.address(plugin));
    let bad: Vec<_> = hostile.iter().map(|plugin| wharf.address(plugin)).collect();
    let flood = wharf.address("never_reads");

    let mut crowd: Vec<(Client, Part)> = (0..CLIENTS)
        .map(|number| {
            let (address, part) = match number % 10 {
                0 | 1 => (bad[number / 10 % bad.len()], Part::Hostile(&HOSTILE[number / 10 % bad.len()])),
                2 => (bad[number / 10 % bad.len()], Part::Beside),
                3 => (flood, Part::Deaf),
                4 => (good[number / 10 % good.len()], Part::Rude),
                5 | 6 => (good[0], Part::Good("x", answer("A"))),
                7 => (good[1], Part::Good("wharf", "WHARF".to_owned())),
                _ => (good[2], Part::Good("to and fro", "to and fro".to_owned())),
            };
            (Client::connect(address), part)
        })
        .collect();

    // Everybody is connected. Now all of them speak before anybody listens.
    for (client, part) in &mut crowd {
        match part {
            Part::Good(says, _) => _ = client.send(says).ends(),
            Part::Beside => _ = client.send("x"),
            Part::Hostile(Hostile { at_end: true, .. }) => _ = client.send("!").ends(),
            Part::Hostile(_) | Part::Deaf => _ = client.send("!"),
            Part::Rude => _ = client.send("r"),
        }
    }
    let (leaving, staying): (Vec<_>, Vec<_>) = crowd.into_iter().partition(|(_, part)| matches!(part, Part::Rude));
    leaving.into_iter().for_each(|(client, _)| client.resets());

    let mut answered = 0;
    let mut deaf = Vec::new();
    for (mut client, part) in staying {
        match part {
            Part::Good(_, hears) => {
                assert_eq!(client.rest(), hears);
                answered += 1;
            }
            Part::Beside => {
                client.hears("ok\n").send("y").hears("ok\n");
                answered += 1;
            }
            Part::Hostile(_) => drop(client.rest()),
            Part::Deaf => deaf.push(client),
            Part::Rude => unreachable!("they have left"),
        }
    }
    assert_eq!(answered, CLIENTS * 6 / 10);
    assert!(!wharf.log().iter().any(|line| line.contains("host fault")), "none of it is the host's fault");
    drop(deaf);
    wharf.stop();
}
