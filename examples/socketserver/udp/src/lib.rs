//! Answers each datagram in upper case. The twin of `udp.py`.

#![forbid(unsafe_code)]

use wharf_guest::{Datagram, DatagramHandler, Result, println};

#[derive(Default)]
struct Upper;

impl DatagramHandler for Upper {
    fn handle(&mut self, datagram: &mut Datagram) -> Result {
        let data = datagram.packet().trim_ascii();
        println!("{} wrote:", datagram.client_address());
        println!("{}", str::from_utf8(data)?);
        datagram.send_to(&data.to_ascii_uppercase(), &datagram.client_address())?;
        Ok(())
    }
}

wharf_guest::export!(datagram = Upper);
