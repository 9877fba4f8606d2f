//! Connections that we make ourselves.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

/// Connects, and is left alone on the way by other agents that steer the same programs.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    tollgate_kernel::exempt(&socket)?;
    let stream = socket.connect(address).await?;
    tollgate_kernel::unexempt(&stream)?;
    Ok(stream)
}
