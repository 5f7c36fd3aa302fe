//! Denied, unknown and nothing at all cost the same looks into the store, and a query costs none
//! for lists of which the reader may have nothing.

use std::cell::RefCell;

use consilium_kit::{Rows, Rules};
use consilium_ledger::rights::{Decider, IndexScan, Reading};
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{StateReader, StoreFault};
use consilium_proto::ids::{RecordId, TimeMs};
use consilium_proto::names::SpiffeId;

use super::*;

/// A store that counts what is looked for, by table.
struct Counting<'a>(&'a Rows, RefCell<Vec<Table>>);

impl TrieStore for Counting<'_> {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.0.node(path)
    }
}

impl StateReader for Counting<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.1.borrow_mut().push(table);
        self.0.get(table, key)
    }
}

impl IndexScan for Counting<'_> {
    fn index(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, StoreFault> {
        let rows = self.0.index(prefix)?;
        self.1.borrow_mut().extend(vec![Table::Index; 1 + rows.len()]);
        Ok(rows)
    }
}

/// Looks for one request, and what may be read of it.
pub(super) fn look(w: &World, who: &str, patient: u8, records: &[u8], kind: AccessKind) -> (Vec<Table>, Vec<u8>) {
    let reader: SpiffeId = who.parse().unwrap();
    let reading = Reading {
        reader: &reader,
        patient: PatientPseudonym([patient; 16]),
        kind,
        purpose: Purpose::Treat,
        project: None,
        emergency: None,
        time: TimeMs(w.now()),
    };
    let store = Counting(&w.ledger.store, RefCell::default());
    let mut decider = Decider::new(&store, &Rules, reading).unwrap();
    let mut asked: Vec<_> = records.iter().map(|record| RecordId([*record; 16])).collect();
    if kind == AccessKind::Query {
        asked.extend(decider.in_sight(&store, None).unwrap().into_values());
    }
    let permitted = asked.iter().filter(|id| decider.decide(&store, id, 0).unwrap().0.permits());
    let permitted = permitted.map(|id| id.0[0]).collect();
    (store.1.into_inner(), permitted)
}

const READS: [AccessKind; 2] = [AccessKind::Read, AccessKind::History];

#[test]
fn a_denied_record_costs_the_looks_of_one_that_is_not() {
    let mut w = World::new();
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    let nosy = name(B, "clinician", "c1");
    for kind in READS {
        let denied = look(&w, &nosy, 1, &[1], kind);
        assert!(denied.1.is_empty(), "it is denied");
        assert_eq!(denied, look(&w, &nosy, 1, &[9], kind), "no such record");
        assert_eq!(denied, look(&w, &nosy, 9, &[1], kind), "no such patient, and a record of another");
        assert_eq!(denied, look(&w, &nosy, 9, &[9], kind), "neither");
    }
}

#[test]
fn a_query_costs_nothing_for_what_is_not_for_the_reader() {
    let mut w = World::new();
    let nosy = name(B, "clinician", "c1");
    let nothing = look(&w, &nosy, 1, &[], AccessKind::Query);
    for record in 1..20 {
        assert_eq!(w.write(A, record, |_| ()), Outcome::Applied);
    }
    let hidden = look(&w, &nosy, 1, &[], AccessKind::Query);
    assert!(hidden.1.is_empty());
    // The entry that says that hospital a has written some of that kind.
    assert_eq!(hidden.0.len(), nothing.0.len() + 1, "19 records, of which none is for it");
    assert_eq!(nothing, look(&w, &nosy, 9, &[], AccessKind::Query), "no such patient");
}

#[test]
fn a_query_that_shows_some_costs_nothing_for_other_levels_and_hospitals() {
    let mut w = World::new();
    let permit = pb::ConsentRule {
        grantees: to_member(B),
        ceiling: pb::Confidentiality::Normal.into(),
        ..rule(ConsentEffect::Permit)
    };
    let share = grant(ConsentBase::BreakGlassOnly, vec![permit]);
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, share), Outcome::Applied);
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    let doctor = name(B, "clinician", "c1");
    let before = look(&w, &doctor, 1, &[], AccessKind::Query);
    assert_eq!(before.1, [1]);
    for record in 2..20 {
        let secret = |write: &mut pb::WriteRecord| write.confidentiality = pb::Confidentiality::VeryRestricted.into();
        assert_eq!(w.write(A, record, secret), Outcome::Applied);
    }
    let after = look(&w, &doctor, 1, &[], AccessKind::Query);
    assert_eq!(after.1, [1]);
    assert_eq!(after.0.len(), before.0.len() + 1, "18 very restricted ones, and the entry that there are such");
    // Of its own hospital it may have all; the patient's consent says nothing of that.
    assert_eq!(w.write(B, 30, |_| ()), Outcome::Applied);
    assert_eq!(look(&w, &doctor, 1, &[], AccessKind::Query).1, [1, 30]);
}
