//! Two members, their CAs, and certificates inside and outside the profile.

use consilium_certs::{
    CaBundle, Crl, IdentityRequest, IssuedIdentity, MemberCa, RevocationReason, RevokedEntry, Serial, SubjectKey,
    Validity,
};
use consilium_proto::names::Role;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

pub(crate) const MEMBER: &str = "st-mary.example";
pub(crate) const OTHER: &str = "lab.example";
/// 2026-05-28T20:26:40Z: the fixed present of the pure tests.
pub(crate) const NOW: i64 = 1_780_000_000;
pub(crate) const DAY: i64 = 86_400;

pub(crate) fn at(unix_secs: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix_secs).unwrap()
}

pub(crate) fn validity(from: i64, to: i64) -> Validity {
    Validity { not_before: at(from), not_after: at(to) }
}

/// From a day before the time to a day after it.
pub(crate) fn around(now: i64) -> Validity {
    validity(now - DAY, now + DAY)
}

pub(crate) fn ca(member: &str) -> MemberCa {
    MemberCa::create(&member.parse().unwrap(), validity(NOW - 100 * DAY, NOW + 3000 * DAY)).unwrap()
}

/// A patient's name that a test can tell from another.
pub(crate) fn opaque(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<32}")
}

pub(crate) fn request(role: Role, name: &str) -> IdentityRequest {
    IdentityRequest {
        role,
        name: if role == Role::Patient { opaque(name) } else { name.into() },
        dns_names: vec![],
        ip_addrs: vec![],
        validity: around(NOW),
        key: SubjectKey::Generate,
    }
}

pub(crate) fn issue(ca: &MemberCa, role: Role, name: &str) -> IssuedIdentity {
    ca.issue(&request(role, name)).unwrap()
}

pub(crate) fn chain_of(issued: &IssuedIdentity) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from(issued.certificate.der().to_vec())]
}

pub(crate) fn revoked(serial: &Serial) -> RevokedEntry {
    RevokedEntry { serial: serial.clone(), at: at(NOW), reason: RevocationReason::KeyCompromise }
}

pub(crate) fn crl(ca: &MemberCa, bundle: &CaBundle, number: u64, serials: &[&Serial]) -> Crl {
    let entries: Vec<_> = serials.iter().map(|serial| revoked(serial)).collect();
    let der = ca.crl(&entries, number, around(NOW)).unwrap();
    Crl::parse(&der, bundle).unwrap()
}

/// The parameters of a well-formed clinician's certificate, to be spoilt.
pub(crate) fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = at(NOW - DAY);
    params.not_after = at(NOW + DAY);
    params.serial_number = Some(SerialNumber::from_slice(&[0x51; 16]));
    params.distinguished_name = common_name("a leaf");
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![uri("spiffe://st-mary.example/clinician/who")];
    params
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Signs anything at all with a member's CA.
pub(crate) fn sign(ca: &MemberCa, params: &CertificateParams, key: &impl PublicKeyData) -> CertificateDer<'static> {
    let ca_key = KeyPair::from_pem(&ca.key_pem()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(ca.cert_pem(), &ca_key).unwrap();
    params.signed_by(key, &issuer).unwrap().der().clone()
}

/// The system clock, for tests of TLS, where rustls reads it too.
pub(crate) fn clock() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

pub(crate) fn days(count: i64) -> Duration {
    Duration::days(count)
}
