//! Write plugins for wharf in Rust: a type with a method that serves one client, compiled to
//! WebAssembly, dropped into a folder.
//!
//! Most sections are about connections; [datagrams](#datagrams), and [whoever comes from socketserver](#coming-from-socketserver), have
//! one of their own.
//!
//! # A handler
//!
//! A plugin is a library crate with two things in its `Cargo.toml`: `crate-type = ["cdylib"]` under `[lib]`, and this crate among
//! its dependencies. This is all of its `src/lib.rs`:
//!
//! ```
//! use wharf_guest::{Connection, Result, StreamHandler};
//!
//! #[derive(Default)]
//! struct Upper;
//!
//! impl StreamHandler for Upper {
//!     fn handle(&mut self, connection: &mut Connection) -> Result {
//!         let message = connection.recv(1024)?;
//!         let text = str::from_utf8(&message)?;
//!         connection.send(text.trim().to_uppercase().as_bytes())?;
//!         Ok(())
//!     }
//! }
//!
//! wharf_guest::export!(Upper);
//! ```
//!
//! Each client gets a sandbox of its own, and in it a handler of its own. There, `handle` may block, and the host serves
//! others meanwhile.
//!
//! # Building
//!
//! ```text
//! rustup target add wasm32-wasip2
//! cargo build --release --target wasm32-wasip2
//! ```
//!
//! The plugin is `target/wasm32-wasip2/release/NAME.wasm`: copy it into the folder that `wharf serve` watches. What was there under the
//! same name is replaced for the clients that come from then on; those that are being served keep the old one.
//!
//! Two settings make a plugin cheaper. `opt-level = 3`, `lto = true`, `codegen-units = 1`, `panic = "abort"` and `strip = true` in the profile make it small.
//! `RUSTFLAGS=-Clink-arg=-zstack-size=65536` gives it a stack of 64 KiB instead of 1 MiB, and
//! leaves less to clear for each client. Keep buffers above a few KiB on the heap then, in a `Vec`.
//!
//! Where rustup can't fetch that target, a Rust toolchain that can build its standard library for
//! `wasm32-unknown-unknown` makes a plugin as well, linked with `wasm-component-ld` or `wasm-ld`. The standard library has no
//! system there: `println!` prints to nowhere, and files, variables, arguments, clocks, sleeping and `exit` fail or panic.
//! [`println!`](macro@println) and [`eprintln!`](macro@eprintln) of this crate print on both targets, and a panic's message reaches the log
//! on both.
//!
//! # Settings
//!
//! A plugin listens where its manifest says: a file with the plugin's name beside it, `upper.toml` for `upper.wasm`.
//!
//! ```toml
#![doc = include_str!("../doc/upper.toml")]
//! ```
//!
//! A manifest can travel inside the plugin. The operator's file beside it still has the last word, key by key, and only that file can
//! listen beyond this machine or grant anything:
//!
//! ```
//! # use wharf_guest::{Connection, Result, StreamHandler};
//! # #[derive(Default)]
//! # struct Upper;
//! # impl StreamHandler for Upper {
//! #     fn handle(&mut self, _: &mut Connection) -> Result { Ok(()) }
//! # }
//! wharf_guest::export!(Upper, manifest = "doc/upper.toml"); // relative to Cargo.toml
//! ```
//!
//! # Before and after
//!
//! `setup` runs before `handle`, `finish` after it; both do nothing unless you write them. What the handler keeps in its fields
//! lives over the three and is gone with the connection:
//!
//! ```
//! use wharf_guest::{Connection, Result, StreamHandler, println};
//!
//! #[derive(Default)]
//! struct Counting {
//!     bytes: usize,
//! }
//!
//! impl StreamHandler for Counting {
//!     fn setup(&mut self, connection: &mut Connection) -> Result {
//!         println!("{} connects", connection.client_address());
//!         Ok(())
//!     }
//!
//!     fn handle(&mut self, connection: &mut Connection) -> Result {
//!         let message = connection.recv(1024)?;
//!         self.bytes += message.len();
//!         connection.send(&message)?;
//!         Ok(())
//!     }
//!
//!     fn finish(&mut self, _: &mut Connection) -> Result {
//!         println!("the client sent {} bytes", self.bytes);
//!         Ok(())
//!     }
//! }
//!
//! wharf_guest::export!(Counting);
//! ```
//!
//! What a plugin prints is in the host's log, with the names of the plugin and of the client.
//!
//! # Reading lines
//!
//! [`Connection`] is [`Read`](std::io::Read) and [`Write`](std::io::Write). A shared reference to it is too, so that a `BufReader` can
//! read while the handler writes:
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! # use wharf_guest::{Connection, Result, StreamHandler};
//! # #[derive(Default)]
//! # struct Greeter;
//!
//! impl StreamHandler for Greeter {
//!     fn handle(&mut self, connection: &mut Connection) -> Result {
//!         let mut client = &*connection;
//!         for name in BufReader::new(client).lines() {
//!             client.write_all(format!("hello {}\n", name?).as_bytes())?;
//!         }
//!         Ok(())
//!     }
//! }
//! # wharf_guest::export!(Greeter);
//! ```
//!
//! To keep a reader in the handler's fields, give it a clone of the connection.
//!
//! # Messages
//!
//! TCP splits and joins what a client sends; only a rule for where a message ends makes messages of it again. `lines` above is such a
//! rule, but lets a client send a line without end, until the memory is used up. [`framing`] has lines, delimiters and
//! length prefixes, each with a cap:
//!
//! ```
//! use wharf_guest::framing::{Framing, Prefix};
//! # use wharf_guest::{Connection, Result, StreamHandler};
//! # #[derive(Default)]
//! # struct Answer;
//!
//! impl StreamHandler for Answer {
//!     fn handle(&mut self, connection: &mut Connection) -> Result {
//!         let framing = Framing::length_prefix(Prefix::U32Be, 64 << 10);
//!         let mut requests = framing.reader(&*connection);
//!         let mut answers = framing.writer(&*connection);
//!         while let Some(request) = requests.next_frame()? {
//!             answers.write_frame(request)?;
//!         }
//!         Ok(())
//!     }
//! }
//! # wharf_guest::export!(Answer);
//! ```
//!
//! # Datagrams
//!
//! A [`DatagramHandler`] serves UDP and Unix datagrams: each one that arrives is a request of its own, with its own sandbox.
//!
//! ```
//! use wharf_guest::{Datagram, DatagramHandler, Result};
//!
//! #[derive(Default)]
//! struct Upper;
//!
//! impl DatagramHandler for Upper {
//!     fn handle(&mut self, datagram: &mut Datagram) -> Result {
//!         let text = str::from_utf8(datagram.packet())?;
//!         datagram.reply(text.trim().to_uppercase().as_bytes())?;
//!         Ok(())
//!     }
//! }
//!
//! wharf_guest::export!(datagram = Upper);
//! ```
//!
//! The address in its manifest is `udp://127.0.0.1:9999` or `unixgram:///run/upper.sock`. `setup` and `finish` are there as well, and
//! [`Datagram::send_to`] sends to others than the client, if the operator grants it.
//!
//! # Coming from socketserver
//!
//! Whoever has written `self.rfile.readline()` and `self.wfile.write(…)` finds both here: [`StreamRequestHandler`] is Python's class of
//! that name, with `rbufsize`, `wbufsize` and `timeout` as constants, and [`DatagramRequestHandler`] is the other. Their pages have a
//! table with Python's attributes beside ours.
//!
//! ```
//! use std::io::{BufRead, Write};
//! use wharf_guest::{Result, StreamRequest, StreamRequestHandler};
//!
//! #[derive(Default)]
//! struct Upper;
//!
//! impl StreamRequestHandler for Upper {
//!     const WBUFSIZE: usize = 4096; // Python's wbufsize: collected, and sent after finish
//!
//!     fn handle(&mut self, request: &mut StreamRequest) -> Result {
//!         for line in (&mut request.rfile).lines() {
//!             writeln!(request.wfile, "{}", line?.to_uppercase())?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! wharf_guest::export!(stream_request = Upper);
//! ```
//!
//! | in Python | here |
//! | --- | --- |
//! | `BaseRequestHandler`, `self.request.recv` and `sendall` | [`StreamHandler`], [`Connection::recv`] and [`Connection::send`] |
//! | `BaseRequestHandler`, `self.request[0]` and `self.request[1].sendto` | [`DatagramHandler`], [`Datagram::packet`] and [`Datagram::send_to`] |
//! | `StreamRequestHandler` | [`StreamRequestHandler`] |
//! | `DatagramRequestHandler` | [`DatagramRequestHandler`] |
//! | what a server class overrides: `verify_request`, `handle_error`, `service_actions` | [`ServerHooks`] |
//! | `TCPServer`, `UDPServer`, `UnixStreamServer`, `UnixDatagramServer` | the address in the manifest: `tcp://`, `udp://`, `unix://`, `unixgram://` |
//! | `ThreadingMixIn`, `ForkingMixIn` | `concurrency = "thread"`, `concurrency = "process"` in the manifest |
//!
//! # Errors
//!
//! `?` passes on any error, and text makes one: `Err("no such user")?`. A method that returns an error ends the session; the log has the
//! error's text and those of its causes, and names the method. After `setup` failed, nothing else is called; after
//! `handle` failed, `finish` still is. A panic ends the session at once. Neither touches any other session.
//!
//! Most errors are a client's going away, and returning them is right. Where one isn't the end, look at its kind; [`Connection`] lists them:
//!
//! ```
//! use std::io::ErrorKind;
//! use std::time::Duration;
//! # use wharf_guest::{Connection, Result, StreamHandler};
//! # #[derive(Default)]
//! # struct Patient;
//!
//! impl StreamHandler for Patient {
//!     fn handle(&mut self, connection: &mut Connection) -> Result {
//!         connection.set_timeout(Some(Duration::from_secs(5)));
//!         loop {
//!             match connection.recv(1024) {
//!                 Ok(message) if message.is_empty() => return Ok(()),
//!                 Ok(message) => connection.send(&message)?,
//!                 Err(error) if error.kind() == ErrorKind::TimedOut => connection.send(b"still there?\n")?,
//!                 Err(error) => return Err(error.into()),
//!             }
//!         }
//!     }
//! }
//! # wharf_guest::export!(Patient);
//! ```
//!
//! # Hooks
//!
//! A plugin can also decide who is let in, and hear of failures. See [`ServerHooks`]:
//!
//! ```
//! use wharf_guest::{Address, ServerHooks};
//! # use wharf_guest::{Connection, Result, StreamHandler};
//! # #[derive(Default)]
//! # struct Upper;
//! # impl StreamHandler for Upper {
//! #     fn handle(&mut self, _: &mut Connection) -> Result { Ok(()) }
//! # }
//!
//! impl ServerHooks for Upper {
//!     fn verify_request(client: &Address) -> bool {
//!         client.ip().is_some_and(|ip| ip.is_loopback())
//!     }
//! }
//!
//! wharf_guest::export!(Upper, hooks = Upper);
//! ```

// The unsafe code that calling the host needs is all in what wit-bindgen generates, where the lint doesn't look.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod address;
#[allow(missing_docs, unreachable_pub, reason = "generated")]
mod bindings;
mod connection;
mod datagram;
mod error_code;
mod export;
#[cfg(test)]
mod fake_host;
pub mod framing;
mod handler;
mod request;
mod session;
mod stdio;

pub use address::{Address, NotInet};
pub use connection::Connection;
pub use datagram::Datagram;
pub use handler::{DatagramHandler, Error, Result, ServerHooks, StreamHandler};
pub use request::{DatagramRequest, DatagramRequestHandler, StreamRequest, StreamRequestHandler};
#[cfg(not(target_os = "unknown"))]
pub use stdio::{eprintln, println};

/// What the code that `export!` makes needs. Nothing here is for people.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::datagram as datagram_world;
    pub use crate::bindings::datagram::exports::wharf::handler::datagram_handler::Guest as DatagramGuest;
    pub use crate::bindings::hooks::exports::wharf::handler::server_hooks::Guest as HooksGuest;
    pub use crate::bindings::stream::exports::wharf::handler::stream_handler::Guest as StreamGuest;
    pub use crate::bindings::stream::wharf::handler::types::Address;
    pub use crate::bindings::{hooks, stream};
    pub use crate::request::{DatagramRequests, StreamRequests};
    pub use crate::session::{Session, connection, datagram, handle_error, service_actions, verify_request};
    #[cfg(target_os = "unknown")]
    pub use crate::stdio::print;
}
