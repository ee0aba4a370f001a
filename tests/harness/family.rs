//! The families of sockets and the kinds of concurrency: what tests of both run over.

use std::net::SocketAddr;

use socket2::SockAddr;

use super::Folder;

/// Every value of the manifest's `concurrency`.
pub const CONCURRENCIES: [&str; 4] = ["task", "serial", "thread", "process"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Tcp,
    Udp,
    Unix,
    Unixgram,
}

impl Family {
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Unix, Self::Unixgram];
    /// Those with connections.
    pub const STREAMS: [Self; 2] = [Self::Tcp, Self::Unix];
    pub const DATAGRAMS: [Self; 2] = [Self::Udp, Self::Unixgram];

    pub fn is_stream(self) -> bool {
        Self::STREAMS.contains(&self)
    }

    /// Where a plugin may listen: a port that the kernel chooses, or a path beside the plugin
    /// folder.
    pub fn address(self, folder: &Folder, name: &str) -> String {
        let path = folder.parent().join(name).with_extension("sock");
        match self {
            Self::Tcp => "tcp://127.0.0.1:0".to_owned(),
            Self::Udp => "udp://127.0.0.1:0".to_owned(),
            Self::Unix => format!("unix://{}", path.display()),
            Self::Unixgram => format!("unixgram://{}", path.display()),
        }
    }

    /// [`Self::address`] as the beginning of the plugin's manifest.
    pub fn listen(self, folder: &Folder, name: &str) -> String {
        format!("listen = '{}'\n", self.address(folder, name))
    }
}

/// What to hand to the kernel to connect to a URL that the host printed.
pub fn socket_address(url: &str) -> SockAddr {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    if scheme == "tcp" {
        return rest.parse::<SocketAddr>().expect("an address and a port").into();
    }
    // An abstract name begins with a NUL where URLs have an `@`.
    SockAddr::unix(rest.replacen('@', "\0", 1)).expect("it fits")
}
