//! Private signing keys and their files.
//!
//! A [`SigningKey`] wipes its memory when it is dropped and never shows itself in
//! a debug print. It is written as PKCS#8 in PEM with the label `PRIVATE KEY`, Ed25519
//! in version 1 (RFC 8410), because OpenSSL and BoringSSL refuse version 2 as
//! some Rust libraries write it. A P-256 key is read as SEC1 (`EC PRIVATE KEY`),
//! too, as OpenSSL and many CAs write it. This module does not read or write
//! files, and never encrypts them: protecting the file is its owner's task.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair, RsaKeyPair,
};
use pem_rfc7468::LineEnding;
use zeroize::Zeroizing;

use super::{SignatureAlgorithm, SignatureBytes, SigningError, VerifyingKey};
use crate::pem::{self, NEW_P256_KEY, PemError, PrivateKey};
use crate::random::random_array;

const PEM_LABEL: &str = "PRIVATE KEY";

/// DER in front of the 32-byte seed in PKCS#8 version 1 (RFC 8410 section 7).
const ED25519_V1_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// The same in version 2 (RFC 5958), where the public key follows the seed.
const ED25519_V2_PREFIX: [u8; 16] =
    [0x30, 0x51, 0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// DER between the seed and the public key in version 2.
const ED25519_V2_PUBLIC: [u8; 3] = [0x81, 0x21, 0x00];

/// Why the text of a key file is no signing key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// It is not PEM with one private key, or with one that is encrypted or RSA.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A private key that cannot be one of the ledger, and is of no kind that is known here.
    #[error("the private key in it is not Ed25519 (PKCS#8) or P-256 (PKCS#8 or SEC1), or is damaged")]
    Key,
    /// A sound private key of a kind that does not sign on the ledger.
    #[error("the private key is {0}; the ledger's signatures are Ed25519 or P-256: {NEW_P256_KEY}")]
    Kind(&'static str),
}

/// A private key that signs for the ledger.
pub struct SigningKey(Inner);

enum Inner {
    // Boxed so that moves of the key leave no copies behind on the stack.
    Ed25519(Box<Zeroizing<ed25519_zebra::SigningKey>>),
    // The library wipes this key when it frees it.
    Es256(EcdsaKeyPair),
}

impl SigningKey {
    /// A new key from the randomness of the operating system.
    pub fn generate(algorithm: SignatureAlgorithm) -> Result<Self, SigningError> {
        match algorithm {
            SignatureAlgorithm::Ed25519 => {
                let seed = Zeroizing::new(random_array::<32>()?);
                Ok(Self::from_ed25519_seed(&seed))
            }
            SignatureAlgorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .map(|pair| Self(Inner::Es256(pair)))
                .map_err(|_| SigningError::Library),
        }
    }

    /// The Ed25519 key of a 32-byte seed (RFC 8032 calls it the private key).
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> Self {
        let key = Zeroizing::new(ed25519_zebra::SigningKey::from(*seed));
        Self(Inner::Ed25519(Box::new(key)))
    }

    /// Reads PKCS#8 in DER: Ed25519 (version 1, or 2 with a matching public key)
    /// or P-256.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, SigningError> {
        if let Some(key) = ed25519_from_der(der)? {
            return Ok(key);
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map(|pair| Self(Inner::Es256(pair)))
            .map_err(|_| SigningError::Pkcs8)
    }

    /// Writes PKCS#8 version 1 in DER.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, SigningError> {
        match &self.0 {
            Inner::Ed25519(key) => {
                let mut der = Zeroizing::new(Vec::with_capacity(48));
                der.extend_from_slice(&ED25519_V1_PREFIX);
                der.extend_from_slice(key.as_bytes());
                Ok(der)
            }
            Inner::Es256(pair) => {
                let der = pair.to_pkcs8v1().map_err(|_| SigningError::Library)?;
                Ok(Zeroizing::new(der.as_ref().to_vec()))
            }
        }
    }

    /// Reads a PEM file with one private key: PKCS#8, or SEC1 for P-256.
    pub fn from_pem(pem: &str) -> Result<Self, KeyFileError> {
        match pem::private_key(pem.as_bytes())? {
            PrivateKey::Pkcs8(der) => Self::from_pkcs8_der(&der).map_err(|_| refusal(&der)),
            PrivateKey::Sec1(der) => EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
                .map(|pair| Self(Inner::Es256(pair)))
                .map_err(|_| refusal(&der)),
        }
    }

    /// Writes a PEM file that OpenSSL reads.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, SigningError> {
        let der = self.to_pkcs8_der()?;
        pem_rfc7468::encode_string(PEM_LABEL, LineEnding::LF, &der)
            .map(Zeroizing::new)
            .map_err(|_| SigningError::Library)
    }

    /// The algorithm of this key.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match &self.0 {
            Inner::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Inner::Es256(_) => SignatureAlgorithm::Es256,
        }
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        let raw = match &self.0 {
            Inner::Ed25519(key) => VerifyingKey::from_raw(SignatureAlgorithm::Ed25519, key.verification_key().as_ref()),
            Inner::Es256(pair) => VerifyingKey::from_raw(SignatureAlgorithm::Es256, pair.public_key().as_ref()),
        };
        // A clamped scalar times the base point has large order and a canonical
        // encoding; the library gives P-256 keys as uncompressed points.
        raw.expect("the public half of a private key is a valid public key")
    }

    /// Signs `message` (for the ledger: a `signing_input`).
    ///
    /// Ed25519 cannot fail; ES256 fails only when the library does.
    pub fn sign(&self, message: &[u8]) -> Result<SignatureBytes, SigningError> {
        match &self.0 {
            Inner::Ed25519(key) => Ok(key.sign(message).to_bytes()),
            Inner::Es256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .ok()
                .and_then(|signature| signature.as_ref().try_into().ok())
                .ok_or(SigningError::Library),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({} [redacted])", self.algorithm())
    }
}

/// Why a key is refused that is none of the ledger's: what it is, if the library knows it.
fn refusal(der: &[u8]) -> KeyFileError {
    let is_on = |curve: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::from_private_key_der(curve, der).is_ok();
    if is_on(&ECDSA_P384_SHA384_FIXED_SIGNING) {
        KeyFileError::Kind("on P-384")
    } else if is_on(&ECDSA_P521_SHA512_FIXED_SIGNING) {
        KeyFileError::Kind("on P-521")
    } else if RsaKeyPair::from_pkcs8(der).is_ok() {
        KeyFileError::Kind("an RSA key")
    } else {
        KeyFileError::Key
    }
}

/// `None` when `der` is not an Ed25519 key at all.
fn ed25519_from_der(der: &[u8]) -> Result<Option<SigningKey>, SigningError> {
    let (seed, public) = if let Some(rest) = der.strip_prefix(&ED25519_V1_PREFIX) {
        (rest, None)
    } else if let Some(rest) = der.strip_prefix(&ED25519_V2_PREFIX) {
        let (seed, public) = rest.split_at_checked(32).ok_or(SigningError::Pkcs8)?;
        let public = public.strip_prefix(&ED25519_V2_PUBLIC).ok_or(SigningError::Pkcs8)?;
        (seed, Some(public))
    } else {
        return Ok(None);
    };
    let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.try_into().map_err(|_| SigningError::Pkcs8)?);
    let key = SigningKey::from_ed25519_seed(&seed);
    if public.is_some_and(|public| public != key.verifying_key().raw()) {
        return Err(SigningError::Pkcs8);
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests;
