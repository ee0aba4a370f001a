//! Turns clients from 127.0.0.2 away, and fails for all others, with the line they send as the
//! error. Prints the calls of its other hooks.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};

use wharf_guest::{Address, Connection, Result, ServerHooks, println};

struct Hooks;

impl ServerHooks for Hooks {
    fn verify_request(client: &Address) -> bool {
        client.ip() != Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)))
    }

    fn handle_error(client: &Address, error: &str) {
        println!("handle_error {client}: {error}");
    }

    fn service_actions() {
        println!("service_actions");
    }
}

#[wharf_guest::main(hooks = Hooks)]
fn handle(connection: Connection) -> Result {
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line)?;
    Err(line.trim_end())?
}
