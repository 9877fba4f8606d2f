use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpStream;

use crate::socket;

/// A connection being made.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// A name being looked up.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Where sockets come from: this process's own network, or another namespace's.
pub trait Dial: Send + Sync + 'static {
    /// Connects. No time limit is needed: the caller has one.
    fn dial(&self, address: SocketAddr) -> Dialing;

    /// Looks a host up, in the order of preference.
    fn resolve(&self, host: &str, port: u16) -> Resolving;
}

/// This process's own network and resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDial;

impl Dial for SystemDial {
    fn dial(&self, address: SocketAddr) -> Dialing {
        Box::pin(socket::connect(address))
    }

    fn resolve(&self, host: &str, port: u16) -> Resolving {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}
