//! The cryptography, named explicitly: the process-wide default of rustls is never relied on, so no other crate can change it.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};

/// aws-lc-rs, post-quantum key exchange first, as browsers and SDKs have it by now. rustls does that by a cargo feature, which
/// would hang on what other crates of the build ask for.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}
