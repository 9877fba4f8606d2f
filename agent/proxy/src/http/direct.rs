//! HTTP/1.1 between a client and a server that both speak it: bytes from one to the other as they come, read but not written anew.
//!
//! ```text
//! head ──plain──► connection to the server ──► request, and response, piece by piece ──► head …
//!   └──odd, edited, switched, translated──► hyper, with every byte that was read
//! ```
//! A connection is one task, its exchanges one after the other. While nothing flows it holds no buffers.

mod admission;
mod back;
mod client;
mod framing;
mod head;
pub(crate) mod limits;
mod pump;
mod scratch;
mod sending;
mod turn;

use std::io;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use self::client::{Client, Next};
use self::turn::{Turn, turn};
use super::service::Context;

pub use self::head::NotHttp;

/// What became of a connection.
pub(super) enum Served<IO> {
    /// It is over.
    Ended(io::Result<()>),
    /// Its next request, or what comes in place of one, is hyper's. These bytes were read of it.
    Odd(IO, Vec<u8>),
}

/// Serves a client's connection as long as its requests are plain ones.
pub(super) async fn serve<IO>(io: IO, context: &Arc<Context>) -> Served<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut client = Client::new(io);
    let mut patience = pin!(client::Patience::new(&context.drain));
    let mut begun = false;
    loop {
        let head = match client.next(&context.target.host, patience.as_mut()).await {
            Ok(Next::Head(head)) => head,
            Ok(Next::Odd) => return client.odd(),
            Ok(Next::Closed) => return Served::Ended(Ok(())),
            Ok(Next::Let) => return Served::Ended(close(client.io).await),
            Err(error) => return Served::Ended(Err(error)),
        };
        if !std::mem::replace(&mut begun, true) {
            context.begun.send_replace(true);
        }
        match turn(&mut client, context, *head).await {
            Turn::Again if !context.drain.is_draining() => {}
            Turn::Again | Turn::Last => return Served::Ended(close(client.io).await),
            Turn::Odd => return client.odd(),
            Turn::Broken(error) => return Served::Ended(Err(error)),
        }
    }
}

/// Closes a connection so that its last response arrives.
async fn close<IO: AsyncWrite + Unpin>(mut io: IO) -> io::Result<()> {
    // Whoever closes first, the end is the same.
    drop(io.shutdown().await);
    Ok(())
}
