//! The rules, driven as a node drives them: blocks in, rows and headers out.
//! A model that knows nothing of trees and tables predicts every outcome.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{
    BlockInput, CheckedTransaction, Executed, IdentityRules, RevocationList, StateReader, StoreFault, Table, Tip,
    VerifiedIdentity, execute, genesis_block, keys,
};
use consilium_proto::genesis::Genesis;
use consilium_proto::hash::sha256;
use consilium_proto::ids::{Fingerprint, Height, NodeId, TimeMs};
use consilium_proto::merkle::root_of;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::signing::{SignatureAlgorithm, SigningKey, VerifyingKey};
use consilium_proto::state_tree::{KeyHash, ValueHash, root_of_sorted};
use consilium_proto::transaction::{self, Transaction};
use proptest::prelude::*;
use prost::Message;

const START: u64 = 1_800_000_000_000;
const VALID_UNTIL: u64 = START + 3_600_000;

#[derive(Debug, Default, Clone, PartialEq)]
struct Store(BTreeMap<(Table, Vec<u8>), Bytes>);

impl Store {
    fn write(&mut self, executed: &Executed) {
        for row in &executed.rows {
            match &row.value {
                Some(value) => drop(self.0.insert((row.table, row.key.clone()), value.clone())),
                None => drop(self.0.remove(&(row.table, row.key.clone()))),
            }
        }
    }

    fn message<M: Message + Default>(&self, table: Table, key: &[u8]) -> Option<M> {
        self.0.get(&(table, key.to_vec())).map(|v| M::decode(v.clone()).unwrap())
    }

    fn state_root(&self) -> consilium_proto::hash::Hash {
        let rows = self.0.iter().filter(|((table, _), _)| *table == Table::State);
        let pairs: BTreeMap<_, _> = rows.map(|((_, key), value)| (KeyHash::of(key), ValueHash::of(value))).collect();
        root_of_sorted(pairs).unwrap()
    }
}

impl TrieStore for Store {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.get(Table::Trie, &path.to_bytes())
    }
}

impl StateReader for Store {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }
}

/// Certificates of these tests are `member/role/name/` and the public point.
struct Rules;

impl IdentityRules for Rules {
    fn claimed_member(&self, chain: &[Bytes]) -> Option<String> {
        let text = String::from_utf8_lossy(&chain[0]).into_owned();
        text.split('/').next().map(str::to_owned)
    }

    fn verify(&self, chain: &[Bytes], _: &[Bytes], crls: &[Bytes], _: u64) -> Option<VerifiedIdentity> {
        let (name, point) = chain[0].split_at(chain[0].len() - 65);
        let parts: Vec<_> = std::str::from_utf8(name).ok()?.split('/').collect();
        let serial = sha256(&[&chain[0]])[..8].to_vec();
        let revoked = crls.iter().any(|crl| crl[1..].chunks(8).any(|s| s == serial));
        (!revoked).then(|| VerifiedIdentity {
            spiffe_id: format!("spiffe://{}/{}/{}", parts[0], parts[1], parts[2]),
            key: VerifyingKey::from_raw(SignatureAlgorithm::Es256, point).ok(),
            serial,
            not_before_s: 0,
            not_after_s: START / 1_000 + 86_400,
            issuer_key_id: vec![7],
        })
    }

    /// A list is its number and the serials.
    fn verify_revocations(&self, crl: &[u8], _: &[Bytes]) -> Option<RevocationList> {
        let serials = crl[1..].chunks(8).map(<[u8]>::to_vec).collect();
        Some(RevocationList { issuer_key_id: vec![7], number: vec![crl[0]], serials })
    }
}

struct Identity {
    certificate: Bytes,
    certificate_key: SigningKey,
    key: SigningKey,
}

impl Identity {
    fn new(member: &str, role: &str, name: &str) -> Self {
        let certificate_key = SigningKey::generate(SignatureAlgorithm::Es256).unwrap();
        let mut certificate = format!("{member}/{role}/{name}/").into_bytes();
        certificate.extend_from_slice(certificate_key.verifying_key().raw());
        let key = SigningKey::generate(SignatureAlgorithm::Ed25519).unwrap();
        Self { certificate: certificate.into(), certificate_key, key }
    }

    fn author(&self) -> Fingerprint {
        transaction::signing_key_fingerprint(&self.key.verifying_key())
    }

    fn serial(&self) -> Vec<u8> {
        sha256(&[&self.certificate])[..8].to_vec()
    }
}

struct Ledger {
    genesis: Genesis,
    store: Store,
    tip: Tip,
    nonce: u64,
}

fn genesis() -> Genesis {
    let key = SigningKey::generate(SignatureAlgorithm::Es256).unwrap();
    let member = |id: &str, raft_id| pb::GenesisMember {
        id: id.into(),
        display_name: id.into(),
        ca_bundle: vec![Bytes::from_static(b"ca")],
        stake: 10,
        nodes: vec![pb::GenesisNode {
            name: "n1".into(),
            raft_id,
            peer_address: "h:1".into(),
            client_address: "h:2".into(),
            vote_key: key.verifying_key().raw().to_vec().into(),
        }],
    };
    let body = pb::Genesis {
        format_version: 1,
        network: "test".into(),
        time_ms: START - 1_000,
        parameters: Some(consilium_proto::genesis::recommended_parameters()),
        members: vec![member("a.example", 1), member("b.example", 2)],
    };
    let document = pb::GenesisDocument { body: body.encode_to_vec().into(), endorsements: Vec::new() };
    Genesis::parse(&document.encode_to_vec()).unwrap()
}

impl Ledger {
    fn new() -> Self {
        let genesis = genesis();
        let mut store = Store::default();
        let executed = genesis_block(&store, &genesis).unwrap();
        store.write(&executed);
        Self { genesis, store, tip: executed.tip, nonce: 0 }
    }

    fn body(&mut self, actions: Vec<pb::action::Action>) -> pb::TransactionBody {
        self.nonce += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonce.to_be_bytes());
        pb::TransactionBody {
            ledger_id: self.genesis.ledger_id.to_bytes(),
            nonce: Bytes::copy_from_slice(&nonce),
            valid_until_ms: VALID_UNTIL,
            actions: actions.into_iter().map(|action| pb::Action { action: Some(action) }).collect(),
        }
    }

    fn check(&self, signed: &pb::SignedTransaction) -> CheckedTransaction {
        let transaction = Transaction::parse(signed, self.genesis.ledger_id).unwrap();
        CheckedTransaction { transaction, verified_under: None }
    }

    fn transaction(&mut self, by: &Identity, writes: Vec<Write>) -> CheckedTransaction {
        let attachments = writes.iter().filter_map(Write::payload).collect();
        let body = self.body(writes.into_iter().map(Write::action).collect());
        let signed = transaction::sign(&body, by.author(), &by.key, attachments).unwrap();
        self.check(&signed)
    }

    fn enrollment(&mut self, who: &Identity) -> CheckedTransaction {
        let fingerprint = Fingerprint::from_bytes(sha256(&[&who.certificate]));
        let proof = who.key.sign(&transaction::enrollment_proof_input(&fingerprint)).unwrap();
        let body = self.body(vec![pb::action::Action::EnrollIdentity(pb::EnrollIdentity {
            certificate_chain: vec![who.certificate.clone()],
            signing_key: who.key.verifying_key().to_bytes().into(),
            encryption_key: Bytes::new(),
            signing_key_proof: Bytes::copy_from_slice(&proof),
        })]);
        let signed = transaction::sign(&body, fingerprint, &who.certificate_key, Vec::new()).unwrap();
        self.check(&signed)
    }

    fn block_at(&mut self, time: u64, transactions: &[CheckedTransaction]) -> Executed {
        let input = BlockInput { time: TimeMs(time), proposer: NodeId(1), transactions, observed_certificate: None };
        let executed = execute(&self.store, &Rules, &self.tip, &input).unwrap();
        self.store.write(&executed);
        self.tip = executed.tip.clone();
        executed
    }

    fn outcomes(&mut self, transactions: &[CheckedTransaction]) -> Vec<Outcome> {
        self.block_at(START, transactions).leaves.iter().map(|(_, leaf)| leaf.outcome).collect()
    }

    fn enroll(&mut self, who: &Identity) {
        let transaction = self.enrollment(who);
        assert_eq!(self.outcomes(&[transaction]), [Outcome::Applied]);
    }

    fn submit(&mut self, by: &Identity, writes: Vec<Write>) -> Outcome {
        let transaction = self.transaction(by, writes);
        self.outcomes(&[transaction])[0]
    }
}

#[derive(Debug, Clone)]
enum Write {
    Version { id: u8, version: u32, kind: u8 },
    Retract { id: u8, version: u32 },
    Revoke(Vec<u8>),
}

impl Write {
    fn payload(&self) -> Option<Bytes> {
        match self {
            Self::Version { id, version, .. } => Some(Bytes::from(format!("payload {id} {version}"))),
            Self::Retract { .. } | Self::Revoke(_) => None,
        }
    }

    fn action(self) -> pb::action::Action {
        let payload = self.payload();
        match self {
            Self::Version { id, version, kind } => {
                let payload = payload.unwrap();
                pb::action::Action::WriteRecord(pb::WriteRecord {
                    record_id: Bytes::copy_from_slice(&[id; 16]),
                    version,
                    patient: Bytes::copy_from_slice(&[id; 16]),
                    kind: format!("Kind{kind}"),
                    confidentiality: pb::Confidentiality::Normal as i32,
                    payload_sha256: Bytes::copy_from_slice(&sha256(&[&payload])),
                    payload_size: payload.len() as u32,
                    tags: Vec::new(),
                    wraps: Vec::new(),
                })
            }
            Self::Retract { id, version } => pb::action::Action::RetractRecord(pb::RetractRecord {
                record_id: Bytes::copy_from_slice(&[id; 16]),
                version,
            }),
            Self::Revoke(crl) => pb::action::Action::PublishRevocations(pb::PublishRevocations { crl: crl.into() }),
        }
    }
}

fn first(id: u8) -> Write {
    Write::Version { id, version: 1, kind: 0 }
}

#[test]
fn records_are_created_amended_and_retracted() {
    let mut ledger = Ledger::new();
    let (a, b) = (Identity::new("a.example", "service", "ehr"), Identity::new("b.example", "service", "ehr"));
    ledger.enroll(&a);
    ledger.enroll(&b);
    assert_eq!(ledger.submit(&a, vec![first(1)]), Outcome::Applied);
    assert_eq!(ledger.submit(&a, vec![first(1)]), Outcome::RecordExists);
    assert_eq!(ledger.submit(&b, vec![Write::Version { id: 1, version: 2, kind: 0 }]), Outcome::RecordMismatch);
    assert_eq!(ledger.submit(&a, vec![Write::Version { id: 1, version: 2, kind: 1 }]), Outcome::RecordMismatch);
    assert_eq!(ledger.submit(&a, vec![Write::Version { id: 1, version: 3, kind: 0 }]), Outcome::VersionConflict);
    assert_eq!(ledger.submit(&a, vec![Write::Version { id: 1, version: 2, kind: 0 }]), Outcome::Applied);
    assert_eq!(ledger.submit(&a, vec![Write::Version { id: 9, version: 2, kind: 0 }]), Outcome::RecordNotFound);
    assert_eq!(ledger.submit(&b, vec![Write::Retract { id: 1, version: 2 }]), Outcome::RecordMismatch);
    assert_eq!(ledger.submit(&a, vec![Write::Retract { id: 1, version: 1 }]), Outcome::VersionConflict);
    assert_eq!(ledger.submit(&a, vec![Write::Retract { id: 1, version: 2 }]), Outcome::Applied);
    assert_eq!(ledger.submit(&a, vec![Write::Version { id: 1, version: 4, kind: 0 }]), Outcome::RecordRetracted);
    let id = consilium_proto::ids::RecordId([1; 16]);
    let state: pb::RecordState = ledger.store.message(Table::State, &keys::record(&id)).unwrap();
    assert_eq!((state.version, state.retracted), (3, true));
    let last: pb::RecordVersion = ledger.store.message(Table::Versions, &keys::version(&id, 3)).unwrap();
    let before = ledger.store.get(Table::Versions, &keys::version(&id, 2)).unwrap().unwrap();
    assert_eq!(last.previous_sha256[..], sha256(&[&before]));
}

#[test]
fn a_refused_action_undoes_its_transaction() {
    let mut ledger = Ledger::new();
    let a = Identity::new("a.example", "service", "ehr");
    ledger.enroll(&a);
    let root = ledger.tip.header.state_root;
    assert_eq!(ledger.submit(&a, vec![first(1), first(2), first(1)]), Outcome::RecordExists);
    assert_eq!(ledger.tip.header.state_root, root);
    assert!(!ledger.store.0.keys().any(|(table, _)| *table == Table::Payloads));
    assert_eq!(ledger.submit(&a, vec![first(1), first(2)]), Outcome::Applied);
}

#[test]
fn roles_strangers_and_forgeries_are_refused() {
    let mut ledger = Ledger::new();
    let auditor = Identity::new("a.example", "auditor", "x");
    ledger.enroll(&auditor);
    assert_eq!(ledger.submit(&auditor, vec![first(1)]), Outcome::RoleNotAllowed);
    let stranger = Identity::new("a.example", "service", "y");
    assert_eq!(ledger.submit(&stranger, vec![first(1)]), Outcome::UnknownAuthor);
    let outsider = Identity::new("c.example", "service", "z");
    let enrollment = ledger.enrollment(&outsider);
    assert_eq!(ledger.outcomes(&[enrollment]), [Outcome::MemberNotActive]);
    let a = Identity::new("a.example", "service", "ehr");
    ledger.enroll(&a);
    let mut forged = ledger.transaction(&a, vec![first(1)]);
    forged.transaction.signature = [1; 64];
    assert_eq!(ledger.outcomes(&[forged]), [Outcome::BadSignature]);
    // A key that someone verified under, but that is not the author's, counts for nothing.
    let mut forged = ledger.transaction(&a, vec![first(1)]);
    forged.transaction.signature = [1; 64];
    forged.verified_under = Some(auditor.key.verifying_key());
    assert_eq!(ledger.outcomes(&[forged]), [Outcome::BadSignature]);
}

#[test]
fn repeated_and_late_transactions_leave_no_trace() {
    let mut ledger = Ledger::new();
    let a = Identity::new("a.example", "service", "ehr");
    ledger.enroll(&a);
    let write = ledger.transaction(&a, vec![first(1)]);
    assert_eq!(ledger.outcomes(&[write.clone(), write.clone()]), [Outcome::Applied]);
    let (size, root) = (ledger.tip.header.tree_size, ledger.tip.header.state_root);
    assert_eq!(ledger.outcomes(&[write]), []);
    let late = ledger.transaction(&a, vec![first(2)]);
    let executed = ledger.block_at(VALID_UNTIL + 1, std::slice::from_ref(&late));
    assert_eq!((executed.leaves.len(), executed.expired), (0, vec![late.transaction.id]));
    assert_eq!((ledger.tip.header.tree_size, ledger.tip.header.state_root), (size, root));
}

#[test]
fn time_never_goes_back() {
    let mut ledger = Ledger::new();
    ledger.block_at(START + 50, &[]);
    ledger.block_at(START, &[]);
    assert_eq!(ledger.tip.header.time, TimeMs(START + 50));
    assert_eq!(ledger.tip.header.height, Height(2));
}

#[test]
fn a_revocation_list_ends_signers_from_its_block_on() {
    let mut ledger = Ledger::new();
    let (a, other) = (Identity::new("a.example", "service", "ehr"), Identity::new("a.example", "service", "lab"));
    ledger.enroll(&a);
    ledger.enroll(&other);
    let list = |number: u8| [vec![number], a.serial()].concat();
    let revoke = ledger.transaction(&other, vec![Write::Revoke(list(2))]);
    let after = ledger.transaction(&a, vec![first(1)]);
    assert_eq!(ledger.outcomes(&[revoke, after]), [Outcome::Applied, Outcome::AuthorRevoked]);
    assert_eq!(ledger.submit(&other, vec![Write::Revoke(list(2))]), Outcome::RevocationsRefused);
    let again = ledger.enrollment(&a);
    assert_eq!(ledger.outcomes(&[again]), [Outcome::CertificateRefused]);
}

/// What the model knows of a record.
#[derive(Clone, Copy)]
struct Known {
    by_a: bool,
    kind: u8,
    version: u32,
    retracted: bool,
}

fn predict(known: &mut BTreeMap<u8, Known>, by_a: bool, write: &Write) -> Outcome {
    match *write {
        Write::Version { id, version, kind } => match known.get_mut(&id) {
            None if version != 1 => Outcome::RecordNotFound,
            None => {
                known.insert(id, Known { by_a, kind, version: 1, retracted: false });
                Outcome::Applied
            }
            Some(_) if version == 1 => Outcome::RecordExists,
            Some(k) if k.by_a != by_a || k.kind != kind => Outcome::RecordMismatch,
            Some(k) if k.retracted => Outcome::RecordRetracted,
            Some(k) if k.version + 1 != version => Outcome::VersionConflict,
            Some(k) => {
                k.version = version;
                Outcome::Applied
            }
        },
        Write::Retract { id, version } => match known.get_mut(&id) {
            None => Outcome::RecordNotFound,
            Some(k) if k.by_a != by_a => Outcome::RecordMismatch,
            Some(k) if k.retracted => Outcome::RecordRetracted,
            Some(k) if k.version != version => Outcome::VersionConflict,
            Some(k) => {
                k.version += 1;
                k.retracted = true;
                Outcome::Applied
            }
        },
        Write::Revoke(_) => unreachable!("not generated"),
    }
}

fn any_write() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => (0u8..4, 1u32..5, 0u8..2).prop_map(|(id, version, kind)| Write::Version { id, version, kind }),
        1 => (0u8..4, 1u32..5).prop_map(|(id, version)| Write::Retract { id, version }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every outcome is as the model says, the state root is the root of what
    /// is stored, the tree root that of the leaves, and a second replica that
    /// gets the same blocks has the same bytes.
    #[test]
    fn blocks_do_what_the_model_says(blocks in prop::collection::vec(prop::collection::vec((any::<bool>(), any_write()), 0..6), 1..8)) {
        let mut ledger = Ledger::new();
        let (a, b) = (Identity::new("a.example", "service", "ehr"), Identity::new("b.example", "service", "ehr"));
        ledger.enroll(&a);
        ledger.enroll(&b);
        let mut replica = (ledger.store.clone(), ledger.tip.clone());
        let mut known = BTreeMap::new();
        for (number, block) in blocks.into_iter().enumerate() {
            let mut transactions = Vec::new();
            let mut expected = Vec::new();
            for (by_a, write) in block {
                expected.push(predict(&mut known, by_a, &write));
                transactions.push(ledger.transaction(if by_a { &a } else { &b }, vec![write]));
            }
            let time = START + number as u64;
            let executed = ledger.block_at(time, &transactions);
            let outcomes: Vec<_> = executed.leaves.iter().map(|(_, leaf)| leaf.outcome).collect();
            prop_assert_eq!(outcomes, expected);
            prop_assert_eq!(ledger.tip.header.state_root, ledger.store.state_root());

            let input = BlockInput { time: TimeMs(time), proposer: NodeId(1), transactions: &transactions, observed_certificate: None };
            let second = execute(&replica.0, &Rules, &replica.1, &input).unwrap();
            prop_assert_eq!(&second.rows, &executed.rows);
            replica.0.write(&second);
            replica.1 = second.tip;
        }
        prop_assert_eq!(&replica.0, &ledger.store);
        let rows = ledger.store.0.iter().filter(|((table, key), _)| *table == Table::Tree && key[0] == 0);
        let leaves = rows.map(|(_, hash)| consilium_proto::hash::Hash::try_from(hash.as_ref()).unwrap());
        prop_assert_eq!(root_of(leaves).unwrap(), ledger.tip.header.tree_root);
    }
}
