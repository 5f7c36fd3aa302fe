//! Transactions whose authors, signatures or outcomes are not what they seem.

use pb::proposal_topic::Topic;

use super::*;

/// A ledger with the enrolment, one more block with these, and a certificate.
fn with_transactions(make: impl FnOnce(&Ledger) -> Vec<(pb::SignedTransaction, Outcome)>) -> Ledger {
    let mut ledger = Ledger::new();
    let enroll = ledger.enroll();
    ledger.push(vec![(enroll, Outcome::Applied)]);
    let transactions = make(&ledger);
    ledger.push(transactions);
    ledger.certify(2);
    ledger
}

#[test]
fn false_outcomes_and_signatures_are_found_even_if_certified() {
    let until = NOW_MS + 60_000;
    let one = |outcome, valid_until: u64| {
        with_transactions(|l| vec![(l.sign(1, valid_until, vec![retract_action()]), outcome)]).failure()
    };
    assert!(matches!(one(Outcome::Expired, until), VerifyFailure::FalseRefusal { .. }));
    assert!(matches!(one(Outcome::Applied, NOW_MS + 19), VerifyFailure::Validity { height: Height(2), .. }));
    let too_long = NOW_MS + 20 + 24 * 3_600_000 + 1;
    assert!(matches!(one(Outcome::Applied, too_long), VerifyFailure::Validity { .. }));

    let stranger = SigningKey::from_ed25519_seed(&[8; 32]);
    let unknown =
        with_transactions(|l| vec![(l.sign_as(&stranger, 1, until, vec![retract_action()]), Outcome::Applied)]);
    assert!(matches!(unknown.failure(), VerifyFailure::UnknownAuthor { height: Height(2), .. }));

    let forged = with_transactions(|l| {
        let mut signed = l.sign(1, until, vec![retract_action()]);
        signed.signature = l.sign(2, until, vec![retract_action()]).signature;
        vec![(l.sign(3, until, vec![retract_action()]), Outcome::Applied), (signed, Outcome::Applied)]
    });
    assert!(matches!(forged.failure(), VerifyFailure::Signature { height: Height(2), .. }));

    // Who signed is in the id, and the signature in the leaf: neither can be put beside it later.
    let mut swapped = with_transactions(|l| vec![(l.sign(1, until, vec![retract_action()]), Outcome::Applied)]);
    let own = swapped.sign(1, until, vec![retract_action()]);
    let resigned = swapped.sign_as(&stranger, 1, until, vec![retract_action()]);
    swapped.blocks[2].block.as_mut().unwrap().transactions[0].transaction = Some(resigned.clone());
    assert!(matches!(swapped.failure(), VerifyFailure::TreeRoot { height: Height(2), .. }));
    let transaction = swapped.blocks[2].block.as_mut().unwrap().transactions[0].transaction.as_mut().unwrap();
    *transaction = pb::SignedTransaction { signature: resigned.signature, ..own };
    assert!(matches!(swapped.failure(), VerifyFailure::TreeRoot { height: Height(2), .. }));

    let twice = with_transactions(|l| vec![(l.sign(1, until, vec![retract_action()]), Outcome::Applied); 2]);
    assert!(matches!(twice.failure(), VerifyFailure::Twice { height: Height(2), .. }));
}

#[test]
fn boundaries_of_validity() {
    let at = |valid_until| {
        with_transactions(|l| vec![(l.sign(1, valid_until, vec![retract_action()]), Outcome::RecordNotFound)])
    };
    assert!(at(NOW_MS + 20).report().is_good());
    assert!(at(NOW_MS + 20 + 24 * 3_600_000).report().is_good());
    assert!(matches!(at(NOW_MS + 19).failure(), VerifyFailure::Validity { .. }), "what is too late has no leaf");
}

#[test]
fn a_forged_signature_is_named_before_what_comes_later() {
    let mut ledger = with_transactions(|l| {
        let mut signed = l.sign(1, NOW_MS + 60_000, vec![retract_action()]);
        signed.signature = Bytes::copy_from_slice(&[1; 64]);
        vec![(signed, Outcome::Applied)]
    });
    ledger.append(3, Vec::new(), |header| header.time = TimeMs(0));
    assert!(matches!(ledger.failure(), VerifyFailure::Signature { height: Height(2), .. }));
}

#[test]
fn enrolments_must_verify_under_the_genesis_bundle() {
    let mut ledger = Ledger::new();
    let other = Ledger::new();
    // Another CA of the same name, so a certificate that looks alike.
    ledger.certificate = other.certificate.clone();
    ledger.certificate_key = other.certificate_key;
    let enroll = ledger.enroll();
    ledger.push(vec![(enroll, Outcome::Applied)]);
    ledger.certify(1);
    assert!(matches!(ledger.failure(), VerifyFailure::Enrolment { height: Height(1), .. }), "{}", ledger.failure());

    let mut ledger = Ledger::new();
    ledger.certificate_key = SigningKey::generate(SignatureAlgorithm::Es256).unwrap();
    let enroll = ledger.enroll();
    ledger.push(vec![(enroll, Outcome::Applied)]);
    ledger.certify(1);
    assert!(matches!(ledger.failure(), VerifyFailure::Signature { height: Height(1), .. }));
}

/// A topic from a CA bundle.
type MakeTopic = fn(Vec<Bytes>) -> Topic;

/// A ledger on which a second member's identity enrols, perhaps after an
/// applied or refused proposal to admit the member or rotate its bundle.
fn with_newcomer(proposal: Option<(MakeTopic, Outcome)>) -> Ledger {
    let mut ledger = Ledger::new();
    let enroll = ledger.enroll();
    ledger.push(vec![(enroll, Outcome::Applied)]);
    let ca = MemberCa::create(&"b.example".parse().unwrap(), validity()).unwrap();
    let issued = ca.issue(&service_request()).unwrap();
    if let Some((topic, outcome)) = proposal {
        let bundle = ca.bundle().to_ders().into_iter().map(Bytes::from).collect();
        let topic = Some(pb::ProposalTopic { topic: Some(topic(bundle)) });
        let propose = pb::Propose { expires_ms: NOW_MS + 600_000, reason: "joins".into(), topic };
        let action = pb::Action { action: Some(pb::action::Action::Propose(propose)) };
        let signed = ledger.sign(1, NOW_MS + 60_000, vec![action]);
        ledger.push(vec![(signed, outcome)]);
    }
    ledger.certificate = Bytes::copy_from_slice(issued.certificate.der());
    ledger.certificate_key = SigningKey::from_pem(&issued.key_pem.unwrap()).unwrap();
    ledger.author = SigningKey::from_ed25519_seed(&[7; 32]);
    let enroll = ledger.enroll();
    ledger.push(vec![(enroll, Outcome::Applied)]);
    ledger.certify(ledger.blocks.len() - 1);
    ledger
}

#[test]
fn enrolments_verify_under_bundles_that_were_proposed_on_the_ledger() {
    let admit: fn(Vec<Bytes>) -> Topic = |ca_bundle| {
        let member = pb::GenesisMember {
            id: "b.example".into(),
            display_name: "B".into(),
            ca_bundle,
            stake: 1,
            nodes: vec![pb::GenesisNode {
                name: "node-1".into(),
                raft_id: 0,
                peer_address: "b.example:7402".into(),
                client_address: "b.example:7401".into(),
                vote_key: SigningKey::generate(SignatureAlgorithm::Es256)
                    .unwrap()
                    .verifying_key()
                    .raw()
                    .to_vec()
                    .into(),
            }],
        };
        Topic::AdmitMember(pb::AdmitMember { member: Some(member) })
    };
    let rotate: fn(Vec<Bytes>) -> Topic = |ca_bundle| {
        Topic::RotateCaBundle(pb::RotateCaBundle { member: "b.example".into(), ca_bundle, without_overlap: true })
    };
    for topic in [admit, rotate] {
        let report = with_newcomer(Some((topic, Outcome::Applied))).report();
        assert!(report.is_good(), "{:?}", report.failure);
        assert_eq!(report.counts.enrolments, 2);
    }
    let refused = Some((admit, Outcome::RoleNotAllowed));
    assert!(matches!(with_newcomer(refused).failure(), VerifyFailure::Enrolment { height: Height(3), .. }));
    assert!(matches!(with_newcomer(None).failure(), VerifyFailure::Enrolment { height: Height(2), .. }));
}
