//! For the first contact of a client that does not know yet who vouches for the
//! nodes of a member: the server must show a node's certificate of the right
//! form, in time, and hold its key.
//!
//! Whoever signed the certificate plays no part here, so that what comes over
//! such a connection must prove itself, and the certificate is to be judged
//! before the connection is used for anything else.

use std::fmt;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::algorithms::SIGNATURE_ALGORITHMS;
use super::verifier::{ExpectedServer, RefusalHook, alert, refuse_tls12, supported_schemes};
use crate::identity::IdentityCertificate;
use crate::verify::{Purpose, VerifyError, check_bounds, check_purpose};

/// Lets pass whoever may be a node of the members expected. Vouches for nobody.
pub struct PlausibleServerVerifier {
    expected: ExpectedServer,
    on_refusal: RefusalHook,
}

impl PlausibleServerVerifier {
    /// Lets pass the servers expected, and tells the hook why another was refused.
    #[must_use]
    pub fn new(expected: ExpectedServer, on_refusal: RefusalHook) -> Self {
        Self { expected, on_refusal }
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), VerifyError> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(others).cloned().collect();
        check_bounds(&chain)?;
        let claimed = IdentityCertificate::parse(end_entity)?;
        check_purpose(&claimed, Purpose::Server)?;
        // Told before the time, which says less.
        self.expected.admit(claimed.spiffe_id())?;
        claimed.check_time(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for PlausibleServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlausibleServerVerifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for PlausibleServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity, intermediates, now).map_err(|refusal| {
            (self.on_refusal)(&refusal);
            rustls::Error::InvalidCertificate(alert(&refusal))
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &SIGNATURE_ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        supported_schemes()
    }
}
