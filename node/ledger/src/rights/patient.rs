//! What is known of a patient when somebody asks to read: who speaks for it, what its
//! consents say, who cares for it, whether an emergency is in force.
//!
//! Members do not trust each other: what one member says of a patient counts for the records
//! of which that member is the custodian, and for no others (docs/ARCHITECTURE.md, "Reading a
//! record"). Of records of a member that has left, that is whoever keeps them, and what the ones
//! before have said still counts ([`Custodians`]).

use std::collections::BTreeSet;

use consilium_proto::access::reads_records;
use consilium_proto::consent::{Asked, Custodians, Grant, Said, strongest};
use consilium_proto::ids::{ConsentId, PatientPseudonym, TimeMs};
use consilium_proto::names::Role;
use consilium_proto::pb::{
    CareState, ConsentBase, EmergencyState, PatientAcceptance, PatientRelation, PatientState, PurposeOfUse,
    ReviewVerdict, ReviewsDueState,
};
use consilium_proto::purpose;
use consilium_proto::state::CareName;

use super::Reading;
use super::consents::{Consent, Consents};
use crate::custody::Kept;
use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// See the module.
pub(super) struct PatientFacts {
    /// Whether there is such a patient.
    pub(super) known: bool,
    /// The pseudonym, then those that are linked with it.
    pseudonyms: Vec<Pseudonym>,
    consents: Consents,
    kept: Kept,
    implicit: ConsentBase,
    denial_binds_emergency: bool,
    pub(super) under_care: bool,
    pub(super) emergency: bool,
    pub(super) overdue_reviews: u64,
}

pub(super) struct Pseudonym {
    pub(super) id: PatientPseudonym,
    /// The members for whose records it is the same person; `None`: for everybody's.
    linked_by: Option<Vec<String>>,
    /// `None`: no custodian was asked about yet for whom it counts.
    pub(super) state: Option<PatientState>,
}

pub(crate) fn load_patient<R: StateReader>(
    view: &View<'_, R>,
    patient: &PatientPseudonym,
) -> Result<Option<PatientState>, StoreFault> {
    view.message(Table::State, &keys::patient(patient))
}

/// Whether a patient is registered, or has records.
pub(crate) fn is_known<R: StateReader>(view: &View<'_, R>, patient: &PatientPseudonym) -> Result<bool, StoreFault> {
    let registered = view.get(Table::State, &keys::patient(patient))?.is_some();
    let recorded = view.get(Table::State, &keys::record_lists(patient))?.is_some();
    Ok(registered || recorded)
}

/// As what custodians have accepted an identity to read for a patient at a time, if it speaks for the
/// patient still, as the patient's own before all others: for what they write themselves.
pub(crate) fn reads_as<R: StateReader>(
    view: &View<'_, R>,
    patient: &PatientPseudonym,
    custodians: Custodians<'_>,
    (identity, time): (&str, TimeMs),
) -> Result<Option<PatientRelation>, StoreFault> {
    let mut all = pseudonyms(view, patient)?;
    all.iter_mut().try_for_each(|pseudonym| pseudonym.read_for(view, custodians).map(|_| ()))?;
    Ok(accepted_among(&all, custodians, (identity, time), |a| a.may_read))
}

/// Identities that were accepted as the patient's own, by whomever it counts for.
pub(crate) fn identities_of<R: StateReader>(
    view: &View<'_, R>,
    patient: &PatientPseudonym,
    custodians: Custodians<'_>,
) -> Result<BTreeSet<String>, StoreFault> {
    let mut all = pseudonyms(view, patient)?;
    all.iter_mut().try_for_each(|pseudonym| pseudonym.read_for(view, custodians).map(|_| ()))?;
    let own = |a: &&PatientAcceptance| a.relation() == PatientRelation::Self_ && !a.withdrawn;
    let states = all.iter().filter_map(|pseudonym| pseudonym.state.as_ref());
    Ok(states.flat_map(|state| state.acceptances.iter().filter(own)).map(|a| a.identity.clone()).collect())
}

fn accepted_among(
    all: &[Pseudonym],
    custodians: Custodians<'_>,
    (identity, time): (&str, TimeMs),
    reads: impl Fn(&PatientAcceptance) -> bool,
) -> Option<PatientRelation> {
    let own = all.iter().filter(|pseudonym| pseudonym.counts_for(custodians));
    let states = own.filter_map(|pseudonym| pseudonym.state.as_ref());
    let speaking = states.flat_map(|state| custodians.hear(state, identity, time));
    speaking.filter(|a| reads(a)).map(PatientAcceptance::relation).min()
}

/// The pseudonyms that members take for one person's, from one of them on: those that are linked
/// with it, and those that are linked with these. `None`: there are more than so many.
pub(crate) fn same_person<R: StateReader>(
    view: &View<'_, R>,
    patient: PatientPseudonym,
    (says, max): (impl Fn(&str) -> bool, usize),
) -> Result<Option<BTreeSet<PatientPseudonym>>, StoreFault> {
    let (mut same, mut left) = (BTreeSet::from([patient]), vec![patient]);
    while let Some(next) = left.pop() {
        let state = load_patient(view, &next)?.unwrap_or_default();
        for (other, members) in links_of(&state)? {
            if members.iter().any(|member| says(member)) && same.insert(other) {
                left.push(other);
            }
        }
        if same.len() > max {
            return Ok(None);
        }
    }
    Ok(Some(same))
}

/// Pseudonyms that are linked with a patient now, each with the members that say so.
fn links_of(state: &PatientState) -> Result<Vec<(PatientPseudonym, Vec<String>)>, StoreFault> {
    let mut links: Vec<(PatientPseudonym, Vec<String>)> = Vec::new();
    for link in state.links.iter().filter(|link| link.to_height == 0) {
        let other = PatientPseudonym::parse("other", &link.other).map_err(|e| corrupt(format!("link: {e}")))?;
        match links.iter_mut().find(|(known, _)| *known == other) {
            Some((_, members)) => members.push(link.member.clone()),
            None => links.push((other, vec![link.member.clone()])),
        }
    }
    Ok(links)
}

impl PatientFacts {
    /// Of a patient that there is not the same rows are looked for: how long it takes does not
    /// tell.
    pub(super) fn load<R: StateReader>(view: &View<'_, R>, reading: &Reading<'_>) -> Result<Self, StoreFault> {
        let known = is_known(view, &reading.patient)?;
        let parameters = view.parameters()?;
        let base = i32::try_from(parameters.implicit_consent).ok().and_then(|base| ConsentBase::try_from(base).ok());
        let pseudonyms = pseudonyms(view, &reading.patient)?;
        let consents = Consents::of(view, &pseudonyms, reading.time)?;
        let care = CareName::new(reading.patient, reading.reader.member().as_str());
        let care: Option<CareState> = view.message(Table::State, &keys::care(&care))?;
        let due: Option<ReviewsDueState> =
            view.message(Table::State, &keys::reviews_due(reading.reader.member().as_str()))?;
        Ok(Self {
            known,
            pseudonyms,
            consents,
            kept: Kept::over(view)?,
            implicit: base.unwrap_or(ConsentBase::BreakGlassOnly),
            denial_binds_emergency: parameters.emergency_denial_binds == 1,
            under_care: care.is_some_and(|care| is_cared_for(&care, reading)),
            emergency: in_emergency(view, reading)?,
            overdue_reviews: due.map_or(0, |due| overdue(&due, reading.time)),
        })
    }

    /// Reads the consents that bind a custodian: before anything else is asked about its records.
    pub(super) fn hear<R: StateReader>(&mut self, view: &View<'_, R>, custodian: &str) -> Result<(), StoreFault> {
        self.consents.hear(view, (&self.kept, &mut self.pseudonyms), custodian)
    }

    /// The member that has registered the patient, if it is registered.
    pub(super) fn registrar(&self) -> &str {
        self.pseudonyms.first().and_then(|pseudonym| pseudonym.state.as_ref()).map_or("", |state| &state.member)
    }

    /// As what the custodian has accepted a reader who may read a record like that.
    pub(super) fn accepted_as(&self, asked: &Asked<'_>) -> Option<PatientRelation> {
        let (custodians, record) = (self.kept.custodians(asked.record.custodian), asked.record);
        let reader = (&asked.reader.to_string()[..], asked.time);
        accepted_among(&self.pseudonyms, custodians, reader, |a| a.reads(record.kind, record.confidentiality))
    }

    /// What the consents that bind the record's custodian say together, and which of them.
    /// Of what the reader has put on paper itself only denials count: nobody opens records to
    /// oneself.
    pub(super) fn consents_say(&self, asked: &Asked<'_>) -> (Said, Option<(ConsentId, u32)>) {
        let reader = asked.reader.to_string();
        let said = |consent: &Consent| {
            let own = !consent.state.paper_member.is_empty() && consent.state.author == reader;
            let said = match consent.grant.says(asked) {
                Said::Permits { .. } | Said::BasePermits if own => Said::Silent,
                said => said,
            };
            (said, (consent.id, consent.state.version))
        };
        strongest(self.consents.binding(asked).map(said), self.implicit, asked)
    }

    /// Whether the floor could permit a record of which only kind, confidentiality and custodian
    /// are known, whoever has written it and however it is labelled. What it denies is denied.
    pub(super) fn may_permit_such(&self, asked: &Asked<'_>) -> bool {
        let (reader, custodian) = (asked.reader, asked.record.custodian);
        if !self.known || !reads_records(reader.role()) {
            return false;
        }
        if purpose::is_emergency(asked.purpose) {
            return self.emergency;
        }
        // Of its own member's records it may also have written some, or versions of those that it keeps.
        let own = self.kept.keeps(reader.member().as_str(), custodian) && reader.role() != Role::Patient;
        if own || self.accepted_as(asked).is_some() {
            return true;
        }
        let binding: Vec<_> = self.consents.binding(asked).map(|consent| &consent.grant).collect();
        // Where all that bind are silent of a record, it is as if there were none.
        let implicit = binding.iter().all(|grant| grant.base == ConsentBase::Silent);
        let may = implicit && Grant::of_base(self.implicit).may_permit_such(asked);
        let denied = binding.iter().any(|grant| grant.denies_all_such(asked));
        !denied && (may || binding.iter().any(|grant| grant.may_permit_such(asked)))
    }

    pub(super) fn emergency_forbidden(&self, asked: &Asked<'_>) -> bool {
        // So that who speaks for treatment alone forbids no emergency.
        let asked = &Asked { purpose: PurposeOfUse::Btg, ..*asked };
        self.denial_binds_emergency
            && self.consents.binding(asked).any(|consent| consent.grant.forbids_emergency(asked))
    }
}

impl Pseudonym {
    /// Its row, where it counts for custodians: that others have linked much costs nothing.
    pub(super) fn read_for<R: StateReader>(
        &mut self,
        view: &View<'_, R>,
        custodians: Custodians<'_>,
    ) -> Result<Option<&PatientState>, StoreFault> {
        if self.counts_for(custodians) && self.state.is_none() {
            self.state = Some(load_patient(view, &self.id)?.unwrap_or_default());
        }
        Ok(self.state.as_ref().filter(|_| self.counts_for(custodians)))
    }

    fn counts_for(&self, custodians: Custodians<'_>) -> bool {
        self.linked_by.as_ref().is_none_or(|members| members.iter().any(|member| custodians.include(member)))
    }
}

/// The patient, and those that are linked with it: each member links all that it takes for one
/// person's, so that one step leads to all.
fn pseudonyms<R: StateReader>(view: &View<'_, R>, patient: &PatientPseudonym) -> Result<Vec<Pseudonym>, StoreFault> {
    let state = load_patient(view, patient)?.unwrap_or_default();
    let links = links_of(&state)?;
    let linked = links.into_iter().map(|(id, members)| Pseudonym { id, linked_by: Some(members), state: None });
    Ok(std::iter::once(Pseudonym { id: *patient, linked_by: None, state: Some(state) }).chain(linked).collect())
}

/// Whether the emergency that a request names is this reader's, for this patient, and in force:
/// it ends exactly at its time, and when a review finds that there was none.
fn in_emergency<R: StateReader>(view: &View<'_, R>, reading: &Reading<'_>) -> Result<bool, StoreFault> {
    let Some(id) = &reading.emergency else { return Ok(false) };
    let emergency: Option<EmergencyState> = view.message(Table::State, &keys::emergency(id))?;
    Ok(emergency.is_some_and(|emergency| {
        emergency.patient == reading.patient.0[..]
            && emergency.reader == reading.reader.to_string()
            && (emergency.from_ms..emergency.to_ms).contains(&reading.time.0)
            && emergency.verdict() != ReviewVerdict::NotJustified
    }))
}

/// Whether somebody else than the reader says that the patient is under its member's care:
/// nobody opens records to oneself.
fn is_cared_for(care: &CareState, reading: &Reading<'_>) -> bool {
    let reader = reading.reader.to_string();
    let said = [(&care.author, care.to_ms), (&care.other_author, care.other_to_ms)];
    said.into_iter().any(|(author, to_ms)| *author != reader && reading.time.0 < to_ms)
}

fn overdue(due: &ReviewsDueState, time: TimeMs) -> u64 {
    let late = due.reviews.iter().filter(|review| review.due_ms <= time.0).count();
    due.dropped.saturating_add(late as u64)
}
