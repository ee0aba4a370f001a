//! What the inner parts take, each by itself: telling what a file is, loading it, making and
//! dropping a sandbox, one message in and out of it. `cargo bench -p wharf`; `cargo xtask bench`
//! measures the whole.

#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use wharf::config::{self, ManifestFile, Settings, SocketAddress};
use wharf::plugin::{Cache, Generation, Loaded, Loader, identify};
use wharf::report::PluginStats;
use wharf::sandbox::{Connection, Engines, Origin, Peer, Request, Running};

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MESSAGE: [u8; 64] = [b'x'; 64];

/// A client in this process, that sends so many messages and then ends. What it is sent is gone.
struct Messages {
    left: u64,
    /// Whether each of them is waited for.
    late: bool,
    waited: bool,
}

impl Connection for Messages {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Ok(0));
        }
        if self.late && !self.waited {
            self.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waited = false;
        self.left -= 1;
        let message = &MESSAGE[..MESSAGE.len().min(max)];
        buffer.extend_from_slice(message);
        Poll::Ready(Ok(message.len()))
    }

    fn try_send(&self, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }

    fn poll_sendable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async {})
    }
}

/// The plugin that gives back what it gets, as it ships: a component of Rust.
fn echo() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins/echo.wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask plugins` makes it", path.display()))
}

/// A core module of C, of which a component has to be made.
const MODULE: &[u8] = include_bytes!("../../fuzz/corpus/recognise/upper-c.wasm");

fn loader(cache: Option<&Path>) -> Arc<Loader> {
    let engines = Engines::new(8).expect("room for a few instances");
    let cache = cache.map(|folder| Cache::open(folder).expect("a cache"));
    Arc::new(Loader::new(engines, cache, false).working_here())
}

async fn load(loader: &Arc<Loader>, plugin: Vec<u8>) -> Loaded {
    let beside = "listen = 'tcp://127.0.0.1:1'";
    let beside =
        ManifestFile::parse(beside, config::ManifestOrigin::Operator(Path::new("echo.toml"))).expect("a manifest");
    loader.load("echo", plugin, beside, ManifestFile::default()).await.expect("a plugin")
}

async fn sandbox(
    generation: &Generation,
    settings: &Arc<Settings>,
    origin: &Arc<Origin>,
    (messages, late): (u64, bool),
) -> Running {
    let peer = Peer::Connection(Box::new(Messages { left: messages, late, waited: false }));
    let request = Request { peer, origin: origin.clone(), settings: settings.clone() };
    generation.guest.instantiate(request).await.map_err(|(fault, _)| fault).expect("a sandbox")
}

fn recognising(criterion: &mut Criterion) {
    let component = echo();
    let mut group = criterion.benchmark_group("recognise");
    group.bench_function("a component", |bencher| bencher.iter(|| identify(&component)));
    group.bench_function("a module to make a component of", |bencher| bencher.iter(|| identify(MODULE)));
}

fn loading(criterion: &mut Criterion) {
    let (plugin, runtime) = (echo(), Runtime::new().expect("a runtime"));
    let mut group = criterion.benchmark_group("load");
    let compiling = loader(None);
    group.sample_size(20).bench_function("compiled", |bencher| {
        bencher.iter(|| runtime.block_on(load(&compiling, plugin.clone())));
    });
    let folder = tempfile::tempdir().expect("a folder");
    let cached = loader(Some(folder.path()));
    // Which fills the cache.
    runtime.block_on(load(&cached, plugin.clone()));
    group.bench_function("from the cache", |bencher| {
        bencher.iter(|| runtime.block_on(load(&cached, plugin.clone())));
    });
}

fn serving(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let Loaded { generation, settings, .. } = runtime.block_on(load(&loader(None), echo()));
    let nobody = SocketAddress::Unix(None);
    let origin = Origin {
        plugin: "echo".into(),
        stats: Arc::new(PluginStats::new("echo")),
        generation: generation.id.clone(),
        client: nobody.clone(),
        server: nobody,
    };
    let origin = Arc::new(origin);
    criterion.bench_function("sandbox: made and dropped", |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..count {
                    drop(sandbox(&generation, &settings, &origin, (0, false)).await);
                }
                begun.elapsed()
            })
        });
    });

    let mut group = criterion.benchmark_group("message");
    group.throughput(Throughput::Bytes(MESSAGE.len() as u64));
    for (name, late) in [("recv and send of 64 bytes", false), ("the same, waited for", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async {
                    let mut running = sandbox(&generation, &settings, &origin, (count, late)).await;
                    assert!(matches!(running, Running::Module(_)), "it needs no component");
                    let begun = Instant::now();
                    running.run().await.expect("a session");
                    begun.elapsed()
                })
            });
        });
    }
}

criterion_group! {
    name = inner;
    config = Criterion::default();
    targets = recognising, loading, serving
}
criterion_main!(inner);
