//! rustls configurations: one for listening, one for dialling, and no options
//! by which either could be weakened.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;

use super::algorithms::SIGNATURE_ALGORITHMS;
use super::plausible::PlausibleServerVerifier;
use super::verifier::{ConsiliumClientVerifier, ConsiliumServerVerifier};
use crate::identity::IdentityCertificate;
use crate::verify::VerifyError;

/// The application protocol of every listener: HTTP/2.
pub const ALPN_H2: &[u8] = b"h2";

/// The configuration of a listener.
///
/// # Errors
/// [`rustls::Error`] if provider and protocol version do not fit together.
pub fn server_config(
    verifier: Arc<ConsiliumClientVerifier>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Ok(config)
}

/// The configuration of an outgoing connection.
///
/// # Errors
/// [`rustls::Error`] if provider and protocol version do not fit together.
pub fn client_config(
    verifier: Arc<ConsiliumServerVerifier>,
    resolver: Arc<dyn ResolvesClientCert>,
) -> Result<ClientConfig, rustls::Error> {
    config_with(verifier, resolver)
}

/// The same for a first contact, after which the server's certificate is still
/// to be judged.
///
/// # Errors
/// As [`client_config`].
pub fn first_contact_config(
    verifier: Arc<PlausibleServerVerifier>,
    resolver: Arc<dyn ResolvesClientCert>,
) -> Result<ClientConfig, rustls::Error> {
    config_with(verifier, resolver)
}

fn config_with(
    verifier: Arc<dyn ServerCertVerifier>,
    resolver: Arc<dyn ResolvesClientCert>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])?
        // rustls' name for a verifier of one's own.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(resolver);
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Ok(config)
}

/// The identity of the peer of an established connection, from what rustls
/// calls `peer_certificates()`. Certificate 0 alone counts; the chain behind
/// it was verified in the handshake by one of the verifiers above.
///
/// # Errors
/// [`VerifyError::EmptyChain`] or [`VerifyError::Profile`].
pub fn peer_identity(peer_certificates: Option<&[CertificateDer<'_>]>) -> Result<IdentityCertificate, VerifyError> {
    let leaf = peer_certificates.and_then(<[_]>::first).ok_or(VerifyError::EmptyChain)?;
    Ok(IdentityCertificate::parse(leaf)?)
}

/// aws-lc-rs with the TLS 1.3 suites, the profile's signatures, and the hybrid
/// group first whatever features other crates turn on.
#[must_use]
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        signature_verification_algorithms: SIGNATURE_ALGORITHMS,
        ..default_provider()
    }
}
