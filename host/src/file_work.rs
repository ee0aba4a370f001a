//! Where guests' file work is done: on threads of its own for each plugin, and so many at most. What a plugin's files keep waiting, be
//! it a network's disk or a file that somebody holds a lease on, keeps neither other plugins waiting nor the host's own work.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::capacity::room_for_a_thread;

/// How much of one plugin's file work is done at once. What is beyond it waits for its turn.
const THREADS: usize = 16;

/// One plugin's, made when a session first wants it.
#[derive(Default)]
pub struct FileWork(Mutex<Option<Runtime>>);

impl FileWork {
    /// What a session runs [`within`].
    ///
    /// # Errors
    /// The machine has no thread for it.
    pub fn handle(&self) -> io::Result<Handle> {
        let mut runtime = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        room_for_a_thread()?;
        // The one worker is for clocks and sockets, which a session within waits for as well.
        let made = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(THREADS)
            .thread_name("files")
            .enable_all()
            .build()?;
        Ok(runtime.insert(made).handle().clone())
    }
}

/// Work that is still under way is not waited for.
impl Drop for FileWork {
    fn drop(&mut self) {
        let runtime = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        runtime.into_iter().for_each(Runtime::shutdown_background);
    }
}

/// Polls `session` so that the file work it asks for is done on these threads. wasmtime's WASI asks the runtime that is current.
pub async fn within<T>(files: Handle, session: impl Future<Output = T>) -> T {
    let mut session = pin!(session);
    poll_fn(|cx| {
        let _entered = files.enter();
        session.as_mut().poll(cx)
    })
    .await
}
