//! Bulk downloads as processes of their own, `bench load-bulk` and `bench bulk-origin`: a real ClientHello, and then as many bytes
//! as the way takes. What a tunnel carries is opaque to it, so the two ends save themselves the ciphers: else they would be
//! what is measured, on the one processor that they share.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::socket::{MsgFlags, recv};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde::{Deserialize, Serialize};

/// What the origin says once it listens.
pub const READY: &str = "ready";
const PIECE: usize = 256 * 1024;

/// What the generator is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where to connect to
    #[arg(long, value_name = "ADDRESS")]
    pub to: SocketAddr,
    /// The server name to ask for
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub connections: usize,
    /// Seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    pub duration: f64,
}

/// What the origin is told.
#[derive(clap::Args)]
pub struct OriginArguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
}

/// What was downloaded, printed as one line of JSON.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Bytes.
    pub bytes: u64,
    /// In so many seconds.
    pub seconds: f64,
}

/// Downloads, and prints the report.
pub fn run(arguments: &Arguments) -> Result<()> {
    let hello = hello(&arguments.name)?;
    let (bytes, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut streams = Vec::new();
    for _ in 0..arguments.connections {
        let mut stream =
            TcpStream::connect(arguments.to).with_context(|| format!("cannot connect to {}", arguments.to))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&hello)?;
        streams.push(stream);
    }
    // The first byte has come when it begins, so that no dialling is counted.
    for stream in &mut streams {
        ensure!(stream.read(&mut [0])? == 1, "a connection ended before its first byte");
    }
    let began = Instant::now();
    let readers: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let (bytes, over) = (Arc::clone(&bytes), Arc::clone(&over));
            thread::spawn(move || read(&stream, &bytes, &over))
        })
        .collect();
    thread::sleep(Duration::from_secs_f64(arguments.duration));
    let report = Report { bytes: bytes.load(Ordering::Relaxed), seconds: began.elapsed().as_secs_f64() };
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().map_err(|_panic| anyhow!("a reader died"))??;
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn read(stream: &TcpStream, bytes: &AtomicU64, over: &AtomicBool) -> Result<()> {
    let mut buffer = vec![0; PIECE];
    while !over.load(Ordering::Relaxed) {
        // The kernel throws the bytes away uncopied: the generator shall not be what is measured.
        let length = recv(stream.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC).context("a download broke")?;
        ensure!(length > 0, "a download ended");
        bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Serves whoever says anything with bytes until it goes.
pub fn run_origin(arguments: &OriginArguments) -> Result<()> {
    let listener = TcpListener::bind(arguments.listen).with_context(|| format!("cannot bind {}", arguments.listen))?;
    println!("{READY}");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        thread::spawn(move || {
            let piece = vec![0x17; PIECE];
            let said = stream.read(&mut [0; 4096]);
            // It ends when the client has gone.
            while said.is_ok() && stream.write_all(&piece).is_ok() {}
        });
    }
    Ok(())
}

/// A ClientHello as a TLS client sends it.
fn hello(name: &str) -> Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned())?)?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello)?;
    Ok(hello)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_a_client_hello_with_the_name() {
        let hello = hello("downloads.example").unwrap();
        assert_eq!(hello[..2], [22, 3]);
        assert_eq!(hello[5], 1);
        assert!(hello.windows(17).any(|part| part == b"downloads.example"));
    }
}
