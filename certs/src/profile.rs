//! What every certificate of the profile, leaf or CA, has in common.
//!
//! Reads with x509-parser, which says precisely what is wrong, and then again
//! with webpki, whose DER rules are stricter inside extensions: only what both
//! parsers accept is a certificate here. Nothing in this module may look at a
//! clock or trust a signature; it judges the form alone.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey, VerificationAlgorithm};
use x509_parser::asn1_rs::Any;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
    Oid,
};
use x509_parser::prelude::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, FromDer, GeneralName, KeyUsage, NameConstraints,
    ParsedExtension, X509Certificate, X509Extension, X509Version,
};
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::serial::{InvalidSerial, Serial};
use consilium_proto::hash::sha256;
use consilium_proto::ids::AuthorityId;
use consilium_proto::names::{InvalidName, Role};
use consilium_proto::when::utc_s;

/// Largest certificate that is looked at, in bytes of DER.
pub const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Begun days count.
const fn days(seconds: i64) -> i64 {
    seconds.saturating_add(DAY_SECONDS - 1) / DAY_SECONDS
}

/// Why a certificate is outside the profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Larger than [`MAX_CERTIFICATE_BYTES`].
    #[error("certificate of {bytes} bytes exceeds {MAX_CERTIFICATE_BYTES}")]
    Oversize {
        /// Its size in bytes of DER.
        bytes: usize,
    },
    /// Not a DER certificate, or not strictly one.
    #[error("not a DER certificate: {0}")]
    Encoding(&'static str),
    /// The version is not 3.
    #[error("X.509 version is not 3")]
    Version,
    /// The serial number breaks RFC 5280 §4.1.2.2.
    #[error(transparent)]
    Serial(#[from] InvalidSerial),
    /// Issuer or subject unique identifiers, which RFC 5280 forbids to CAs.
    #[error("unique identifiers are present")]
    UniqueIdentifier,
    /// The certificate is signed with something else than ECDSA-SHA256/384, or
    /// names two different signature algorithms.
    #[error("signature algorithm is not ECDSA with SHA-256 or SHA-384")]
    SignatureAlgorithm,
    /// The subject key is not a valid, uncompressed point on P-256 or P-384.
    #[error("public key is not an uncompressed point on P-256 or P-384")]
    PublicKey,
    /// `notAfter` does not lie after `notBefore`.
    #[error("validity ends at {}, not after its start {}", utc_s(*not_after), utc_s(*not_before))]
    Validity {
        /// Unix seconds.
        not_before: i64,
        /// Unix seconds.
        not_after: i64,
    },
    /// The validity is longer than the profile allows.
    #[error("validity of {} days exceeds {} days", days(*seconds), days(*max_seconds))]
    ValidityTooLong {
        /// Length of the validity in seconds.
        seconds: i64,
        /// The limit in seconds.
        max_seconds: i64,
    },
    /// An extension occurs twice.
    #[error("extension {oid} occurs twice")]
    DuplicateExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// An extension's value cannot be parsed.
    #[error("extension {oid} is malformed")]
    MalformedExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// An extension that is not understood here is marked critical.
    #[error("unknown critical extension {oid}")]
    UnknownCriticalExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// A required extension is absent.
    #[error("extension {0} is missing")]
    MissingExtension(&'static str),
    /// There is not exactly one URI among the subject alternative names.
    #[error("{count} URI names, not exactly one")]
    UriNames {
        /// How many there are.
        count: usize,
    },
    /// A subject alternative name of a kind that the profile excludes.
    #[error("subject alternative name of a kind outside the profile")]
    NameKind,
    /// A patient's certificate says more than an opaque name: it stays on the ledger for ever.
    #[error("certificate of a patient holds a {0} besides its opaque name")]
    PatientDetail(&'static str),
    /// The URI name is not a SPIFFE id of the profile.
    #[error("URI name: {0}")]
    SpiffeId(#[from] InvalidName),
    /// The extended key usage is not exactly what the role calls for.
    #[error("extended key usages are {found}; role {role} has exactly {}", usages_of(*role))]
    ExtendedKeyUsage {
        /// The role that the certificate claims.
        role: Role,
        /// The usages that it has.
        found: String,
    },
    /// The extended key usage of a CA excludes client or server
    /// authentication.
    #[error("extended key usage of the CA excludes TLS identities")]
    CaExtendedKeyUsage,
    /// The key usage of an identity lacks digitalSignature or includes
    /// signing of certificates or CRLs.
    #[error("key usage is not that of an identity")]
    IdentityKeyUsage,
    /// The key usage of a CA lacks keyCertSign or cRLSign.
    #[error("key usage of the CA lacks keyCertSign or cRLSign")]
    CaKeyUsage,
    /// A CA certificate is presented as an identity.
    #[error("a CA certificate is not an identity")]
    CaAsIdentity,
    /// An identity certificate (or one without CA:TRUE) is presented as a CA.
    #[error("not a CA certificate")]
    NotACa,
    /// The CA's path length constraint is absent or above 1.
    #[error("path length constraint of the CA is not 0 or 1")]
    PathLength,
    /// Name constraints on a leaf (RFC 5280 §4.2.1.10).
    #[error("name constraints on an identity")]
    NameConstraints,
    /// An extension that has to be critical is not (RFC 5280 §4.2.1.9, .10).
    #[error("extension {0} is not critical")]
    NotCritical(&'static str),
    /// A key identifier that is marked critical (RFC 5280 §4.2.1.1, .2).
    #[error("extension {0} is critical")]
    Critical(&'static str),
    /// A name constraint that begins with a dot, which some take for all names
    /// below a domain and others for none.
    #[error("a name constraint begins with a dot")]
    LeadingDot,
    /// Name constraints that constrain nothing (RFC 5280 §4.2.1.10).
    #[error("name constraints are empty")]
    EmptyNameConstraints,
    /// A CA without a name (RFC 5280 §4.1.2.6).
    #[error("the subject of the CA is empty")]
    EmptySubject,
}

fn usages_of(role: Role) -> &'static str {
    match role {
        Role::Node => "clientAuth, serverAuth",
        Role::Admin
        | Role::Service
        | Role::Clinician
        | Role::Researcher
        | Role::Auditor
        | Role::Patient
        | Role::Device => "clientAuth",
    }
}

/// The kind of an identity's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// NIST P-256.
    EcP256,
    /// NIST P-384.
    EcP384,
}

impl KeyType {
    fn point_bytes(self) -> usize {
        match self {
            Self::EcP256 => 65,
            Self::EcP384 => 97,
        }
    }

    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::EcP256 => &ECDSA_P256_SHA256_ASN1,
            Self::EcP384 => &ECDSA_P384_SHA384_ASN1,
        }
    }
}

/// An elliptic-curve public key, known to be a point on its curve.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key_type: KeyType,
    point: Vec<u8>,
    spki: Vec<u8>,
}

impl PublicKey {
    /// Checks a `SubjectPublicKeyInfo` (RFC 5480): named curve P-256 or P-384
    /// and an uncompressed point that lies on it.
    pub(crate) fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Result<Self, ProfileError> {
        let key_type = curve(&spki.algorithm).ok_or(ProfileError::PublicKey)?;
        let bits = &spki.subject_public_key;
        let point: &[u8] = &bits.data;
        let shaped = bits.unused_bits == 0 && point.len() == key_type.point_bytes() && point.first() == Some(&0x04);
        // aws-lc checks curve membership when it parses.
        if !shaped || ParsedPublicKey::new(key_type.algorithm(), point).is_err() {
            return Err(ProfileError::PublicKey);
        }
        Ok(Self { key_type, point: point.to_vec(), spki: spki.raw.to_vec() })
    }

    /// The curve.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The uncompressed point, `04 || x || y` (SEC 1): 65 or 97 bytes.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    /// What an authority with this key is called: SHA-256 of [`Self::spki`].
    #[must_use]
    pub fn authority_id(&self) -> AuthorityId {
        AuthorityId::from_bytes(sha256(&[&self.spki]))
    }

    /// The DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.key_type)
    }
}

/// The extensions that the profile understands, each at most once.
#[derive(Default)]
pub(crate) struct Extensions<'a> {
    pub(crate) basic_constraints: Option<&'a BasicConstraints>,
    pub(crate) basic_constraints_critical: bool,
    pub(crate) key_usage: Option<&'a KeyUsage>,
    pub(crate) extended_key_usage: Option<&'a ExtendedKeyUsage<'a>>,
    pub(crate) names: &'a [GeneralName<'a>],
    pub(crate) authority_key_id: Option<&'a [u8]>,
    pub(crate) subject_key_id: Option<&'a [u8]>,
    pub(crate) name_constraints: Option<&'a NameConstraints<'a>>,
    pub(crate) name_constraints_critical: bool,
    /// How many there are that the profile knows nothing of.
    pub(crate) others: usize,
}

impl<'a> Extensions<'a> {
    /// Sorts the extensions out; refuses duplicates, malformed ones and
    /// critical ones that nobody here will honour.
    pub(crate) fn scan(certificate: &'a X509Certificate<'a>) -> Result<Self, ProfileError> {
        let mut seen = std::collections::BTreeSet::new();
        let mut found = Self::default();
        for extension in certificate.extensions() {
            if !seen.insert(extension.oid.as_bytes()) {
                let oid = dotted(&extension.oid);
                return Err(ProfileError::DuplicateExtension { oid });
            }
            found.take(extension)?;
        }
        Ok(found)
    }

    fn take(&mut self, extension: &'a X509Extension<'a>) -> Result<(), ProfileError> {
        if is_malformed(extension) {
            let oid = dotted(&extension.oid);
            return Err(ProfileError::MalformedExtension { oid });
        }
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(value) => {
                self.basic_constraints = Some(value);
                self.basic_constraints_critical = extension.critical;
            }
            ParsedExtension::KeyUsage(value) => self.key_usage = Some(value),
            ParsedExtension::ExtendedKeyUsage(value) => self.extended_key_usage = Some(value),
            ParsedExtension::SubjectAlternativeName(value) => self.names = &value.general_names,
            ParsedExtension::NameConstraints(value) => {
                self.name_constraints = Some(value);
                self.name_constraints_critical = extension.critical;
            }
            ParsedExtension::AuthorityKeyIdentifier(_) if extension.critical => {
                return Err(ProfileError::Critical("authorityKeyIdentifier"));
            }
            ParsedExtension::SubjectKeyIdentifier(_) if extension.critical => {
                return Err(ProfileError::Critical("subjectKeyIdentifier"));
            }
            ParsedExtension::AuthorityKeyIdentifier(value) => self.authority_key_id = authority_key_id(value),
            ParsedExtension::SubjectKeyIdentifier(value) => {
                self.subject_key_id = Some(value.0).filter(|id| !id.is_empty());
            }
            _ if extension.critical => {
                let oid = dotted(&extension.oid);
                return Err(ProfileError::UnknownCriticalExtension { oid });
            }
            _ => self.others += 1,
        }
        Ok(())
    }

    /// The only URI among the subject alternative names.
    pub(crate) fn single_uri(&self) -> Result<&'a str, ProfileError> {
        let uris: Vec<&str> = self
            .names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        match uris.as_slice() {
            [uri] => Ok(uri),
            others => Err(ProfileError::UriNames { count: others.len() }),
        }
    }
}

/// The parts that leaf and CA share, after the shared checks.
pub(crate) struct Basics {
    pub(crate) serial: Serial,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) public_key: PublicKey,
}

/// Parses DER that must hold exactly one certificate.
pub(crate) fn parse_der(der: &[u8]) -> Result<X509Certificate<'_>, ProfileError> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(ProfileError::Oversize { bytes: der.len() });
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| ProfileError::Encoding("structure"))?;
    if !rest.is_empty() {
        return Err(ProfileError::Encoding("trailing bytes"));
    }
    Ok(certificate)
}

/// Version, serial, signature algorithm, validity and key.
pub(crate) fn check_basics(certificate: &X509Certificate<'_>) -> Result<Basics, ProfileError> {
    let tbs = &certificate.tbs_certificate;
    if tbs.version != X509Version::V3 {
        return Err(ProfileError::Version);
    }
    let serial = Serial::from_der_integer(tbs.raw_serial())?;
    if tbs.issuer_uid.is_some() || tbs.subject_uid.is_some() {
        return Err(ProfileError::UniqueIdentifier);
    }
    if !is_profile_signature(&certificate.signature_algorithm, &tbs.signature) {
        return Err(ProfileError::SignatureAlgorithm);
    }
    let not_before = tbs.validity.not_before.timestamp();
    let not_after = tbs.validity.not_after.timestamp();
    if not_after <= not_before {
        return Err(ProfileError::Validity { not_before, not_after });
    }
    Ok(Basics { serial, not_before, not_after, public_key: PublicKey::from_spki(&tbs.subject_pki)? })
}

/// All that [`check_basics`] refuses, in its order.
pub(crate) fn basic_problems(certificate: &X509Certificate<'_>) -> Vec<ProfileError> {
    let tbs = &certificate.tbs_certificate;
    let (not_before, not_after) = (tbs.validity.not_before.timestamp(), tbs.validity.not_after.timestamp());
    let version = (tbs.version != X509Version::V3).then_some(ProfileError::Version);
    let serial = Serial::from_der_integer(tbs.raw_serial()).err().map(ProfileError::from);
    let unique = (tbs.issuer_uid.is_some() || tbs.subject_uid.is_some()).then_some(ProfileError::UniqueIdentifier);
    let signature = !is_profile_signature(&certificate.signature_algorithm, &tbs.signature);
    let signature = signature.then_some(ProfileError::SignatureAlgorithm);
    let validity = (not_after <= not_before).then_some(ProfileError::Validity { not_before, not_after });
    let key = PublicKey::from_spki(&tbs.subject_pki).err();
    [version, serial, unique, signature, validity, key].into_iter().flatten().collect()
}

/// Whether outer and inner algorithm agree on ECDSA with SHA-256 or SHA-384,
/// parameters absent (RFC 5758 §3.2).
pub(crate) fn is_profile_signature(outer: &AlgorithmIdentifier<'_>, inner: &AlgorithmIdentifier<'_>) -> bool {
    let known = outer.algorithm == OID_SIG_ECDSA_WITH_SHA256 || outer.algorithm == OID_SIG_ECDSA_WITH_SHA384;
    known && outer.parameters.is_none() && outer == inner
}

/// Whether an extension that is understood is not exactly one DER value.
/// x509-parser ignores what follows the value, and webpki looks into a leaf's
/// extensions only as far as it needs them.
pub(crate) fn is_malformed(extension: &X509Extension<'_>) -> bool {
    match extension.parsed_extension() {
        ParsedExtension::ParseError { .. } => true,
        ParsedExtension::UnsupportedExtension { .. } => false,
        _ => !Any::from_der(extension.value).is_ok_and(|(rest, _)| rest.is_empty()),
    }
}

/// An object identifier in dotted form, for errors.
pub(crate) fn dotted(oid: &Oid<'_>) -> String {
    oid.to_id_string()
}

fn curve(algorithm: &AlgorithmIdentifier<'_>) -> Option<KeyType> {
    if algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return None;
    }
    let named = algorithm.parameters.as_ref()?.as_oid().ok()?;
    if named == OID_EC_P256 {
        Some(KeyType::EcP256)
    } else if named == OID_NIST_EC_P384 {
        Some(KeyType::EcP384)
    } else {
        None
    }
}

fn authority_key_id<'a>(value: &'a AuthorityKeyIdentifier<'a>) -> Option<&'a [u8]> {
    let id = value.key_identifier.as_ref()?.0;
    Some(id).filter(|id| !id.is_empty())
}
