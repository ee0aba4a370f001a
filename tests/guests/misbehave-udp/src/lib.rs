//! Does what the first line of a datagram says. `Misbehave::handle` lists the commands; any other
//! datagram is given back. Turns clients from 127.0.0.2 away, and prints the errors that its
//! handle-error gets.

#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wharf_guest::{Address, Datagram, DatagramHandler, Result, ServerHooks, println};

mod variable;

#[derive(Default)]
struct Misbehave;

impl DatagramHandler for Misbehave {
    fn setup(&mut self, datagram: Datagram) -> Result {
        match first_line(&datagram) {
            "phases" => Ok(datagram.reply(b"setup")?),
            "fail-setup" => Err("asked to fail")?,
            _ => Ok(()),
        }
    }

    fn handle(&mut self, datagram: Datagram) -> Result {
        let line = first_line(&datagram);
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        let answer = match command {
            "panic" => panic!("asked to panic"),
            "error" => return Err(argument.into()),
            "spin" => spin(),
            "silent" => return Ok(()),
            "to" => {
                let (address, text) = argument.split_once(' ').ok_or("to ADDRESS TEXT")?;
                tell(datagram.send_to(text.as_bytes(), &address_from(address)?))
            }
            "ends" => format!("{} {}", datagram.peer_addr(), datagram.local_addr()),
            "large" => tell(datagram.reply(&vec![b'x'; argument.parse()?])),
            "env" => variable::variable(argument).unwrap_or_else(|| "unset".into()),
            "phases" => "handle".into(),
            "fail-handle" => Err("asked to fail")?,
            _ => return Ok(datagram.reply(datagram.packet())?),
        };
        datagram.reply(answer.as_bytes())?;
        Ok(())
    }

    fn finish(&mut self, datagram: Datagram) -> Result {
        match first_line(&datagram) {
            "phases" | "fail-handle" | "fail-setup" => Ok(datagram.reply(b"finish")?),
            _ => Ok(()),
        }
    }
}

impl ServerHooks for Misbehave {
    fn verify_request(client: &Address) -> bool {
        client.ip() != Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)))
    }

    fn handle_error(client: &Address, error: &str) {
        println!("handle_error {client}: {error}");
    }
}

/// What is no text asks for nothing.
fn first_line(datagram: &Datagram) -> &str {
    let line = datagram.packet().split(|byte| *byte == b'\n').next().unwrap_or_default();
    str::from_utf8(line).unwrap_or_default().trim_end()
}

/// `127.0.0.1:9999`, `/run/x.sock` or `@name`.
fn address_from(text: &str) -> Result<Address> {
    if text.starts_with(['/', '@']) {
        return Ok(Address::Unix(Some(text.into())));
    }
    Ok(text.parse::<SocketAddr>()?.into())
}

fn tell(sent: io::Result<()>) -> String {
    match sent {
        Ok(()) => "sent".into(),
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

wharf_guest::export!(datagram = Misbehave, hooks = Misbehave);
