//! Certificate revocation lists (RFC 5280 §5): complete, direct, numbered.
//!
//! A [`Crl`] exists only with a signature verified by a CA of the member's
//! bundle. Delta, indirect and partitioned lists are refused outright: each of
//! them can make a revoked certificate look good to whoever ignores its scope.
//! Whether a list is stale is for the verification to judge, which has a time.

use std::collections::BTreeSet;
use std::fmt;

use x509_parser::oid_registry::{
    OID_X509_EXT_CRL_NUMBER, OID_X509_EXT_DELTA_CRL_INDICATOR, OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
};
use x509_parser::prelude::{
    CertificateRevocationList, FromDer, RevokedCertificate, SubjectPublicKeyInfo, X509Extension, X509Version,
};

use crate::ca::{CaBundle, CaCertificate};
use crate::profile::{dotted, is_malformed, is_profile_signature};
use crate::serial::{InvalidSerial, MAX_SERIAL_OCTETS, Serial, der_magnitude};
use consilium_proto::ids::AuthorityId;

/// Largest CRL that is looked at, in bytes of DER: some 25,000 revocations.
pub const MAX_CRL_BYTES: usize = 1024 * 1024;

/// Why bytes are not a CRL of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// Larger than [`MAX_CRL_BYTES`].
    #[error("CRL of {bytes} bytes exceeds {MAX_CRL_BYTES}")]
    Oversize {
        /// Its size in bytes of DER.
        bytes: usize,
    },
    /// Not a DER CRL, or not strictly one.
    #[error("not a DER CRL: {0}")]
    Encoding(&'static str),
    /// The version is not 2.
    #[error("CRL version is not 2")]
    Version,
    /// Signed with something else than ECDSA-SHA256/384, or naming two
    /// different signature algorithms.
    #[error("signature algorithm is not ECDSA with SHA-256 or SHA-384")]
    SignatureAlgorithm,
    /// No `nextUpdate`, which RFC 5280 §5.1.2.5 requires, or one that does not
    /// lie after `thisUpdate`.
    #[error("nextUpdate is missing or not after thisUpdate")]
    NextUpdate,
    /// The CRL number is missing, negative or longer than 20 octets.
    #[error("CRL number is missing or malformed")]
    Number,
    /// A delta CRL.
    #[error("delta CRLs are not accepted")]
    Delta,
    /// A CRL with an issuing distribution point: partitioned or indirect.
    #[error("CRLs with an issuing distribution point are not accepted")]
    DistributionPoint,
    /// An extension occurs twice.
    #[error("CRL extension {oid} occurs twice")]
    DuplicateExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// A critical or malformed extension, of the list or of an entry.
    #[error("CRL extension {oid} is critical and unknown, or malformed")]
    Extension {
        /// Dotted object identifier.
        oid: String,
    },
    /// An entry's serial number breaks RFC 5280.
    #[error("CRL entry: {0}")]
    Serial(#[from] InvalidSerial),
    /// No CA of the bundle has the CRL issuer's name.
    #[error("CRL issuer is not in the bundle")]
    UnknownIssuer,
    /// A CA of that name is in the bundle, but its key did not sign the CRL.
    #[error("CRL signature does not verify")]
    Signature,
}

/// A CRL number: a non-negative integer of at most 20 octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber([u8; MAX_SERIAL_OCTETS]);

impl CrlNumber {
    fn from_magnitude(magnitude: &[u8]) -> Option<Self> {
        let start = MAX_SERIAL_OCTETS.checked_sub(magnitude.len())?;
        let mut octets = [0; MAX_SERIAL_OCTETS];
        octets[start..].copy_from_slice(magnitude);
        Some(Self(octets))
    }
}

impl CrlNumber {
    /// Big-endian, left-padded with zeros: the order of bytes is the order of
    /// numbers.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; MAX_SERIAL_OCTETS] {
        self.0
    }
}

impl From<u64> for CrlNumber {
    fn from(number: u64) -> Self {
        let mut octets = [0; MAX_SERIAL_OCTETS];
        octets[MAX_SERIAL_OCTETS - 8..].copy_from_slice(&number.to_be_bytes());
        Self(octets)
    }
}

impl fmt::Display for CrlNumber {
    /// Hexadecimal without leading zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let digits = hex.trim_start_matches('0');
        write!(f, "0x{}", if digits.is_empty() { "0" } else { digits })
    }
}

impl fmt::Debug for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrlNumber({self})")
    }
}

/// A complete CRL, signed by a CA of the bundle it was parsed against.
#[derive(Clone, PartialEq, Eq)]
pub struct Crl {
    der: Vec<u8>,
    number: CrlNumber,
    this_update: i64,
    next_update: i64,
    authority: AuthorityId,
    revoked: BTreeSet<Serial>,
}

impl Crl {
    /// Parses a DER CRL and verifies its signature by a CA of the bundle.
    ///
    /// # Errors
    /// The first [`CrlError`] found.
    pub fn parse(der: &[u8], bundle: &CaBundle) -> Result<Self, CrlError> {
        let list = parse_der(der)?;
        let (this_update, next_update) = check_form(&list)?;
        let number = check_extensions(list.extensions())?;
        let revoked = list.iter_revoked_certificates().map(check_entry).collect::<Result<BTreeSet<_>, _>>()?;
        check_strict_encoding(der)?;
        let signer = find_signer(&list, bundle)?;
        Ok(Self { der: der.to_vec(), number, this_update, next_update, authority: signer.authority(), revoked })
    }

    /// The list as received, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The CRL number, which grows with every list of one issuer.
    #[must_use]
    pub fn number(&self) -> CrlNumber {
        self.number
    }

    /// When the list was issued, Unix seconds.
    #[must_use]
    pub fn this_update(&self) -> i64 {
        self.this_update
    }

    /// By when the next list is due, Unix seconds; from then on this one is
    /// expired.
    #[must_use]
    pub fn next_update(&self) -> i64 {
        self.next_update
    }

    /// Whether the list revokes a serial number (of this list's issuer). The
    /// entry's date and reason are not consulted: a listed serial is revoked.
    #[must_use]
    pub fn is_revoked(&self, serial: &Serial) -> bool {
        self.revoked.contains(serial)
    }

    /// The revoked serial numbers, ascending.
    pub fn revoked(&self) -> impl ExactSizeIterator<Item = &Serial> {
        self.revoked.iter()
    }

    /// The CA whose key signed the list. What it goes by in names and key
    /// identifiers plays no part.
    #[must_use]
    pub fn authority(&self) -> AuthorityId {
        self.authority
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl")
            .field("number", &self.number)
            .field("this_update", &self.this_update)
            .field("next_update", &self.next_update)
            .field("revoked", &self.revoked.len())
            .finish_non_exhaustive()
    }
}

/// Keeps one list per issuer, the one of the highest number. Returns whether
/// the new list was taken; an older one must not roll revocations back.
pub fn keep_newest(crls: &mut Vec<Crl>, new: Crl) -> bool {
    match crls.iter_mut().find(|crl| crl.authority == new.authority) {
        Some(held) if held.number >= new.number => false,
        Some(held) => {
            *held = new;
            true
        }
        None => {
            crls.push(new);
            true
        }
    }
}

fn parse_der(der: &[u8]) -> Result<CertificateRevocationList<'_>, CrlError> {
    if der.len() > MAX_CRL_BYTES {
        return Err(CrlError::Oversize { bytes: der.len() });
    }
    let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| CrlError::Encoding("structure"))?;
    if !rest.is_empty() {
        return Err(CrlError::Encoding("trailing bytes"));
    }
    Ok(list)
}

/// Version, signature algorithm and times; returns the times.
fn check_form(list: &CertificateRevocationList<'_>) -> Result<(i64, i64), CrlError> {
    // Version 2 is encoded as the integer 1.
    if list.version() != Some(X509Version(1)) {
        return Err(CrlError::Version);
    }
    if !is_profile_signature(&list.signature_algorithm, &list.tbs_cert_list.signature) {
        return Err(CrlError::SignatureAlgorithm);
    }
    let this_update = list.last_update().timestamp();
    let next_update = list
        .next_update()
        .map(|time| time.timestamp())
        .filter(|next| *next > this_update)
        .ok_or(CrlError::NextUpdate)?;
    Ok((this_update, next_update))
}

fn check_extensions(extensions: &[X509Extension<'_>]) -> Result<CrlNumber, CrlError> {
    let mut seen = BTreeSet::new();
    let mut number = None;
    for extension in extensions {
        if !seen.insert(extension.oid.as_bytes()) {
            let oid = dotted(&extension.oid);
            return Err(CrlError::DuplicateExtension { oid });
        }
        if extension.oid == OID_X509_EXT_DELTA_CRL_INDICATOR {
            return Err(CrlError::Delta);
        } else if extension.oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT {
            return Err(CrlError::DistributionPoint);
        } else if extension.oid == OID_X509_EXT_CRL_NUMBER {
            number = Some(read_number(extension.value)?);
        } else {
            check_ignorable(extension)?;
        }
    }
    number.ok_or(CrlError::Number)
}

/// Reads a DER INTEGER; x509-parser would take a negative one for positive.
fn read_number(value: &[u8]) -> Result<CrlNumber, CrlError> {
    let [0x02, length, octets @ ..] = value else {
        return Err(CrlError::Number);
    };
    if octets.is_empty() || usize::from(*length) != octets.len() {
        return Err(CrlError::Number);
    }
    der_magnitude(octets).ok().and_then(CrlNumber::from_magnitude).ok_or(CrlError::Number)
}

fn check_entry(entry: &RevokedCertificate<'_>) -> Result<Serial, CrlError> {
    let mut seen = BTreeSet::new();
    for extension in entry.extensions() {
        if !seen.insert(extension.oid.as_bytes()) {
            let oid = dotted(&extension.oid);
            return Err(CrlError::DuplicateExtension { oid });
        }
        check_ignorable(extension)?;
    }
    Ok(Serial::from_der_integer(entry.raw_serial())?)
}

/// An extension without bearing on the answer must at least be non-critical
/// and well-formed; certificateIssuer (indirect lists) is always critical.
fn check_ignorable(extension: &X509Extension<'_>) -> Result<(), CrlError> {
    if extension.critical || is_malformed(extension) {
        let oid = dotted(&extension.oid);
        return Err(CrlError::Extension { oid });
    }
    Ok(())
}

fn check_strict_encoding(der: &[u8]) -> Result<(), CrlError> {
    webpki::BorrowedCertRevocationList::from_der(der).map(|_| ()).map_err(|_| CrlError::Encoding("not strict DER"))
}

/// The CA of the bundle that signed the list. Every CA of the profile has
/// cRLSign; several may share a name while a key is being replaced. The key
/// decides and not the name: a list holds on when the CA comes back under
/// another name.
fn find_signer<'b>(list: &CertificateRevocationList<'_>, bundle: &'b CaBundle) -> Result<&'b CaCertificate, CrlError> {
    if let Some(signer) = bundle.certificates().iter().find(|ca| is_signed_by(list, ca)) {
        return Ok(signer);
    }
    let is_named = bundle.certificates().iter().any(|ca| ca.subject() == list.issuer().as_raw());
    Err(if is_named { CrlError::Signature } else { CrlError::UnknownIssuer })
}

fn is_signed_by(list: &CertificateRevocationList<'_>, ca: &CaCertificate) -> bool {
    SubjectPublicKeyInfo::from_der(ca.public_key().spki()).is_ok_and(|(_, spki)| list.verify_signature(&spki).is_ok())
}
