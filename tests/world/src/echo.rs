//! The echo service (RFC 862) of a site that has nothing to do with language models.

use std::net::IpAddr;

use anyhow::{Context, Result};
use tokio::io;
use tokio::net::TcpListener;

const PORT: u16 = 7;

/// Binds TCP port 7 on each address and sends back what comes, in the calling task's runtime.
pub(crate) async fn serve(addresses: [IpAddr; 2]) -> Result<()> {
    for address in addresses {
        let listener = TcpListener::bind((address, PORT))
            .await
            .with_context(|| format!("cannot bind port {PORT} of {address}"))?;
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    io::copy(&mut from, &mut to).await
                });
            }
        });
    }
    Ok(())
}
