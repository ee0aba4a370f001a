//! The successor's side: what it has to do with the host before it.

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, getppid};
use tokio::net::UnixStream;

use super::wire::{self, GO, Inventory, News};
use super::{SUCCESSOR_TIMEOUT, VARIABLE};
use crate::listen::PassedSocket;

/// The host that started this one, and serves until this one does.
pub(crate) struct Predecessor {
    stream: UnixStream,
}

impl Predecessor {
    /// The host that started this process to take its place, and its sockets; none if it was
    /// started by anybody else.
    ///
    /// # Errors
    /// It is gone, or its sockets can't be had.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) async fn meet() -> anyhow::Result<Option<(Self, Vec<PassedSocket>)>> {
        let Ok(pid) = env::var(VARIABLE) else { return Ok(None) };
        let met = async {
            if getppid().map(Pid::as_raw_nonzero).is_none_or(|parent| parent.to_string() != pid) {
                return Err(io::Error::other(format!("process {pid} is gone")));
            }
            tokio::time::timeout(SUCCESSOR_TIMEOUT, Self::take_over()).await?
        };
        met.await.map(Some).context("the running host's sockets can't be taken over")
    }

    async fn take_over() -> io::Result<(Self, Vec<PassedSocket>)> {
        let stream = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        let inventory: Inventory = wire::read(&stream).await?;
        let descriptors = wire::read_descriptors(&stream, inventory.len()).await?;
        Ok((Self { stream }, inventory.with(descriptors)))
    }

    pub(crate) async fn hears_that_loaded(&self, plugin: &str) {
        self.tell(&News::Loaded { plugin: plugin.to_owned() }).await;
    }

    pub(crate) async fn hears_that_refused(&self, plugin: &str, reason: &str) {
        self.tell(&News::Refused { plugin: plugin.to_owned(), reason: reason.to_owned() }).await;
    }

    pub(crate) async fn hears_that_ready(&self) {
        self.tell(&News::Ready).await;
    }

    /// These of its sockets are served here from now on.
    pub(crate) async fn hears_that_serving(self, taken: Vec<usize>) {
        self.tell(&News::Serving { taken }).await;
    }

    /// Waits until it says that this host is to serve. Cancel-safe.
    ///
    /// # Errors
    /// It is gone, or does not want this one any more.
    pub(crate) async fn gives_way(&self) -> io::Result<()> {
        match wire::answer(&self.stream).await? {
            GO => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn tell(&self, news: &News) {
        // Whether it is gone is found out where it is waited for.
        const SOON: Duration = Duration::from_secs(10);
        let _ = tokio::time::timeout(SOON, wire::write(&self.stream, news)).await;
    }
}
