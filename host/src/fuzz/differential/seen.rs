//! What can be seen of a session from outside: what its client was sent, what was counted, what was
//! logged.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

use super::TOTALS;
use super::client::Sent;
use super::module::{CLOCK, RANDOM};
use crate::report::{FaultKind, Phase};

/// What came of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) sent: Sent,
    pub(super) failures: Vec<(Phase, FaultKind, u64)>,
    /// Errors that its phases returned, and what it printed.
    pub(super) said: Vec<String>,
}

/// Looks at random bytes and times that were sent, and puts zeros in their place: they are no two
/// ways' the same.
pub(super) fn conceal(bytes: &mut [u8]) {
    static DRAWN: LazyLock<Mutex<HashSet<[u8; 16]>>> = LazyLock::new(Mutex::default);
    for at in 0..bytes.len().saturating_sub(31) {
        let (mark, rest) = bytes[at..].split_at_mut(16);
        let value: &mut [u8; 16] = rest.first_chunk_mut().expect("there are as many");
        if *mark == RANDOM {
            TOTALS.draws.fetch_add(1, Relaxed);
            let is_new = DRAWN.lock().unwrap_or_else(PoisonError::into_inner).insert(*value);
            assert!(is_new, "two sessions drew the same random bytes: {value:x?}");
        } else if *mark == CLOCK {
            let time = |at: usize| u64::from_le_bytes(*value[at..].first_chunk().expect("8 bytes"));
            assert!(time(8) > time(0), "time stood still, or went back, from {} to {}", time(0), time(8));
        } else {
            continue;
        }
        value.fill(0);
    }
}

/// What is logged of each session.
#[derive(Default)]
pub(super) struct Lines(Mutex<BTreeMap<String, Vec<String>>>);

impl Lines {
    pub(super) fn take(&self) -> BTreeMap<String, Vec<String>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Log(pub(super) Arc<Lines>);

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Some(plugin) = line.plugin else { return };
        let said = match line.cause {
            // Others are counted by their kind, and may have other words.
            Some(cause) if cause.starts_with("error: ") => cause,
            Some(_) => return,
            None => line.message,
        };
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).entry(plugin).or_default().push(said);
    }
}

#[derive(Default)]
struct Line {
    plugin: Option<String>,
    cause: Option<String>,
    message: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "plugin" => self.plugin = Some(value),
            "message" => self.message = value,
            "cause" => self.cause = Some(value),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "cause" {
            self.cause = Some(value.to_owned());
        }
    }
}
