//! Replacement under load: nobody is refused, reset, or answered by halves of two generations.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::harness::guests::{rust, shipped};
use crate::harness::{Folder, Wharf, answer, answers, ask};

#[test]
fn fifty_replacements_cost_no_client_anything() {
    const GENERATIONS: usize = 50;
    let text = |number: usize| format!("generation-{number}");
    let folder = Folder::new();
    folder.plugin("answers", &answers(&text(0)));
    let wharf = Wharf::serve(&folder);
    wharf.event("loaded", "answers");
    let address = wharf.address("answers");
    let number_of: HashMap<String, usize> = (0..=GENERATIONS).map(|number| (answer(&text(number)), number)).collect();

    let (done, loaded, served) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::SeqCst) {
                        // Whoever connects after a generation's event gets that generation or a
                        // later one.
                        let at_least = loaded.load(Ordering::SeqCst);
                        let heard = ask(address, "x");
                        let number = *number_of.get(&heard).unwrap_or_else(|| panic!("a mixed answer: {heard}"));
                        assert!(number >= at_least, "generation {number} after {at_least} was loaded");
                        assert!(number >= last, "generation {number} after an answer of {last}");
                        last = number;
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        // A client's panic has to end the others, not to wait for them.
        let stop = Stop(&done);
        for number in 1..=GENERATIONS {
            let new = answers(&text(number));
            if number % 2 == 0 {
                folder.plugin("answers", &new);
            } else {
                folder.overwrite("answers.wat", &new.bytes);
            }
            assert_eq!(wharf.event("loaded", "answers").generation, new.generation());
            loaded.store(number, Ordering::SeqCst);
            assert!(clients.iter().all(|client| !client.is_finished()), "a client failed");
        }
        drop(stop);
    });
    let served = served.into_inner();
    assert!(served > GENERATIONS, "clients connected without pause: {served}");
    assert_eq!(ask(address, "x"), answer(&text(GENERATIONS)));
    let events = wharf.stop();
    assert_eq!(events.iter().filter(|line| line.starts_with("listening")).count(), 1, "no listener is ever closed");
}

#[test]
fn upper_becomes_lower_under_load() {
    let folder = Folder::new();
    folder.plugin("upper", &shipped("upper"));
    let wharf = Wharf::serve(&folder);
    wharf.event("loaded", "upper");
    let address = wharf.address("upper");
    let (done, replaced) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        let is_lower = replaced.load(Ordering::SeqCst);
                        match ask(address, "HeLLo").as_str() {
                            "hello" => {}
                            "HELLO" if !is_lower => {}
                            wrong => panic!("heard {wrong:?}, {is_lower}"),
                        }
                    }
                })
            })
            .collect();
        let stop = Stop(&done);
        folder.plugin("upper", &rust("lower"));
        wharf.event("loaded", "upper");
        replaced.store(true, Ordering::SeqCst);
        assert_eq!(ask(address, "HeLLo"), "hello");
        assert!(clients.iter().all(|client| !client.is_finished()), "a client failed");
        drop(stop);
    });
    wharf.stop();
}

/// Ends the clients' loops, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
