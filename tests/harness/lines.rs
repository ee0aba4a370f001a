//! The lines that a child prints, collected by a thread, to be waited for.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use super::DEADLINE;

#[derive(Clone, Default)]
pub struct Lines {
    shared: Arc<(Mutex<Seen>, Condvar)>,
}

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    /// The same lines, but for those that somebody has waited for.
    untaken: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Collects what `pipe` gives, until its end.
    pub fn collect(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                let mut seen = writer.seen();
                seen.lines.push(text.clone());
                seen.untaken.push(text);
                writer.shared.1.notify_all();
            }
            writer.seen().ended = true;
            writer.shared.1.notify_all();
        });
        lines
    }

    /// Of what nobody collects.
    pub fn none() -> Self {
        let lines = Self::default();
        lines.seen().ended = true;
        lines
    }

    /// Takes the first line that `wanted` accepts and nobody has taken before; waits for it. None
    /// where the child ended, or the deadline came, without one.
    pub fn take(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = self.seen();
        loop {
            if let Some(found) = seen.untaken.iter().position(|line| wanted(line)) {
                return Some(seen.untaken.remove(found));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if seen.ended || left.is_zero() {
                return None;
            }
            seen = self.shared.1.wait_timeout(seen, left).expect("no thread panicked with it").0;
        }
    }

    /// Takes every line so far.
    pub fn take_all(&self) {
        self.seen().untaken.clear();
    }

    /// Every line so far.
    pub fn all(&self) -> Vec<String> {
        self.seen().lines.clone()
    }

    /// Waits until the child has closed its end; whether it has.
    pub fn wait_for_end(&self) -> bool {
        let seen = self.seen();
        let (seen, _) =
            self.shared.1.wait_timeout_while(seen, DEADLINE, |seen| !seen.ended).expect("no thread panicked with it");
        seen.ended
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.0.lock().expect("no thread panicked with it")
    }
}
