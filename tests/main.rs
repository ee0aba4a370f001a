//! Black-box tests: the real binary, real sockets, hostile guests.

#![deny(unsafe_code)]
#![allow(unreachable_pub, reason = "all of this is one program, whose parts say what the others may use")]

mod harness;

mod hostile;
mod hosts;
mod languages;
mod plugins;
mod project;
mod sessions;
mod sockets;
