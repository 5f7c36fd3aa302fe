//! Random histories of consents, requests, emergencies and wraps by random people, many actions
//! to a block, against what must hold of all of them: every request that took effect is in one
//! log, logs are whole, no wrap is for whom nothing was permitted before, and what waits for
//! custodians is what their rows count.

use super::*;
use consilium_kit::Rules;
use consilium_ledger::rights::{Decider, Reading};
use consilium_proto::access::permits;
use consilium_proto::ids::{EmergencyId, RecordId, TimeMs};
use consilium_proto::log::is_whole;
use consilium_proto::state::{StateKey, StateRow};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Ask { who: usize, patient: u8, record: u8, emergency: Option<u8> },
    Consent { consent: u8, by: usize, deny: bool },
    Revoke { consent: u8, by: usize },
    Declare { who: usize, emergency: u8 },
    Care { days: u64 },
    Answer { drop: bool },
    NewBlock,
    Later,
}

const READERS: [(&str, &str, &str); 6] = [
    (A, "clinician", "c1"),
    (A, "service", "ehr"),
    (B, "clinician", "c1"),
    (B, "researcher", "r1"),
    (A, "patient", ANNA),
    (B, "auditor", "privacy"),
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..READERS.len(), 1..3u8, 1..5u8, prop::option::of(1..3u8))
            .prop_map(|(who, patient, record, emergency)| Step::Ask { who, patient, record, emergency }),
        2 => (1..5u8, 0..2usize, any::<bool>()).prop_map(|(consent, by, deny)| Step::Consent { consent, by, deny }),
        1 => (1..5u8, 0..2usize).prop_map(|(consent, by)| Step::Revoke { consent, by }),
        1 => (0..READERS.len(), 1..3u8).prop_map(|(who, emergency)| Step::Declare { who, emergency }),
        1 => (0..2u64).prop_map(|days| Step::Care { days }),
        2 => any::<bool>().prop_map(|drop| Step::Answer { drop }),
        2 => Just(Step::NewBlock),
        1 => Just(Step::Later),
    ]
}

/// A world, and what has been put into it.
struct History {
    w: World,
    /// Of the block that is being made: by whom, what, with what.
    waiting: Vec<consilium_ledger::CheckedTransaction>,
    /// Requests that took effect.
    asked: u64,
}

impl History {
    fn new() -> Self {
        let mut w = World::new();
        let anna = name(A, "patient", ANNA);
        assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
        for record in 1..4 {
            assert_eq!(w.write(if record == 3 { B } else { A }, record, |_| ()), Outcome::Applied);
        }
        Self { w, waiting: Vec::new(), asked: 0 }
    }

    fn submit(&mut self, by: &str, action: Action, attachments: Vec<Bytes>) {
        let body = self.w.ledger.body(vec![action]);
        let signed = self.w.people[by].sign(body, attachments);
        self.waiting.push(self.w.ledger.check(&signed));
    }

    fn take(&mut self, step: &Step) {
        let reader = |who: usize| {
            let (member, role, who) = READERS[who];
            name(member, role, who)
        };
        let signer = |by: usize| if by == 0 { name(A, "patient", ANNA) } else { name(A, "service", "ehr") };
        match *step {
            Step::Ask { who, patient, record, emergency } => {
                let mut request = pb::RequestAccess { patient: id(patient), ..read(record) };
                if let Some(emergency) = emergency {
                    request.purpose = Purpose::Btg.into();
                    request.emergency_id = id(emergency);
                }
                self.submit(&reader(who), Action::RequestAccess(request), vec![]);
            }
            Step::Consent { consent, by, deny } => {
                let grant = if deny { grant(ConsentBase::Deny, vec![]) } else { share_with_b() };
                let put = pb::PutConsent {
                    consent_id: id(consent),
                    version: 1,
                    patient: id(1),
                    grant: Some(grant),
                    document_sha256: vec![9; 32].into(),
                };
                self.submit(&signer(by), Action::PutConsent(put), vec![]);
            }
            Step::Revoke { consent, by } => {
                let revoke = pb::RevokeConsent { consent_id: id(consent) };
                self.submit(&signer(by), Action::RevokeConsent(revoke), vec![]);
            }
            Step::Declare { who, emergency } => {
                let declare = pb::DeclareEmergency {
                    emergency_id: id(emergency),
                    patient: id(1),
                    reason: pb::EmergencyReason::Danger.into(),
                    ..pb::DeclareEmergency::default()
                };
                self.submit(&reader(who), Action::DeclareEmergency(declare), vec![]);
            }
            Step::Care { days } => {
                let (to_ms, evidence_sha256) = (self.w.now() + days * DAY, vec![2; 32].into());
                let care = pb::AttestCare { patient: id(1), to_ms, evidence_sha256 };
                self.submit(&name(A, "service", "ehr"), Action::AttestCare(care), vec![]);
            }
            Step::Answer { drop } => self.answer(drop),
            Step::NewBlock => self.end_block(1_000),
            Step::Later => self.end_block(5 * 3_600_000 / 6),
        }
    }

    /// The custodian of hospital a answers the request that waits longest, or drops it.
    fn answer(&mut self, drop: bool) {
        let Some((number, request)) = self.waits(A).into_iter().next() else { return };
        let content = Bytes::from_static(b"for the reader");
        let added = pb::AddedWrap {
            request: number,
            record_id: request.record_id,
            version: request.version,
            recipient_key_id: request.recipient_key_id,
            wrap_sha256: Bytes::copy_from_slice(&sha256(&[&content])),
        };
        let (wraps, dropped, attachments) =
            if drop { (vec![], vec![number], vec![]) } else { (vec![added], vec![], vec![content]) };
        self.submit(
            &name(A, "service", "custodian"),
            Action::AddWraps(pb::AddWraps { wraps, dropped, ..pb::AddWraps::default() }),
            attachments,
        );
    }

    fn waits(&self, member: &str) -> Vec<(u64, pb::WrapRequestState)> {
        let rows = self.w.ledger.store.state();
        let requests = rows.iter().filter_map(|(key, value)| match StateKey::decode(key) {
            Some(StateKey::WrapRequest(name)) if name.member == member => {
                Some((name.number, pb::WrapRequestState::decode((*value).clone()).unwrap()))
            }
            _ => None,
        });
        requests.collect()
    }

    fn end_block(&mut self, ms: u64) {
        let block = std::mem::take(&mut self.waiting);
        let requests: Vec<_> = block
            .iter()
            .map(|checked| (checked.transaction.id, checked.transaction.access_request().is_some()))
            .collect();
        let time = self.w.now() + ms;
        let executed = self.w.ledger.block_at(time, &block, &Observed::default());
        let applied = |id: &TransactionId| {
            executed.leaves.iter().any(|(_, leaf)| leaf.transaction_id == *id && leaf.outcome == Outcome::Applied)
        };
        self.asked += requests.iter().filter(|(id, asks)| *asks && applied(id)).count() as u64;
        self.check();
    }

    /// Nothing that may be read is out of a query's sight.
    fn check_sight(&self) {
        for (member, role, who) in READERS {
            let reader = name(member, role, who).parse().unwrap();
            for (purpose, emergency) in [(Purpose::Treat, None), (Purpose::Btg, Some(EmergencyId([1; 16])))] {
                let reading = Reading {
                    reader: &reader,
                    patient: PatientPseudonym([1; 16]),
                    kind: AccessKind::Query,
                    purpose,
                    project: None,
                    emergency,
                    time: TimeMs(self.w.now()),
                };
                let store = &self.w.ledger.store;
                let mut decider = Decider::new(store, &Rules, reading).unwrap();
                let in_sight: Vec<_> = decider.in_sight(store, None).unwrap().into_values().collect();
                for record in (1..4).map(|record| RecordId([record; 16])) {
                    let permitted = decider.decide(store, &record, 0).unwrap().0.permits();
                    assert!(
                        !permitted || in_sight.contains(&record),
                        "{reader} may read {record} and does not find it"
                    );
                }
            }
        }
    }

    fn check(&self) {
        self.check_sight();
        let mut permitted = std::collections::BTreeSet::new();
        let mut logged = 0;
        for (key, _) in self.w.ledger.store.state() {
            if !matches!(StateRow::of(key), Some(StateRow::AccessLog | StateRow::UnmatchedLog)) {
                continue;
            }
            let row = self.w.log(key).unwrap();
            let place = |place| consilium_ledger::log::entry(&self.w.ledger.store, key, place).unwrap().unwrap();
            let entries: Vec<_> = (0..row.count).map(place).collect();
            assert!(is_whole(&row, entries.iter().map(|entry| &entry[..])));
            let events = entries.into_iter().map(|entry| AccessEvent::decode(entry).unwrap());
            for event in events.filter(|event| event.kind() != AccessKind::Change) {
                logged += 1;
                for decision in event.decisions.iter().filter(|decision| permits(decision.ground())) {
                    let of = |version: &pb::VersionRef| (event.reader.clone(), version.record_id.clone());
                    permitted.extend(decision.records.iter().map(of));
                }
            }
        }
        assert_eq!(logged, self.asked, "every request that took effect is in one log");
        for (key, value) in self.w.ledger.store.state() {
            let Some(StateKey::Wrap(name)) = StateKey::decode(key) else { continue };
            let wrap = pb::WrapState::decode(value.clone()).unwrap();
            let reader = self.w.keys.iter().find(|(_, key)| **key == name.recipient).unwrap().0;
            let record = Bytes::copy_from_slice(&name.record.0);
            assert!(permitted.contains(&(reader.clone(), record)), "a wrap for {reader} without a permit: {wrap:?}");
        }
        for member in [A, B] {
            let work: Option<pb::CustodyWorkState> =
                self.w.ledger.store.message(Table::State, &keys::custody_work(member));
            assert_eq!(work.unwrap_or_default().open, self.waits(member).len() as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_holds_of_every_history(steps in prop::collection::vec(step(), 1..60)) {
        let mut history = History::new();
        steps.iter().for_each(|step| history.take(step));
        history.end_block(1_000);
    }
}
