//! The extensions of a CA certificate, each as RFC 5280 has it and no other.

use consilium_certs::{CaCertificate, ProfileError};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::common::*;

const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];
const SUBJECT_KEY_ID: [u64; 4] = [2, 5, 29, 14];
const AUTHORITY_KEY_ID: [u64; 4] = [2, 5, 29, 35];
const NAME_CONSTRAINTS: [u64; 4] = [2, 5, 29, 30];

/// An extension, its content, and whether it is critical.
type Written = ([u64; 4], Vec<u8>, bool);

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

fn basic_constraints() -> Written {
    (BASIC_CONSTRAINTS, vec![0x30, 6, 1, 1, 0xff, 2, 1, 0], true)
}

fn subject_key_id() -> Written {
    (SUBJECT_KEY_ID, der(4, &[7; 20]), false)
}

fn authority_key_id(critical: bool) -> Written {
    (AUTHORITY_KEY_ID, der(0x30, &der(0x80, &[7; 20])), critical)
}

/// `tag` 0x82 is a DNS name, 0x86 a URI.
fn permitted(tag: u8, name: &str) -> Written {
    (NAME_CONSTRAINTS, der(0x30, &der(0xa0, &der(0x30, &der(tag, name.as_bytes())))), true)
}

fn params(extensions: &[Written]) -> CertificateParams {
    let mut params = leaf_params();
    // rcgen writes neither basic constraints nor a key identifier by itself then.
    params.is_ca = IsCa::NoCa;
    params.use_authority_key_identifier_extension = false;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages.clear();
    params.subject_alt_names = vec![uri("spiffe://st-mary.example")];
    for (oid, content, critical) in extensions {
        let mut extension = CustomExtension::from_oid_content(oid, content.clone());
        extension.set_criticality(*critical);
        params.custom_extensions.push(extension);
    }
    params
}

fn root(extensions: &[Written]) -> Option<ProfileError> {
    let made = params(extensions).self_signed(&KeyPair::generate().unwrap()).unwrap();
    CaCertificate::parse(made.der()).err()
}

#[test]
fn a_root_of_these_extensions_is_one() {
    assert_eq!(root(&[basic_constraints(), subject_key_id()]), None);
    assert_eq!(root(&[basic_constraints(), subject_key_id(), authority_key_id(false)]), None);
    for name in [permitted(0x82, "st-mary.example"), permitted(0x86, "st-mary.example")] {
        assert_eq!(root(&[basic_constraints(), subject_key_id(), name]), None);
    }
}

#[test]
fn key_identifiers_are_there_and_not_critical() {
    let missing = ProfileError::MissingExtension;
    assert_eq!(root(&[basic_constraints()]), Some(missing("subjectKeyIdentifier")));
    let (oid, content, _) = subject_key_id();
    let critical = root(&[basic_constraints(), (oid, content, true)]);
    assert_eq!(critical, Some(ProfileError::Critical("subjectKeyIdentifier")));
    let critical = root(&[basic_constraints(), subject_key_id(), authority_key_id(true)]);
    assert_eq!(critical, Some(ProfileError::Critical("authorityKeyIdentifier")));
    let empty = root(&[basic_constraints(), (SUBJECT_KEY_ID, vec![4, 0], false)]);
    assert_eq!(empty, Some(missing("subjectKeyIdentifier")));
    // One that another one signed says which key did.
    let key = KeyPair::generate().unwrap();
    let above = ca(MEMBER);
    let above_key = KeyPair::from_pem(&above.key_pem()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(above.cert_pem(), &above_key).unwrap();
    let below = |extensions: &[Written]| {
        let made = params(extensions).signed_by(&key, &issuer).unwrap();
        CaCertificate::parse(made.der()).err()
    };
    assert_eq!(below(&[basic_constraints(), subject_key_id()]), Some(missing("authorityKeyIdentifier")));
    assert_eq!(below(&[basic_constraints(), subject_key_id(), authority_key_id(false)]), None);
}

#[test]
fn constraints_are_critical_and_say_something() {
    let (oid, content, _) = basic_constraints();
    let lax = root(&[(oid, content, false), subject_key_id()]);
    assert_eq!(lax, Some(ProfileError::NotCritical("basicConstraints")));
    let (oid, content, _) = permitted(0x82, MEMBER);
    let lax = root(&[basic_constraints(), subject_key_id(), (oid, content, false)]);
    assert_eq!(lax, Some(ProfileError::NotCritical("nameConstraints")));
    let empty = root(&[basic_constraints(), subject_key_id(), (NAME_CONSTRAINTS, vec![0x30, 0], true)]);
    assert_eq!(empty, Some(ProfileError::EmptyNameConstraints));
}

#[test]
fn a_constraint_does_not_begin_with_a_dot() {
    for tag in [0x82, 0x86] {
        let dotted = root(&[basic_constraints(), subject_key_id(), permitted(tag, ".st-mary.example")]);
        assert_eq!(dotted, Some(ProfileError::LeadingDot), "{tag:#x}");
    }
    let excluded = der(0x30, &der(0xa1, &der(0x30, &der(0x82, b".st-mary.example"))));
    let dotted = root(&[basic_constraints(), subject_key_id(), (NAME_CONSTRAINTS, excluded, true)]);
    assert_eq!(dotted, Some(ProfileError::LeadingDot));
}

#[test]
fn a_ca_has_a_name() {
    let mut nameless = params(&[basic_constraints(), subject_key_id()]);
    nameless.distinguished_name = DistinguishedName::new();
    let made = nameless.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(CaCertificate::parse(made.der()).err(), Some(ProfileError::EmptySubject));
}
