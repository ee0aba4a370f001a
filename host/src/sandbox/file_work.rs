//! Where guests' file work is done: on threads of its own for each plugin, and so many at most.
//! What a plugin's files keep waiting, be it a network's disk or a file that somebody holds a lease
//! on, keeps neither other plugins waiting nor the host's own work.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::capacity::room_for_a_thread;
use crate::report::PluginStats;

/// How much of one plugin's file work is done at once. What is beyond it waits for its turn.
const THREADS: usize = 16;

/// For how long a thread stays that has nothing to do. What is counted after that is work that goes
/// on.
const IDLE: Duration = Duration::from_secs(2);

/// One plugin's, made when a session first wants it.
pub struct FileWork {
    runtime: Mutex<Option<Runtime>>,
    stats: Arc<PluginStats>,
}

impl FileWork {
    /// Counts its threads there.
    pub fn new(stats: Arc<PluginStats>) -> Self {
        Self { runtime: Mutex::default(), stats }
    }

    /// What a session runs [`within`].
    ///
    /// # Errors
    /// The machine has no thread for it.
    pub fn handle(&self) -> io::Result<Handle> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        room_for_a_thread()?;
        // The one worker is for clocks and sockets, which a session within waits for as well. It
        // does no file work.
        self.stats.file_work(-1);
        let (begins, ends) = (self.stats.clone(), self.stats.clone());
        let made = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(THREADS)
            .thread_keep_alive(IDLE)
            .thread_name("files")
            .on_thread_start(move || begins.file_work(1))
            .on_thread_stop(move || ends.file_work(-1))
            .enable_all()
            .build()?;
        Ok(runtime.insert(made).handle().clone())
    }
}

/// Work that is still under way is not waited for.
impl Drop for FileWork {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
            self.stats.file_work(1);
        }
    }
}

/// Polls `session` so that the file work it asks for is done on these threads. wasmtime's WASI asks
/// the runtime that is current.
pub(crate) async fn within<T>(files: Handle, session: impl Future<Output = T>) -> T {
    let mut session = pin!(session);
    poll_fn(|cx| {
        let _entered = files.enter();
        session.as_mut().poll(cx)
    })
    .await
}
