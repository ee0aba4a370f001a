//! From a file's bytes to a generation that serves, or to the one line that says why not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Component, Linker};

use super::engine::Profile;
use super::guest::Origin;
use super::handler::StreamHandler;
use super::instance::State;
use super::recognise::{Demand, Form, Recognised, recognise};
use super::{Cache, Engines, Generation};
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
}

impl Loaded {
    /// The same generation under other operator's layers.
    ///
    /// # Errors
    /// Settings under which it can't serve.
    pub fn resettled(&self, name: &str, beside: ManifestFile, defaults: ManifestFile) -> Result<Self, Refusal> {
        let settings = Settings::resolve(name, beside, self.inside.clone(), defaults)?;
        fits(&self.demand, &settings, name)?;
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
        let small = StreamHandler::linker(engines.engine(Profile::Small))?;
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
        let Compiled { handler, settings, facts, id, inside, demand } =
            compiled.await.map_err(|error| Refusal::plugin(format!("the host failed to load it: {error}")))??;

        let nobody = Endpoint::Unix(None);
        let origin = Origin { plugin: name.into(), generation: id.clone(), client: nobody.clone(), server: nobody };
        let limit = settings.timeouts.setup;
        tokio::time::timeout(limit, handler.try_out(Arc::new(origin), settings.clone()))
            .await
            .map_err(|_| Refusal::plugin(format!("no instance after {}", humantime::format_duration(limit))))?
            .map_err(|fault| Refusal::plugin(format!("no instance can be made: {fault}")))?;

        let generation = Generation { id, guest: Box::new(handler), deadline: CancellationToken::new() };
        Ok(Loaded { generation: Arc::new(generation), settings, facts, inside, demand })
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
        fits(&found.demand, &settings, name)?;

        let profile = Engines::profile_for(&found.demand);
        let (component, compiled) = self.code(profile, &found)?;
        let handler = match profile {
            Profile::Small => StreamHandler::new(&self.small, &component, &found.version),
            Profile::Large => {
                let linker = StreamHandler::linker(self.engines.engine(profile)).map_err(Refusal::plugin)?;
                StreamHandler::new(&linker, &component, &found.version)
            }
        }
        .map_err(Refusal::plugin)?;
        Ok(Compiled {
            handler,
            settings: Arc::new(settings),
            inside,
            demand: found.demand,
            id: Generation::id_of(bytes),
            facts: Facts {
                kind: "stream handler",
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
            #[expect(
                unsafe_code,
                reason = "there is no safe way to take compiled code in; what makes it sound is below"
            )]
            // SAFETY: the code is what `precompile_component` made: the cache gives back only entries that this user
            // alone could have written, and whose content is whole. wasmtime itself checks version and settings.
            match unsafe { Component::deserialize(engine, &code) } {
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

struct Compiled {
    handler: StreamHandler,
    settings: Arc<Settings>,
    facts: Facts,
    id: Arc<str>,
    inside: ManifestFile,
    demand: Demand,
}

fn fits(demand: &Demand, settings: &Settings, name: &str) -> Result<(), Refusal> {
    let limit = settings.limits.memory;
    if demand.memory > limit {
        return Err(Refusal::plugin(format!(
            "it begins with {} of memory, more than its limit of {}; raise limits.memory in {name}.toml",
            Size(demand.memory),
            Size(limit)
        )));
    }
    Ok(())
}
