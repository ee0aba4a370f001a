//! Answers each datagram in upper case. The twin of `udp.py`.

#![forbid(unsafe_code)]

use wharf_guest::{Datagram, Result, println};

#[wharf_guest::main]
fn handle(datagram: Datagram) -> Result {
    let data = datagram.packet().trim_ascii();
    println!("{} wrote:", datagram.peer_addr());
    println!("{}", str::from_utf8(data)?);
    datagram.send_to(&data.to_ascii_uppercase(), &datagram.peer_addr())?;
    Ok(())
}
