//! Chains against bundles, at fixed times.

use consilium_certs::{
    CaBundle, Crl, IdentityCertificate, MAX_CERTIFICATE_BYTES, MemberCa, ProfileError, Purpose, RevocationPolicy,
    VerifyError, chain_not_after, keep_newest, verify_chain,
};
use consilium_proto::names::Role;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;

use crate::common::*;

fn verify_at(
    chain: &[CertificateDer<'_>],
    bundle: &CaBundle,
    crls: &[Crl],
    at: i64,
) -> Result<IdentityCertificate, VerifyError> {
    let policy = RevocationPolicy::default();
    verify_chain(chain, bundle, crls, policy, at, Purpose::Client)
}

fn verify(chain: &[CertificateDer<'_>], bundle: &CaBundle) -> Result<IdentityCertificate, VerifyError> {
    verify_at(chain, bundle, &[], NOW)
}

#[test]
fn accepts_each_role_as_client_and_only_nodes_as_server() {
    let member = ca(MEMBER);
    for role in Role::ALL {
        let issued = issue(&member, role, "x");
        let chain = chain_of(&issued);
        assert_eq!(verify(&chain, member.bundle()), Ok(issued.certificate));
        let policy = RevocationPolicy::default();
        let served = verify_chain(&chain, member.bundle(), &[], policy, NOW, Purpose::Server);
        let refusal = VerifyError::WrongPurpose { role, purpose: Purpose::Server };
        let expected = (role != Role::Node).then_some(refusal);
        assert_eq!(served.err(), expected);
    }
}

#[test]
fn validity_is_inclusive_to_the_second() {
    let member = ca(MEMBER);
    let chain = chain_of(&issue(&member, Role::Patient, "p1"));
    let verify = |at| verify_at(&chain, member.bundle(), &[], at).map(|_| ());
    let (not_before, not_after) = (NOW - DAY, NOW + DAY);
    assert_eq!(verify(not_before), Ok(()));
    assert_eq!(verify(not_after), Ok(()));
    let at = not_before - 1;
    assert_eq!(verify(at), Err(VerifyError::NotYetValid { not_before, at }));
    let at = not_after + 1;
    assert_eq!(verify(at), Err(VerifyError::Expired { not_after, at }));
    let at = i64::MIN;
    assert_eq!(verify(at), Err(VerifyError::NotYetValid { not_before, at }));
    let at = i64::MAX;
    assert_eq!(verify(at), Err(VerifyError::Expired { not_after, at }));
}

#[test]
fn one_member_cannot_mint_identities_of_another() {
    let (member, other) = (ca(MEMBER), ca(OTHER));
    // An honest identity of the other member, held against the wrong bundle.
    let honest = chain_of(&issue(&other, Role::Node, "n1"));
    assert_eq!(
        verify(&honest, member.bundle()),
        Err(VerifyError::TrustDomain { presented: OTHER.parse().unwrap(), expected: MEMBER.parse().unwrap() })
    );
    // The other member's CA signs a name of this one.
    let key = KeyPair::generate().unwrap();
    let minted = [sign(&other, &leaf_params(), &key)];
    assert_eq!(verify(&minted, member.bundle()), Err(VerifyError::UnknownIssuer));
    assert_eq!(
        verify(&minted, other.bundle()),
        Err(VerifyError::TrustDomain { presented: MEMBER.parse().unwrap(), expected: OTHER.parse().unwrap() })
    );
}

#[test]
fn a_rogue_ca_of_equal_subject_is_refused() {
    let member = ca(MEMBER);
    let rogue_key = KeyPair::generate().unwrap();
    let rogue = Issuer::from_ca_cert_pem(member.cert_pem(), &rogue_key).unwrap();
    let leaf = leaf_params().signed_by(&KeyPair::generate().unwrap(), &rogue).unwrap();
    assert_eq!(verify(&[leaf.der().clone()], member.bundle()), Err(VerifyError::Signature));
}

#[test]
fn an_expired_anchor_is_passed_over() {
    let trust_domain = MEMBER.parse().unwrap();
    let (not_before, not_after) = (NOW - 10 * DAY, NOW - DAY / 2);
    let old = MemberCa::create(&trust_domain, validity(not_before, not_after)).unwrap();
    let chain = chain_of(&issue(&old, Role::Patient, "p1"));
    let new = ca(MEMBER);
    let both = CaBundle::from_ders([old.certificate().der(), new.certificate().der()]).unwrap();
    for bundle in [old.bundle(), &both] {
        assert_eq!(verify(&chain, bundle), Err(VerifyError::AnchorNotValid { not_before, not_after, at: NOW }));
        // At an old block's time it still is what it was.
        assert!(verify_at(&chain, bundle, &[], NOW - DAY).is_ok());
    }
    assert!(verify(&chain_of(&issue(&new, Role::Patient, "p1")), &both).is_ok());
}

#[test]
fn a_root_sent_along_is_ignored() {
    let (member, other) = (ca(MEMBER), ca(OTHER));
    let mut chain = chain_of(&issue(&member, Role::Node, "n1"));
    chain.push(CertificateDer::from(member.certificate().der().to_vec()));
    assert!(verify(&chain, member.bundle()).is_ok());
    // Bringing one's own root does not make it believed.
    let key = KeyPair::generate().unwrap();
    let minted = sign(&other, &leaf_params(), &key);
    let root = CertificateDer::from(other.certificate().der().to_vec());
    assert_eq!(verify(&[minted, root], member.bundle()), Err(VerifyError::UnknownIssuer));
}

#[test]
fn identity_is_taken_from_certificate_0_only() {
    let member = ca(MEMBER);
    let (first, second) = (issue(&member, Role::Patient, "p1"), issue(&member, Role::Admin, "root"));
    let mut chain = chain_of(&first);
    chain.extend(chain_of(&second));
    assert_eq!(
        verify(&chain, member.bundle()),
        Err(VerifyError::Intermediate { index: 1, error: ProfileError::NotACa })
    );
}

#[test]
fn chains_are_bounded() {
    let member = ca(MEMBER);
    let chain = chain_of(&issue(&member, Role::Patient, "p1"));
    assert_eq!(verify(&[], member.bundle()), Err(VerifyError::EmptyChain));
    let root = CertificateDer::from(member.certificate().der().to_vec());
    let mut long = chain.clone();
    long.extend(vec![root; 3]);
    assert!(verify(&long, member.bundle()).is_ok());
    long.push(long[1].clone());
    assert_eq!(verify(&long, member.bundle()), Err(VerifyError::ChainTooLong { certificates: 5 }));
    let bytes = MAX_CERTIFICATE_BYTES + 1;
    let big = [chain[0].clone(), CertificateDer::from(vec![0x30; bytes])];
    assert_eq!(verify(&big, member.bundle()), Err(VerifyError::Oversize { index: 1, bytes }));
}

/// A root of a path length, an issuing CA below it, and a leaf.
struct Hierarchy {
    root: CertificateDer<'static>,
    issuing: MemberCa,
    leaf: CertificateDer<'static>,
    root_ca: MemberCa,
}

fn ca_params(name: &str, path_length: u8, member: &str) -> CertificateParams {
    let mut params = leaf_params();
    params.distinguished_name = common_name(name);
    params.not_after = at(NOW + 100 * DAY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages.clear();
    params.subject_alt_names = vec![uri(&format!("spiffe://{member}"))];
    params
}

fn hierarchy(root_path_length: u8, issuing_member: &str) -> Hierarchy {
    let root_key = KeyPair::generate().unwrap();
    let root = ca_params("root", root_path_length, MEMBER).self_signed(&root_key).unwrap();
    let root_ca = MemberCa::load(&root.pem(), &root_key.serialize_pem()).unwrap();
    let issuing_key = KeyPair::generate().unwrap();
    let root_issuer = Issuer::from_ca_cert_pem(&root.pem(), &root_key).unwrap();
    let issuing = ca_params("issuing", 0, issuing_member).signed_by(&issuing_key, &root_issuer).unwrap();
    let issuing = MemberCa::load(&issuing.pem(), &issuing_key.serialize_pem()).unwrap();
    let leaf = sign(&issuing, &leaf_params(), &KeyPair::generate().unwrap());
    Hierarchy { root: root.der().clone(), issuing, leaf, root_ca }
}

impl Hierarchy {
    fn chain(&self) -> [CertificateDer<'static>; 3] {
        let issuing = CertificateDer::from(self.issuing.certificate().der().to_vec());
        [self.leaf.clone(), issuing, self.root.clone()]
    }
}

#[test]
fn an_issuing_ca_may_stand_between_as_far_as_path_lengths_allow() {
    let fine = hierarchy(1, MEMBER);
    assert!(verify(&fine.chain(), fine.root_ca.bundle()).is_ok());
    assert!(verify(&fine.chain()[..1], fine.issuing.bundle()).is_ok());
    assert_eq!(verify(&fine.chain()[..1], fine.root_ca.bundle()), Err(VerifyError::UnknownIssuer));
    // webpki knows no path length of anchors; the bundle's is enforced here.
    let too_deep = hierarchy(0, MEMBER);
    assert_eq!(verify(&too_deep.chain(), too_deep.root_ca.bundle()), Err(VerifyError::PathLength));
    let foreign = hierarchy(1, OTHER);
    assert_eq!(
        verify(&foreign.chain(), foreign.root_ca.bundle()),
        Err(VerifyError::TrustDomain { presented: OTHER.parse().unwrap(), expected: MEMBER.parse().unwrap() })
    );
}

#[test]
fn a_chain_ends_with_the_first_certificate_of_its_path_to_end() {
    let end = |chain: &[CertificateDer<'_>], bundle: &CaBundle| chain_not_after(chain, bundle, NOW, Purpose::Client);
    let member = ca(MEMBER);
    assert_eq!(end(&chain_of(&issue(&member, Role::Patient, "p1")), member.bundle()), Ok(NOW + DAY));
    // The CA ends before the leaf, until its renewal is in the bundle too.
    let key = KeyPair::generate().unwrap();
    let until = |end: i64| {
        let mut params = ca_params("the CA", 0, MEMBER);
        params.not_after = at(end);
        params.self_signed(&key).unwrap()
    };
    let (short, renewed) = (until(NOW + DAY / 2), until(NOW + 100 * DAY));
    let short_ca = MemberCa::load(&short.pem(), &key.serialize_pem()).unwrap();
    let leaf = sign(&short_ca, &leaf_params(), &KeyPair::generate().unwrap());
    assert_eq!(end(std::slice::from_ref(&leaf), short_ca.bundle()), Ok(NOW + DAY / 2));
    let both = CaBundle::from_ders([short.der(), renewed.der()]).unwrap();
    assert_eq!(end(&[leaf], &both), Ok(NOW + DAY));
    // An issuing CA that was sent along counts too.
    let tree = hierarchy(1, MEMBER);
    assert_eq!(end(&tree.chain(), tree.root_ca.bundle()), Ok(NOW + DAY));
    let at = NOW + DAY + 1;
    let late = chain_not_after(&tree.chain(), tree.root_ca.bundle(), at, Purpose::Client);
    assert_eq!(late, Err(VerifyError::Expired { not_after: NOW + DAY, at }));
    assert_eq!(end(&tree.chain(), member.bundle()), Err(VerifyError::UnknownIssuer));
}

#[test]
fn revocation_reaches_leaves_and_issuing_cas() {
    let tree = hierarchy(1, MEMBER);
    let leaf = IdentityCertificate::parse(&tree.leaf).unwrap();
    let issuing_serial = tree.issuing.certificate().serial().clone();
    let both = CaBundle::from_ders([tree.root_ca.certificate().der(), tree.issuing.certificate().der()]).unwrap();
    let root_clean = crl(&tree.root_ca, &both, 1, &[]);
    let root_revokes = crl(&tree.root_ca, &both, 1, &[&issuing_serial]);
    let issuing_clean = crl(&tree.issuing, &both, 1, &[]);
    let issuing_revokes = crl(&tree.issuing, &both, 1, &[leaf.serial()]);
    let via_root = |crls: &[Crl]| verify_at(&tree.chain(), tree.root_ca.bundle(), crls, NOW).map(|_| ());
    assert_eq!(via_root(&[root_clean.clone(), issuing_clean.clone()]), Ok(()));
    assert_eq!(via_root(&[root_revokes, issuing_clean]), Err(VerifyError::Revoked { serial: issuing_serial }));
    assert_eq!(
        via_root(&[root_clean.clone(), issuing_revokes]),
        Err(VerifyError::Revoked { serial: leaf.serial().clone() })
    );
    // Fail closed: the root publishes, the issuing CA does not.
    assert_eq!(via_root(&[root_clean]), Err(VerifyError::RevocationUnknown { serial: leaf.serial().clone() }));
}

#[test]
fn revoked_stale_and_newest_lists() {
    let member = ca(MEMBER);
    let issued = issue(&member, Role::Service, "ehr");
    let serial = issued.certificate.serial();
    let chain = chain_of(&issued);
    let clean = crl(&member, member.bundle(), 1, &[]);
    let revokes = crl(&member, member.bundle(), 2, &[serial]);
    let verify = |crls: &[Crl]| verify_at(&chain, member.bundle(), crls, NOW).map(|_| ());
    let refused = Err(VerifyError::Revoked { serial: serial.clone() });
    assert_eq!(verify(std::slice::from_ref(&clean)), Ok(()));
    assert_eq!(verify(std::slice::from_ref(&revokes)), refused);
    // Of several lists the newest counts, in whatever order they are given.
    assert_eq!(verify(&[clean.clone(), revokes.clone()]), refused);
    assert_eq!(verify(&[revokes.clone(), clean.clone()]), refused);

    let mut held = vec![];
    assert!(keep_newest(&mut held, clean.clone()));
    assert!(keep_newest(&mut held, revokes.clone()));
    assert!(!keep_newest(&mut held, clean), "no rollback");
    assert!(!keep_newest(&mut held, revokes.clone()));
    assert_eq!(held, [revokes]);
}

#[test]
fn an_expired_list_is_the_policys_to_judge() {
    let member = ca(MEMBER);
    let issued = issue(&member, Role::Service, "ehr");
    let chain = chain_of(&issued);
    let next_update = NOW - DAY / 2;
    let list = |entries: &[_]| {
        let der = member.crl(entries, 1, validity(NOW - DAY, next_update)).unwrap();
        [Crl::parse(&der, member.bundle()).unwrap()]
    };
    let judge = |crls: &[Crl], enforce_expiry, at| {
        let policy = RevocationPolicy { enforce_expiry };
        verify_chain(&chain, member.bundle(), crls, policy, at, Purpose::Client).map(|_| ())
    };
    let clean = list(&[]);
    let at = next_update;
    assert_eq!(judge(&clean, true, at - 1), Ok(()));
    assert_eq!(judge(&clean, true, at), Err(VerifyError::CrlExpired { next_update, at }));
    assert_eq!(judge(&clean, false, NOW), Ok(()));
    let revokes = list(&[revoked(issued.certificate.serial())]);
    for enforce_expiry in [true, false] {
        assert_eq!(
            judge(&revokes, enforce_expiry, NOW),
            Err(VerifyError::Revoked { serial: issued.certificate.serial().clone() }),
            "a revocation outlives its list"
        );
    }
}

#[test]
fn a_list_of_a_replaced_key_does_not_cover_the_new_one() {
    let (old, new) = (ca(MEMBER), ca(MEMBER));
    let both = CaBundle::from_ders([old.certificate().der(), new.certificate().der()]).unwrap();
    let issued = issue(&new, Role::Service, "ehr");
    let serial = issued.certificate.serial();
    // Even one that lists the very serial: it is another issuer's number.
    let list = [crl(&old, &both, 9, &[serial])];
    assert_eq!(
        verify_at(&chain_of(&issued), &both, &list, NOW),
        Err(VerifyError::RevocationUnknown { serial: serial.clone() })
    );
}
