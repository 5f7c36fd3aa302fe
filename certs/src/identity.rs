//! Identity certificates: the leaf side of the profile.
//!
//! [`IdentityCertificate::parse`] accepts exactly the certificates that this
//! network issues to people, systems and nodes. It says what a certificate
//! claims, never whether the claim is true: only
//! [`verify_chain`](crate::verify_chain) does that.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{ExtendedKeyUsage, GeneralName, X509Certificate};

use crate::profile::{self, Basics, Extensions, KeyType, ProfileError, PublicKey};
use crate::serial::Serial;
use consilium_proto::names::{Role, SpiffeId};

/// Longest validity of an identity certificate, in days.
pub const MAX_IDENTITY_VALIDITY_DAYS: i64 = 825;
const SECONDS_PER_DAY: i64 = 86_400;

/// A leaf certificate inside the profile. Its chain is *not* yet verified.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityCertificate {
    der: Vec<u8>,
    fingerprint: [u8; 32],
    spiffe_id: SpiffeId,
    serial: Serial,
    not_before: i64,
    not_after: i64,
    public_key: PublicKey,
    issuer: Vec<u8>,
    issuer_key_id: Vec<u8>,
    subject_key_id: Vec<u8>,
    has_host_name: bool,
}

impl IdentityCertificate {
    /// Parses one DER certificate and holds it against the profile.
    ///
    /// # Errors
    /// The first [`ProfileError`] found.
    pub fn parse(der: &[u8]) -> Result<Self, ProfileError> {
        let certificate = profile::parse_der(der)?;
        let basics = profile::check_basics(&certificate)?;
        check_validity_length(&basics)?;
        let extensions = Extensions::scan(&certificate)?;
        check_not_a_ca(&extensions)?;
        check_name_kinds(&extensions)?;
        let spiffe_id: SpiffeId = extensions.single_uri()?.parse()?;
        check_extended_key_usage(&extensions, spiffe_id.role())?;
        check_opaque(&certificate, &extensions, &spiffe_id)?;
        let issuer_key_id =
            extensions.authority_key_id.ok_or(ProfileError::MissingExtension("authorityKeyIdentifier"))?;
        let subject_key_id = extensions.subject_key_id.ok_or(ProfileError::MissingExtension("subjectKeyIdentifier"))?;
        check_strict_encoding(der)?;
        Ok(Self {
            der: der.to_vec(),
            fingerprint: fingerprint(der),
            spiffe_id,
            serial: basics.serial,
            not_before: basics.not_before,
            not_after: basics.not_after,
            public_key: basics.public_key,
            issuer: certificate.issuer().as_raw().to_vec(),
            issuer_key_id: issuer_key_id.to_vec(),
            subject_key_id: subject_key_id.to_vec(),
            has_host_name: extensions.names.iter().any(is_host_name),
        })
    }

    /// Everything that puts a certificate outside the profile, where [`Self::parse`] stops at the
    /// first; nothing if it is inside. For people who make certificates.
    #[must_use]
    pub fn problems(der: &[u8]) -> Vec<ProfileError> {
        let certificate = match profile::parse_der(der) {
            Ok(certificate) => certificate,
            Err(error) => return vec![error],
        };
        let mut found = profile::basic_problems(&certificate);
        let basics = profile::check_basics(&certificate);
        found.extend(basics.ok().and_then(|basics| check_validity_length(&basics).err()));
        match Extensions::scan(&certificate) {
            Ok(extensions) => found.extend(extension_problems(&certificate, &extensions)),
            Err(error) => found.push(error),
        }
        found.extend(check_strict_encoding(der).err());
        found
    }

    /// Whether a DNS name or IP address stands beside the SPIFFE id, for clients that know a
    /// server by its host name.
    #[must_use]
    pub fn has_host_name(&self) -> bool {
        self.has_host_name
    }

    /// The certificate as received, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the DER: how transactions refer to an enrolled identity.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Who the certificate names.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The serial number, unique within its issuer.
    #[must_use]
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Start of validity, Unix seconds, inclusive.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// End of validity, Unix seconds, inclusive (RFC 5280 §4.1.2.5).
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The subject's key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The curve of the subject's key.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.public_key.key_type()
    }

    /// The authority key identifier, which the issuer chooses: it finds a CA and
    /// proves nothing of it.
    #[must_use]
    pub fn issuer_key_id(&self) -> &[u8] {
        &self.issuer_key_id
    }

    /// The subject key identifier.
    #[must_use]
    pub fn subject_key_id(&self) -> &[u8] {
        &self.subject_key_id
    }

    /// The issuer's distinguished name, in DER.
    pub(crate) fn issuer(&self) -> &[u8] {
        &self.issuer
    }
}

impl fmt::Debug for IdentityCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityCertificate")
            .field("spiffe_id", &self.spiffe_id)
            .field("serial", &self.serial)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn extension_problems(certificate: &X509Certificate<'_>, extensions: &Extensions<'_>) -> Vec<ProfileError> {
    let mut found = vec![check_not_a_ca(extensions).err(), check_name_kinds(extensions).err()];
    let id = extensions.single_uri().and_then(|uri| Ok(uri.parse::<SpiffeId>()?));
    match &id {
        Ok(id) => {
            found.push(check_extended_key_usage(extensions, id.role()).err());
            found.push(check_opaque(certificate, extensions, id).err());
        }
        Err(error) => found.push(Some(error.clone())),
    }
    let missing = |is_there: bool, name| (!is_there).then_some(ProfileError::MissingExtension(name));
    found.push(missing(extensions.authority_key_id.is_some(), "authorityKeyIdentifier"));
    found.push(missing(extensions.subject_key_id.is_some(), "subjectKeyIdentifier"));
    found.into_iter().flatten().collect()
}

fn is_host_name(name: &GeneralName<'_>) -> bool {
    matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_))
}

/// SHA-256 of a certificate's DER.
fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, der).as_ref());
    bytes
}

fn check_validity_length(basics: &Basics) -> Result<(), ProfileError> {
    let seconds = basics.not_after.saturating_sub(basics.not_before);
    let max_seconds = MAX_IDENTITY_VALIDITY_DAYS * SECONDS_PER_DAY;
    if seconds > max_seconds {
        return Err(ProfileError::ValidityTooLong { seconds, max_seconds });
    }
    Ok(())
}

fn check_not_a_ca(extensions: &Extensions<'_>) -> Result<(), ProfileError> {
    if extensions.basic_constraints.is_some_and(|basic| basic.ca) {
        return Err(ProfileError::CaAsIdentity);
    }
    if extensions.name_constraints.is_some() {
        return Err(ProfileError::NameConstraints);
    }
    let usage = extensions.key_usage.ok_or(ProfileError::MissingExtension("keyUsage"))?;
    if usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign() {
        Ok(())
    } else {
        Err(ProfileError::IdentityKeyUsage)
    }
}

/// DNS and IP names may stand beside the URI, for TLS clients that check them.
fn check_name_kinds(extensions: &Extensions<'_>) -> Result<(), ProfileError> {
    let allowed = |name: &GeneralName<'_>| {
        matches!(name, GeneralName::URI(_) | GeneralName::DNSName(_) | GeneralName::IPAddress(_))
    };
    if extensions.names.iter().all(allowed) { Ok(()) } else { Err(ProfileError::NameKind) }
}

/// Whatever stands in a patient's certificate stays on the ledger for ever. Nothing there may
/// say who it is: no other names, no extensions beyond the profile, and a subject that repeats
/// what the opaque id says.
fn check_opaque(
    certificate: &X509Certificate<'_>,
    extensions: &Extensions<'_>,
    id: &SpiffeId,
) -> Result<(), ProfileError> {
    if id.role() != Role::Patient {
        return Ok(());
    }
    if extensions.names.len() != 1 {
        return Err(ProfileError::PatientDetail("second name"));
    }
    let told = [id.member().as_str(), id.role().as_str(), id.name()];
    let repeats = |text: Option<&str>| text.is_some_and(|text| told.contains(&text));
    if !certificate.subject().iter_attributes().all(|attribute| repeats(attribute.as_str().ok())) {
        return Err(ProfileError::PatientDetail("subject"));
    }
    match extensions.others {
        0 => Ok(()),
        _ => Err(ProfileError::PatientDetail("extension")),
    }
}

/// Exactly clientAuth, and serverAuth besides for nodes: a certificate that
/// could do more is one that could be misused.
fn check_extended_key_usage(extensions: &Extensions<'_>, role: Role) -> Result<(), ProfileError> {
    let usage = extensions.extended_key_usage.ok_or(ProfileError::MissingExtension("extKeyUsage"))?;
    let exact = usage.client_auth && usage.server_auth == (role == Role::Node) && only_tls_purposes(usage);
    if exact { Ok(()) } else { Err(ProfileError::ExtendedKeyUsage { role, found: named(usage) }) }
}

/// The usages by the names of RFC 5280, or by their numbers.
fn named(usage: &ExtendedKeyUsage<'_>) -> String {
    let known = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.client_auth, "clientAuth"),
        (usage.server_auth, "serverAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let known = known.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name.to_owned());
    known.chain(usage.other.iter().map(profile::dotted)).collect::<Vec<_>>().join(", ")
}

fn only_tls_purposes(usage: &ExtendedKeyUsage<'_>) -> bool {
    let others = usage.any || usage.code_signing || usage.email_protection || usage.time_stamping || usage.ocsp_signing;
    !others && usage.other.is_empty()
}

fn check_strict_encoding(der: &[u8]) -> Result<(), ProfileError> {
    webpki::EndEntityCert::try_from(&CertificateDer::from(der))
        .map(|_| ())
        .map_err(|_| ProfileError::Encoding("not strict DER"))
}
