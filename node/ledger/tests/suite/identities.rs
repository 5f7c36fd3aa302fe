//! Who may act by which certificate: what a revocation list ends and what not,
//! and what a signer's CA that leaves takes with it. Members' CAs bear the same
//! names here, and so have the same keys.

use bytes::Bytes;
use consilium_kit::identity_rules::{FIRST_CA, authority, list, serial};
use consilium_kit::topics::rotate;
use consilium_kit::{Action, Identity, Ledger, delegate};
use consilium_ledger::{Table, keys};
use consilium_proto::limits::SIGNERS_PER_CERTIFICATE_MAX;
use consilium_proto::observed::Observed;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::state::{AuthorityName, CertificateName};

const A: &str = "a.example";
const B: &str = "b.example";
const C: &str = "c.example";
const PATIENT: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
const D: &str = "d.example";
const OTHERS: [&str; 3] = [A, B, C];
/// What an admitted administrator hears, who delegates more than there is.
const ACTS: Outcome = Outcome::StakeNotAvailable;

fn four() -> Ledger {
    Ledger::new(&[(A, 100, 1), (B, 100, 1), (C, 100, 1), (D, 100, 1)], |_| ())
}

fn publish(crl: Bytes) -> Action {
    Action::PublishRevocations(pb::PublishRevocations { crl })
}

fn by(ledger: &mut Ledger, who: &Identity, action: Action) -> Outcome {
    let transaction = ledger.sign(who, vec![action]);
    ledger.block(&[transaction], &Observed::default()).leaves[0].1.outcome
}

fn enroll(ledger: &mut Ledger, who: &Identity) -> Outcome {
    let transaction = ledger.enrollment(who);
    ledger.block(&[transaction], &Observed::default()).leaves[0].1.outcome
}

/// An administrator beside the first, under a CA.
fn admin(ledger: &mut Ledger, ca: &str, name: &str) -> Identity {
    let admin = Identity::under(ca, D, "admin", name);
    assert_eq!(enroll(ledger, &admin), Outcome::Applied);
    admin
}

#[test]
fn copied_key_id() {
    let mut ledger = four();
    // A's CA has the key of D's, as seen by everyone, and lists D's people.
    let of_d = ledger.admins[D].clone();
    assert_eq!(ledger.submit(A, publish(list(FIRST_CA, 1, [of_d.serial()]))), Outcome::Applied);
    assert_eq!(ledger.submit(D, delegate(1, 1)), ACTS);
    assert_eq!(enroll(&mut ledger, &of_d), Outcome::Applied);
    // D's own list does end it.
    admin(&mut ledger, FIRST_CA, "second");
    assert_eq!(ledger.submit(D, publish(list(FIRST_CA, 1, [of_d.serial()]))), Outcome::Applied);
    ledger.refused(D, delegate(1, 1), Outcome::AuthorRevoked);
}

#[test]
fn a_certificate_is_found_by_its_member_and_the_key_that_issued_it() {
    let mut ledger = four();
    let who = admin(&mut ledger, FIRST_CA, "second");
    let index = |member: &str| {
        let issuer = AuthorityName::new(member, authority(FIRST_CA.as_bytes()));
        let place = keys::certificate(&CertificateName::new(issuer, &who.serial()));
        ledger.store.message::<pb::CertificateIndexState>(Table::State, &place).map(|index| index.signers.len())
    };
    assert_eq!((index(D), index(A)), (Some(2), None));
    let signer: pb::SignerState = ledger.store.message(Table::State, &keys::signer(&who.author())).unwrap();
    assert_eq!(signer.authority, authority(FIRST_CA.as_bytes()).to_bytes());
}

#[test]
fn first_revocation_list() {
    let mut ledger = four();
    ledger.execute(&OTHERS, rotate(D, &["ca", "ca2"], false));
    let second = admin(&mut ledger, "ca2", "second");
    assert_eq!(by(&mut ledger, &second, publish(list("ca2", 1, [[0; 8]]))), Outcome::Applied);
    assert_eq!(ledger.submit(D, delegate(1, 1)), ACTS);
    let newcomer = admin(&mut ledger, "ca", "newcomer");
    assert_eq!(by(&mut ledger, &newcomer, delegate(1, 1)), ACTS);
    // A list names a certificate of its own CA, whatever serial numbers others use.
    assert_eq!(by(&mut ledger, &second, publish(list("ca2", 2, [newcomer.serial()]))), Outcome::Applied);
    assert_eq!(by(&mut ledger, &newcomer, delegate(1, 1)), ACTS);
}

#[test]
fn rotated_out_signer() {
    let mut ledger = four();
    let old = admin(&mut ledger, "ca", "old");
    ledger.execute(&OTHERS, rotate(D, &["ca", "ca2"], false));
    let new = admin(&mut ledger, "ca2", "new");
    assert_eq!(by(&mut ledger, &old, delegate(1, 1)), ACTS);
    ledger.execute(&OTHERS, rotate(D, &["ca2"], false));
    assert_eq!(by(&mut ledger, &old, delegate(1, 1)), Outcome::AuthorRevoked);
    assert_eq!(enroll(&mut ledger, &old), Outcome::CertificateRefused);
    assert_eq!(by(&mut ledger, &new, delegate(1, 1)), ACTS);
}

#[test]
fn a_ca_that_comes_back_brings_its_revocations() {
    let mut ledger = four();
    let (revoked, kept) = (admin(&mut ledger, "ca", "revoked"), admin(&mut ledger, "ca", "kept"));
    let unused = Identity::under("ca", D, "admin", "unused");
    let first = list("ca", 5, [revoked.serial(), unused.serial()]);
    assert_eq!(by(&mut ledger, &kept, publish(first.clone())), Outcome::Applied);
    ledger.execute(&OTHERS, rotate(D, &["ca", "ca2"], false));
    ledger.execute(&OTHERS, rotate(D, &["ca2"], false));
    let place = keys::former_authority(&AuthorityName::new(D, authority(b"ca")));
    let former: pb::FormerAuthorityState = ledger.store.message(Table::State, &place).unwrap();
    assert_eq!(former, pb::FormerAuthorityState { crl: first.clone(), revoked: false });
    assert_eq!(by(&mut ledger, &kept, delegate(1, 1)), Outcome::AuthorRevoked);

    ledger.execute(&OTHERS, rotate(D, &["ca2", "ca"], false));
    assert_eq!((ledger.member(D).crls, ledger.member(D).withdrawn), (vec![first.clone()], vec![]));
    assert_eq!(ledger.store.message::<pb::FormerAuthorityState>(Table::State, &place), None);
    assert_eq!(by(&mut ledger, &revoked, delegate(1, 1)), Outcome::AuthorRevoked);
    assert_eq!(by(&mut ledger, &kept, delegate(1, 1)), ACTS);
    for refused in [&revoked, &unused] {
        assert_eq!(enroll(&mut ledger, refused), Outcome::CertificateRefused);
    }
    // Its numbers go on where they were.
    assert_eq!(by(&mut ledger, &kept, publish(first)), Outcome::RevocationsRefused);
    assert_eq!(by(&mut ledger, &kept, publish(list("ca", 6, [kept.serial()]))), Outcome::Applied);
    assert_eq!(by(&mut ledger, &kept, delegate(1, 1)), Outcome::AuthorRevoked);
}

#[test]
fn a_ca_that_another_one_revoked_vouches_for_nobody_and_never_returns() {
    const BELOW: &str = "ca7<ca";
    let mut ledger = four();
    ledger.execute(&OTHERS, rotate(D, &["ca", BELOW], false));
    let below = admin(&mut ledger, BELOW, "below");
    assert_eq!(by(&mut ledger, &below, delegate(1, 1)), ACTS);
    assert_eq!(ledger.submit(D, publish(list("ca", 1, [serial(BELOW.as_bytes())]))), Outcome::Applied);
    assert_eq!(by(&mut ledger, &below, delegate(1, 1)), Outcome::AuthorRevoked);
    assert_eq!(enroll(&mut ledger, &below), Outcome::CertificateRefused);
    assert_eq!(ledger.submit(D, delegate(1, 1)), ACTS);
    // It does not outlive the one that revoked it, nor come back.
    ledger.proposal_refused(A, rotate(D, &[BELOW], false), Outcome::ProposalRefused);
    ledger.execute(&OTHERS, rotate(D, &["ca"], false));
    for bundle in [&["ca", BELOW][..], &[BELOW]] {
        ledger.proposal_refused(A, rotate(D, bundle, true), Outcome::ProposalRefused);
    }
    assert_eq!(by(&mut ledger, &below, delegate(1, 1)), Outcome::AuthorRevoked);
}

#[test]
fn a_signing_key_moves_to_the_certificate_of_the_new_ca() {
    let mut ledger = four();
    let old = admin(&mut ledger, "ca", "mover");
    ledger.execute(&OTHERS, rotate(D, &["ca", "ca2"], false));
    let new = Identity { key: old.key.clone(), ..Identity::under("ca2", D, "admin", "mover") };
    assert_eq!(enroll(&mut ledger, &new), Outcome::Applied);
    // The old certificate ends without the key that has moved on.
    let second = admin(&mut ledger, "ca2", "second");
    assert_eq!(by(&mut ledger, &second, publish(list("ca", 1, [old.serial()]))), Outcome::Applied);
    assert_eq!(by(&mut ledger, &new, delegate(1, 1)), ACTS);
    ledger.execute(&OTHERS, rotate(D, &["ca2"], false));
    assert_eq!(by(&mut ledger, &new, delegate(1, 1)), ACTS);
    assert_eq!(by(&mut ledger, &second, publish(list("ca2", 1, [new.serial()]))), Outcome::Applied);
    assert_eq!(by(&mut ledger, &new, delegate(1, 1)), Outcome::AuthorRevoked);
}

#[test]
fn only_administrators_publish() {
    let mut ledger = four();
    for role in ["node", "service", "clinician", "researcher", "auditor", "patient", "device"] {
        let who = Identity::new(D, role, if role == "patient" { PATIENT } else { "x" });
        assert_eq!(enroll(&mut ledger, &who), Outcome::Applied);
        let refused = by(&mut ledger, &who, publish(list(FIRST_CA, 1, [[0; 8]])));
        assert_eq!(refused, Outcome::RoleNotAllowed, "{role}");
    }
    assert_eq!(ledger.submit(D, publish(list(FIRST_CA, 1, [[0; 8]]))), Outcome::Applied);
}

#[test]
fn signers_of_a_certificate_are_bounded() {
    let mut ledger = four();
    let mut who = Identity::new(D, "service", "ehr");
    let mut enroll_with = |ledger: &mut Ledger, number: usize| {
        who.key = std::sync::Arc::new(consilium_kit::keys::ed25519(&format!("key {number}")));
        enroll(ledger, &who)
    };
    // The certificate's own key is the first.
    for number in 1..SIGNERS_PER_CERTIFICATE_MAX {
        assert_eq!(enroll_with(&mut ledger, number), Outcome::Applied);
    }
    let root = ledger.tip.header.state_root;
    assert_eq!(enroll_with(&mut ledger, 0), Outcome::TooManySigners);
    assert_eq!(ledger.tip.header.state_root, root);
    assert_eq!(enroll_with(&mut ledger, 3), Outcome::Applied, "again");
}
