//! What a name is answered with, and how that is written.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

/// Gets the query's bytes and gives the packets to send back, in order.
type Packets = Arc<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync>;

/// How a name is answered: the records, and the form of the packet.
#[derive(Clone)]
pub struct Answer {
    addresses: Vec<IpAddr>,
    aliases: Vec<String>,
    ttl: u32,
    owner: Owner,
    uncompressed: bool,
    truncated: bool,
    code: ResponseCode,
    packets: Option<Packets>,
    pub(super) delay: Duration,
}

/// The letter case of the answer records' owner name. The question is always echoed as it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// As in the question, which resolvers that randomise case (0x20) insist on.
    #[default]
    AsAsked,
    /// All upper case.
    Upper,
    /// All lower case.
    Lower,
}

impl Answer {
    /// A and AAAA records, which live for five minutes.
    pub fn addresses(addresses: &[IpAddr]) -> Self {
        Self {
            addresses: addresses.to_vec(),
            aliases: Vec::new(),
            ttl: 300,
            owner: Owner::AsAsked,
            uncompressed: false,
            truncated: false,
            code: ResponseCode::NoError,
            packets: None,
            delay: Duration::ZERO,
        }
    }

    /// No records, and this code: `ServFail`, `Refused`, `NXDomain` and so on.
    pub fn failure(code: ResponseCode) -> Self {
        Self { code, ..Self::addresses(&[]) }
    }

    /// The packets that `make` gives, byte for byte, whatever they are. It gets the query's bytes.
    pub fn packets(make: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self { packets: Some(Arc::new(make)), ..Self::addresses(&[]) }
    }

    /// The time to live of every record, in whole seconds.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX), ..self }
    }

    /// Puts a CNAME chain between the name and its addresses: name → first alias → … → last alias → addresses.
    #[must_use]
    pub fn through(self, aliases: &[&str]) -> Self {
        Self { aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(), ..self }
    }

    /// Writes every name in full instead of as a pointer to an earlier one.
    #[must_use]
    pub fn uncompressed(self) -> Self {
        Self { uncompressed: true, ..self }
    }

    /// The letter case of the owner name.
    #[must_use]
    pub fn owner(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Over UDP: no records and the TC bit, so that the client asks again over TCP.
    #[must_use]
    pub fn truncated(self) -> Self {
        Self { truncated: true, ..self }
    }

    /// Waits before answering.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The packets that answer `request`, at most `limit` bytes each where they are ours.
    pub(super) fn write(
        &self,
        request: &Message,
        query: &Query,
        raw: &[u8],
        limit: Option<usize>,
    ) -> Result<Vec<Vec<u8>>> {
        if let Some(make) = &self.packets {
            return Ok(make(raw));
        }
        let mut response = respond(request, self.code);
        for record in self.records(query)? {
            response.add_answer(record);
        }
        let mut packet = encode(&response, self.uncompressed)?;
        if limit.is_some_and(|limit| self.truncated || packet.len() > limit) {
            packet = encode(&response.truncate(), self.uncompressed)?;
        }
        Ok(vec![packet])
    }

    fn records(&self, query: &Query) -> Result<Vec<Record>> {
        let mut owner = match self.owner {
            Owner::AsAsked => query.name().clone(),
            Owner::Lower => query.name().to_lowercase(),
            Owner::Upper => absolute(&query.name().to_ascii().to_ascii_uppercase())?,
        };
        let mut records = Vec::new();
        for alias in &self.aliases {
            let alias = absolute(alias)?;
            records.push(Record::from_rdata(owner, self.ttl, RData::CNAME(rdata::CNAME(alias.clone()))));
            owner = alias;
        }
        for address in &self.addresses {
            let data = match (address, query.query_type()) {
                (IpAddr::V4(v4), RecordType::A) => RData::A(rdata::A(*v4)),
                (IpAddr::V6(v6), RecordType::AAAA) => RData::AAAA(rdata::AAAA(*v6)),
                _ => continue,
            };
            records.push(Record::from_rdata(owner.clone(), self.ttl, data));
        }
        Ok(records)
    }
}

/// An answer without records to `request`.
pub(super) fn respond(request: &Message, code: ResponseCode) -> Message {
    let mut response = Message::new(request.metadata.id, MessageType::Response, OpCode::Query);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.response_code = code;
    response.add_queries(request.queries.iter().cloned());
    response
}

pub(super) fn encode(message: &Message, uncompressed: bool) -> Result<Vec<u8>> {
    let mut packet = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut packet);
    if uncompressed {
        encoder.set_name_encoding(NameEncoding::Uncompressed);
    }
    message.emit(&mut encoder).context("cannot encode a DNS answer")?;
    Ok(packet)
}

fn absolute(name: &str) -> Result<Name> {
    let mut name = Name::from_ascii(name).with_context(|| format!("`{name}` is no DNS name"))?;
    name.set_fqdn(true);
    Ok(name)
}
