//! Requests for access, and emergencies.

use bytes::Bytes;
use consilium_proto::pb::{self, AccessKind, EmergencyReason, PurposeOfUse, ReviewVerdict, action::Action};

use super::{Care, Declared, Deed, PATIENTS, Person, Scene, Written, hash_of, of, patient};
use crate::fixture::{ANEW, ANNA, CUSTODIANS, EXECUTOR, HOSPITALS, START_MS, spiffe_id};

/// Those who ask to read: who treats at both hospitals (more often at the second one, which
/// consents are for), the first one's system, which writes, a custodian, the patient, whoever may
/// execute its will, and somebody of a third member.
const READERS: [Person; 14] = [
    (1, "clinician", "c"),
    (1, "clinician", "c"),
    (1, "service", "x"),
    (2, "clinician", "c"),
    (2, "clinician", "c"),
    (2, "clinician", "c"),
    (2, "clinician", "c"),
    (3, "clinician", "c"),
    (3, "clinician", "c"),
    (3, "clinician", "c"),
    (1, "patient", ANNA),
    (2, "patient", ANEW),
    (1, "patient", EXECUTOR),
    (1, "service", CUSTODIANS[1]),
];

impl Care {
    /// Somebody asks for records, some of them another patient's, or of nobody that there is; or
    /// which there are; or says to have read them without a quorum.
    pub(super) fn ask(&mut self) -> Deed {
        let reader = self.one_of(&READERS);
        let unknown = self.rng.chance(60);
        let number = if unknown { PATIENTS + 1 } else { self.any_patient() };
        let of_patients = reader.1 == "patient" && self.rng.chance(900);
        let purpose = if of_patients { PurposeOfUse::Patrqt } else { PurposeOfUse::Treat };
        let request = if self.rng.chance(150) { self.query(number) } else { self.request(number) };
        let late = self.rng.chance(80) && request.kind == i32::from(AccessKind::Read);
        let late_ms = if late { START_MS + self.named } else { 0 };
        // Some for a person who is not named.
        let acting_sha256 = if self.rng.chance(200) { hash_of(b"somebody else") } else { Bytes::new() };
        let request = pb::RequestAccess { purpose: purpose.into(), late_ms, acting_sha256, ..request };
        Deed::new(&of(reader), Action::RequestAccess(request))
    }

    /// Somebody asks for what is labelled: whether it is opened to a stranger depends on consents by
    /// label alone; to the others they may close it.
    pub(super) fn ask_labelled(&mut self) -> Deed {
        let reader = (self.one_of(&[3, 3, 3, 3, 2, 2, 1]), "clinician", "c");
        let labelled: Vec<_> =
            self.records.iter().filter(|record| record.labelled).map(|record| record.patient).collect();
        let number = self.rng.pick(&labelled).copied().unwrap_or_else(|| self.any_patient());
        let request = self.request_for(number, |record| record.labelled);
        let request = pb::RequestAccess { purpose: PurposeOfUse::Treat.into(), ..request };
        Deed::new(&of(reader), Action::RequestAccess(request))
    }

    /// An administrator says of which unit a reader is, or that it is of none: its own, which may, or
    /// another member's.
    pub(super) fn assign_unit(&mut self) -> Deed {
        let (member, role, name) = self.one_of(&READERS[..10]);
        let by = if self.rng.chance(850) { member } else { self.any_hospital() };
        let unit = self.one_of(&["W-07", "A-1", ""]).to_owned();
        let assign = pb::AssignUnit { spiffe_id: spiffe_id(member, role, name), unit };
        Deed::new(&spiffe_id(by, "admin", "x"), Action::AssignUnit(assign))
    }

    fn query(&mut self, number: u64) -> pb::RequestAccess {
        let query_sha256 = hash_of(&self.text());
        let kind = AccessKind::Query.into();
        pb::RequestAccess { patient: patient(number), kind, query_sha256, ..Default::default() }
    }

    fn request(&mut self, number: u64) -> pb::RequestAccess {
        self.request_for(number, |_| true)
    }

    fn request_for(&mut self, number: u64, of: impl Fn(&Written) -> bool) -> pb::RequestAccess {
        let stray = self.rng.chance(60);
        let fits = |record: &&Written| stray || (record.patient == number && of(record));
        let mut known: Vec<_> = self.records.iter().filter(fits).collect();
        let mut records = Vec::new();
        for _ in 0..self.rng.range(1, 3) {
            if known.is_empty() {
                break;
            }
            let at = self.rng.below(known.len() as u64) as usize;
            let record_id = known.swap_remove(at).id.clone();
            records.push(pb::VersionRef { record_id, version: self.rng.below(2) as u32 });
        }
        if records.is_empty() {
            records.push(pb::VersionRef { record_id: vec![0xee; 16].into(), version: 0 });
        }
        pb::RequestAccess { patient: patient(number), kind: AccessKind::Read.into(), records, ..Default::default() }
    }

    /// Mostly who declared it, of the patient that it is for.
    pub(super) fn ask_in_emergency(&mut self) -> Deed {
        let Some(declared) = self.rng.pick(&self.emergencies).cloned() else { return self.ask() };
        let reader = if self.rng.chance(700) { declared.reader } else { self.one_of(&READERS) };
        let number = if self.rng.chance(850) { declared.patient } else { self.any_patient() };
        Deed::new(&of(reader), self.in_emergency(&declared.id, number))
    }

    fn in_emergency(&mut self, emergency: &Bytes, number: u64) -> Action {
        let request = self.request(number);
        let purpose = PurposeOfUse::Btg.into();
        Action::RequestAccess(pb::RequestAccess { purpose, emergency_id: emergency.clone(), ..request })
    }

    /// An entry that is kept from the patient for as long as a disclosure is.
    pub(super) fn ask_sealed(&mut self, scene: &Scene<'_>) -> Deed {
        // Mostly of one that two persons have made, and that lasts.
        let seals = |row: &pb::DisclosureState| {
            let lasts = row.seal.as_ref().is_some_and(|seal| seal.until_ms > scene.now_ms);
            lasts && !row.confirmed_by.is_empty()
        };
        let some = if self.rng.chance(850) { self.among(scene.ledger, seals) } else { self.disclosures.clone() };
        let Some(disclosed) = self.rng.pick(&some).cloned() else { return self.confirm(scene) };
        let (role, name) = self.one_of(&[("clinician", "c"), ("service", "x")]);
        let number = if self.rng.chance(850) { disclosed.patient } else { self.any_patient() };
        let sealed_by = Some(pb::SealedBy { disclosure_id: disclosed.id, salt: self.id() });
        let stray = self.rng.chance(100);
        let some = !disclosed.records.is_empty();
        let theirs = |record: &Written| match stray {
            true => true,
            false if some => disclosed.records.contains(&record.id),
            false => record.member == disclosed.by.0,
        };
        let request = self.request_for(number, theirs);
        let purpose = if self.rng.chance(900) { PurposeOfUse::Hlegal } else { PurposeOfUse::Treat };
        let request = pb::RequestAccess { purpose: purpose.into(), sealed_by, ..request };
        Deed::new(&spiffe_id(disclosed.by.0, role, name), Action::RequestAccess(request))
    }

    pub(super) fn declare(&mut self) -> Deed {
        let (reader, number, id) = (self.one_of(&READERS), self.any_patient(), self.id());
        let text = self.rng.chance(500).then(|| self.text());
        let declare = pb::DeclareEmergency {
            emergency_id: id.clone(),
            patient: patient(number),
            reason: EmergencyReason::Danger.into(),
            text_sha256: text.as_ref().map(|text| hash_of(text)).unwrap_or_default(),
            // Some of the readers are systems.
            acting_sha256: hash_of(b"somebody"),
        };
        let mut deed = Deed::new(&of(reader), Action::DeclareEmergency(declare));
        deed.attachments.extend(text);
        if self.rng.chance(700) {
            deed.actions.push(self.in_emergency(&id, number));
        }
        self.emergencies.push(Declared { id, reader, patient: number });
        deed
    }

    pub(super) fn review(&mut self) -> Deed {
        let Some(declared) = self.rng.pick(&self.emergencies).cloned() else { return self.declare() };
        let verdict = if self.rng.chance(700) { ReviewVerdict::NotJustified } else { ReviewVerdict::Justified };
        let auditor = spiffe_id(declared.reader.0.min(HOSPITALS), "auditor", "p");
        let (emergency_id, verdict) = (declared.id, verdict.into());
        let review = pb::ReviewEmergency { emergency_id, verdict, note_sha256: Bytes::new() };
        Deed::new(&auditor, Action::ReviewEmergency(review))
    }
}
