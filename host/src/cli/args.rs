//! The command line: from flags to a command, once.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

use super::scaffold::{Language, NewProject};
use super::serve::ServeOptions;
use crate::config::{self, ConfigError, HostConfig, ListenAddress, ManifestFile, ManifestOrigin, Span};
use crate::plugin::{Folder, PluginSource, compiler, examine};
use crate::report::LogStyle;
use crate::session::child;
use crate::supervisor::Plan;

/// Serves sockets with handlers in WebAssembly: each connection in a sandbox of its own, handlers
/// replaced while they serve.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Exit {
    /// Help or version, which was asked for.
    Asked(String),
    /// What is wrong with the command line, in one line.
    Wrong(String),
}

impl Arguments {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// There is nothing to do.
    pub fn read() -> Result<Self, Exit> {
        Self::try_parse().map_err(|error| {
            let text = error.render().to_string();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Asked(text),
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Exit::Wrong(
                    "missing command; `wharf serve DIR` serves a folder, and `wharf --help` lists the others".into(),
                ),
                _ => Exit::Wrong(one_line(&text)),
            }
        })
    }
}

/// Of clap's paragraphs those that say what is wrong and what would be right.
fn one_line(text: &str) -> String {
    let lines =
        text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let mut said = String::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let line = line.trim_start_matches("error: ");
        match line.strip_prefix("tip: ") {
            Some(tip) => said.extend(["; ", tip]),
            None if said.is_empty() => said.push_str(line),
            None => said.extend([" ", line]),
        }
    }
    said
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve every plugin in a folder, and follow what changes there
    Serve(Serve),
    /// Serve one plugin, without a folder
    Run(Run),
    /// Tell what plugins are, ask for and would be given; exit 1 if one would be refused
    Check(Check),
    /// Build and serve a project, and build it again when a source changes
    Dev(Dev),
    /// Begin a plugin: a folder with a handler, its manifest, and how to build and serve it
    New(New),
    /// Print the JSON schema of manifests, by which editors complete and check them
    Schema {
        #[arg(value_enum, default_value = "manifest")]
        of: SchemaOf,
    },
    /// What a host starts for a request that is to have a process of its own
    #[command(name = child::COMMAND, hide = true)]
    Child,
    /// What a loader starts to find out what a file is
    #[command(name = examine::COMMAND, hide = true)]
    Examine { seconds: u64 },
    /// What a loader starts to compile a plugin
    #[command(name = compiler::COMMAND, hide = true)]
    Compile { profile: String, seconds: u64 },
}

/// The files that there is a schema of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// NAME.toml, beside a plugin
    Manifest,
    /// wharf.toml
    Host,
}

impl SchemaOf {
    /// The schema as text, with a line's end.
    pub fn text(self) -> String {
        let schema = match self {
            Self::Manifest => config::manifest_schema(),
            Self::Host => config::host_schema(),
        };
        format!("{schema:#}\n")
    }
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Folder of plugins: NAME.wasm or NAME.wat, with NAME.toml beside it
    #[arg(default_value = "plugins")]
    dir: PathBuf,
    /// Host-wide settings [default: DIR/wharf.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The plugin; NAME.toml beside it is its manifest
    file: Option<PathBuf>,
    /// Where to listen, instead of where the manifest says: `tcp://127.0.0.1:9999`
    #[arg(long, value_name = "URL", num_args = 1..)]
    listen: Vec<String>,
    /// Take so many requests, then stop
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    requests: Option<u32>,
    /// Stop, too, if no request comes for so long
    #[arg(long, value_name = "DURATION", requires = "requests")]
    timeout: Option<Span>,
    /// Host-wide settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct Dev {
    /// Folder of a project, as `wharf new` makes it, or of plugins that need no build
    #[arg(default_value = ".")]
    pub project: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Plugins, or folders of them
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// Host-wide settings [default: DIR/wharf.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct New {
    /// Folder to make; its last part is the plugin's name
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// What to write it in
    #[arg(long, value_name = "LANG")]
    lang: Option<Language>,
    /// Where it is to listen [default: a port that no project beside it has]
    #[arg(long, value_name = "URL")]
    listen: Option<String>,
}

#[derive(Debug, Args)]
pub struct Common {
    /// How much to log to stderr: error, warn, info, debug, trace or off
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "WHARF_LOG")]
    pub log: LevelFilter,
    /// Folder for compiled code [default: $XDG_CACHE_HOME/wharf, else ~/.cache/wharf]
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    pub cache_dir: Option<PathBuf>,
    /// Keep no compiled code between runs
    #[arg(long)]
    pub no_cache: bool,
}

impl Common {
    /// Where compiled code is kept; none if it is not.
    pub fn cache(&self) -> Option<PathBuf> {
        if self.no_cache {
            return None;
        }
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        self.cache_dir.clone().or_else(|| {
            let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
            Some(caches.join("wharf"))
        })
    }
}

impl Serve {
    /// # Errors
    /// A folder, a configuration or an operator's manifest that is wrong.
    pub fn resolve(self) -> Result<ServeOptions, ConfigError> {
        let waiting = !folder_is_there(&self.dir)?;
        let (config_file, config) = match self.config {
            Some(file) => {
                let config = HostConfig::read_when_written(&file)?;
                (file.clone(), config.ok_or_else(|| ConfigError::new(file.display(), "no such file"))?)
            }
            None => {
                let file = HostConfig::beside(&self.dir);
                let config = HostConfig::read_when_written(&file)?;
                (file, config.unwrap_or_default())
            }
        };
        if !waiting {
            check_manifests(&self.dir)?;
        }
        let plan = Plan {
            source: PluginSource::Folder(self.dir),
            config_file: Some(config_file),
            config,
            listen: None,
            requests: None,
            timeout: None,
            strict: false,
        };
        Ok(ServeOptions { plan, cache: self.common.cache(), log: self.common.log, log_style: LogStyle::Full })
    }
}

impl Dev {
    /// How this folder is served.
    ///
    /// # Errors
    /// As [`Serve::resolve`].
    pub fn serving(self, dir: PathBuf) -> Result<ServeOptions, ConfigError> {
        let options = Serve { dir, config: None, common: self.common }.resolve()?;
        Ok(ServeOptions { log_style: LogStyle::Short, ..options })
    }
}

impl Run {
    /// # Errors
    /// No such file, or a configuration or manifest that is wrong.
    pub fn resolve(mut self) -> Result<ServeOptions, ConfigError> {
        // `--listen URL… FILE` reads as well as `FILE --listen URL…`, though clap takes FILE for
        // one more URL then.
        let last_is_no_url =
            |listen: &[String]| listen.len() > 1 && listen.last().is_some_and(|url| !url.contains("://"));
        if self.file.is_none() && last_is_no_url(&self.listen) {
            self.file = self.listen.pop().map(PathBuf::from);
        }
        let file = self.file.ok_or_else(|| ConfigError::new("run", "which plugin? `wharf run FILE --listen URL`"))?;
        let listen: Vec<ListenAddress> = self
            .listen
            .iter()
            .map(|url| url.parse().map_err(|error| ConfigError::new("--listen", error)))
            .collect::<Result<_, _>>()?;
        if !file.is_file() {
            return Err(ConfigError::new(file.display(), "no such file; `wharf serve DIR` serves a folder"));
        }
        let config = match &self.config {
            Some(file) => {
                HostConfig::read_when_written(file)?.ok_or_else(|| ConfigError::new(file.display(), "no such file"))?
            }
            None => HostConfig::default(),
        };
        check_manifest(&file.with_extension("toml"))?;
        let plan = Plan {
            source: PluginSource::File(file),
            config_file: self.config,
            config,
            listen: (!listen.is_empty()).then_some(listen),
            requests: self.requests,
            timeout: self.timeout.map(|span| span.0),
            strict: true,
        };
        Ok(ServeOptions { plan, cache: self.common.cache(), log: self.common.log, log_style: LogStyle::Full })
    }
}

impl New {
    /// # Errors
    /// No language, or a name or folder that can't be had.
    pub fn resolve(self) -> Result<NewProject, ConfigError> {
        let names = || {
            let values = Language::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
        };
        let language = self
            .lang
            .ok_or_else(|| ConfigError::new("new", format!("in which language? `--lang` takes {}", names())))?;
        let listen = self.listen.map(|url| url.parse().map_err(|error| ConfigError::new("--listen", error)));
        NewProject::new(self.folder, language, listen.transpose()?)
    }
}

/// Whether the folder is there now. One that is not may come later, if there is a place for it to
/// come to.
fn folder_is_there(dir: &Path) -> Result<bool, ConfigError> {
    let wrong = |what: String| Err(ConfigError::new(dir.display(), what));
    match fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => fs::read_dir(dir)
            .map(|_| true)
            .map_err(|error| ConfigError::new(dir.display(), format!("the folder can't be read: {error}"))),
        Ok(_) => wrong("not a folder; `wharf run FILE` serves one plugin".to_owned()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => wrong(error.to_string()),
        Err(_) => {
            let parent = match dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let Ok(siblings) = fs::read_dir(parent) else {
                return wrong(format!("no such folder, nor {} to make it in", parent.display()));
            };
            let siblings: Vec<String> = siblings
                .flatten()
                .filter(|entry| entry.path().is_dir())
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect();
            let siblings: Vec<&str> = siblings.iter().map(String::as_str).collect();
            let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match config::nearest(name, &siblings) {
                Some(near) => wrong(format!("no such folder; did you mean {}?", parent.join(near).display())),
                None => Ok(false),
            }
        }
    }
}

/// An operator's manifest that is wrong ends a start, as wrong configuration does everywhere; once
/// the host serves, it costs no more than itself.
fn check_manifests(dir: &Path) -> Result<(), ConfigError> {
    let found = Folder::new(PluginSource::Folder(dir.to_owned())).scan();
    let found = found.map_err(|error| ConfigError::new(dir.display(), error))?;
    found.values().try_for_each(|found| check_manifest(found.manifest()))
}

fn check_manifest(path: &Path) -> Result<(), ConfigError> {
    let text = config::read_when_written(path)?.unwrap_or_default();
    ManifestFile::parse(&text, ManifestOrigin::Operator(path)).map(drop)
}
