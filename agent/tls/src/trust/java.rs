//! A trust store for Java, made without Java.
//!
//! PKCS #12 (RFC 7292) with neither password nor MAC: there is nothing secret in it, and Java reads a store for which it was given
//! no password without checking one. The certificates carry the attribute by which Java knows a trusted entry from a chain's.

use rustls_pki_types::CertificateDer;
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag, construct_der};

use super::bundle::Bundle;

/// PKCS #7 `data`.
const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
/// PKCS #12 `certBag`.
const CERT_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
/// PKCS #9 `x509Certificate`.
const X509_CERTIFICATE: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];
/// PKCS #9 `friendlyName`: the entry's alias.
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113_549, 1, 9, 20];
/// Oracle's `trustedKeyUsage`.
const TRUSTED_KEY_USAGE: &[u64] = &[2, 16, 840, 1, 113_894, 746_875, 1, 1];
/// `anyExtendedKeyUsage`.
const ANY_USAGE: &[u64] = &[2, 5, 29, 37, 0];

/// The PKCS #12 file that has each certificate as a trusted entry.
pub(super) fn trust_store(bundle: &Bundle) -> Vec<u8> {
    let bags = construct_der(|writer| {
        writer.write_sequence(|writer| {
            for (number, certificate) in bundle.certificates().iter().enumerate() {
                bag(writer.next(), number, certificate);
            }
        });
    });
    let safes = construct_der(|writer| writer.write_sequence(|writer| content(writer.next(), &bags)));
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(3);
            content(writer.next(), &safes);
        });
    })
}

/// A PKCS #7 `ContentInfo` of type `data`.
fn content(writer: DERWriter<'_>, bytes: &[u8]) {
    writer.write_sequence(|writer| {
        oid(writer.next(), DATA);
        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(bytes));
    });
}

/// A `SafeBag` with one certificate.
fn bag(writer: DERWriter<'_>, number: usize, certificate: &CertificateDer<'_>) {
    writer.write_sequence(|writer| {
        oid(writer.next(), CERT_BAG);
        writer.next().write_tagged(Tag::context(0), |writer| {
            writer.write_sequence(|writer| {
                oid(writer.next(), X509_CERTIFICATE);
                writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(certificate));
            });
        });
        writer.next().write_set_of(|writer| {
            attribute(writer.next(), FRIENDLY_NAME, |writer| writer.write_bmp_string(&format!("root-{number}")));
            attribute(writer.next(), TRUSTED_KEY_USAGE, |writer| oid(writer, ANY_USAGE));
        });
    });
}

fn attribute(writer: DERWriter<'_>, kind: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|writer| {
        oid(writer.next(), kind);
        writer.next().write_set_of(|writer| value(writer.next()));
    });
}

fn oid(writer: DERWriter<'_>, components: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(components));
}
