//! Verification of ledgers built here: a good one, and one per thing that can
//! be wrong, certified by the validators all the same, so that each check is
//! shown to stand on its own.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_certs::{IdentityRequest, MemberCa, Role, SubjectKey, Validity};
use consilium_proto::genesis::{Genesis, recommended_parameters};
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{Epoch, Fingerprint, HeaderHash, Height, NodeId, TimeMs};
use consilium_proto::merkle::Frontier;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use consilium_proto::state_tree::{KeyHash, ValueHash, root_of_sorted};
use consilium_proto::transaction::{self, enrollment_proof_input, signing_key_fingerprint, transaction_id};
use consilium_proto::vote::{BlockCertificate, CertificateError, Vote};
use pb::archive_entry::Entry;
use proptest::prelude::*;
use prost::Message;
use time::{Duration, OffsetDateTime};

use super::*;

const NOW_S: i64 = 1_790_000_000;
const NOW_MS: u64 = NOW_S as u64 * 1_000;
const RECORD_ID: [u8; 16] = [5; 16];

/// A network of one member with three validators, and its ledger so far.
struct Ledger {
    document: pb::GenesisDocument,
    genesis: Genesis,
    votes: Vec<SigningKey>,
    certificate_key: SigningKey,
    certificate: Bytes,
    author: SigningKey,
    frontier: Frontier,
    blocks: Vec<pb::ArchiveBlock>,
    headers: Vec<Header>,
    rows: Vec<pb::ArchiveRow>,
}

fn validity() -> Validity {
    let now = OffsetDateTime::from_unix_timestamp(NOW_S).unwrap();
    Validity { not_before: now - Duration::days(1), not_after: now + Duration::days(300) }
}

impl Ledger {
    fn new() -> Self {
        let ca = MemberCa::create(&"a.example".parse().unwrap(), validity()).unwrap();
        let request = IdentityRequest {
            role: Role::Service,
            name: "ehr".into(),
            dns_names: Vec::new(),
            ip_addrs: Vec::new(),
            validity: validity(),
            key: SubjectKey::Generate,
        };
        let issued = ca.issue(&request).unwrap();
        let votes: Vec<_> = (0..3).map(|_| SigningKey::generate(SignatureAlgorithm::Es256).unwrap()).collect();
        let node = |(i, key): (usize, &SigningKey)| pb::GenesisNode {
            name: format!("n{i}"),
            raft_id: i as u64 + 1,
            peer_address: format!("127.0.0.1:{}", 7500 + i),
            client_address: format!("127.0.0.1:{}", 7400 + i),
            vote_key: key.verifying_key().raw().to_vec().into(),
        };
        let member = pb::GenesisMember {
            id: "a.example".into(),
            display_name: "A".into(),
            ca_bundle: ca.bundle().to_ders().into_iter().map(Bytes::from).collect(),
            stake: 300,
            nodes: votes.iter().enumerate().map(node).collect(),
        };
        let body = pb::Genesis {
            format_version: 1,
            network: "test".into(),
            time_ms: NOW_MS,
            parameters: Some(recommended_parameters()),
            members: vec![member],
        };
        let document = pb::GenesisDocument { body: body.encode_to_vec().into(), endorsements: Vec::new() };
        let genesis = Genesis::parse(&document.encode_to_vec()).unwrap();
        let mut ledger = Self {
            genesis,
            document,
            votes,
            certificate_key: SigningKey::from_pem(&issued.key_pem.unwrap()).unwrap(),
            certificate: Bytes::copy_from_slice(issued.certificate.der()),
            author: SigningKey::from_ed25519_seed(&[9; 32]),
            frontier: Frontier::new(),
            blocks: Vec::new(),
            headers: Vec::new(),
            rows: Vec::new(),
        };
        for leaf in Leaf::genesis(ledger.genesis.ledger_id) {
            ledger.frontier.append(leaf.hash()).unwrap();
        }
        ledger.append(0, Vec::new(), |_| ());
        ledger
    }

    /// The usual: an enrolment, a record with its attachments, refusals, and a
    /// certificate over the last block.
    fn usual() -> Self {
        let mut ledger = Self::new();
        let enroll = ledger.enroll();
        ledger.push(vec![(enroll, Outcome::Applied)]);
        let attachments = vec![Bytes::from_static(b"payload"), Bytes::from_static(b"wrap")];
        let write = ledger.sign(1, NOW_MS + 60_000, vec![write_action(&attachments)]);
        let expired = ledger.sign(2, NOW_MS - 1, vec![retract_action()]);
        let refused = ledger.sign(3, NOW_MS + 60_000, vec![retract_action()]);
        let stranger =
            ledger.sign_as(&SigningKey::from_ed25519_seed(&[8; 32]), 4, NOW_MS + 60_000, vec![retract_action()]);
        ledger.push(vec![
            (write.clone(), Outcome::Applied),
            (expired, Outcome::Expired),
            (refused, Outcome::RecordNotFound),
            (stranger, Outcome::UnknownAuthor),
        ]);
        ledger.blocks[2].attachments = attachments;
        ledger.certify(2);
        ledger.write_rows(&write);
        let root = ledger.state_root();
        let observed = ledger.blocks[2].certificate.clone();
        ledger.append(3, Vec::new(), |header| header.state_root = root);
        ledger.blocks[3].block.as_mut().unwrap().observed_certificate = observed;
        ledger.certify(3);
        ledger
    }

    fn body(&self, nonce: u8, valid_until_ms: u64, actions: Vec<pb::Action>) -> pb::TransactionBody {
        pb::TransactionBody {
            ledger_id: self.genesis.ledger_id.to_bytes(),
            nonce: vec![nonce; 16].into(),
            valid_until_ms,
            actions,
        }
    }

    fn sign(&self, nonce: u8, valid_until_ms: u64, actions: Vec<pb::Action>) -> pb::SignedTransaction {
        self.sign_as(&self.author, nonce, valid_until_ms, actions)
    }

    fn sign_as(
        &self,
        key: &SigningKey,
        nonce: u8,
        valid_until_ms: u64,
        actions: Vec<pb::Action>,
    ) -> pb::SignedTransaction {
        let body = self.body(nonce, valid_until_ms, actions);
        transaction::sign(&body, signing_key_fingerprint(&key.verifying_key()), key, Vec::new()).unwrap()
    }

    fn enroll(&self) -> pb::SignedTransaction {
        let fingerprint = Fingerprint::from_bytes(sha256(&[&self.certificate]));
        let enroll = pb::EnrollIdentity {
            certificate_chain: vec![self.certificate.clone()],
            signing_key: self.author.verifying_key().to_bytes().into(),
            encryption_key: Bytes::new(),
            signing_key_proof: Bytes::copy_from_slice(
                &self.author.sign(&enrollment_proof_input(&fingerprint)).unwrap(),
            ),
        };
        let action = pb::Action { action: Some(pb::action::Action::EnrollIdentity(enroll)) };
        transaction::sign(&self.body(0, NOW_MS + 60_000, vec![action]), fingerprint, &self.certificate_key, Vec::new())
            .unwrap()
    }

    fn push(&mut self, transactions: Vec<(pb::SignedTransaction, Outcome)>) {
        self.append(self.blocks.len() as u64, transactions, |_| ());
    }

    /// Appends a block whose header `adjust` may falsify before it counts.
    fn append(
        &mut self,
        height: u64,
        transactions: Vec<(pb::SignedTransaction, Outcome)>,
        adjust: impl FnOnce(&mut Header),
    ) {
        let first_leaf = if height == 0 { 0 } else { self.frontier.size() };
        let mut executed = Vec::new();
        for (signed, outcome) in transactions {
            let leaf = Leaf { transaction_id: transaction_id(&signed.body), height: Height(height), outcome };
            self.frontier.append(leaf.hash()).unwrap();
            executed.push(pb::ExecutedTransaction { transaction: Some(signed), outcome: outcome.into() });
        }
        let set = self.genesis.validators().unwrap().hash();
        let mut header = Header {
            ledger_id: self.genesis.ledger_id,
            height: Height(height),
            previous_hash: self.headers.last().map_or(HeaderHash::from_bytes([0; 32]), Header::hash),
            time: TimeMs(NOW_MS + if height == 0 { 0 } else { 10 * height }),
            epoch: Epoch(0),
            tree_size: self.frontier.size(),
            tree_root: self.frontier.root(),
            state_root: self.state_root(),
            validators_hash: set,
            next_validators_hash: set,
            proposer: NodeId(u64::from(height > 0)),
        };
        adjust(&mut header);
        let block = pb::Block {
            header: Some((&header).into()),
            first_leaf,
            transactions: executed,
            observed_certificate: None,
        };
        self.headers.push(header);
        self.blocks.push(pb::ArchiveBlock { block: Some(block), certificate: None, attachments: Vec::new() });
    }

    fn certify(&mut self, height: usize) {
        self.blocks[height].certificate = Some(self.certificate(height, &[0, 1, 2]));
    }

    fn certificate(&self, height: usize, signers: &[usize]) -> pb::BlockCertificate {
        let header = &self.headers[height];
        let sign = |i: &usize| {
            let id = NodeId(*i as u64 + 1);
            (id, Vote::sign(id, header, &self.votes[*i]).unwrap().signature)
        };
        let signatures: BTreeMap<_, _> = signers.iter().map(sign).collect();
        (&BlockCertificate::new(header.height, header.hash(), signatures)).into()
    }

    /// One record with two versions, and another row.
    fn write_rows(&mut self, write: &pb::SignedTransaction) {
        let first = pb::RecordVersion {
            record_id: RECORD_ID.to_vec().into(),
            version: 1,
            transaction_id: transaction_id(&write.body).to_bytes(),
            ..Default::default()
        };
        let first = first.encode_to_vec();
        let second = pb::RecordVersion {
            record_id: RECORD_ID.to_vec().into(),
            version: 2,
            previous_sha256: Bytes::copy_from_slice(&sha256(&[&first])),
            retraction: true,
            ..Default::default()
        };
        let second = second.encode_to_vec();
        let state = pb::RecordState {
            member: "a.example".into(),
            version: 2,
            version_sha256: Bytes::copy_from_slice(&sha256(&[&second])),
            ..Default::default()
        };
        let row = |table: &str, key: Vec<u8>, value: Vec<u8>| pb::ArchiveRow {
            table: table.into(),
            key: key.into(),
            value: value.into(),
        };
        self.rows = vec![
            row("state", b"\x01a.example".to_vec(), b"member".to_vec()),
            row("state", [&[6u8][..], &RECORD_ID].concat(), state.encode_to_vec()),
            row("versions", [&RECORD_ID[..], &1u32.to_be_bytes()].concat(), first),
            row("versions", [&RECORD_ID[..], &2u32.to_be_bytes()].concat(), second),
        ];
    }

    fn state_root(&self) -> Hash {
        let state = self.rows.iter().filter(|r| r.table == "state");
        let map: BTreeMap<_, _> = state.map(|r| (KeyHash::of(&r.key), ValueHash::of(&r.value))).collect();
        root_of_sorted(map).unwrap()
    }

    fn entries(&self) -> Vec<Entry> {
        let header = pb::ArchiveHeader { format_version: 1, genesis: Some(self.document.clone()) };
        let blocks = self.blocks.iter().cloned().map(Entry::Block);
        let rows = self.rows.iter().cloned().map(Entry::Row);
        let end = pb::ArchiveEnd { height: self.blocks.len() as u64 - 1, rows: self.rows.len() as u64 };
        std::iter::once(Entry::Header(header)).chain(blocks).chain(rows).chain([Entry::End(end)]).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        encode(self.entries())
    }

    fn report(&self) -> Report {
        verify(&self.bytes(), &self.genesis)
    }

    fn failure(&self) -> VerifyFailure {
        self.report().failure.unwrap()
    }
}

fn encode(entries: Vec<Entry>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for entry in entries {
        out.extend(pb::ArchiveEntry { entry: Some(entry) }.encode_length_delimited_to_vec());
    }
    out
}

fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut reader = ArchiveReader::new(bytes);
    let mut out = Vec::new();
    while let Some(entry) = reader.next_entry().ok()? {
        out.push(entry);
    }
    Some(out)
}

fn verify(bytes: &[u8], genesis: &Genesis) -> Report {
    verify_archive(bytes, genesis, Options::default(), |_| ()).unwrap()
}

fn write_action(attachments: &[Bytes]) -> pb::Action {
    let hash = |b: &Bytes| Bytes::copy_from_slice(&sha256(&[b]));
    let wraps = vec![pb::KeyWrapRef { recipient_key_id: vec![1; 32].into(), wrap_sha256: hash(&attachments[1]) }];
    let write = pb::WriteRecord {
        record_id: RECORD_ID.to_vec().into(),
        version: 1,
        patient: vec![2; 16].into(),
        kind: "Observation".into(),
        confidentiality: pb::Confidentiality::Normal.into(),
        payload_sha256: hash(&attachments[0]),
        payload_size: attachments[0].len() as u32,
        tags: Vec::new(),
        wraps,
    };
    pb::Action { action: Some(pb::action::Action::WriteRecord(write)) }
}

fn retract_action() -> pb::Action {
    let retract = pb::RetractRecord { record_id: vec![3; 16].into(), version: 1 };
    pb::Action { action: Some(pb::action::Action::RetractRecord(retract)) }
}

#[test]
fn a_good_ledger_verifies_with_exact_counts() {
    let ledger = Ledger::usual();
    let report = ledger.report();
    assert_eq!(report.failure, None);
    assert!(report.is_good());
    let expected = Counts {
        blocks: 4,
        transactions: 5,
        applied: 2,
        signatures: 3,
        signatures_immaterial: 2,
        certificates: 3,
        enrolments: 1,
        attachments: 2,
        attachments_erased: 0,
        blocks_without_attachments: 0,
        state_rows: 2,
        versions: 2,
    };
    assert_eq!(report.counts, expected);
    assert_eq!(report.certified_height, Some(Height(3)));
    assert!(report.state_checked);
    assert_eq!(report.head.map(|(height, hash, ..)| (height, hash)), Some((Height(3), ledger.headers[3].hash())));
    assert_eq!(report.to_json()["ok"], true);
    assert!(report.to_text().ends_with("everything that was checked is right"), "{}", report.to_text());
}

#[test]
fn archives_from_the_network_have_no_rows_or_attachments() {
    let mut ledger = Ledger::usual();
    ledger.rows.clear();
    ledger.blocks[2].attachments.clear();
    let report = ledger.report();
    assert!(report.is_good() && !report.state_checked);
    assert_eq!(report.counts.blocks_without_attachments, 1);
    let strict = verify_archive(&ledger.bytes()[..], &ledger.genesis, Options { require_state: true }, |_| ()).unwrap();
    assert_eq!(strict.failure, Some(VerifyFailure::Structure("does not hold the state")));
}

#[test]
fn erased_attachments_are_counted_and_changed_ones_found() {
    let mut ledger = Ledger::usual();
    ledger.blocks[2].attachments[0] = Bytes::new();
    let report = ledger.report();
    assert!(report.is_good());
    assert_eq!((report.counts.attachments, report.counts.attachments_erased), (1, 1));
    ledger.blocks[2].attachments[1] = Bytes::from_static(b"wrAp");
    assert!(matches!(ledger.failure(), VerifyFailure::Attachment { height: Height(2), index: 1, .. }));
    ledger.blocks[2].attachments.pop();
    assert_eq!(ledger.failure(), VerifyFailure::AttachmentCount { height: Height(2), expected: 2, found: 1 });
}

#[test]
fn what_is_above_the_last_certificate_is_said_so() {
    let mut ledger = Ledger::usual();
    ledger.blocks[3].certificate = None;
    let report = ledger.report();
    assert!(report.is_good());
    assert_eq!((report.certified_height, report.uncertified_blocks()), (Some(Height(2)), 1));
    assert!(report.to_text().contains("1 blocks above are not yet certified"));
    ledger.blocks[3].block.as_mut().unwrap().observed_certificate = None;
    ledger.blocks[2].certificate = None;
    let report = ledger.report();
    assert_eq!((report.failure.clone(), report.certified_height), (None, None));
    assert!(!report.is_good(), "nothing is final");
}

#[test]
fn certificates_need_a_quorum_of_genesis_validators() {
    let mut ledger = Ledger::usual();
    ledger.blocks[3].certificate = Some(ledger.certificate(3, &[0, 1]));
    let error = CertificateError::NoQuorum { power: 200, total: 300 };
    assert_eq!(ledger.failure(), VerifyFailure::Certificate { height: Height(3), error });
    ledger.blocks[3].certificate = Some(ledger.certificate(2, &[0, 1, 2]));
    let error = CertificateError::OtherHeader { height: Height(3) };
    assert_eq!(ledger.failure(), VerifyFailure::Certificate { height: Height(3), error });
}

#[test]
fn false_headers_are_found_even_if_certified() {
    type Case = (fn(&mut Header), fn(&VerifyFailure) -> bool);
    let cases: [Case; 8] = [
        (
            |h| h.previous_hash = HeaderHash::from_bytes([7; 32]),
            |f| matches!(f, VerifyFailure::PreviousHash { height: Height(3), .. }),
        ),
        (|h| h.time = TimeMs(NOW_MS), |f| matches!(f, VerifyFailure::Time { height: Height(3), .. })),
        (|h| h.tree_size += 1, |f| matches!(f, VerifyFailure::Count { what: "tree_size", .. })),
        (|h| h.tree_root = Hash::from_bytes([7; 32]), |f| matches!(f, VerifyFailure::TreeRoot { .. })),
        (|h| h.state_root = Hash::from_bytes([7; 32]), |f| matches!(f, VerifyFailure::StateRoot { .. })),
        (|h| h.validators_hash = Hash::from_bytes([7; 32]), |f| *f == VerifyFailure::Validators { height: Height(3) }),
        (|h| h.height = Height(4), |f| *f == VerifyFailure::Height { expected: Height(3), found: Height(4) }),
        (
            |h| h.ledger_id = consilium_proto::ids::LedgerId::from_bytes([7; 32]),
            |f| matches!(f, VerifyFailure::OtherLedger { .. }),
        ),
    ];
    for (i, (falsify, expected)) in cases.into_iter().enumerate() {
        let mut ledger = Ledger::usual();
        ledger.blocks.pop();
        ledger.headers.pop();
        let root = ledger.state_root();
        ledger.append(3, Vec::new(), |header| {
            header.state_root = root;
            falsify(header);
        });
        ledger.certify(3);
        let failure = ledger.failure();
        assert!(expected(&failure), "case {i}: {failure}");
    }
}

#[test]
fn the_genesis_header_follows_from_the_genesis_document() {
    let cases: [fn(&mut Header); 4] = [
        |h| h.time = TimeMs(NOW_MS + 1),
        |h| h.previous_hash = HeaderHash::from_bytes([7; 32]),
        |h| h.next_validators_hash = Hash::from_bytes([7; 32]),
        |h| h.proposer = NodeId(1),
    ];
    for falsify in cases {
        let mut ledger = Ledger::new();
        let mut header = ledger.headers[0].clone();
        falsify(&mut header);
        ledger.blocks[0].block.as_mut().unwrap().header = Some((&header).into());
        assert!(matches!(ledger.failure(), VerifyFailure::GenesisHeader { .. }));
    }
}

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
    assert!(matches!(
        one(Outcome::UnknownAuthor, until),
        VerifyFailure::FalseRefusal { outcome: "OUTCOME_UNKNOWN_AUTHOR", .. }
    ));
    assert!(matches!(one(Outcome::BadSignature, until), VerifyFailure::FalseRefusal { .. }));
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
    let expired = with_transactions(|l| vec![(l.sign(1, NOW_MS + 19, vec![retract_action()]), Outcome::Expired)]);
    assert!(expired.report().is_good());
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

#[test]
fn record_histories_are_what_the_state_commits_to() {
    let version = |ledger: &Ledger, what: &str| match ledger.failure() {
        VerifyFailure::Version { what: found, .. } => assert!(found.contains(what), "{found}"),
        other => panic!("{other}"),
    };
    let mut ledger = Ledger::usual();
    let mut first = pb::RecordVersion::decode(ledger.rows[2].value.clone()).unwrap();
    first.kind = "Condition".into();
    ledger.rows[2].value = first.encode_to_vec().into();
    version(&ledger, "names another hash for the version before it");

    let mut ledger = Ledger::usual();
    let mut second = pb::RecordVersion::decode(ledger.rows[3].value.clone()).unwrap();
    second.retraction = false;
    ledger.rows[3].value = second.encode_to_vec().into();
    version(&ledger, "does not have the hash");

    let mut ledger = Ledger::usual();
    ledger.rows.pop();
    version(&ledger, "not the newest");
    ledger.rows.pop();
    version(&ledger, "is missing");

    let mut ledger = Ledger::usual();
    ledger.rows.remove(2);
    version(&ledger, "does not follow");

    let mut ledger = Ledger::usual();
    let mut stray = ledger.rows[2].clone();
    stray.key = [&[9u8; 16][..], &1u32.to_be_bytes()].concat().into();
    stray.value =
        pb::RecordVersion { record_id: vec![9; 16].into(), version: 1, ..Default::default() }.encode_to_vec().into();
    ledger.rows.push(stray);
    version(&ledger, "not in the state");
}

#[test]
fn incomplete_and_rearranged_archives_are_found() {
    let ledger = Ledger::usual();
    let whole = ledger.bytes();
    for cut in 0..whole.len() {
        assert!(verify(&whole[..cut], &ledger.genesis).failure.is_some(), "cut at {cut}");
    }
    let entries = ledger.entries();
    for i in 0..entries.len() {
        let mut without = entries.clone();
        without.remove(i);
        assert!(verify(&encode(without), &ledger.genesis).failure.is_some(), "without {i}");
        let mut doubled = entries.clone();
        doubled.insert(i, entries[i].clone());
        assert!(verify(&encode(doubled), &ledger.genesis).failure.is_some(), "doubled {i}");
        if i > 0 {
            let mut swapped = entries.clone();
            swapped.swap(i - 1, i);
            assert!(verify(&encode(swapped), &ledger.genesis).failure.is_some(), "swapped {i}");
        }
    }
    assert!(verify(&whole, &Ledger::new().genesis).failure.is_some(), "another ledger");
}

#[test]
fn the_writer_writes_what_the_reader_reads() {
    let ledger = Ledger::usual();
    let mut writer = ArchiveWriter::new(Vec::new(), ledger.document.clone()).unwrap();
    ledger.blocks.iter().cloned().for_each(|b| writer.block(b).unwrap());
    ledger.rows.iter().cloned().for_each(|r| writer.row(r).unwrap());
    assert_eq!(writer.finish().unwrap(), ledger.bytes());
    assert_eq!(decode(&ledger.bytes()).unwrap(), ledger.entries());
}

#[test]
fn hostile_lengths_reserve_nothing() {
    let after_magic = |bytes: &[u8]| {
        let file = [&MAGIC[..], bytes].concat();
        ArchiveReader::new(&file[..]).next_entry().unwrap_err()
    };
    assert_eq!(after_magic(&[0x80, 0x80, 0x80, 0x20]), ArchiveError::Truncated { entry: 0 });
    assert_eq!(after_magic(&[0x81, 0x80, 0x80, 0x20]), ArchiveError::Length { entry: 0 });
    assert_eq!(after_magic(&[0xff; 10]), ArchiveError::Length { entry: 0 });
    assert_eq!(after_magic(&[0x81, 0x00]), ArchiveError::Length { entry: 0 });
    assert_eq!(after_magic(&[0x00]), ArchiveError::Length { entry: 0 });
    assert_eq!(after_magic(&[0x80]), ArchiveError::Truncated { entry: 0 });
    assert_eq!(after_magic(&[0x02, 0x08, 0x01]), ArchiveError::Malformed { entry: 0 });
    assert_eq!(ArchiveReader::new(&b"CNSLARC2"[..]).next_entry(), Err(ArchiveError::NotAnArchive));
}

/// An archive without what is not part of the ledger: endorsements in its copy
/// of the genesis document; certificates (a flip can make one an unknown field,
/// which is to say, leave it out); and who claims to have signed a transaction
/// that was refused before its signature mattered.
fn meaning(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = decode(bytes)?;
    for entry in &mut entries {
        match entry {
            Entry::Header(header) => header.genesis.as_mut()?.endorsements.clear(),
            Entry::Block(entry) => {
                entry.certificate = None;
                let block = entry.block.as_mut()?;
                block.observed_certificate = None;
                let refused_early =
                    |t: &&mut pb::ExecutedTransaction| matches!(t.outcome(), Outcome::Expired | Outcome::UnknownAuthor);
                for signed in block.transactions.iter_mut().filter(refused_early).filter_map(|t| t.transaction.as_mut())
                {
                    (signed.author, signed.signature) = (Bytes::new(), Bytes::new());
                }
            }
            Entry::Row(_) | Entry::End(_) => {}
        }
    }
    Some(entries)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Many flips per case: building a ledger is the slow part.
    #[test]
    fn no_flipped_bit_goes_unnoticed(seeds in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 40)) {
        let ledger = shared();
        let whole = &ledger.1;
        for (place, bit) in seeds {
            let mut changed = whole.clone();
            changed[place.index(whole.len())] ^= 1 << bit;
            let report = verify(&changed, &ledger.0);
            if report.failure.is_none() {
                // Then it was another spelling of the same messages.
                let differing = meaning(&changed).zip(meaning(whole)).and_then(|(a, b)| {
                    a.into_iter().zip(b).find(|(a, b)| a != b)
                });
                prop_assert_eq!(differing, None);
                prop_assert!(report.is_good());
            }
        }
    }

    #[test]
    fn hostile_archives_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let ledger = shared();
        let file = [&MAGIC[..], &bytes].concat();
        prop_assert!(verify(&file, &ledger.0).failure.is_some());
    }
}

/// A ledger and its archive, built once.
fn shared() -> &'static (Genesis, Vec<u8>) {
    static LEDGER: std::sync::OnceLock<(Genesis, Vec<u8>)> = std::sync::OnceLock::new();
    LEDGER.get_or_init(|| {
        let ledger = Ledger::usual();
        (ledger.genesis.clone(), ledger.bytes())
    })
}
