//! Sockets: which addresses there are, and how they are listened at.

mod addresses;
mod datagrams;
mod families;
mod keepalive;
mod listening;
mod options;
mod sources;
mod unix;
