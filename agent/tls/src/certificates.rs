//! What the certificates of the CA and its leaves say (RFC 5280), so that the strictest verifiers take them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};

/// Clients keep the CA in their stores and long-running ones read it only once, so it outlives them.
const CA_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// Clocks that run behind ours still find the CA valid.
const CA_BACKDATE: Duration = Duration::from_hours(24);
/// How long a leaf is valid from now on.
pub(crate) const LEAF_LIFE: Duration = Duration::from_hours(48);
/// Likewise for leaves.
pub(crate) const LEAF_BACKDATE: Duration = Duration::from_hours(1);

/// The root, which clients trust. Its key is thrown away once it has signed the issuing CA, so it vouches for nothing else, ever.
pub(crate) fn root(subtrees: &[String], label: &str, now: SystemTime) -> CertificateParams {
    authority(subtrees, label, now, 1)
}

/// The issuing CA, which signs the leaves with the key that is kept, for one of the subtrees. Each has a certificate of its own,
/// because it goes out with every full handshake: one for hundreds of subtrees is ten kilobytes, for clients to receive, parse
/// and compare names with. Each also has a name of its own, lest a verifier that knows several take one for another.
///
/// There are two levels because a verifier need not apply the constraints of what it trusts outright (RFC 5280 § 6.1), and Java
/// does not; those of a certificate below it all verifiers apply.
pub(crate) fn issuing(subtree: &str, label: &str, number: usize, now: SystemTime) -> CertificateParams {
    let mut params = authority(&[subtree.to_owned()], &format!("{label} issuer {number}"), now, 0);
    params.use_authority_key_identifier_extension = true;
    params
}

/// A CA for `subtrees`, the only DNS names that may be signed for below it.
///
/// The constraints also shut out every IP address, since a permitted DNS subtree says nothing about names of other kinds, and the
/// extended key usage keeps a stolen key from signing client, mail or code-signing certificates.
fn authority(subtrees: &[String], label: &str, now: SystemTime, authorities_below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, label);
    params.serial_number = Some(serial());
    params.not_before = (now - CA_BACKDATE).into();
    params.not_after = (now + CA_LIFE).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(authorities_below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: subtrees.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv4Addr::UNSPECIFIED.into(), 0)),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv6Addr::UNSPECIFIED.into(), 0)),
        ],
    });
    params
}

/// A server's certificate for `host`, valid no longer than its CA.
///
/// The subject is empty, which makes rcgen mark the alternative name critical, as OpenSSL's strict mode wants it.
pub(crate) fn leaf(host: &str, now: SystemTime, ca_not_after: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::DnsName(host.try_into()?)];
    // Not rcgen's default, a hash of the key: all our leaves share one key, and NSS refuses two with the same serial.
    params.serial_number = Some(serial());
    params.not_before = (now - LEAF_BACKDATE).into();
    params.not_after = (now + LEAF_LIFE).min(ca_not_after).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Python 3.13's default flags refuse a leaf without it.
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A random positive serial number of 16 bytes (RFC 5280 § 4.1.2.2 allows 20).
fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the kernel's random numbers are there");
    // The top bits: positive, and never a leading zero byte.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}
