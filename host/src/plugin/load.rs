//! From a file's bytes to a generation that serves, or to the one line that says why not.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Semaphore;
use wasmtime::{Engine, component};

use super::cache::{self, Cache};
use super::compiler;
use super::examine::{self, Examined};
use super::generation::Generation;
use super::lanes::{Lane, Lanes};
use super::process::WorkerFailure;
use super::recognise::{Findings, Form, unmet};
use crate::config::{self, ConfigError, ManifestFile, Settings, Size, bounded};
use crate::report::PluginStats;
use crate::sandbox::{
    Blueprint, Component, CoreModule, Engines, Fault, Guest, GuestKind, Interface, Native, NativeCode, Origin, Profile,
    Program, Requirements, State, TABLE_ELEMENTS,
};

/// How many warm instances there may be at once, over all plugins, beside those that serve.
pub const WARM_INSTANCES: u32 = 256;

/// How many plugins are tried out at once, each in an instance.
pub const TRIALS: u32 = 8;

/// Loads plugins. One a host; any number of loads may be asked for at once.
pub struct Loader {
    engines: Engines,
    cache: Option<Cache>,
    small: Linkers,
    large: Linkers,
    lanes: Lanes,
    trials: Semaphore,
    warm: Arc<Semaphore>,
    workers: Workers,
}

/// What works on a plugin's bytes, each for so much time at most.
struct Workers {
    /// Finds out what a file is.
    examine: fn(&[u8], Duration) -> Result<Examined, WorkerFailure>,
    /// Makes native code of wasm.
    compile: Compile,
}

type Compile = fn(&Engines, Profile, &[u8], Duration) -> Result<Vec<u8>, WorkerFailure>;

/// A plugin that may serve.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub generation: Arc<Generation>,
    pub settings: Arc<Settings>,
    pub facts: Facts,
    /// The layer of its manifest that came in the file.
    inside: ManifestFile,
    demand: Requirements,
    kind: GuestKind,
}

impl Loaded {
    /// The same generation under other operator's layers.
    ///
    /// # Errors
    /// Settings under which it can't serve.
    pub fn resettled(&self, name: &str, beside: ManifestFile, defaults: ManifestFile) -> Result<Self, Refusal> {
        let settings = Settings::resolve(name, beside, self.inside.clone(), defaults)?;
        fits(self.demand, &self.kind, &settings, name)?;
        Ok(Self { settings: Arc::new(settings), ..self.clone() })
    }
}

/// What `wharf check` tells of a plugin.
#[derive(Clone, Debug)]
pub struct Facts {
    pub kind: &'static str,
    pub form: Form,
    pub contract: String,
    pub imports: Vec<String>,
    /// Bytes of the file.
    pub size: usize,
    /// Bytes of memory that an instance begins with.
    pub memory: u64,
    /// How long compiling took; none if the code was in the cache.
    pub compiled: Option<Duration>,
    /// By what a program would have sockets of its own.
    pub sockets: Option<String>,
}

/// What a program with sockets of its own is to know.
pub const STDIO: &str = "there is no network for it: its client is its stdin and stdout";

/// Why a file does not serve: one line, and no longer than one can be read.
#[derive(Clone, Debug, Error)]
pub enum Refusal {
    /// The file is no plugin, or none that works.
    #[error("{}", bounded(.0))]
    Plugin(String),
    #[error("{}", bounded(&.0.to_string()))]
    Manifest(#[from] ConfigError),
    /// The host or the machine failed, which may pass without any change of the file.
    #[error("the host failed to load it: {}", bounded(.0))]
    Host(String),
    /// Somebody does not get done with writing its files.
    #[error("{0}")]
    Changing(String),
}

impl Refusal {
    fn plugin(reason: impl std::fmt::Display) -> Self {
        Self::Plugin(reason.to_string().replace('\n', " "))
    }

    /// Whether the same file may be taken the next time.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Changing(_))
    }

    fn host(reason: impl std::fmt::Display) -> Self {
        Self::Host(reason.to_string().replace('\n', " "))
    }
}

impl From<WorkerFailure> for Refusal {
    fn from(failure: WorkerFailure) -> Self {
        match failure {
            WorkerFailure::Host(_) => Self::host(failure),
            _ => Self::plugin(failure),
        }
    }
}

impl Loader {
    /// With `behind`, loading gives way to all else that this process does.
    pub fn new(engines: Engines, cache: Option<Cache>, behind: bool) -> Self {
        Self {
            engines,
            cache,
            small: Linkers::default(),
            large: Linkers::default(),
            lanes: Lanes::new(behind),
            trials: Semaphore::new(TRIALS as usize),
            warm: Arc::new(Semaphore::new(WARM_INSTANCES as usize)),
            workers: Workers { examine: examine::examine, compile: compiler::compile },
        }
    }

    /// The same for a program that is not the host's and can't be started again as its compiler, as
    /// a benchmark or a fuzzer: it works in its own process, and nothing bounds that.
    pub fn working_here(self) -> Self {
        Self { workers: Workers { examine: examine::examine_here, compile: compiler::compile_here }, ..self }
    }

    /// The same for such a program, but every handler runs as the component that it is: what the
    /// other way is compared with.
    pub fn keeping_components(self) -> Self {
        let Self { workers: Workers { compile, .. }, .. } = self;
        Self { workers: Workers { examine: examine::keep_here, compile }, ..self }
    }

    fn linkers(&self, profile: Profile) -> &Linkers {
        match profile {
            Profile::Small => &self.small,
            Profile::Large => &self.large,
        }
    }

    /// Loads `bytes` as the plugin `name`. `beside` and `defaults` are the operator's layers of its
    /// manifest.
    ///
    /// # Errors
    /// Why it does not serve. Nothing else is changed by a plugin that fails here.
    pub async fn load(
        self: &Arc<Self>,
        name: &str,
        bytes: Vec<u8>,
        beside: ManifestFile,
        defaults: ManifestFile,
    ) -> Result<Loaded, Refusal> {
        let plugin = name.to_owned();
        let draft = move |loader: &Self| loader.draft(Unexamined::new(plugin, bytes, beside, defaults));
        let mut draft = self.run(Lane::Quick, draft).await?;
        let Compiled { guest, settings, facts, id, inside, demand, kind } = loop {
            draft = match draft {
                Draft::Compiled(compiled) => break compiled,
                Draft::Unexamined(unexamined) => {
                    self.run(unexamined.lane, move |loader| loader.examine(unexamined)).await?
                }
                Draft::Uncompiled(uncompiled) => {
                    self.run(uncompiled.lane, move |loader| loader.compile(uncompiled)).await?
                }
            };
        };

        let origin = Origin::without_client(name.into(), Arc::new(PluginStats::new(name)), id.clone());
        let limit = settings.timeouts.setup;
        let _trial = self.trials.acquire().await.expect("the semaphore is never closed");
        tokio::time::timeout(limit, guest.try_out(Arc::new(origin), settings.clone()))
            .await
            .map_err(|_| Refusal::plugin(format!("no instance after {}", humantime::format_duration(limit))))?
            .map_err(|fault| match fault {
                Fault::Host(error) => Refusal::host(format_args!("{error:#}")),
                fault => Refusal::plugin(format!("no instance can be made: {fault}")),
            })?;

        if let Some(import) = &facts.sockets {
            tracing::warn!(plugin = %name, import, "{STDIO}");
        }
        let generation = Generation::new(id, guest);
        Ok(Loaded { generation: Arc::new(generation), settings, facts, inside, demand, kind })
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        lane: Lane,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let loader = self.clone();
        let outcome = self.lanes.run(lane, move || work(&loader)).await;
        outcome.map_err(Refusal::host)?
    }

    /// What the cache has of a file, if it has all of it.
    fn draft(&self, unexamined: Unexamined) -> Result<Draft, Refusal> {
        let Some(Known { wasm, findings }) = self.known(&unexamined.digest) else {
            return Ok(Draft::Unexamined(unexamined));
        };
        let profile = Engines::profile_for(&findings.demand);
        match self.cached(profile, &wasm) {
            Some(native) => self.compiled(unexamined.resolve(findings)?, &native).map(Draft::Compiled),
            None => Ok(Draft::Unexamined(unexamined)),
        }
    }

    /// Finds out what a file is, and keeps that for the next run. What turns out to take longer
    /// than its lane has for it goes on in the next lane, from the beginning.
    fn examine(&self, unexamined: Unexamined) -> Result<Draft, Refusal> {
        let Examined { findings, wasm } = match (self.workers.examine)(&unexamined.bytes, unexamined.lane.time()) {
            Ok(examined) => examined,
            Err(WorkerFailure::Time(..)) if unexamined.lane == Lane::Quick => {
                return Ok(Draft::Unexamined(Unexamined { lane: Lane::Long, ..unexamined }));
            }
            Err(failure) => return Err(failure.into()),
        };
        let profile = Engines::profile_for(&findings.demand);
        let digest = cache::digest(&wasm);
        let file = unexamined.digest;
        let known = Known { wasm: cache::hex(&digest), findings: findings.clone() };
        let resolved = unexamined.resolve(findings)?;
        Ok(match self.cached(profile, &known.wasm) {
            Some(native) => {
                self.keep(&file, &known);
                Draft::Compiled(self.compiled(resolved, &native)?)
            }
            None => Draft::Uncompiled(Uncompiled { lane: Lane::of(wasm.len()), wasm, file, known, resolved }),
        })
    }

    /// Keeps what was found out about a file for the next run, which begins with its code.
    fn keep(&self, file: &cache::Digest, known: &Known) {
        let entry = || Some((self.cache.as_ref()?, cache::findings(file)?, toml::to_string(known).ok()?));
        if let Some((cache, name, text)) = entry() {
            cache.write(&name, text.as_bytes());
        }
    }

    /// What an earlier run found out about a file.
    fn known(&self, file: &cache::Digest) -> Option<Known> {
        let content = self.cache.as_ref()?.read(&cache::findings(file)?)?;
        // What the seal vouches for was written by this very program.
        toml::from_str(str::from_utf8(&content).ok()?).ok()
    }

    /// The native code of wasm with this SHA-256, if the cache has it.
    fn cached(&self, profile: Profile, wasm: &str) -> Option<Native> {
        let engine = self.engines.engine(profile);
        let code = self.cache.as_ref()?.read(&cache::code(engine, wasm))?;
        #[expect(unsafe_code, reason = "compiled code is taken in")]
        // SAFETY: the cache gives back only entries that this user alone could have written, by
        // this program, and whose content is whole.
        let code = unsafe { NativeCode::new(&code) };
        Native::deserialize(engine, code)
            .inspect_err(|error| tracing::warn!(%error, "cached code is not used, but compiled again"))
            .ok()
    }

    /// Compiles it, and keeps the code for the next run. What turns out to take longer than its
    /// lane has for it is uncompiled as before, for the next lane.
    fn compile(&self, mut uncompiled: Uncompiled) -> Result<Draft, Refusal> {
        let profile = uncompiled.resolved.profile;
        let engine = self.engines.engine(profile);
        let begun = Instant::now();
        let code = match (self.workers.compile)(&self.engines, profile, &uncompiled.wasm, uncompiled.lane.time()) {
            Ok(code) => code,
            Err(WorkerFailure::Time(..)) if uncompiled.lane == Lane::Quick => {
                return Ok(Draft::Uncompiled(Uncompiled { lane: Lane::Long, ..uncompiled }));
            }
            Err(failure) => return Err(failure.into()),
        };
        uncompiled.resolved.facts.compiled = Some(begun.elapsed());
        let name = cache::code(engine, &uncompiled.known.wasm);
        if self.cache.as_ref().is_some_and(|cache| cache.write(&name, &code)) {
            self.keep(&uncompiled.file, &uncompiled.known);
        }
        #[expect(unsafe_code, reason = "compiled code is taken in")]
        // SAFETY: it is what this program's own process has made a moment ago, and no other could
        // have given.
        let code = unsafe { NativeCode::new(&code) };
        let native = Native::deserialize(engine, code)
            .map_err(|error| Refusal::host(format_args!("its code can't be taken over: {error:#}")))?;
        self.compiled(uncompiled.resolved, &native).map(Draft::Compiled)
    }

    fn compiled(&self, resolved: Resolved, native: &Native) -> Result<Compiled, Refusal> {
        let Resolved { profile, settings, facts, id, inside, demand, kind } = resolved;
        native.prepare().map_err(|error| Refusal::host(format_args!("its memory can't be prepared: {error:#}")))?;
        let blueprint = Blueprint { profile, kind: kind.clone() };
        let guest = guest(self.linkers(profile), native, blueprint, self.warm.clone())
            .map_err(|error| Refusal::plugin(unmet(&facts.imports).unwrap_or(error)))?;
        Ok(Compiled { guest, settings, facts, id, inside, demand, kind })
    }
}

/// A plugin on its way to being compiled.
enum Draft {
    Unexamined(Unexamined),
    Uncompiled(Uncompiled),
    Compiled(Compiled),
}

/// A file of which nothing is known yet.
struct Unexamined {
    name: String,
    bytes: Vec<u8>,
    digest: cache::Digest,
    beside: ManifestFile,
    defaults: ManifestFile,
    /// Where it is to be examined.
    lane: Lane,
}

impl Unexamined {
    fn new(name: String, bytes: Vec<u8>, beside: ManifestFile, defaults: ManifestFile) -> Self {
        Self { name, digest: cache::digest(&bytes), bytes, beside, defaults, lane: Lane::Quick }
    }

    /// Puts what was found out together with what the operator says.
    ///
    /// # Errors
    /// A manifest inside it that is none, or settings under which it can't serve.
    fn resolve(self, findings: Findings) -> Result<Resolved, Refusal> {
        let Self { name, bytes, digest, beside, defaults, .. } = self;
        let Findings { form, kind, imports, manifest, demand, sockets } = findings;
        let inside = match &manifest {
            Some(text) => ManifestFile::parse(text, config::ManifestOrigin::Plugin(&name))?,
            None => ManifestFile::default(),
        };
        let settings = Settings::resolve(&name, beside, inside.clone(), defaults)?;
        fits(demand, &kind, &settings, &name)?;
        let facts = Facts {
            kind: kind.name(),
            form,
            contract: kind.contract(),
            imports,
            size: bytes.len(),
            memory: demand.memory,
            compiled: None,
            sockets,
        };
        let profile = Engines::profile_for(&demand);
        let id = Generation::id_of_digest(&digest);
        Ok(Resolved { profile, settings: Arc::new(settings), id, facts, inside, demand, kind })
    }
}

/// What the cache has of a file that was examined.
#[derive(Serialize, Deserialize)]
struct Known {
    /// The SHA-256 of the wasm that was made of it, in hex.
    wasm: String,
    findings: Findings,
}

/// [`Compiled`] without native code.
struct Uncompiled {
    wasm: Vec<u8>,
    /// The file's.
    file: cache::Digest,
    known: Known,
    /// Where it is to be compiled.
    lane: Lane,
    resolved: Resolved,
}

/// All that is known of a plugin but its code.
struct Resolved {
    profile: Profile,
    settings: Arc<Settings>,
    facts: Facts,
    id: Arc<str>,
    inside: ManifestFile,
    demand: Requirements,
    kind: GuestKind,
}

/// Makes a generation of the code that another process of this same program gave it.
///
/// # Errors
/// Code of another version or with other settings.
pub fn revive(
    engines: &Engines,
    blueprint: &Blueprint,
    code: NativeCode<'_>,
    id: Arc<str>,
) -> wasmtime::Result<Generation> {
    let engine = engines.engine(blueprint.profile);
    let native = Native::deserialize(engine, code)?;
    // One request is all that it will serve.
    let warm = Arc::new(Semaphore::new(0));
    let guest = guest(&Linkers::default(), &native, blueprint.clone(), warm).map_err(wasmtime::Error::msg)?;
    Ok(Generation::new(id, guest))
}

/// What is linked with on one engine, made when it is first needed.
#[derive(Default)]
struct Linkers {
    components: OnceLock<component::Linker<State>>,
    modules: OnceLock<wasmtime::Linker<State>>,
}

impl Linkers {
    fn components(&self, engine: &Engine) -> &component::Linker<State> {
        self.components.get_or_init(|| Component::linker(engine))
    }

    fn modules(&self, engine: &Engine) -> &wasmtime::Linker<State> {
        self.modules.get_or_init(|| CoreModule::linker(engine))
    }
}

/// The guest that the blueprint says the code is.
fn guest(linkers: &Linkers, native: &Native, blueprint: Blueprint, warm: Arc<Semaphore>) -> Result<Guest, String> {
    Ok(match (blueprint.kind.clone(), native) {
        (GuestKind::Handler(interface, version), Native::Component(component)) => {
            let linker = linkers.components(component.engine());
            Guest::Component(Component::new(linker, component, (interface, &version), blueprint, warm)?)
        }
        (GuestKind::Handler(interface, _), Native::Module(module)) => {
            Guest::Module(CoreModule::new(linkers.modules(module.engine()), module, interface, blueprint, warm)?)
        }
        (GuestKind::Command(export), Native::Component(component)) => Guest::Program(Program::of_component(
            linkers.components(component.engine()),
            component,
            &export,
            blueprint,
        )?),
        (GuestKind::Program, Native::Module(module)) => Guest::Program(Program::of_module(module, blueprint)?),
        _ => return Err("its code is not of its kind".to_owned()),
    })
}

struct Compiled {
    guest: Guest,
    settings: Arc<Settings>,
    facts: Facts,
    id: Arc<str>,
    inside: ManifestFile,
    demand: Requirements,
    kind: GuestKind,
}

fn fits(demand: Requirements, kind: &GuestKind, settings: &Settings, name: &str) -> Result<(), Refusal> {
    let limit = settings.limits.memory;
    if demand.memory > limit {
        return Err(Refusal::plugin(format!(
            "it begins with {} of memory, more than its limit of {}; raise limits.memory in {name}.toml",
            Size(demand.memory),
            Size(limit)
        )));
    }
    if demand.upkeep > limit {
        return Err(Refusal::plugin(format!(
            "the host would keep {} for each sandbox of it, for its functions, globals, imports and elements, more than its limit \
             of {}; raise limits.memory in {name}.toml",
            Size(demand.upkeep),
            Size(limit)
        )));
    }
    if demand.table_elements > TABLE_ELEMENTS as u64 {
        return Err(Refusal::plugin(format!(
            "it begins with a table of {} elements, and {TABLE_ELEMENTS} is the most that there may be",
            demand.table_elements
        )));
    }
    let GuestKind::Handler(interface, _) = kind else {
        // A program takes either as its stdin, but it ends with its request.
        return match settings.reuse {
            Some(_) => {
                Err(Refusal::plugin(format!("a command can't be reused; write instance = \"fresh\" in {name}.toml")))
            }
            None => Ok(()),
        };
    };
    let streams = *interface == Interface::Stream;
    if let Some(address) = settings.listen.iter().find(|address| address.is_stream() != streams) {
        let carries = if address.is_stream() { "connections" } else { "datagrams" };
        return Err(Refusal::plugin(format!(
            "it is a {}, and {address} carries {carries}; write listen = \"{}\" in {name}.toml",
            interface.name(),
            address.counterpart()
        )));
    }
    Ok(())
}
