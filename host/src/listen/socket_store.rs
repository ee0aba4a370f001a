//! Sockets that another process bound, and that are used instead of binding: systemd's, and those
//! of the host before this.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use socket2::Socket;

use super::bound::{Bound, SocketLease};
use super::socket_file::SocketFile;
use crate::capacity::{ListenerPlace, ListenerRoom};
use crate::config::ListenAddress;

/// A bound socket on its way from one process to another.
pub struct PassedSocket {
    pub socket: Socket,
    /// Where it is bound, with its real port.
    pub address: ListenAddress,
    /// The plugin that has it, and its address as the manifest has it; none while no plugin has it.
    pub user: Option<(Arc<str>, ListenAddress)>,
    /// Whether it is systemd's: kept for as long as the host lives, and its file is not ours to
    /// touch.
    pub activated: bool,
    /// The device and inode of the file that stands for it, where that is ours.
    pub file: Option<(u64, u64)>,
}

/// The sockets that this process was handed.
#[derive(Clone, Default)]
pub struct SocketStore(Arc<Mutex<Vec<StoredSocket>>>);

struct StoredSocket {
    handed: PassedSocket,
    loan: Weak<()>,
    /// What is kept for the listener that it becomes.
    room: Option<ListenerPlace>,
}

impl StoredSocket {
    fn is_free(&self) -> bool {
        self.loan.strong_count() == 0
    }

    /// Whether it is this plugin's under this address: what the host before had for the plugin, or
    /// what no plugin has.
    fn is_for(&self, plugin: &str, asked: &ListenAddress) -> bool {
        match &self.handed.user {
            Some((user, address)) => **user == *plugin && (address == asked || self.handed.address == *asked),
            None => self.handed.address == *asked,
        }
    }
}

impl SocketStore {
    /// Room is kept for all of them before any other listener comes.
    pub fn new(handed: Vec<PassedSocket>, room: &ListenerRoom) -> Self {
        let entry =
            |handed: PassedSocket| StoredSocket { room: room.take(&handed.address).ok(), handed, loan: Weak::new() };
        Self(Arc::new(Mutex::new(handed.into_iter().map(entry).collect())))
    }

    /// The room that is kept for the socket that there is for this address of this plugin; none
    /// where there is none.
    pub fn room(&self, plugin: &str, asked: &ListenAddress) -> Option<ListenerPlace> {
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|entry| entry.is_free() && entry.is_for(plugin, asked))?;
        Some(entry.room.take().unwrap_or_default())
    }

    /// The socket for this address of this plugin, if there is one and nobody has it. A port that
    /// the kernel chose is found again by the address that asked for it. What another plugin had in
    /// the host before this is that one's to come for.
    ///
    /// # Errors
    /// The machine has no descriptor left; `AddrInUse` for what another plugin may yet come for.
    pub(super) fn take(&self, plugin: &str, asked: &ListenAddress) -> io::Result<Option<Bound>> {
        let mut entries = self.entries();
        if let Some((user, _)) = entries
            .iter()
            .filter(|entry| entry.is_free() && entry.handed.address == *asked)
            .find_map(|entry| entry.handed.user.as_ref().filter(|(user, _)| **user != *plugin))
        {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("plugin {user} has {asked}")));
        }
        let Some(entry) = entries.iter_mut().find(|entry| entry.is_free() && entry.is_for(plugin, asked)) else {
            return Ok(None);
        };
        let socket = entry.handed.socket.try_clone()?;
        // It need not be when it comes from elsewhere.
        socket.set_nonblocking(true)?;
        let alive = Arc::new(());
        entry.loan = Arc::downgrade(&alive);
        let address = entry.handed.address.clone();
        let file = entry.handed.file.and_then(|identity| SocketFile::left(&address, identity));
        Ok(Some(Bound {
            socket,
            address,
            file,
            loan: Some(SocketLease { _alive: alive, activated: entry.handed.activated }),
        }))
    }

    /// Which of the sockets, in the order they were handed over, somebody has now.
    pub fn taken(&self) -> Vec<usize> {
        let entries = self.entries();
        entries.iter().enumerate().filter(|(_, entry)| entry.loan.strong_count() > 0).map(|(place, _)| place).collect()
    }

    /// Once all have had their turn: lets go of what the host before this left and nobody wants.
    /// Returns which of systemd's nobody has.
    pub fn settle(&self) -> Vec<ListenAddress> {
        let mut entries = self.entries();
        entries.retain(|entry| entry.handed.activated);
        let idle = entries.iter().filter(|entry| entry.loan.strong_count() == 0);
        idle.map(|entry| entry.handed.address.clone()).collect()
    }

    /// What nobody has, for the next host.
    ///
    /// # Errors
    /// The machine has no descriptor left.
    pub fn idle(&self) -> io::Result<Vec<PassedSocket>> {
        let entries = self.entries();
        let idle = entries.iter().filter(|entry| entry.loan.strong_count() == 0);
        idle.map(|StoredSocket { handed, .. }| {
            let PassedSocket { address, activated, file, .. } = handed;
            let socket = handed.socket.try_clone()?;
            Ok(PassedSocket { socket, address: address.clone(), user: None, activated: *activated, file: *file })
        })
        .collect()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<StoredSocket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
