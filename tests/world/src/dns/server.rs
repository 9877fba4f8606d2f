//! The sockets of the name server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

use super::answer::{encode, respond};
use super::{Answer, Dns, Query};

const PORT: u16 = 53;
/// The largest answer over UDP to a client that announces no size (RFC 1035, 2.3.4).
const PLAIN_LIMIT: u16 = 512;

/// Binds UDP and TCP port 53 on each address and answers from then on, in the calling task's runtime.
pub(crate) async fn serve(dns: Dns, addresses: [IpAddr; 2]) -> Result<()> {
    let mut sockets = Vec::new();
    for address in addresses {
        let bound = SocketAddr::new(address, PORT);
        let udp = Arc::new(UdpSocket::bind(bound).await.with_context(|| format!("cannot bind UDP {bound}"))?);
        let tcp = TcpListener::bind(bound).await.with_context(|| format!("cannot bind TCP {bound}"))?;
        tokio::spawn(answer_udp(dns.clone(), Arc::clone(&udp)));
        tokio::spawn(answer_tcp(dns.clone(), tcp));
        sockets.push(udp);
    }
    let (outbox, unasked) = mpsc::unbounded_channel();
    dns.connect(outbox);
    tokio::spawn(send_unasked(sockets, unasked));
    Ok(())
}

async fn answer_udp(dns: Dns, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 4096];
    loop {
        // An error here is an ICMP message about an earlier answer.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let (dns, socket, raw) = (dns.clone(), Arc::clone(&socket), buffer[..length].to_vec());
        tokio::spawn(async move {
            for packet in answer(&dns, &raw, from, false).await {
                report(socket.send_to(&packet, from).await.map(drop));
            }
        });
    }
}

async fn answer_tcp(dns: Dns, listener: TcpListener) {
    loop {
        let Ok((stream, from)) = listener.accept().await else { continue };
        let dns = dns.clone();
        tokio::spawn(async move { report(converse(&dns, stream, from).await) });
    }
}

/// Length-prefixed messages, as many as the client sends (RFC 7766).
async fn converse(dns: &Dns, mut stream: TcpStream, from: SocketAddr) -> std::io::Result<()> {
    loop {
        let Ok(length) = stream.read_u16().await else { return Ok(()) };
        let mut raw = vec![0; usize::from(length)];
        stream.read_exact(&mut raw).await?;
        for packet in answer(dns, &raw, from, true).await {
            let length = u16::try_from(packet.len()).expect("a test's DNS message is shorter than 64 KiB");
            stream.write_all(&[&length.to_be_bytes(), packet.as_slice()].concat()).await?;
        }
    }
}

async fn send_unasked(sockets: Vec<Arc<UdpSocket>>, mut unasked: mpsc::UnboundedReceiver<(Vec<u8>, SocketAddr)>) {
    while let Some((packet, target)) = unasked.recv().await {
        let from = sockets.iter().find(|socket| socket.local_addr().is_ok_and(|own| own.is_ipv4() == target.is_ipv4()));
        if let Some(socket) = from {
            report(socket.send_to(&packet, target).await.map(drop));
        }
    }
}

async fn answer(dns: &Dns, raw: &[u8], from: SocketAddr, tcp: bool) -> Vec<Vec<u8>> {
    let Ok(request) = Message::from_vec(raw) else { return Vec::new() };
    let Some(query) = request.queries.first().cloned() else { return Vec::new() };
    let name = query.name().to_ascii().trim_end_matches('.').to_owned();
    let found = dns.find(&name).unwrap_or_else(|| Answer::failure(ResponseCode::NXDomain));
    dns.record(Query { name, kind: query.query_type(), tcp, from, at: Instant::now() });
    tokio::time::sleep(found.delay).await;
    let announced = request.edns.as_ref().map_or(PLAIN_LIMIT, hickory_proto::op::Edns::max_payload);
    let limit = (!tcp).then_some(usize::from(announced.max(PLAIN_LIMIT)));
    found.write(&request, &query, raw, limit).unwrap_or_else(|error| {
        eprintln!("the world's name server cannot answer: {error:#}");
        encode(&respond(&request, ResponseCode::ServFail), false).into_iter().collect()
    })
}

/// A client that went away is its own business, but a test's author wants to know of anything else.
fn report(result: std::io::Result<()>) {
    use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
    if let Err(error) = result
        && !matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | UnexpectedEof)
    {
        eprintln!("the world's name server: {error}");
    }
}
