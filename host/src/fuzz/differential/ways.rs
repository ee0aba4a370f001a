//! The ways in which the host runs a plugin, and their comparison.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tracing_subscriber::layer::SubscriberExt;

use super::client::{Heard, Script};
use super::seen::{Lines, Log, Outcome, conceal};
use super::shape::Waits;
use super::{SESSIONS, Sample, TOTALS};
use crate::config::{ManifestFile, Settings};
use crate::plugin::{Generation, Loaded, Loader, Refusal, revive};
use crate::report::{FaultKind, PluginStats};
use crate::sandbox::{Engines, FileWork, NativeCode, Origin, Request, Running};
use crate::session::{Opening, SessionContext, run};

/// How many sessions are at once, where any are.
const AT_ONCE: usize = 3;
/// How often a difference has to be seen to be one: a clock that ran out on a busy machine is none.
const CERTAIN: usize = 3;

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    OneByOne,
    AtOnce,
}

pub(super) struct Host {
    runtime: Runtime,
    bare: Arc<Loader>,
    components: Arc<Loader>,
    /// Where code is taken over.
    engines: Engines,
    log: tracing::Dispatch,
    lines: Arc<Lines>,
}

impl Host {
    pub(super) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let engines = || Engines::new(16).expect("room for sixteen instances");
        let lines = Arc::<Lines>::default();
        Self {
            runtime,
            bare: Arc::new(Loader::new(engines(), None, false).working_here()),
            components: Arc::new(Loader::new(engines(), None, false).working_here().keeping_components()),
            engines: engines(),
            log: tracing::Dispatch::new(tracing_subscriber::registry().with(Log(lines.clone()))),
            lines,
        }
    }

    pub(super) fn compare(&self, program: &Sample) {
        TOTALS.programs.fetch_add(1, Relaxed);
        tracing::dispatcher::with_default(&self.log, || {
            let (component, bare) = match (self.load(program, &self.components), self.load(program, &self.bare)) {
                (Ok(component), Ok(bare)) => (component, bare),
                (Err(why), Err(_)) => {
                    // It trapped before there was any session.
                    let why = why.to_string();
                    assert!(why.starts_with("no instance can be made: "), "{why}\n{}", program.text);
                    TOTALS.refused.fetch_add(1, Relaxed);
                    return;
                }
                (component, bare) => {
                    let told =
                        |loaded: Result<Loaded, Refusal>| loaded.map(|_| "is taken").map_err(|why| why.to_string());
                    panic!("as a component it {:?}, as one module {:?}\n{}", told(component), told(bare), program.text);
                }
            };
            self.count(program, &bare);
            let anew = self.made_anew(&bare);
            let model = self.run(program, &component, Order::OneByOne);
            let check = |way, loaded, order| {
                let again = || self.run(program, &component, Order::OneByOne);
                self.check(program, way, &model, || self.run(program, loaded, order), again);
            };
            check("as one module, at once", &bare, Order::AtOnce);
            // It takes its time.
            if program.shape.waits != Waits::Rest {
                check("as one module", &bare, Order::OneByOne);
                check("made anew", &anew, Order::OneByOne);
            }
            if program.shape.waits == Waits::None {
                self.compare_reused(program, &component, &bare, &model);
            }
        });
    }

    /// Instances that are reused keep what they had, and both ways the same.
    fn compare_reused(&self, program: &Sample, component: &Loaded, bare: &Loaded, fresh: &[Outcome]) {
        let run = |loaded: &Loaded| {
            let manifest = program.manifest("reused");
            let reused = loaded.resettled("program", manifest, ManifestFile::default());
            self.run(program, &reused.expect("a handler may be reused"), Order::OneByOne)
        };
        let model = run(component);
        if model != fresh {
            TOTALS.telling.fetch_add(1, Relaxed);
        }
        self.check(program, "reused", &model, || run(bare), || run(component));
    }

    /// What the component sends to each client; none if it is no plugin.
    pub(super) fn modelled(&self, program: &Sample) -> Option<Vec<Vec<u8>>> {
        tracing::dispatcher::with_default(&self.log, || {
            let component = self.load(program, &self.components).ok()?;
            let outcomes = self.run(program, &component, Order::OneByOne);
            Some(outcomes.into_iter().map(|outcome| outcome.sent.bytes).collect())
        })
    }

    fn load(&self, program: &Sample, loader: &Arc<Loader>) -> Result<Loaded, Refusal> {
        let load = loader.load("program", program.wasm(), program.manifest("fresh"), ManifestFile::default());
        self.runtime.block_on(load)
    }

    /// What can be seen from outside of how it runs.
    fn count(&self, program: &Sample, bare: &Loaded) {
        let Loaded { generation, settings, .. } = bare;
        if generation.guest.is_put_back() {
            TOTALS.put_back.fetch_add(1, Relaxed);
        }
        let origin = Origin::without_client("trial".into(), Arc::new(PluginStats::new("trial")), generation.id.clone());
        let (peer, _) = program.scripts[0].play();
        let request = Request { peer, origin: Arc::new(origin), settings: settings.clone() };
        let running = self.runtime.block_on(generation.guest.instantiate(request));
        if matches!(running, Ok(Running::Module(_))) {
            TOTALS.bare.fetch_add(1, Relaxed);
        }
    }

    /// The same of its code alone, as a process of its own has it, which keeps no sandbox.
    fn made_anew(&self, loaded: &Loaded) -> Loaded {
        let blueprint = loaded.generation.guest.blueprint();
        let code = loaded.generation.code().expect("its code can be given away");
        #[expect(unsafe_code, reason = "compiled code is taken in")]
        // SAFETY: it was given away a line above.
        let code = unsafe { NativeCode::new(&code) };
        let generation = revive(&self.engines, &blueprint, code, loaded.generation.id.clone());
        let mut anew = loaded.clone();
        anew.generation = Arc::new(generation.expect("it is this program's own"));
        anew
    }

    /// Compares a way with the model. What differs has to do so again and again, while the model
    /// stays as it is.
    fn check(
        &self,
        program: &Sample,
        way: &str,
        model: &[Outcome],
        run: impl Fn() -> Vec<Outcome>,
        model_again: impl Fn() -> Vec<Outcome>,
    ) {
        let mut outcomes = run();
        if outcomes == model {
            return;
        }
        for _ in 1..CERTAIN {
            if outcomes == model || model_again() != model {
                TOTALS.unsteady.fetch_add(1, Relaxed);
                return;
            }
            outcomes = run();
        }
        let number = (0..model.len()).find(|number| outcomes[*number] != model[*number]).expect("one differs");
        panic!(
            "{}: {way}, session {number} of {} is not the model's.\nmodel: {:?}\n  way: {:?}\nclient: {:?}\n{}",
            program.name(),
            model.len(),
            model[number],
            outcomes[number],
            program.scripts[number],
            program.text
        );
    }

    fn run(&self, program: &Sample, loaded: &Loaded, order: Order) -> Vec<Outcome> {
        TOTALS.sessions.fetch_add(program.scripts.len() as u64, Relaxed);
        // What was kept of another run is not to be found.
        let settings = Arc::new((*loaded.settings).clone());
        let (mut tallies, mut heard) = (Vec::new(), Vec::new());
        // What is logged late is another run's.
        let run = TOTALS.sessions.load(Relaxed);
        let name = |number: usize| format!("{run}-{number}");
        let group = match order {
            // They wait together.
            _ if program.shape.waits != Waits::None => SESSIONS,
            Order::AtOnce => AT_ONCE,
            Order::OneByOne => 1,
        };
        for scripts in program.scripts.chunks(group) {
            self.runtime.block_on(async {
                let mut tasks = Vec::new();
                for script in scripts {
                    let (session, stats, sent) = begin(script, &name(tallies.len()), &loaded.generation, &settings);
                    tallies.push(stats);
                    heard.push(sent);
                    tasks.push(tokio::spawn(session));
                }
                for task in tasks {
                    task.await.expect("a session panics for nobody");
                }
            });
        }
        let mut lines = self.lines.take();
        let outcome = |(number, (heard, stats)): (usize, (Arc<Heard>, Arc<PluginStats>))| {
            let said = lines.remove(&name(number)).unwrap_or_default();
            let failures = stats.failures();
            assert!(
                failures.iter().all(|(_, kind, _)| *kind != FaultKind::Host),
                "the host failed: {failures:?} {said:?}"
            );
            let mut sent = heard.take();
            conceal(&mut sent.bytes);
            sent.datagrams.iter_mut().for_each(|(bytes, _)| conceal(bytes));
            Outcome { sent, failures, said }
        };
        heard.into_iter().zip(tallies).enumerate().map(outcome).collect()
    }
}

/// One session, and where it is seen what comes of it.
fn begin(
    script: &Script,
    name: &str,
    generation: &Arc<Generation>,
    settings: &Arc<Settings>,
) -> (impl Future<Output = ()> + Send + 'static, Arc<PluginStats>, Arc<Heard>) {
    let (peer, heard) = script.play();
    let stats = Arc::new(PluginStats::new("program"));
    let context = SessionContext {
        plugin: name.into(),
        stats: stats.clone(),
        generation: generation.clone(),
        settings: settings.clone(),
        spare: Arc::new(Semaphore::new(1)),
        files: Arc::new(FileWork::new(stats.clone())),
    };
    let opening = Opening { client: script.client.clone(), server: script.server.clone(), peer, watch: None };
    (run::serve(opening, Arc::new(context), ()), stats, heard)
}
