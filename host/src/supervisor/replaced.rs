//! Generations that are no longer current: their sessions go on, and here is known which of them
//! still have some.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Supervisor;
use crate::config::Settings;
use crate::plugin::{Generation, Loaded};
use crate::session::{Service, SessionContext};

/// How long before its drain deadline a session is told of it, if that is half of its time at most.
const NOTICE: Duration = Duration::from_secs(5);

/// A generation that another has replaced.
pub(super) struct Replaced {
    plugin: String,
    id: Arc<str>,
    /// Kept by its sessions alone.
    generation: Weak<Generation>,
    /// One for each time that its settings changed. A session has one of them.
    context: Vec<Weak<SessionContext>>,
    /// What its sessions are given when they have to end.
    drain: Duration,
    /// How long they have had from the beginning, where that is bounded.
    limit: Option<Duration>,
    is_ending: bool,
}

impl Replaced {
    pub(super) fn new(plugin: &str, service: &Service, old: &Loaded) -> Self {
        let timeouts = old.settings.timeouts;
        Self {
            plugin: plugin.to_owned(),
            id: old.generation.id.clone(),
            generation: Arc::downgrade(&old.generation),
            context: service.contexts_of(&old.generation),
            drain: timeouts.drain,
            limit: timeouts.replaced,
            is_ending: false,
        }
    }

    fn sessions(&self) -> usize {
        self.context.iter().map(Weak::strong_count).sum()
    }
}

impl Supervisor {
    /// Lets the sessions of a generation go on that was replaced: until they end, unless the
    /// operator says otherwise. Where too many generations have some by now, the oldest one's have
    /// to end.
    pub(super) fn replaced(&mut self, replaced: Replaced, settings: &Settings) {
        self.replaced.retain(|replaced| replaced.sessions() > 0);
        let (plugin, generation, sessions) = (replaced.plugin.clone(), replaced.id.clone(), replaced.sessions());
        if sessions == 0 {
            return;
        }
        match replaced.limit {
            None => tracing::info!(plugin, %generation, sessions, "replaced: its sessions go on until they end"),
            Some(limit) => {
                let limit = humantime::format_duration(limit);
                tracing::info!(plugin, %generation, sessions, "replaced: its sessions go on for {limit} at most");
            }
        }
        self.replaced.push(replaced);
        if let Some(last) = self.replaced.last()
            && let Some(limit) = last.limit
        {
            self.end_after(&last.generation.clone(), limit);
        }
        let mut left = settings.max_generations.saturating_sub(1) as usize;
        for place in (0..self.replaced.len()).rev() {
            let replaced = &self.replaced[place];
            if replaced.plugin != plugin || replaced.is_ending {
                continue;
            }
            if left > 0 {
                left -= 1;
                continue;
            }
            let (generation, sessions, limit) = (&replaced.id, replaced.sessions(), replaced.drain);
            let limit = humantime::format_duration(limit);
            let most = settings.max_generations;
            tracing::warn!(
                plugin, %generation, sessions,
                "more than {most} generations have sessions: those of the oldest have {limit} to end"
            );
            self.drain_replaced(place);
        }
    }

    /// Gives the sessions of all replaced generations, or of this plugin's, until their drain
    /// deadline.
    pub(super) fn end_replaced(&mut self, plugin: Option<&str>) {
        for place in 0..self.replaced.len() {
            let replaced = &self.replaced[place];
            if !replaced.is_ending && plugin.is_none_or(|plugin| plugin == replaced.plugin) {
                self.drain_replaced(place);
            }
        }
    }

    fn drain_replaced(&mut self, place: usize) {
        let replaced = &mut self.replaced[place];
        replaced.is_ending = true;
        let (generation, drain) = (replaced.generation.clone(), replaced.drain);
        self.end_after(&generation, drain);
    }

    /// Gives the sessions of a generation until their drain deadline.
    pub(super) fn retire(&mut self, generation: &Arc<Generation>, settings: &Settings) {
        self.end_after(&Arc::downgrade(generation), settings.timeouts.drain);
    }

    fn end_after(&mut self, generation: &Weak<Generation>, wait: Duration) {
        let deadline = Instant::now() + wait;
        self.last_deadline = self.last_deadline.max(deadline);
        let generation = generation.clone();
        tokio::spawn(async move {
            sleep_until(deadline - NOTICE.min(wait / 2)).await;
            if let Some(generation) = generation.upgrade() {
                generation.deadline.announce();
            }
            sleep_until(deadline).await;
            if let Some(generation) = generation.upgrade() {
                generation.deadline.reach();
            }
        });
    }

    /// Writes to the log which replaced generations still have sessions.
    pub(super) fn log_replaced(&self) {
        for replaced in &self.replaced {
            let Replaced { plugin, id: generation, .. } = replaced;
            let sessions = replaced.sessions();
            if sessions > 0 {
                tracing::info!(plugin, %generation, sessions, "counted: sessions of a replaced generation");
            }
        }
    }
}
