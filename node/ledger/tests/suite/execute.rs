//! The rules, driven as a node drives them: blocks in, rows and headers out.
//! A model that knows nothing of trees and tables predicts every outcome.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use consilium_kit::identity_rules::{FIRST_CA, list};
use consilium_kit::people::write_record;
use consilium_kit::{Action, Identity, Ledger, START};
use consilium_ledger::tree::Tree;
use consilium_ledger::{CheckedTransaction, Event, Executed, StateReader, Table, keys};
use consilium_proto::ids::{Height, RecordId, TimeMs, TransactionId};
use consilium_proto::merkle::root_at;
use consilium_proto::observed::Observed;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::record::version_hash;
use proptest::prelude::*;

/// Two members with a node each.
struct Records(Ledger);

impl Deref for Records {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.0
    }
}

impl DerefMut for Records {
    fn deref_mut(&mut self) -> &mut Ledger {
        &mut self.0
    }
}

impl Records {
    fn new() -> Self {
        Self(Ledger::new(&[("a.example", 10, 1), ("b.example", 10, 1)], |p| p.epoch_ms = 2_592_000_000))
    }

    fn transaction(&mut self, by: &Identity, writes: Vec<Write>) -> CheckedTransaction {
        let attachments = writes.iter().filter_map(Write::payload).collect();
        let body = self.body(writes.into_iter().map(Write::action).collect());
        self.check(&by.sign(body, attachments))
    }

    fn outcomes(&mut self, transactions: &[CheckedTransaction]) -> Vec<Outcome> {
        let executed = self.block(transactions, &Observed::default());
        executed.leaves.iter().map(|(_, leaf)| leaf.outcome).collect()
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
    Revoke(Bytes),
}

impl Write {
    fn payload(&self) -> Option<Bytes> {
        match self {
            Self::Version { id, version, .. } => Some(Bytes::from(format!("payload {id} {version}"))),
            Self::Retract { .. } | Self::Revoke(_) => None,
        }
    }

    fn action(self) -> Action {
        let payload = self.payload();
        match self {
            Self::Version { id, version, kind } => {
                write_record([id; 16], version, &format!("Kind{kind}"), &payload.unwrap())
            }
            Self::Retract { id, version } => Action::RetractRecord(pb::RetractRecord {
                record_id: Bytes::copy_from_slice(&[id; 16]),
                version,
                reason: 0,
            }),
            Self::Revoke(crl) => Action::PublishRevocations(pb::PublishRevocations { crl }),
        }
    }
}

fn first(id: u8) -> Write {
    Write::Version { id, version: 1, kind: 0 }
}

#[test]
fn records_are_created_amended_and_retracted() {
    let mut ledger = Records::new();
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
    let id = RecordId([1; 16]);
    let state: pb::RecordState = ledger.store.message(Table::State, &keys::record(&id)).unwrap();
    assert_eq!((state.version, state.retracted), (3, true));
    let last: pb::RecordVersion = ledger.store.message(Table::Versions, &keys::version(&id, 3)).unwrap();
    let before: pb::RecordVersion = ledger.store.message(Table::Versions, &keys::version(&id, 2)).unwrap();
    assert_eq!(
        (&last.previous_sha256[..], &state.version_sha256[..]),
        (&version_hash(&before)[..], &version_hash(&last)[..])
    );
}

#[test]
fn a_refused_action_undoes_its_transaction() {
    let mut ledger = Records::new();
    let a = Identity::new("a.example", "service", "ehr");
    ledger.enroll(&a);
    let root = ledger.tip.header.state_root;
    assert_eq!(ledger.submit(&a, vec![first(1), first(2), first(1)]), Outcome::RecordExists);
    assert_eq!(ledger.tip.header.state_root, root);
    assert!(!ledger.store.0.keys().any(|(table, _)| *table == Table::Payloads));
    assert_eq!(ledger.submit(&a, vec![first(1), first(2)]), Outcome::Applied);
}

#[test]
fn every_attachment_is_stored_under_its_own_action() {
    let mut ledger = Records::new();
    let a = Identity::new("a.example", "service", "ehr");
    ledger.enroll(&a);
    let amended = Write::Version { id: 2, version: 2, kind: 0 };
    let writes = vec![first(1), first(2), Write::Retract { id: 1, version: 1 }, amended, first(3)];
    assert_eq!(ledger.submit(&a, writes), Outcome::Applied);
    for (id, version) in [(1, 1), (2, 1), (2, 2), (3, 1)] {
        let stored = ledger.store.get(Table::Payloads, &keys::payload(&RecordId([id; 16]), version)).unwrap();
        assert_eq!(stored, Some(Bytes::from(format!("payload {id} {version}"))));
    }
    let payloads = ledger.store.0.keys().filter(|(table, _)| *table == Table::Payloads);
    assert_eq!(payloads.count(), 4);
}

#[test]
fn roles_strangers_and_forgeries_are_refused() {
    let mut ledger = Records::new();
    let auditor = Identity::new("a.example", "auditor", "x");
    ledger.enroll(&auditor);
    assert_eq!(ledger.submit(&auditor, vec![first(1)]), Outcome::RoleNotAllowed);
    let outsider = Identity::new("c.example", "service", "z");
    let enrollment = ledger.enrollment(&outsider);
    assert_eq!(ledger.outcomes(&[enrollment]), [Outcome::MemberNotActive]);
}

fn unsigned(executed: &Executed) -> Vec<TransactionId> {
    executed.events.unsigned().copied().collect()
}

/// Whoever has a transaction and not its author's key uses up nothing: not with another
/// signature, not before the author is enrolled, not with a certificate that is not theirs, and
/// also not in the same block.
#[test]
fn burnt_id() {
    let mut ledger = Records::new();
    let a = Identity::new("a.example", "service", "ehr");
    let auditor = Identity::new("a.example", "auditor", "x");
    ledger.enroll(&auditor);
    let good = ledger.transaction(&a, vec![first(1)]);
    let enrollment = ledger.enrollment(&a);
    let other = |good: &CheckedTransaction| {
        let mut bad = good.clone();
        bad.transaction.signature = [0; 64];
        bad
    };
    let (bad, bad_enrollment) = (other(&good), other(&enrollment));
    let tip = ledger.tip.header.clone();
    let executed = ledger.block(&[bad_enrollment.clone(), good.clone(), bad.clone()], &Observed::default());
    assert_eq!(unsigned(&executed), [bad_enrollment.transaction.id, good.transaction.id, bad.transaction.id]);
    assert_eq!((executed.leaves.len(), executed.tip.header.state_root), (0, tip.state_root));
    // A key that someone verified under, but that is not the author's, counts for nothing.
    let verified = CheckedTransaction { verified_under: Some(auditor.key.verifying_key()), ..bad.clone() };
    let block = [bad_enrollment, enrollment, bad, verified, good.clone(), good];
    assert_eq!(ledger.outcomes(&block), [Outcome::Applied; 2]);
}

/// Somebody else who signs what an author wants makes another transaction of it, and the
/// author's own is executed all the same.
#[test]
fn author_swap() {
    let mut ledger = Records::new();
    let [a, b] = ["a.example", "b.example"].map(|member| Identity::new(member, "service", "ehr"));
    ledger.enroll(&a);
    ledger.enroll(&b);
    let own = ledger.transaction(&a, vec![first(1)]);
    let wire = own.transaction.to_wire();
    let swapped = ledger.check(&b.sign(wire.body.unwrap(), wire.attachments));
    assert_ne!(swapped.transaction.id, own.transaction.id);
    // The name of another author beside the signature is no way either.
    let mut claimed = own.clone();
    claimed.transaction.head.author = b.author();
    claimed.transaction.id = claimed.transaction.head.id();
    let executed = ledger.block(&[claimed.clone(), own.clone(), swapped.clone()], &Observed::default());
    assert_eq!(unsigned(&executed), [claimed.transaction.id]);
    let leaves: Vec<_> = executed.leaves.iter().map(|(_, leaf)| (leaf.transaction_id, leaf.outcome)).collect();
    assert_eq!(
        leaves,
        [(own.transaction.id, Outcome::Applied), (swapped.transaction.id, Outcome::RecordExists)],
        "who came first has the record"
    );
    assert!(
        executed
            .leaves
            .iter()
            .all(|(_, leaf)| { [&own, &swapped].iter().any(|checked| checked.transaction.signed().is_of(leaf)) })
    );
}

#[test]
fn repeated_and_late_transactions_leave_no_trace() {
    let mut ledger = Records::new();
    let a = Identity::new("a.example", "service", "ehr");
    ledger.enroll(&a);
    let write = ledger.transaction(&a, vec![first(1)]);
    assert_eq!(ledger.outcomes(&[write.clone(), write.clone()]), [Outcome::Applied]);
    let (size, root) = (ledger.tip.header.tree_size, ledger.tip.header.state_root);
    assert_eq!(ledger.outcomes(&[write]), []);
    let late = ledger.transaction(&a, vec![first(2)]);
    let executed =
        ledger.block_at(late.transaction.head.valid_until.0 + 1, std::slice::from_ref(&late), &Observed::default());
    assert_eq!(
        (executed.leaves.len(), executed.events),
        (0, [Event::Expired(late.transaction.id)].into_iter().collect())
    );
    assert_eq!((ledger.tip.header.tree_size, ledger.tip.header.state_root), (size, root));
}

#[test]
fn time_never_goes_back() {
    let mut ledger = Records::new();
    ledger.block_at(START + 5_000, &[], &Observed::default());
    ledger.block_at(START, &[], &Observed::default());
    assert_eq!(ledger.tip.header.time, TimeMs(START + 5_000));
    assert_eq!(ledger.tip.header.height, Height(3));
}

#[test]
fn a_revocation_list_ends_signers_from_its_block_on() {
    let mut ledger = Records::new();
    let (a, other) = (Identity::new("a.example", "service", "ehr"), Identity::new("a.example", "admin", "root"));
    ledger.enroll(&a);
    ledger.enroll(&other);
    let list = |number: u8| list(FIRST_CA, number, [a.serial()]);
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

    /// Every outcome is as the model says, and the tree root is that of the
    /// leaves. (State root and a replica's bytes are checked for every block.)
    #[test]
    fn blocks_do_what_the_model_says(blocks in prop::collection::vec(prop::collection::vec((any::<bool>(), any_write()), 0..6), 1..8)) {
        let mut ledger = Records::new();
        let (a, b) = (Identity::new("a.example", "service", "ehr"), Identity::new("b.example", "service", "ehr"));
        ledger.enroll(&a);
        ledger.enroll(&b);
        let mut known = BTreeMap::new();
        for block in blocks {
            let mut transactions = Vec::new();
            let mut expected = Vec::new();
            for (by_a, write) in block {
                expected.push(predict(&mut known, by_a, &write));
                transactions.push(ledger.transaction(if by_a { &a } else { &b }, vec![write]));
            }
            prop_assert_eq!(ledger.outcomes(&transactions), expected);
        }
        let root = root_at(&Tree::new(&ledger.store), ledger.tip.header.tree_size).unwrap();
        prop_assert_eq!(root, ledger.tip.header.tree_root);
    }
}
