//! Chains against bundles, at fixed times.

use consilium_certs::{
    CaBundle, Crl, IdentityCertificate, MAX_CERTIFICATE_BYTES, MemberCa, Purpose, RevocationPolicy, VerifyError,
    chain_not_after, keep_newest, verify_chain,
};
use consilium_proto::names::Role;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber};
use rustls_pki_types::CertificateDer;

use crate::common::*;

fn verify_at(
    chain: &[CertificateDer<'_>],
    bundle: &CaBundle,
    crls: &[Crl],
    at: i64,
) -> Result<IdentityCertificate, VerifyError> {
    let policy = RevocationPolicy::default();
    Ok(verify_chain(chain, bundle, crls, policy, at, Purpose::Client)?.identity)
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
    assert_eq!(verify(&chain, member.bundle()), Ok(first.certificate));
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
    fn both(&self) -> CaBundle {
        CaBundle::from_ders([self.root_ca.certificate().der(), self.issuing.certificate().der()]).unwrap()
    }

    fn chain(&self) -> [CertificateDer<'static>; 3] {
        let issuing = CertificateDer::from(self.issuing.certificate().der().to_vec());
        [self.leaf.clone(), issuing, self.root.clone()]
    }
}

#[test]
fn an_issuing_ca_is_of_the_bundle_itself() {
    let tree = hierarchy(1, MEMBER);
    let both = tree.both();
    for chain in [&tree.chain()[..], &tree.chain()[..1]] {
        assert!(verify(chain, tree.issuing.bundle()).is_ok());
        assert!(verify(chain, &both).is_ok());
        // Sent along only: its lists are unknown, and so is whom it has revoked.
        assert_eq!(verify(chain, tree.root_ca.bundle()), Err(VerifyError::UnknownIssuer));
    }
    let verified = verify_chain(&tree.chain(), &both, &[], RevocationPolicy::default(), NOW, Purpose::Client).unwrap();
    assert_eq!(verified.authority, tree.issuing.certificate().authority());
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
    let at = NOW + DAY + 1;
    let chain = chain_of(&issue(&member, Role::Patient, "p1"));
    let late = chain_not_after(&chain, member.bundle(), at, Purpose::Client);
    assert_eq!(late, Err(VerifyError::Expired { not_after: NOW + DAY, at }));
    assert_eq!(end(&chain, short_ca.bundle()), Err(VerifyError::UnknownIssuer));
}

#[test]
fn revocation_reaches_leaves_and_issuing_cas() {
    let tree = hierarchy(1, MEMBER);
    let leaf = IdentityCertificate::parse(&tree.leaf).unwrap();
    let issuing_serial = tree.issuing.certificate().serial().clone();
    let both = tree.both();
    let root_clean = crl(&tree.root_ca, &both, 1, &[]);
    let root_revokes = crl(&tree.root_ca, &both, 2, &[&issuing_serial]);
    let issuing_clean = crl(&tree.issuing, &both, 1, &[]);
    let issuing_revokes = crl(&tree.issuing, &both, 1, &[leaf.serial()]);
    let verify = |crls: &[Crl]| verify_at(&tree.chain(), &both, crls, NOW).map(|_| ());
    let of_issuing = Err(VerifyError::Revoked { serial: issuing_serial });
    let of_leaf = Err(VerifyError::Revoked { serial: leaf.serial().clone() });
    assert_eq!(verify(&[root_clean.clone(), issuing_clean.clone()]), Ok(()));
    assert_eq!(verify(&[root_revokes.clone(), issuing_clean]), of_issuing);
    assert_eq!(verify(&[root_clean.clone(), root_revokes]), of_issuing);
    assert_eq!(verify(&[root_clean.clone(), issuing_revokes.clone()]), of_leaf);
    assert_eq!(verify(&[issuing_revokes]), of_leaf);
    // A CA without a list has revoked nothing.
    assert_eq!(verify(&[root_clean]), Ok(()));
}

#[test]
fn a_list_does_not_reach_a_ca_that_its_issuer_did_not_make() {
    // A root of the issuing CA's serial number and the other root's name.
    let tree = hierarchy(1, MEMBER);
    let key = KeyPair::generate().unwrap();
    let mut params = ca_params("issuing", 0, MEMBER);
    params.serial_number = Some(SerialNumber::from_slice(tree.issuing.certificate().serial().as_bytes()));
    let other_root = KeyPair::generate().unwrap();
    let claimed = Issuer::from_ca_cert_pem(tree.root_ca.cert_pem(), &other_root).unwrap();
    params.use_authority_key_identifier_extension = true;
    let unrelated = params.signed_by(&key, &claimed).unwrap();
    let unrelated = MemberCa::load(&unrelated.pem(), &key.serialize_pem()).unwrap();
    let both = CaBundle::from_ders([tree.root_ca.certificate().der(), unrelated.certificate().der()]).unwrap();
    let list = [crl(&tree.root_ca, &both, 1, &[tree.issuing.certificate().serial()])];
    let leaf = [sign(&unrelated, &leaf_params(), &KeyPair::generate().unwrap())];
    assert!(verify_at(&leaf, &both, &list, NOW).is_ok());
}

#[test]
fn a_copied_key_identifier_names_nobody() {
    let member = ca(MEMBER);
    let issued = issue(&member, Role::Admin, "root");
    // Another CA of the same subject key identifier.
    let key = KeyPair::generate().unwrap();
    let mut params = ca_params("copy", 0, MEMBER);
    params.key_identifier_method = KeyIdMethod::PreSpecified(member.certificate().subject_key_id().to_vec());
    let copy = params.self_signed(&key).unwrap();
    let copy = MemberCa::load(&copy.pem(), &key.serialize_pem()).unwrap();
    assert_eq!(copy.certificate().subject_key_id(), member.certificate().subject_key_id());
    let both = CaBundle::from_ders([member.certificate().der(), copy.certificate().der()]).unwrap();
    let list = crl(&copy, &both, 1, &[issued.certificate.serial()]);
    assert_eq!(list.authority(), copy.certificate().authority());
    assert_ne!(list.authority(), member.certificate().authority());
    assert!(verify_at(&chain_of(&issued), &both, &[list], NOW).is_ok());
}

#[test]
fn a_leaf_that_names_another_issuer_key_is_revoked_by_its_own() {
    let member = ca(MEMBER);
    let ca_key = KeyPair::from_pem(&member.key_pem()).unwrap();
    let mut claimed = ca_params("unused", 0, MEMBER);
    claimed.key_identifier_method = KeyIdMethod::PreSpecified(vec![0xee; 20]);
    let renamed = claimed.self_signed(&ca_key).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&renamed.pem(), &ca_key).unwrap();
    let leaf = leaf_params().signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    // The same key under another name and key identifier, beside the first.
    let both = CaBundle::from_ders([member.certificate().der(), renamed.der()]).unwrap();
    let parsed = IdentityCertificate::parse(leaf.der()).unwrap();
    assert_eq!(parsed.issuer_key_id(), [0xee; 20]);
    let list = [crl(&member, &both, 1, &[parsed.serial()])];
    assert_eq!(
        verify_at(&[leaf.der().clone()], &both, &list, NOW),
        Err(VerifyError::Revoked { serial: parsed.serial().clone() })
    );
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
    assert!(verify_at(&chain_of(&issued), &both, &list, NOW).is_ok());
}

/// Every bundle of two CAs and one below the first, under every set of their lists.
#[test]
fn in_every_bundle_a_list_speaks_for_its_own_ca() {
    let (tree, other) = (hierarchy(1, MEMBER), ca(MEMBER));
    let cas = [&tree.root_ca, &tree.issuing, &other];
    let leaves = cas.map(|ca| issue(ca, Role::Service, "ehr"));
    let all = CaBundle::from_ders(cas.map(|ca| ca.certificate().der())).unwrap();
    let issuing = tree.issuing.certificate().serial();
    let lists = [0, 1, 2].map(|at| match at {
        0 => crl(cas[0], &all, 1, &[issuing]),
        _ => crl(cas[at], &all, 1, &[leaves[at].certificate.serial()]),
    });
    for (bundle, published) in (1u8..8).flat_map(|bundle| (0u8..8).map(move |published| (bundle, published))) {
        let in_bundle = |at: usize| bundle & (1 << at) != 0;
        let listed = |at: usize| in_bundle(at) && published & (1 << at) != 0;
        let ders = (0..3).filter(|at| in_bundle(*at)).map(|at| cas[at].certificate().der());
        let members = CaBundle::from_ders(ders).unwrap();
        let crls: Vec<_> = (0..3).filter(|at| listed(*at)).map(|at| lists[at].clone()).collect();
        for (at, leaf) in leaves.iter().enumerate() {
            let revoked = at != 0 && listed(at) || at == 1 && listed(0);
            let verified = verify_at(&chain_of(leaf), &members, &crls, NOW);
            assert_eq!(verified.is_ok(), in_bundle(at) && !revoked, "{bundle:b} {published:b} {at}: {verified:?}");
        }
    }
}
