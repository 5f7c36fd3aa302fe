//! A member's CA: what it may sign, and nothing else.
//!
//! Issues identities and CRLs in the profile, ECDSA P-256 by default. The
//! subject, names and usages come from the request of the operator, never from
//! a certificate signing request: of that, only the proven key is taken. What
//! was signed is parsed by the profile again before it is handed out, so this
//! module can never issue what the network would refuse. Time is an argument.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams,
    SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, DnsName};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use zeroize::{Zeroize, Zeroizing};

use crate::ca::{BundleError, CaBundle, CaCertificate};
use crate::identity::IdentityCertificate;
use crate::pem::{self, PemError};
use crate::profile::{KeyType, MAX_CERTIFICATE_BYTES, ProfileError, PublicKey};
use crate::reason::RevokedEntry;
use crate::serial::{MAX_SERIAL_OCTETS, Serial};
use consilium_proto::names::{InvalidName, MemberId, Role, SpiffeId};

/// Most bytes of an attribute in a distinguished name (RFC 5280 `ub-name`s of
/// 64), which OpenSSL enforces.
const MAX_DN_BYTES: usize = 64;

/// Why nothing was issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The name breaks the grammar of SPIFFE ids.
    #[error(transparent)]
    SpiffeId(#[from] InvalidName),
    /// A DNS name asked for is not one.
    #[error("not a DNS name")]
    DnsName,
    /// The certificate would be outside the profile.
    #[error("outside the profile: {0}")]
    Profile(#[from] ProfileError),
    /// The CA certificate is not a bundle of one.
    #[error("CA certificate: {0}")]
    CaCertificate(#[from] BundleError),
    /// The CA certificate file holds more than one certificate.
    #[error("the CA file holds {0} certificates, not one")]
    CaCount(usize),
    /// The CA's private key does not belong to its certificate.
    #[error("private key does not match the CA certificate")]
    CaKeyMismatch,
    /// The private key cannot be read. Its text is not repeated.
    #[error("private key is not an EC key in PKCS#8 or SEC1")]
    PrivateKey,
    /// The private key's file holds something else than one key.
    #[error("private key: {0}")]
    PrivateKeyPem(PemError),
    /// The certificate signing request is malformed or oversize.
    #[error("certificate signing request is malformed")]
    Request,
    /// The request's file holds something else than one request.
    #[error("certificate signing request: {0}")]
    RequestPem(PemError),
    /// The requester did not prove possession of the key.
    #[error("certificate signing request is not signed by its key")]
    ProofOfPossession,
    /// A key that the role cannot use: all but nodes sign on the ledger with it.
    #[error(
        "the request's key is on P-384, which serves CAs and nodes alone: an identity of role {role} signs on the \
         ledger, with a key on P-256 (`openssl ecparam -genkey -name prime256v1 -noout -out FILE` makes one)"
    )]
    KeyForRole {
        /// The role asked for.
        role: Role,
    },
    /// The system's random source failed.
    #[error("random source failed")]
    Random,
    /// Encoding or signing failed.
    #[error("signing failed: {0}")]
    Signing(#[from] rcgen::Error),
}

/// From when to when, both inclusive, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment of validity.
    pub not_before: OffsetDateTime,
    /// Last moment of validity.
    pub not_after: OffsetDateTime,
}

/// Where the subject's key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectKey {
    /// A new P-256 key is made and handed out once.
    Generate,
    /// A DER `SubjectPublicKeyInfo` of P-256 or P-384, whose holder the
    /// operator vouches for.
    Spki(Vec<u8>),
}

/// An identity to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRequest {
    /// The role; it decides the extended key usage.
    pub role: Role,
    /// The name, unique within member and role.
    pub name: String,
    /// DNS names beside the SPIFFE id, for clients that check them.
    pub dns_names: Vec<String>,
    /// IP addresses beside the SPIFFE id.
    pub ip_addrs: Vec<IpAddr>,
    /// At most 825 days.
    pub validity: Validity,
    /// The key to certify.
    pub key: SubjectKey,
}

/// A certificate just issued.
#[derive(Clone)]
pub struct IssuedIdentity {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PEM PKCS#8, if it was made here.
    pub key_pem: Option<Zeroizing<String>>,
    /// The certificate, parsed.
    pub certificate: IdentityCertificate,
}

impl fmt::Debug for IssuedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedIdentity")
            .field("certificate", &self.certificate)
            .field("key_pem", &self.key_pem.as_ref().map(|_| "[redacted]"))
            .finish_non_exhaustive()
    }
}

/// A member's CA with its private key.
pub struct MemberCa {
    certificate: CaCertificate,
    cert_pem: String,
    bundle: CaBundle,
    key: KeyPair,
}

impl MemberCa {
    /// Makes a self-signed CA with a new P-256 key and path length 0.
    ///
    /// # Errors
    /// [`IssueError`] when the validity is absurd or the random source fails.
    pub fn create(member: &MemberId, validity: Validity) -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let serial = random_serial()?;
        let mut params = params(validity, &serial);
        // The CN tells the member's CAs apart by name as well as by key, so
        // that chains and CRLs of an old and a new one are never confused.
        params.distinguished_name =
            distinguished_name(member, None, &format!("Consilium CA {}", &serial.to_string()[..16]));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![SanType::URI(member.to_uri().try_into()?)];
        let certificate = params.self_signed(&key)?;
        Self::new(certificate.der(), certificate.pem(), key)
    }

    /// Loads a CA from its certificate and private key, both PEM.
    ///
    /// # Errors
    /// [`IssueError`] when either is malformed, outside the profile, or the
    /// two do not belong together.
    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self, IssueError> {
        let certificates = pem::certificates(cert_pem.as_bytes()).map_err(BundleError::Pem)?;
        let [certificate] = certificates.as_slice() else {
            return Err(IssueError::CaCount(certificates.len()));
        };
        let key = pem::private_key(key_pem.as_bytes()).map_err(IssueError::PrivateKeyPem)?;
        let key = KeyPair::try_from(&key).map_err(|_| IssueError::PrivateKey)?;
        Self::new(certificate, cert_pem.to_owned(), key)
    }

    fn new(certificate: &CertificateDer<'_>, cert_pem: String, key: KeyPair) -> Result<Self, IssueError> {
        let bundle = CaBundle::from_ders([certificate])?;
        let certificate = CaCertificate::parse(certificate)?;
        if key.subject_public_key_info() != certificate.public_key().spki() {
            return Err(IssueError::CaKeyMismatch);
        }
        Ok(Self { certificate, cert_pem, bundle, key })
    }

    /// The CA certificate.
    #[must_use]
    pub fn certificate(&self) -> &CaCertificate {
        &self.certificate
    }

    /// The bundle that consists of this CA alone.
    #[must_use]
    pub fn bundle(&self) -> &CaBundle {
        &self.bundle
    }

    /// The CA certificate, PEM.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The CA's private key, PEM PKCS#8. Whoever holds it is the member.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// Issues an identity of this member.
    ///
    /// # Errors
    /// [`IssueError`] when the request is outside the profile.
    pub fn issue(&self, request: &IdentityRequest) -> Result<IssuedIdentity, IssueError> {
        match &request.key {
            SubjectKey::Generate => {
                let mut key = KeyPair::generate()?;
                let issued = self.sign(request, &key);
                let key_pem = Zeroizing::new(key.serialize_pem());
                key.zeroize();
                Ok(IssuedIdentity { key_pem: Some(key_pem), ..issued? })
            }
            SubjectKey::Spki(spki) => {
                check_spki(spki)?;
                self.sign(request, &SubjectPublicKeyInfo::from_der(spki)?)
            }
        }
    }

    /// Issues an identity for the key of a PKCS#10 request (PEM), once the
    /// request proves possession of it. Everything else in it is ignored; the
    /// `key` of `request` is too.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue_for_csr(&self, request: &IdentityRequest, csr_pem: &str) -> Result<IssuedIdentity, IssueError> {
        let key = prove_csr(csr_pem)?;
        check_key_for_role(key.key_type(), request.role)?;
        self.issue(&IdentityRequest { key: SubjectKey::Spki(key.spki().to_vec()), ..request.clone() })
    }

    /// Signs a complete CRL, in DER. `validity` is thisUpdate and nextUpdate.
    /// The number must be higher than that of every earlier list.
    ///
    /// # Errors
    /// [`IssueError::Signing`].
    pub fn crl(&self, revoked: &[RevokedEntry], number: u64, validity: Validity) -> Result<Vec<u8>, IssueError> {
        let revoked_certs = revoked
            .iter()
            .map(|entry| RevokedCertParams {
                serial_number: SerialNumber::from_slice(entry.serial.as_bytes()),
                revocation_time: entry.at,
                reason_code: Some(entry.reason.to_rcgen()),
                invalidity_date: None,
            })
            .collect();
        let params = CertificateRevocationListParams {
            this_update: validity.not_before,
            next_update: validity.not_after,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: self.key_identifier(),
        };
        let list = params.signed_by(&self.issuer()?)?;
        Ok(list.der().to_vec())
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, IssueError> {
        let der = CertificateDer::from(self.certificate.der());
        Ok(Issuer::from_ca_cert_der(&der, &self.key)?)
    }

    fn key_identifier(&self) -> KeyIdMethod {
        KeyIdMethod::PreSpecified(self.certificate.subject_key_id().to_vec())
    }

    fn sign(&self, request: &IdentityRequest, key: &impl PublicKeyData) -> Result<IssuedIdentity, IssueError> {
        let member = self.certificate.member();
        let spiffe_id = SpiffeId::new(member.clone(), request.role, &request.name)?;
        let mut params = params(request.validity, &random_serial()?);
        params.distinguished_name = distinguished_name(member, Some(request.role), &request.name);
        // Writes basicConstraints without CA and the subject key identifier.
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = extended_key_usages(request.role);
        params.subject_alt_names = names(request, &spiffe_id)?;
        let certificate = params.signed_by(key, &self.issuer()?)?;
        Ok(IssuedIdentity {
            cert_pem: certificate.pem(),
            key_pem: None,
            certificate: IdentityCertificate::parse(certificate.der())?,
        })
    }
}

impl Drop for MemberCa {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for MemberCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberCa")
            .field("certificate", &self.certificate)
            .field("key", &"[redacted]")
            .finish_non_exhaustive()
    }
}

fn params(validity: Validity, serial: &Serial) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params
}

/// For human eyes only: nothing in this network reads subject names.
fn distinguished_name(member: &MemberId, role: Option<Role>, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if member.as_str().len() <= MAX_DN_BYTES {
        name.push(DnType::OrganizationName, member.as_str());
    }
    if let Some(role) = role {
        name.push(DnType::OrganizationalUnitName, role.as_str());
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn extended_key_usages(role: Role) -> Vec<ExtendedKeyUsagePurpose> {
    match role {
        Role::Node => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Role::Admin
        | Role::Service
        | Role::Clinician
        | Role::Researcher
        | Role::Auditor
        | Role::Patient
        | Role::Device => vec![ExtendedKeyUsagePurpose::ClientAuth],
    }
}

fn names(request: &IdentityRequest, spiffe_id: &SpiffeId) -> Result<Vec<SanType>, IssueError> {
    let mut names = vec![SanType::URI(spiffe_id.to_string().try_into()?)];
    for dns_name in &request.dns_names {
        DnsName::try_from(dns_name.as_str()).map_err(|_| IssueError::DnsName)?;
        names.push(SanType::DnsName(dns_name.as_str().try_into()?));
    }
    names.extend(request.ip_addrs.iter().copied().map(SanType::IpAddress));
    Ok(names)
}

/// 158 random bits in 20 octets, positive and without a leading zero octet.
fn random_serial() -> Result<Serial, IssueError> {
    let mut octets = [0; MAX_SERIAL_OCTETS];
    rand::fill(&mut octets).map_err(|_| IssueError::Random)?;
    octets[0] = (octets[0] & 0x3f) | 0x40;
    Serial::from_der_integer(&octets).map_err(|error| IssueError::Profile(error.into()))
}

/// A node's certificate serves TLS alone; every other identity is enrolled, with
/// a signature of its certificate's key.
fn check_key_for_role(key: KeyType, role: Role) -> Result<(), IssueError> {
    match (key, role) {
        (KeyType::EcP256, _) | (KeyType::EcP384, Role::Node) => Ok(()),
        (KeyType::EcP384, role) => Err(IssueError::KeyForRole { role }),
    }
}

/// The key of a request that is signed by it.
fn prove_csr(csr_pem: &str) -> Result<PublicKey, IssueError> {
    let der = pem::request(csr_pem.as_bytes()).map_err(IssueError::RequestPem)?;
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(IssueError::Request);
    }
    let (rest, csr) = X509CertificationRequest::from_der(&der).map_err(|_| IssueError::Request)?;
    if !rest.is_empty() {
        return Err(IssueError::Request);
    }
    let key = PublicKey::from_spki(&csr.certification_request_info.subject_pki)?;
    csr.verify_signature().map_err(|_| IssueError::ProofOfPossession)?;
    Ok(key)
}

fn check_spki(spki: &[u8]) -> Result<(), IssueError> {
    let (rest, parsed) =
        x509_parser::x509::SubjectPublicKeyInfo::from_der(spki).map_err(|_| ProfileError::PublicKey)?;
    if !rest.is_empty() {
        return Err(ProfileError::PublicKey.into());
    }
    PublicKey::from_spki(&parsed)?;
    Ok(())
}
