//! From a scan's find to a load, and from its end to what serves.

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::loading::{Claims, Load, LoadOutcome, Task, Tried};
use super::serving::Serving;
use super::{End, HALF_WRITTEN, POLL, Supervisor};
use crate::config::ListenAddress;
use crate::plugin::{Fingerprint, PluginFiles, Refusal};
use crate::report::Event;

impl Supervisor {
    /// Begins to load what was found, if it is not what was loaded last.
    pub(super) fn load(&mut self, name: String, found: PluginFiles) {
        let entry = self.plugins.entry(name.clone()).or_default();
        // What was tried last is not what comes of this load.
        if entry.loading.is_some() {
            entry.seen_while_loading = true;
            return;
        }
        if entry.tried.as_ref() == Some(&found.fingerprint) {
            return;
        }
        let claims = entry.loading.insert(Claims::default()).clone();
        let task = Task {
            loader: self.loader.clone(),
            name: name.clone(),
            found: found.clone(),
            defaults: self.plan.config.defaults.clone(),
            listen: self.plan.listen.clone(),
            serving: entry.serving.as_ref().map(|serving| serving.loaded().generation.id.clone()),
            claims,
            is_said: entry.said.is_some(),
        };
        let defaults = self.revision;
        self.loads.spawn(async move {
            // A task of its own, so that a panic in it, for want of a thread to read with, is the
            // end of this load alone.
            let loaded = AbortOnDropHandle::new(tokio::spawn(task.load())).await;
            let (tried, outcome) = loaded.unwrap_or_else(|error| {
                (Tried::Nothing(found.fingerprint.clone()), Err(Refusal::Host(error.to_string())))
            });
            Load { name, found, defaults, tried, outcome }
        });
    }

    /// Takes over what was loaded, if it is what the folder holds.
    ///
    /// # Errors
    /// The host is to end over it.
    pub(super) async fn loaded(&mut self, load: Load) -> Result<(), End> {
        let ended = self.take_over(load).await;
        if ended.is_ok() {
            self.move_listeners().await;
            self.schedule_retry();
        }
        ended
    }

    /// Takes over what was loaded, if it is what the folder holds.
    async fn take_over(&mut self, load: Load) -> Result<(), End> {
        let Load { name, found, defaults, tried, outcome } = load;
        self.read_config();
        let is_current = tried.is_current() || self.holds(&name, tried.fingerprint());
        let is_outdated = defaults != self.revision;
        let defaults = &self.plan.config.defaults;
        let Some(entry) = self.plugins.get_mut(&name) else { return Ok(()) };
        entry.loading = None;
        if std::mem::take(&mut entry.seen_while_loading) || !is_current || is_outdated {
            self.next_scan = Instant::now();
        }
        // Where nobody would serve else, what was there a moment ago does it until what is there
        // now is loaded.
        let is_needed = self.is_successor && entry.serving.is_none();
        // What is refused under other settings, or was gone before it could be read, is no answer.
        let is_no_answer = outcome.is_err() && (is_outdated || tried.fingerprint().is_absent());
        if !is_current && !is_needed || is_no_answer {
            // If that is what the folder holds again, there is nothing to be done.
            let served = entry.served.as_ref().filter(|(_, revision)| *revision == self.revision);
            entry.tried = served.map(|(content, _)| content.clone());
            return Ok(());
        }
        let tried = tried.fingerprint().clone();
        let unreadable = tried.is_unreadable();
        entry.tried = Some(tried.clone());
        let loaded = match (outcome, &entry.serving) {
            (Ok(LoadOutcome::Loaded(parts)), _) => match *parts {
                (loaded, beside) if is_outdated => loaded.resettled(&name, beside, defaults.clone()),
                (loaded, _) => Ok(loaded),
            },
            (Ok(LoadOutcome::Layers(beside)), Some(serving)) => {
                serving.loaded().resettled(&name, *beside, defaults.clone())
            }
            // Only what serves is compared with, and what serves is not taken away while it loads.
            (Ok(LoadOutcome::Layers(_)), None) => return Ok(()),
            (Err(refusal), _) => Err(refusal),
        };
        entry.refused = loaded.is_err();
        if std::mem::take(&mut entry.forget) && entry.refused {
            entry.tried = None;
            self.next_scan = Instant::now();
        }
        let failed = loaded.as_ref().err().filter(|refusal| refusal.may_pass()).map(ToString::to_string);
        if failed.is_some() {
            entry.tried = None;
        }
        if failed.is_some() || unreadable {
            self.next_scan = self.next_scan.min(Instant::now() + POLL);
        }
        // Perhaps its writer is not done: once the file is older, the same answer is final.
        let is_early = loaded.as_ref().is_err_and(|refusal| !matches!(refusal, Refusal::Changing(_)))
            && entry.serving.is_some()
            && found.is_fresh();
        let is_news = failed.is_none() || failed != entry.said;
        if !is_early {
            entry.said = failed;
        }
        if loaded.is_ok() {
            entry.served = Some((tried, self.revision));
        }
        match (loaded, &mut entry.serving) {
            (Ok(loaded), Some(serving)) => {
                let settings = loaded.settings.clone();
                if let Some(old) = serving.swap(loaded).await {
                    self.replaced(old, &settings);
                }
            }
            (Ok(loaded), serving @ None) => {
                let serving = serving.insert(Serving::begin(&name, loaded, &self.shared).await);
                if self.plan.strict && serving.is_failing() {
                    serving.say_failures();
                    let addresses = serving.missing().map(ListenAddress::to_string).collect::<Vec<_>>().join(" ");
                    tracing::error!(
                        addresses,
                        "can't listen there: `wharf run` ends, where `wharf serve` would try on"
                    );
                    return Err(End::Failed);
                }
            }
            (Err(_), _) if is_early => {
                entry.tried = None;
                self.scan_within(HALF_WRITTEN);
            }
            (Err(_), _) if !is_news => {}
            (Err(refusal), Some(serving)) => {
                Event::Kept(&name, &serving.loaded().generation.id, &refusal).emit();
            }
            (Err(refusal), None) => {
                Event::Refused(&name, &refusal).emit();
                if self.plan.strict {
                    return Err(End::Failed);
                }
            }
        }
        Ok(())
    }

    /// Whether the plugin's files have this content now.
    fn holds(&mut self, name: &str, content: &Fingerprint) -> bool {
        let found = self.folder.scan().ok();
        found.is_some_and(|found| found.get(name).is_some_and(|found| found.fingerprint == *content))
    }
}
