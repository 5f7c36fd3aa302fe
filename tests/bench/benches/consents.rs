//! What a reader's request costs every node in consents, in CPU time of the thread that decides: of
//! a patient with 16 consents, and of one of whom another member has put as many, and as large ones,
//! as it can, which bind itself alone.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use bytes::Bytes;
use consilium_bench::cpu::CpuTime;
use consilium_kit::{Ledger, Rows};
use consilium_ledger::rights::{Decider, Reading};
use consilium_ledger::{Row, Table, keys};
use consilium_policy::Engine;
use consilium_proto::consent::Grant;
use consilium_proto::ids::{ConsentId, PatientPseudonym, RecordId, TimeMs};
use consilium_proto::limits::{CONSENTS_MAX, CONSENTS_OF_MEMBER_BYTES_MAX, CONSENTS_OF_MEMBER_MAX};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{self, AccessKind, ConsentBase, ConsentEffect, PatientRelation, PurposeOfUse};
use criterion::{Criterion, criterion_group, criterion_main};
use prost::Message;

/// As a node has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PATIENT: PatientPseudonym = PatientPseudonym([1; 16]);
const OWN: &str = "a.example";
const OTHER: &str = "h.example";

fn put(rows: &mut Rows, table: Table, key: Vec<u8>, message: &impl Message) {
    rows.put(&[Row { table, key, value: Some(message.encode_to_vec().into()) }]);
}

fn permit() -> pb::ConsentRule {
    let grantee = pb::Grantee { grantee: Some(pb::grantee::Grantee::Member("b.example".into())) };
    let purposes = vec![PurposeOfUse::Treat.into()];
    pb::ConsentRule {
        effect: ConsentEffect::Permit.into(),
        grantees: vec![grantee],
        purposes,
        ..pb::ConsentRule::default()
    }
}

/// So many records of which nothing is said but to a member.
fn large(bytes: usize) -> Vec<pb::ConsentRule> {
    let mut left = bytes / 18;
    let mut rules = Vec::new();
    while left > 0 {
        let records = left.min(256);
        let id = |n: usize| Bytes::from([&(n as u64).to_be_bytes()[..], &[7; 8]].concat());
        rules.push(pb::ConsentRule { records: (0..records).map(id).collect(), ..permit() });
        left -= records;
    }
    rules
}

struct Patient {
    rows: Rows,
    state: pb::PatientState,
    list: pb::ConsentListState,
}

impl Patient {
    /// Of whom a hospital has a record.
    fn new() -> Self {
        let mut rows = Ledger::new(&[(OWN, 10, 1)], |_| ()).store;
        let id = RecordId([1; 16]);
        let patient = Bytes::copy_from_slice(&PATIENT.0);
        let record = pb::RecordState { member: OWN.into(), patient, version: 1, ..pb::RecordState::default() };
        let author = format!("spiffe://{OWN}/service/ehr");
        let version = pb::RecordVersion { kind: "Observation".into(), author, version: 1, ..Default::default() };
        put(&mut rows, Table::State, keys::record(&id), &record);
        put(&mut rows, Table::Versions, keys::version(&id, 1), &version);
        let state = pb::PatientState { member: OWN.into(), ..pb::PatientState::default() };
        Self { rows, state, list: pb::ConsentListState::default() }
    }

    fn identity(&mut self, member: &str, who: usize) -> String {
        let identity = format!("spiffe://{member}/patient/{who:032}");
        self.state.acceptances.push(pb::PatientAcceptance {
            member: member.to_owned(),
            identity: identity.clone(),
            relation: PatientRelation::Self_.into(),
            may_read: true,
            may_consent: true,
            height: 1,
            ..pb::PatientAcceptance::default()
        });
        identity
    }

    fn consent(&mut self, author: &str, rules: Vec<pb::ConsentRule>) {
        let id = ConsentId((self.list.consents.len() as u128).to_be_bytes());
        let consent_id = Bytes::copy_from_slice(&id.0);
        let grant = pb::ConsentGrant { base: ConsentBase::BreakGlassOnly.into(), rules, ..Default::default() };
        let state = pb::ConsentState {
            patient: Bytes::copy_from_slice(&PATIENT.0),
            version: 1,
            grant: Some(grant),
            author: author.to_owned(),
            signed_ms: 1,
            height: 1,
            ..pb::ConsentState::default()
        };
        put(&mut self.rows, Table::State, keys::consent(&id), &state);
        let entry = pb::ConsentListEntry { consent_id, author: author.to_owned(), ..Default::default() };
        self.list.consents.push(entry);
    }

    fn end(mut self) -> Rows {
        put(&mut self.rows, Table::State, keys::patient(&PATIENT), &self.state);
        put(&mut self.rows, Table::State, keys::consent_list(&PATIENT), &self.list);
        self.rows
    }
}

fn with_consents(patient: &mut Patient) {
    let anna = patient.identity(OWN, 0);
    for _ in 0..CONSENTS_MAX {
        patient.consent(&anna, vec![permit(), permit()]);
    }
}

fn with_hostile_member(patient: &mut Patient) {
    let bytes = CONSENTS_OF_MEMBER_BYTES_MAX / CONSENTS_OF_MEMBER_MAX;
    for who in 0..CONSENTS_OF_MEMBER_MAX / CONSENTS_MAX {
        let minted = patient.identity(OTHER, who);
        for _ in 0..CONSENTS_MAX {
            patient.consent(&minted, large(bytes - 128));
        }
    }
}

fn decisions(c: &mut Criterion<CpuTime>) {
    let reader: SpiffeId = "spiffe://b.example/clinician/c-4711".parse().unwrap();
    let mut of = Patient::new();
    with_consents(&mut of);
    let honest = of.end();
    let mut of = Patient::new();
    with_consents(&mut of);
    with_hostile_member(&mut of);
    let hostile = of.end();
    for (name, rows) in [("16 consents", honest), ("16 and a hostile member's", hostile)] {
        c.bench_function(&format!("consents/{name}, all read"), |b| b.iter(|| black_box(read_all(&rows))));
        c.bench_function(&format!("consents/{name}"), |b| {
            b.iter(|| {
                let reading = Reading {
                    reader: &reader,
                    patient: PATIENT,
                    kind: AccessKind::Read,
                    purpose: PurposeOfUse::Treat,
                    project: None,
                    emergency: None,
                    time: TimeMs(1_000),
                };
                let mut decider = Decider::new(&rows, Engine::shared(), reading).unwrap();
                let (decided, _) = decider.decide(&rows, &RecordId([1; 16]), 0).unwrap();
                black_box(decided)
            });
        });
    }
}

/// What it would cost if all consents of the patient were read, whomever they bind.
fn read_all(rows: &Rows) -> usize {
    let list: pb::ConsentListState = rows.message(Table::State, &keys::consent_list(&PATIENT)).unwrap();
    let of = |entry: &pb::ConsentListEntry| ConsentId::parse("id", &entry.consent_id).unwrap();
    let states = list.consents.iter().map(|entry| {
        let state: pb::ConsentState = rows.message(Table::State, &keys::consent(&of(entry))).unwrap();
        Grant::parse(state.grant.as_ref().unwrap()).unwrap().rules.len()
    });
    states.sum()
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(CpuTime); targets = decisions);
criterion_main!(benches);
