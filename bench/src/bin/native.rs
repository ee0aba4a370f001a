//! The baseline: the same server in native tokio, without wasm. Its sockets and its runtime are set
//! as wharf's are.
//!
//! Prints `listening URL` for each of its sockets, then serves until it is killed.

#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket, UnixListener};

const BUFFER: usize = 64 << 10;
const BACKLOG: i32 = 1024;
/// As wharf's `max-packet-size`.
const PACKET: usize = 8192;

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).ok_or_else(|| anyhow::anyhow!("no path for the Unix socket"))?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(Path::new(&path)))
}

async fn serve(path: &Path) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Inherited by what is accepted, as wharf does it.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    let tcp = TcpListener::from_std(socket.into())?;
    let unix = UnixListener::bind(path)?;
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening tcp://{}", tcp.local_addr()?);
    println!("listening unix://{}", path.display());
    println!("listening udp://{}", udp.local_addr()?);

    tokio::spawn(datagrams(udp));
    tokio::spawn(async move {
        while let Ok((stream, _)) = unix.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    loop {
        let (stream, _) = tcp.accept().await?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = vec![0; BUFFER];
    // A connection that fails is over, and nobody's business.
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn datagrams(socket: UdpSocket) {
    let mut buffer = vec![0; PACKET];
    loop {
        if let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..length], client).await;
        }
    }
}
