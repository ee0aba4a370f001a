//! From a file's bytes to a generation that serves, or to the one line that says why not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::engine::Profile;
use super::guest::Origin;
use super::handler::Handler;
use super::instance::State;
use super::recognise::{Demand, Form, Interface, Recognised, recognise};
use super::{Blueprint, Cache, Engines, Generation};
use crate::config::{self, ConfigError, ManifestFile, Settings, Size};
use crate::endpoint::Endpoint;

/// Loads plugins. One a host; any number of loads at once, of which as many run as there are cores.
pub struct Loader {
    engines: Engines,
    cache: Option<Cache>,
    small: Linker<State>,
    compiling: Semaphore,
}

/// A plugin that may serve.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub generation: Arc<Generation>,
    pub settings: Arc<Settings>,
    pub facts: Facts,
    /// The layer of its manifest that came in the file.
    inside: ManifestFile,
    demand: Demand,
    interface: Interface,
}

impl Loaded {
    /// The same generation under other operator's layers.
    ///
    /// # Errors
    /// Settings under which it can't serve.
    pub fn resettled(&self, name: &str, beside: ManifestFile, defaults: ManifestFile) -> Result<Self, Refusal> {
        let settings = Settings::resolve(name, beside, self.inside.clone(), defaults)?;
        fits(self.demand, self.interface, &settings, name)?;
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
}

/// Why a file does not serve: one line.
#[derive(Clone, Debug, Error)]
pub enum Refusal {
    /// The file is no plugin, or none that works.
    #[error("{0}")]
    Plugin(String),
    #[error("{0}")]
    Manifest(#[from] ConfigError),
}

impl Refusal {
    fn plugin(reason: impl std::fmt::Display) -> Self {
        Self::Plugin(reason.to_string().replace('\n', " "))
    }
}

impl Loader {
    /// # Errors
    /// WASI can't be linked, which is a fault of this program.
    pub fn new(engines: Engines, cache: Option<Cache>) -> wasmtime::Result<Self> {
        let small = Handler::linker(engines.engine(Profile::Small))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { engines, cache, small, compiling: Semaphore::new(cores) })
    }

    /// Loads `bytes` as the plugin `name`. `beside` and `defaults` are the operator's layers of its manifest.
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
        let _turn = self.compiling.acquire().await.expect("the semaphore is never closed");
        let loader = self.clone();
        let plugin = name.to_owned();
        // Compiling takes from milliseconds to seconds, and belongs to no thread that serves.
        let compiled = tokio::task::spawn_blocking(move || loader.compile(&plugin, &bytes, beside, defaults));
        let Compiled { handler, settings, facts, id, inside, demand, interface } =
            compiled.await.map_err(|error| Refusal::plugin(format!("the host failed to load it: {error}")))??;

        let nobody = Endpoint::Unix(None);
        let origin = Origin { plugin: name.into(), generation: id.clone(), client: nobody.clone(), server: nobody };
        let limit = settings.timeouts.setup;
        tokio::time::timeout(limit, handler.try_out(Arc::new(origin), settings.clone()))
            .await
            .map_err(|_| Refusal::plugin(format!("no instance after {}", humantime::format_duration(limit))))?
            .map_err(|fault| Refusal::plugin(format!("no instance can be made: {fault}")))?;

        let generation = Generation::new(id, Box::new(handler));
        Ok(Loaded { generation: Arc::new(generation), settings, facts, inside, demand, interface })
    }

    fn compile(
        &self,
        name: &str,
        bytes: &[u8],
        beside: ManifestFile,
        defaults: ManifestFile,
    ) -> Result<Compiled, Refusal> {
        let found = recognise(bytes).map_err(Refusal::plugin)?;
        let inside = match &found.manifest {
            Some(text) => ManifestFile::parse(text, config::Origin::Plugin(name))?,
            None => ManifestFile::default(),
        };
        let settings = Settings::resolve(name, beside, inside.clone(), defaults)?;
        fits(found.demand, found.interface, &settings, name)?;

        let profile = Engines::profile_for(&found.demand);
        let (component, compiled) = self.code(profile, &found)?;
        let blueprint = Blueprint { profile, interface: found.interface, version: found.version.clone() };
        let handler = match profile {
            Profile::Small => Handler::new(&self.small, &component, blueprint),
            Profile::Large => {
                let linker = Handler::linker(self.engines.engine(profile)).map_err(Refusal::plugin)?;
                Handler::new(&linker, &component, blueprint)
            }
        }
        .map_err(Refusal::plugin)?;
        Ok(Compiled {
            handler,
            settings: Arc::new(settings),
            inside,
            demand: found.demand,
            interface: found.interface,
            id: Generation::id_of(bytes),
            facts: Facts {
                kind: found.interface.name(),
                form: found.form,
                contract: format!("{}@{}", super::contract::PACKAGE, found.version),
                imports: found.imports,
                size: bytes.len(),
                memory: found.demand.memory,
                compiled,
            },
        })
    }

    /// The component as native code, from the cache or from the compiler.
    fn code(&self, profile: Profile, found: &Recognised) -> Result<(Component, Option<Duration>), Refusal> {
        let engine = self.engines.engine(profile);
        let cached = self.cache.as_ref().and_then(|cache| cache.read(engine, &found.component));
        if let Some(code) = cached {
            // The cache gives back only entries that this user alone could have written, and whose content is whole.
            match native(engine, &code) {
                Ok(component) => return Ok((component, None)),
                Err(error) => tracing::warn!(%error, "cached code is not used, but compiled again"),
            }
        }
        let begun = Instant::now();
        let component = Component::from_binary(engine, &found.component)
            .map_err(|error| Refusal::plugin(format!("it does not compile: {error:#}")))?;
        let took = begun.elapsed();
        if let Some(cache) = &self.cache {
            match component.serialize() {
                Ok(code) => cache.write(engine, &found.component, &code),
                Err(error) => tracing::warn!(%error, "compiled code can't be kept for the next run"),
            }
        }
        Ok((component, Some(took)))
    }
}

/// Makes a generation of the code that another process of this same program gave it.
///
/// # Errors
/// Code of another version or with other settings.
pub fn revive(engines: &Engines, blueprint: &Blueprint, code: &[u8], id: Arc<str>) -> wasmtime::Result<Generation> {
    let engine = engines.engine(blueprint.profile);
    let component = native(engine, code)?;
    let handler = Handler::new(&Handler::linker(engine)?, &component, blueprint.clone());
    Ok(Generation::new(id, Box::new(handler.map_err(wasmtime::Error::msg)?)))
}

/// Takes native code in. Its source has to be trusted: the cache vouches for its entries, a child process trusts the
/// host that started it.
fn native(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[expect(unsafe_code, reason = "there is no safe way to take compiled code in; what makes it sound is below")]
    // SAFETY: the code is what `Component::serialize` gave, as both callers see to. wasmtime itself checks that it is of
    // the same version and settings.
    unsafe {
        Component::deserialize(engine, code)
    }
}

struct Compiled {
    handler: Handler,
    settings: Arc<Settings>,
    facts: Facts,
    id: Arc<str>,
    inside: ManifestFile,
    demand: Demand,
    interface: Interface,
}

fn fits(demand: Demand, interface: Interface, settings: &Settings, name: &str) -> Result<(), Refusal> {
    let limit = settings.limits.memory;
    if demand.memory > limit {
        return Err(Refusal::plugin(format!(
            "it begins with {} of memory, more than its limit of {}; raise limits.memory in {name}.toml",
            Size(demand.memory),
            Size(limit)
        )));
    }
    let streams = interface == Interface::Stream;
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
