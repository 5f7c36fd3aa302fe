//! Encryption keys: the recipients of wrapped record keys.
//!
//! Owns the KEM identifiers, the two encodings of a key (bytes for the ledger,
//! PEM text for files) and the fingerprint by which a wrap names its recipient.
//! A private key wipes its memory and never shows itself in a debug print. This
//! module does not read or write files; a node never holds a private key of it.

use hpke::{Deserializable, HpkeError, Kem, Serializable, kem};
use pem_rfc7468::LineEnding;
use zeroize::Zeroizing;

use crate::hash::sha256;
use crate::pem::{self, Label};
use crate::random::{OsRandom, RandomUnavailable};
use crate::signing::Domain;

/// First byte of every encoded encryption key. Changing it breaks state.
const KEY_FORMAT: u8 = 1;
const HEADER_LEN: usize = 3;
const PUBLIC_PEM_LABEL: &str = "CONSILIUM ENCRYPTION PUBLIC KEY";
const PRIVATE_PEM_LABEL: &str = "CONSILIUM ENCRYPTION PRIVATE KEY";

/// Why an encryption key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The KEM is none of ours.
    #[error("unknown KEM {0:#06x}")]
    UnknownKem(u16),
    /// The encoding is of another version than 1.
    #[error("unknown key format {0}")]
    UnknownFormat(u8),
    /// The encoding ends before the key begins.
    #[error("encoded key is too short")]
    Truncated,
    /// The key has the wrong length for its KEM.
    #[error("{kem} key: expected {expected} bytes, got {got}")]
    Length {
        /// The KEM that the key claims.
        kem: KemId,
        /// Bytes that it should have.
        expected: usize,
        /// Bytes that it has.
        got: usize,
    },
    /// The bytes are not a key of this KEM.
    #[error("{0} key: not a valid encoding")]
    Encoding(KemId),
    /// The text is not PEM with the expected label.
    #[error("not a PEM file with a {0}")]
    Pem(&'static str),
    /// No randomness for a new key.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// Key encapsulation mechanisms, by their HPKE code points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KemId {
    /// DHKEM(P-256, HKDF-SHA256), RFC 9180: for recipients with HSMs.
    P256HkdfSha256,
    /// DHKEM(X25519, HKDF-SHA256), RFC 9180: for recipients who can do no better.
    X25519HkdfSha256,
    /// X-Wing, X25519 with ML-KEM-768 (draft-connolly-cfrg-xwing-kem): the default,
    /// because records must stay secret for a lifetime.
    XWing,
}

/// Runs `$body` with `$kem` bound to the `hpke` type of a [`KemId`].
macro_rules! with_kem {
    ($id:expr, $kem:ident => $body:expr) => {
        match $id {
            $crate::keys::KemId::P256HkdfSha256 => {
                type $kem = hpke::kem::DhP256HkdfSha256;
                $body
            }
            $crate::keys::KemId::X25519HkdfSha256 => {
                type $kem = hpke::kem::X25519HkdfSha256;
                $body
            }
            $crate::keys::KemId::XWing => {
                type $kem = hpke::kem::XWing;
                $body
            }
        }
    };
}
pub(crate) use with_kem;

impl KemId {
    /// All KEMs.
    pub const ALL: [Self; 3] = [Self::P256HkdfSha256, Self::X25519HkdfSha256, Self::XWing];

    /// The code point in the IANA registry of HPKE KEMs.
    pub const fn code(self) -> u16 {
        match self {
            Self::P256HkdfSha256 => kem::DhP256HkdfSha256::KEM_ID,
            Self::X25519HkdfSha256 => kem::X25519HkdfSha256::KEM_ID,
            Self::XWing => kem::XWing::KEM_ID,
        }
    }

    /// Length of a public key in bytes (`Npk`).
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::P256HkdfSha256 => 65,
            Self::X25519HkdfSha256 => 32,
            Self::XWing => 1216,
        }
    }

    /// Length of a private key in bytes (`Nsk`).
    pub const fn private_key_len(self) -> usize {
        32
    }

    /// Length of an encapsulated key in bytes (`Nenc`).
    pub const fn encapsulated_len(self) -> usize {
        match self {
            Self::P256HkdfSha256 => 65,
            Self::X25519HkdfSha256 => 32,
            Self::XWing => 1120,
        }
    }
}

impl TryFrom<u16> for KemId {
    type Error = KeyError;

    fn try_from(code: u16) -> Result<Self, KeyError> {
        Self::ALL.into_iter().find(|kem| kem.code() == code).ok_or(KeyError::UnknownKem(code))
    }
}

impl std::fmt::Display for KemId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::P256HkdfSha256 => "DHKEM(P-256)",
            Self::X25519HkdfSha256 => "DHKEM(X25519)",
            Self::XWing => "X-Wing",
        })
    }
}

/// A public key to wrap record keys for. One that exists is valid for its KEM.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EncryptionPublicKey {
    kem: KemId,
    raw: Vec<u8>,
}

impl EncryptionPublicKey {
    /// Reads the raw key as HPKE serialises it.
    pub fn from_raw(kem: KemId, raw: &[u8]) -> Result<Self, KeyError> {
        check_len(kem, kem.public_key_len(), raw.len())?;
        with_kem!(kem, K => <K as Kem>::PublicKey::from_bytes(raw).map(|_| ())).map_err(|_| KeyError::Encoding(kem))?;
        Ok(Self { kem, raw: raw.to_vec() })
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let (kem, raw) = split_encoded(bytes)?;
        Self::from_raw(kem, raw)
    }

    /// Format (1 byte, 1), KEM (2 bytes, big endian), raw key: the form on the ledger.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.kem, &self.raw).to_vec()
    }

    /// Reads a PEM file with the label `CONSILIUM ENCRYPTION PUBLIC KEY`.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::decode(&decode_pem(pem, PUBLIC_PEM_LABEL)?)
    }

    /// Writes a PEM file.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        Ok(encode_pem(&self.encode(), PUBLIC_PEM_LABEL)?.to_string())
    }

    /// The KEM of this key.
    pub fn kem(&self) -> KemId {
        self.kem
    }

    /// The raw key as HPKE serialises it.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// SHA-256 of the domain prefix and [`Self::encode`]: names the recipient.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&[&Domain::ENCRYPTION_KEY.prefix(), &self.encode()])
    }
}

impl std::fmt::Debug for EncryptionPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An X-Wing key is 1,216 bytes: its fingerprint says enough.
        write!(f, "EncryptionPublicKey({} {})", self.kem, hex::encode(self.fingerprint()))
    }
}

/// A private key that unwraps record keys. Belongs in a client or custodian only.
pub struct EncryptionPrivateKey {
    derived: Derived,
    public: EncryptionPublicKey,
}

/// A private key as HPKE takes it. Deriving one from the raw key costs about as much as opening a
/// wrap with it (X-Wing: all of ML-KEM's key generation), so it is kept. Wiped when dropped, as
/// `hpke` does it.
pub(crate) enum Derived {
    /// DHKEM(P-256, HKDF-SHA256).
    P256(<kem::DhP256HkdfSha256 as Kem>::PrivateKey),
    /// DHKEM(X25519, HKDF-SHA256).
    X25519(<kem::X25519HkdfSha256 as Kem>::PrivateKey),
    /// X-Wing.
    XWing(Box<<kem::XWing as Kem>::PrivateKey>),
}

impl Derived {
    /// With the public half, raw.
    fn from_raw(kem: KemId, raw: &[u8]) -> Result<(Self, Vec<u8>), HpkeError> {
        fn parse<K: Kem>(raw: &[u8]) -> Result<(K::PrivateKey, Vec<u8>), HpkeError> {
            let private = K::PrivateKey::from_bytes(raw)?;
            let public = K::sk_to_pk(&private).to_bytes().to_vec();
            Ok((private, public))
        }
        Ok(match kem {
            KemId::P256HkdfSha256 => {
                let (private, public) = parse::<kem::DhP256HkdfSha256>(raw)?;
                (Self::P256(private), public)
            }
            KemId::X25519HkdfSha256 => {
                let (private, public) = parse::<kem::X25519HkdfSha256>(raw)?;
                (Self::X25519(private), public)
            }
            KemId::XWing => {
                let (private, public) = parse::<kem::XWing>(raw)?;
                (Self::XWing(Box::new(private)), public)
            }
        })
    }

    fn to_raw(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::P256(private) => private.to_bytes().to_vec(),
            Self::X25519(private) => private.to_bytes().to_vec(),
            Self::XWing(private) => private.to_bytes().to_vec(),
        })
    }
}

impl EncryptionPrivateKey {
    /// A new key from the randomness of the operating system.
    pub fn generate(kem: KemId) -> Result<Self, KeyError> {
        let mut random = OsRandom::default();
        let raw = with_kem!(kem, K => {
            let (private, _) = K::gen_keypair_with_rng(&mut random);
            Zeroizing::new(private.to_bytes().to_vec())
        });
        if random.failed() {
            return Err(RandomUnavailable.into());
        }
        Self::from_raw(kem, &raw)
    }

    /// Reads the raw key as HPKE serialises it (X-Wing: the 32-byte seed).
    pub fn from_raw(kem: KemId, raw: &[u8]) -> Result<Self, KeyError> {
        check_len(kem, kem.private_key_len(), raw.len())?;
        let (derived, public) = Derived::from_raw(kem, raw).map_err(|_| KeyError::Encoding(kem))?;
        Ok(Self { derived, public: EncryptionPublicKey { kem, raw: public } })
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let (kem, raw) = split_encoded(bytes)?;
        Self::from_raw(kem, raw)
    }

    /// Format (1 byte, 1), KEM (2 bytes, big endian), raw key.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        encode(self.kem(), &self.derived.to_raw())
    }

    /// Reads a PEM file with the label `CONSILIUM ENCRYPTION PRIVATE KEY`.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::decode(&decode_pem(pem, PRIVATE_PEM_LABEL)?)
    }

    /// Writes a PEM file, not encrypted: protecting it is the owner's task.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        encode_pem(&self.encode(), PRIVATE_PEM_LABEL)
    }

    /// The KEM of this key.
    pub fn kem(&self) -> KemId {
        self.public.kem
    }

    /// As HPKE takes it.
    pub(crate) fn derived(&self) -> &Derived {
        &self.derived
    }

    /// The public half.
    pub fn public_key(&self) -> EncryptionPublicKey {
        self.public.clone()
    }
}

impl std::fmt::Debug for EncryptionPrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptionPrivateKey({} [redacted])", self.kem())
    }
}

fn check_len(kem: KemId, expected: usize, got: usize) -> Result<(), KeyError> {
    if expected == got { Ok(()) } else { Err(KeyError::Length { kem, expected, got }) }
}

fn encode(kem: KemId, raw: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(HEADER_LEN + raw.len()));
    out.push(KEY_FORMAT);
    out.extend_from_slice(&kem.code().to_be_bytes());
    out.extend_from_slice(raw);
    out
}

fn split_encoded(bytes: &[u8]) -> Result<(KemId, &[u8]), KeyError> {
    let [format, high, low, raw @ ..] = bytes else {
        return Err(KeyError::Truncated);
    };
    if *format != KEY_FORMAT {
        return Err(KeyError::UnknownFormat(*format));
    }
    Ok((KemId::try_from(u16::from_be_bytes([*high, *low]))?, raw))
}

fn encode_pem(bytes: &[u8], label: &'static str) -> Result<Zeroizing<String>, KeyError> {
    pem_rfc7468::encode_string(label, LineEnding::LF, bytes).map(Zeroizing::new).map_err(|_| KeyError::Pem(label))
}

fn decode_pem(pem: &str, label: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let section = pem::one(pem.as_bytes(), &Label::Other(label.to_owned())).map_err(|_| KeyError::Pem(label))?;
    Ok(section.der)
}

#[cfg(test)]
mod tests;
