//! Write plugins for wharf in Rust: a function that serves one client, compiled to WebAssembly and
//! copied into a folder.
//!
//! # A handler
//!
//! A plugin is a library crate. Its `Cargo.toml` has `crate-type = ["cdylib"]` under `[lib]`, and
//! this crate among its dependencies. This is a whole `src/lib.rs`:
//!
//! ```
//! #[wharf_guest::main]
//! fn handle(client: wharf_guest::Connection) -> std::io::Result<()> {
//!     client.write_all(b"hello, world\n")
//! }
//! ```
//!
//! [`Connection`] has the shape of std's `TcpStream`. This handler answers one message:
//!
//! ```
//! use wharf_guest::{Connection, Result};
//!
//! #[wharf_guest::main]
//! fn handle(connection: Connection) -> Result {
//!     let message = connection.read_chunk(1024)?;
//!     let text = str::from_utf8(&message)?;
//!     connection.write_all(text.trim().to_uppercase().as_bytes())?;
//!     Ok(())
//! }
//! ```
//!
//! Each client gets a sandbox of its own. The function may block there: the host serves other
//! clients meanwhile. The host closes the connection when the function returns.
//!
//! # Building
//!
//! ```text
//! rustup target add wasm32-wasip2
//! cargo build --release --target wasm32-wasip2
//! ```
//!
//! The plugin is `target/wasm32-wasip2/release/NAME.wasm`. Copy it into the folder that
//! `wharf serve` watches. It takes the place of an older file of that name for new clients; clients
//! that are being served keep the older one.
//!
//! Two settings make a plugin cheaper. `opt-level = 3`, `lto = true`, `codegen-units = 1`,
//! `panic = "abort"` and `strip = true` in the profile make it small.
//! `RUSTFLAGS=-Clink-arg=-zstack-size=65536` gives it a stack of 64 KiB instead of 1 MiB, so that
//! the host has less to clear for each client. Keep buffers above a few KiB on the heap then, in a
//! `Vec`.
//!
//! Where rustup can't fetch that target, a toolchain that can build its standard library for
//! `wasm32-unknown-unknown` makes a plugin as well, linked with `wasm-component-ld` or `wasm-ld`.
//! The standard library has no system there: std's `println!` prints nothing, and files, variables,
//! arguments, clocks, sleeping and `exit` fail or panic. [`println!`](macro@println) and
//! [`eprintln!`](macro@eprintln) of this crate print on both targets, and a panic's message reaches
//! the log on both.
//!
//! # Testing
//!
//! [`testing`] runs a handler in a native `cargo test`, without a host:
//!
//! ```
//! # use wharf_guest::{Connection, Result, testing};
//! # fn handle(connection: Connection) -> Result {
//! #     let message = connection.read_chunk(1024)?;
//! #     connection.write_all(&message.trim_ascii().to_ascii_uppercase())?;
//! #     Ok(())
//! # }
//! assert_eq!(testing::serve(handle, "hello\n").text(), "HELLO");
//! ```
//!
//! # Settings
//!
//! A plugin listens where its manifest says. The manifest is a file of the plugin's name beside it,
//! `upper.toml` for `upper.wasm`:
//!
//! ```toml
#![doc = include_str!("../doc/upper.toml")]
//! ```
//!
//! A manifest can also be part of the plugin, with [`main`](macro@main)'s option `manifest`. Each
//! key of the operator's file takes precedence over it, and only that file can listen beyond this
//! machine or grant anything.
//!
//! # Reading lines
//!
//! [`Connection`] is [`Read`](std::io::Read) and [`Write`](std::io::Write), and so is a reference
//! to it. One part of a handler can read through a `BufReader` while another writes:
//!
//! ```
//! use std::io::{BufRead, BufReader};
//! use wharf_guest::{Connection, Result};
//!
//! #[wharf_guest::main]
//! fn handle(connection: Connection) -> Result {
//!     for name in BufReader::new(&connection).lines() {
//!         writeln!(connection, "hello {}", name?)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Messages
//!
//! TCP splits and joins the bytes that a client sends, so a protocol needs a rule for the end of a
//! message. `lines` above is such a rule, but a client can send a line without end, until the
//! memory is used up. [`framing`] has lines, delimiters and length prefixes, each with a cap:
//!
//! ```
//! use wharf_guest::framing::{Framing, Prefix};
//! use wharf_guest::{Connection, Result};
//!
//! #[wharf_guest::main]
//! fn handle(connection: Connection) -> Result {
//!     let framing = Framing::length_prefix(Prefix::U32Be, 64 << 10);
//!     let mut requests = framing.reader(&connection);
//!     let mut answers = framing.writer(&connection);
//!     while let Some(request) = requests.next_frame()? {
//!         answers.write_frame(request)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Datagrams
//!
//! A function that takes a [`Datagram`] serves UDP and Unix datagrams. Each datagram is a request
//! with a sandbox of its own:
//!
//! ```
//! use wharf_guest::{Datagram, Result};
//!
//! #[wharf_guest::main]
//! fn handle(datagram: Datagram) -> Result {
//!     let text = str::from_utf8(datagram.packet())?;
//!     datagram.reply(text.trim().to_uppercase().as_bytes())?;
//!     Ok(())
//! }
//! ```
//!
//! The address in its manifest is `udp://127.0.0.1:9999` or `unixgram:///run/upper.sock`.
//! [`Datagram::send_to`] sends to other addresses than the client's, if the operator grants it.
//!
//! # Before and after
//!
//! A handler that keeps something or has three steps is a type that implements [`StreamHandler`] or
//! [`DatagramHandler`]. `setup` runs before `handle`, `finish` after it. Its fields live for the
//! three calls and are gone with the connection. [`export!`] makes a plugin of it:
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
//!     fn setup(&mut self, connection: Connection) -> Result {
//!         println!("{} connects", connection.peer_addr());
//!         Ok(())
//!     }
//!
//!     fn handle(&mut self, connection: Connection) -> Result {
//!         let message = connection.read_chunk(1024)?;
//!         self.bytes += message.len();
//!         connection.write_all(&message)?;
//!         Ok(())
//!     }
//!
//!     fn finish(&mut self, _: Connection) -> Result {
//!         println!("the client sent {} bytes", self.bytes);
//!         Ok(())
//!     }
//! }
//!
//! wharf_guest::export!(Counting);
//! ```
//!
//! Printed lines are in the host's log, with the names of the plugin and of the client. All have
//! the level INFO, whether they were printed to standard output or to standard error.
//!
//! # Errors
//!
//! `?` passes on any error, and text makes one: `Err("no such user")?`. An error ends the session.
//! The log has its text and those of its causes, and the name of the method; a function is
//! `handle`. After a failed `setup` nothing else is called. After a failed `handle`, `finish` still
//! is. A panic ends the session at once. Neither affects any other session.
//!
//! Most errors mean that the client has left, and `?` is right for them. For others, look at the
//! kind; [`Connection`] lists them:
//!
//! ```
//! use std::io::ErrorKind;
//! use std::time::Duration;
//! use wharf_guest::{Connection, Result};
//!
//! #[wharf_guest::main]
//! fn handle(connection: Connection) -> Result {
//!     connection.set_timeout(Some(Duration::from_secs(5)));
//!     loop {
//!         let message = match connection.read_chunk(1024) {
//!             Err(error) if error.kind() == ErrorKind::TimedOut => b"still there?\n".to_vec(),
//!             read => read?,
//!         };
//!         if message.is_empty() {
//!             return Ok(());
//!         }
//!         connection.write_all(&message)?;
//!     }
//! }
//! ```
//!
//! # Hooks
//!
//! A plugin can also turn clients away, and learn of failures. See [`ServerHooks`]:
//!
//! ```
//! use wharf_guest::{Address, Connection, Result, ServerHooks};
//!
//! struct Hooks;
//!
//! impl ServerHooks for Hooks {
//!     fn verify_request(client: &Address) -> bool {
//!         client.ip().is_some_and(|ip| ip.is_loopback())
//!     }
//! }
//!
//! #[wharf_guest::main(hooks = Hooks)]
//! fn handle(connection: Connection) -> Result {
//!     Ok(connection.write_all(b"hello, neighbour\n")?)
//! }
//! ```
//!
//! # Coming from socketserver
//!
//! The module [`socketserver`] has `StreamRequestHandler` and `DatagramRequestHandler` of Python's
//! module, with `rfile`, `wfile` and `client_address`, and a table of Python's names beside ours.

// Calling the host needs unsafe code. All of it is generated by wit-bindgen; the lint does not
// apply there.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod address;
#[allow(missing_docs, unreachable_pub, reason = "generated")]
mod bindings;
mod connection;
mod datagram;
mod error_code;
mod export;
pub mod framing;
mod handler;
mod host;
mod session;
pub mod socketserver;
mod stdio;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use address::{Address, NotInet};
pub use connection::Connection;
pub use datagram::Datagram;
pub use export::main;
pub use handler::{DatagramHandler, Error, Result, ServerHooks, StreamHandler};
#[cfg(not(target_os = "unknown"))]
pub use stdio::{eprintln, println};

/// The parts that the code of `main` and `export!` needs. They are no API.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::datagram as datagram_world;
    pub use crate::bindings::datagram::exports::wharf::handler::datagram_handler::Guest as DatagramGuest;
    pub use crate::bindings::hooks::exports::wharf::handler::server_hooks::Guest as HooksGuest;
    pub use crate::bindings::stream::exports::wharf::handler::stream_handler::Guest as StreamGuest;
    pub use crate::bindings::stream::wharf::handler::types::Address;
    pub use crate::bindings::{hooks, stream};
    pub use crate::session::{
        Session, connection, datagram, handle_error, is_datagram_handler, is_stream_handler, result, service_actions,
        verify_request,
    };
    pub use crate::socketserver::{DatagramRequests, StreamRequests};
    #[cfg(target_os = "unknown")]
    pub use crate::stdio::print;
}
