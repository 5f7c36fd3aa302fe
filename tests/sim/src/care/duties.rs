//! What hospitals owe: disclosures under legal duty by two persons, and answers to petitions.

use bytes::Bytes;
use consilium_ledger::{keys, log};
use consilium_proto::ids::DisclosureId;
use consilium_proto::pb::{
    self, DisclosureBasis, DisclosureRecipient, PetitionKind as Kind, PetitionRefusal, PetitionVerdict, SealBasis,
    action::Action,
};

use prost::Message;

use super::{Care, Deed, Disclosed, Person, Petitioned, Scene, hash_of, of, patient};
use crate::disk::LedgerStore;
use crate::fixture::{ANEW, ANNA, member_id, spiffe_id};

/// Auditors of a hospital.
const AUDITORS: [&str; 2] = ["p", "q"];

impl Care {
    /// Records are said to be handed to an authority: all of a patient's, or some, which are the
    /// patient's and the hospital's most of the time.
    pub(super) fn disclose(&mut self, now_ms: u64) -> Deed {
        let people = [("service", "x"), ("clinician", "c"), ("auditor", AUDITORS[0]), ("auditor", AUDITORS[1])];
        let (member, (role, name)) = (self.any_hospital(), self.one_of(&people));
        let (by, number, id): (Person, _, _) = ((member, role, name), self.any_patient(), self.id());
        let stray = self.rng.chance(150);
        let known: Vec<_> =
            self.records.iter().filter(|r| stray || (r.patient, r.member) == (number, member)).collect();
        let some = if self.rng.chance(600) { self.rng.pick(&known).map(|record| record.id.clone()) } else { None };
        let records = some.map(|record_id| pb::VersionRef { record_id, version: self.rng.below(2) as u32 });
        let seal = self.rng.chance(500).then(|| pb::Seal {
            until_ms: now_ms + self.rng.range(2_000, 60_000),
            basis: SealBasis::Investigation.into(),
            salt: vec![5; 16].into(),
            basis_sha256: vec![6; 32].into(),
        });
        let disclose = pb::Disclose {
            disclosure_id: id.clone(),
            patient: patient(number),
            basis: DisclosureBasis::CourtOrder.into(),
            order_sha256: vec![7; 32].into(),
            records: records.into_iter().collect(),
            recipient: DisclosureRecipient::Court.into(),
            recipient_sha256: vec![8; 32].into(),
            seal,
        };
        let named = disclose.records.iter().map(|version| version.record_id.clone()).collect();
        self.disclosures.push(Disclosed { id, by, patient: number, records: named });
        Deed::new(&of(by), Action::Disclose(disclose))
    }

    /// An auditor confirms it: another person, or who disclosed, or one of the other hospital.
    pub(super) fn confirm(&mut self, scene: &Scene<'_>) -> Deed {
        // Mostly one that nobody has confirmed.
        let open = |row: &pb::DisclosureState| row.confirmed_by.is_empty();
        let open = if self.rng.chance(850) { self.among(scene.ledger, open) } else { self.disclosures.clone() };
        let Some(disclosed) = self.rng.pick(&open).cloned() else { return self.disclose(scene.now_ms) };
        let by = match self.rng.below(10) {
            0..=1 => of(disclosed.by),
            2 => spiffe_id(self.any_hospital(), "auditor", AUDITORS[0]),
            _ => spiffe_id(disclosed.by.0, "auditor", self.one_of(&AUDITORS)),
        };
        let confirm = pb::ConfirmDisclosure { disclosure_id: disclosed.id };
        Deed::new(&by, Action::ConfirmDisclosure(confirm))
    }

    /// Disclosures that took effect, of a kind.
    pub(super) fn among(&self, ledger: &LedgerStore, fits: impl Fn(&pb::DisclosureState) -> bool) -> Vec<Disclosed> {
        let row = |id: &Bytes| DisclosureId::parse("disclosure_id", id).ok().map(|id| keys::disclosure(&id));
        let fits =
            |known: &&Disclosed| row(&known.id).and_then(|row| ledger.message(&row)).is_some_and(|row| fits(&row));
        self.disclosures.iter().filter(fits).cloned().collect()
    }

    /// The patient, or a hospital on paper, asks that a record be put right, who was behind an
    /// entry of the log, or whether it was rightful; or disagrees with a refusal.
    pub(super) fn petition(&mut self, scene: &Scene<'_>) -> Deed {
        let (number, member, id) = (self.any_patient(), self.any_hospital(), self.id());
        let paper = self.rng.chance(300);
        let by = if paper {
            spiffe_id(member, "service", "x")
        } else {
            of(self.one_of(&[(1, "patient", ANNA), (2, "patient", ANEW)]))
        };
        let mut asked = Petitioned { id, by, member, patient: number, kind: Kind::Complaint, record: None };
        let mut refused_id = Bytes::new();
        let corrections = self.petitions.iter().filter(|petition| petition.kind == Kind::Correction);
        let corrections: Vec<_> = corrections.cloned().collect();
        match (self.rng.below(10), self.rng.pick(&corrections).cloned()) {
            (0..=2, Some(correction)) => {
                refused_id = correction.id;
                asked = Petitioned { id: asked.id, kind: Kind::Disagreement, by: correction.by, ..correction };
            }
            (0..=6, _) => {
                let of_both = |r: &&super::Written| (r.patient, r.member) == (number, member);
                let known: Vec<_> = self.records.iter().filter(of_both).collect();
                let record_id = self.rng.pick(&known).map_or(vec![0xee; 16].into(), |record| record.id.clone());
                asked.kind = Kind::Correction;
                asked.record = Some(pb::VersionRef { record_id, version: 1 });
            }
            (7, _) => asked.kind = Kind::Name,
            (_, _) => {}
        }
        let (text, entry) = (self.text(), self.entry_of(scene, asked.patient));
        let opened = open(&asked, (refused_id, entry), &text);
        let deed = Deed { attachments: vec![text], ..Deed::new(&asked.by, opened) };
        self.petitions.push(asked);
        deed
    }

    /// The transaction of one of the newest entries of a patient's log, or one that is in none.
    fn entry_of(&mut self, scene: &Scene<'_>, number: u64) -> Bytes {
        let key = keys::access_log(&super::pseudonym(number));
        let count = scene.ledger.message::<pb::LogState>(&key).map_or(0, |log| log.count);
        let place = count.checked_sub(1 + self.rng.below(6));
        let entry = place.and_then(|place| log::entry(scene.ledger, &key, place).ok().flatten());
        let event = entry.and_then(|entry| pb::AccessEvent::decode(entry).ok());
        event.map_or(vec![0xdd; 32].into(), |event| event.transaction_id)
    }

    /// Somebody of the hospital answers, or of the one that keeps its records since it left; or of the
    /// other one, or again.
    pub(super) fn answer_petition(&mut self, scene: &Scene<'_>) -> Deed {
        let newest = &self.petitions[self.petitions.len().saturating_sub(4)..];
        let Some(asked) = self.rng.pick(newest).cloned() else { return self.petition(scene) };
        let custody = scene.ledger.message::<pb::CustodyState>(&keys::custody(&member_id(asked.member)));
        let keeper = custody.and_then(|custody| custody.keepers.last().map(|keeper| keeper.member.clone()));
        let keeper = (1..=9).find(|number| keeper.as_ref() == Some(&member_id(*number)));
        let member = if self.rng.chance(900) { keeper.unwrap_or(asked.member) } else { self.any_hospital() };
        let (role, name) = self.one_of(&[("auditor", "p"), ("auditor", "q"), ("service", "x"), ("clinician", "c")]);
        let granted = asked.kind != Kind::Correction && self.rng.chance(500);
        let (verdict, refusal) = match granted {
            true => (PetitionVerdict::Granted, PetitionRefusal::Unspecified),
            false => (PetitionVerdict::Refused, PetitionRefusal::Accurate),
        };
        let text = self.text();
        let answer = pb::AnswerPetition {
            petition_id: asked.id,
            verdict: verdict.into(),
            refusal: refusal.into(),
            text_sha256: hash_of(&text),
            ..pb::AnswerPetition::default()
        };
        let answered = Deed::new(&spiffe_id(member, role, name), Action::AnswerPetition(answer));
        Deed { attachments: vec![text], ..answered }
    }
}

fn open(asked: &Petitioned, (refused_id, entry_id): (Bytes, Bytes), text: &Bytes) -> Action {
    let (about_entry, paper) = (asked.record.is_none(), asked.by.contains("/service/"));
    Action::OpenPetition(pb::OpenPetition {
        petition_id: asked.id.clone(),
        patient: patient(asked.patient),
        member: member_id(asked.member),
        kind: asked.kind.into(),
        record: asked.record.clone(),
        entry_id: if about_entry { entry_id } else { Bytes::new() },
        refused_id,
        text_sha256: hash_of(text),
        document_sha256: if paper { vec![1; 32].into() } else { Bytes::new() },
    })
}
