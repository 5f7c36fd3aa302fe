//! The form of revocation lists.

use consilium_certs::{Crl, CrlError, CrlNumber, MAX_CRL_BYTES, MemberCa};
use consilium_proto::names::Role;
use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, Issuer, KeyIdMethod,
    KeyPair, SerialNumber,
};

use crate::common::*;

fn list_params() -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: at(NOW),
        next_update: at(NOW + DAY),
        crl_number: SerialNumber::from(7u64),
        issuing_distribution_point: None,
        revoked_certs: vec![],
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

fn signed(ca: &MemberCa, params: &CertificateRevocationListParams, key: &KeyPair) -> Vec<u8> {
    let issuer = Issuer::from_ca_cert_pem(ca.cert_pem(), key).unwrap();
    params.signed_by(&issuer).unwrap().der().to_vec()
}

fn key_of(ca: &MemberCa) -> KeyPair {
    KeyPair::from_pem(&ca.key_pem()).unwrap()
}

#[test]
fn says_what_was_signed() {
    let member = ca(MEMBER);
    let (gone, here) =
        (issue(&member, Role::Patient, "gone").certificate, issue(&member, Role::Patient, "here").certificate);
    let list = crl(&member, member.bundle(), 0x1_0000_0001, &[gone.serial()]);
    assert_eq!(list.number(), CrlNumber::from(0x1_0000_0001));
    assert_eq!(list.number().to_string(), "0x100000001");
    assert_eq!(list.this_update(), NOW - DAY);
    assert_eq!(list.next_update(), NOW + DAY);
    assert!(list.is_revoked(gone.serial()));
    assert!(!list.is_revoked(here.serial()));
    assert_eq!(list.revoked().collect::<Vec<_>>(), [gone.serial()]);
}

#[test]
fn long_numbers_order_as_numbers() {
    let member = ca(MEMBER);
    let number = |octets: &[u8]| {
        let mut params = list_params();
        params.crl_number = SerialNumber::from_slice(octets);
        let der = signed(&member, &params, &key_of(&member));
        Crl::parse(&der, member.bundle()).map(|list| list.number())
    };
    let long = number(&[0xff; 20]).unwrap();
    assert!(long > number(&[0xff; 8]).unwrap());
    assert_eq!(number(&[0]), Ok(CrlNumber::from(0)));
    assert_eq!(number(&[0x7f; 21]), Err(CrlError::Number));
}

#[test]
fn only_a_ca_of_the_bundle_may_sign() {
    let (member, other) = (ca(MEMBER), ca(OTHER));
    let der = member.crl(&[], 1, around(NOW)).unwrap();
    assert!(Crl::parse(&der, member.bundle()).is_ok());
    assert_eq!(Crl::parse(&der, other.bundle()), Err(CrlError::UnknownIssuer));
    let rogue = KeyPair::generate().unwrap();
    let forged = signed(&member, &list_params(), &rogue);
    assert_eq!(Crl::parse(&forged, member.bundle()), Err(CrlError::Signature));
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let foreign = signed(&member, &list_params(), &ed25519);
    assert_eq!(Crl::parse(&foreign, member.bundle()), Err(CrlError::SignatureAlgorithm));
}

#[test]
fn partitioned_lists_are_refused() {
    let member = ca(MEMBER);
    let mut params = list_params();
    params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint { uris: vec!["http://st-mary.example/crl".into()] },
        scope: Some(CrlScope::UserCertsOnly),
    });
    let der = signed(&member, &params, &key_of(&member));
    assert_eq!(Crl::parse(&der, member.bundle()), Err(CrlError::DistributionPoint));
}

#[test]
fn size_and_trailing_bytes() {
    let member = ca(MEMBER);
    let mut der = member.crl(&[], 1, around(NOW)).unwrap();
    der.push(0);
    assert_eq!(Crl::parse(&der, member.bundle()), Err(CrlError::Encoding("trailing bytes")));
    let bytes = MAX_CRL_BYTES + 1;
    assert_eq!(Crl::parse(&vec![0x30; bytes], member.bundle()), Err(CrlError::Oversize { bytes }));
}

#[test]
fn a_large_list_is_read() {
    let member = ca(MEMBER);
    let serials: Vec<_> = (0..10_000u32)
        .map(|n| consilium_certs::Serial::from_der_integer(&(n + 0x0100_0000).to_be_bytes()))
        .map(Result::unwrap)
        .collect();
    let list = crl(&member, member.bundle(), 1, &serials.iter().collect::<Vec<_>>());
    assert_eq!(list.revoked().len(), 10_000);
    assert!(list.is_revoked(&serials[9_999]));
}
