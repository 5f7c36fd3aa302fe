//! Certificates, requests, lists and keys out of PEM.
//!
//! The text is read by [`consilium_proto::pem`], whole or not at all; this module
//! says which kind of section belongs into which file. Whatever else reads PEM
//! asks here: the iterators of the TLS libraries pass over what they do not
//! understand (and are forbidden in `clippy.toml` for that reason).

pub use consilium_proto::pem::PemError;
use consilium_proto::pem::{self, Label, PrivateKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

/// The certificates of a file for certificates, in their order; none if there is none.
///
/// # Errors
/// [`PemError`], also if something else than a certificate stands in it.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let sections = pem::all(text, &Label::Certificate)?;
    Ok(sections.into_iter().map(|section| CertificateDer::from(section.der.to_vec())).collect())
}

/// The DER of the one certificate signing request of a file.
///
/// # Errors
/// [`PemError`].
pub(crate) fn request(text: &[u8]) -> Result<Vec<u8>, PemError> {
    Ok(pem::one(text, &Label::CertificateRequest)?.der.to_vec())
}

/// The one private key of a file, PKCS#8 or SEC1.
///
/// # Errors
/// [`PemError`].
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    Ok(match pem::private_key(text)? {
        PrivateKey::Pkcs8(der) => PrivatePkcs8KeyDer::from(der.to_vec()).into(),
        PrivateKey::Sec1(der) => PrivateSec1KeyDer::from(der.to_vec()).into(),
    })
}

/// The DER of the one revocation list of a file, whichever of DER and PEM it is.
///
/// # Errors
/// [`PemError`], if it is no DER, and PEM not of one list alone.
pub fn revocation_list(bytes: &[u8]) -> Result<Vec<u8>, PemError> {
    // A SEQUENCE of 128 bytes and more, as every list with a signature is: no text begins like that.
    if matches!(bytes, [0x30, length, ..] if length & 0x80 != 0) {
        return Ok(bytes.to_vec());
    }
    Ok(pem::one(bytes, &Label::RevocationList)?.der.to_vec())
}
