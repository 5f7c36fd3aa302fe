//! Who the custodian of records is, and whom that accepts for a patient. While a member is one,
//! that is the member whose people wrote them; once it has left, the member that keeps them, and
//! then what was said before still counts until the present one says otherwise: nothing that a
//! patient has denied lapses because records change hands.

use std::collections::BTreeSet;

use super::Reach;
use crate::ids::TimeMs;
use crate::pb::{ConsentState, CustodyKeeper, PatientAcceptance, PatientDeath, PatientRelation, PatientState};

/// The custodians of a member's records, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Custodians<'a> {
    member: &'a str,
    keepers: &'a [CustodyKeeper],
}

impl<'a> Custodians<'a> {
    /// Of the records of a member, and of those that have kept them since it left, in order.
    #[must_use]
    pub fn new(member: &'a str, keepers: &'a [CustodyKeeper]) -> Self {
        Self { member, keepers }
    }

    /// Of a member that has not left.
    #[must_use]
    pub fn only(member: &'a str) -> Self {
        Self::new(member, &[])
    }

    /// Whether a member is, or was, one of them.
    #[must_use]
    pub fn include(&self, member: &str) -> bool {
        member == self.member || self.keepers.iter().any(|keeper| keeper.member == member)
    }

    /// Which one it is now.
    #[must_use]
    pub fn present(&self) -> &'a str {
        self.keepers.last().map_or(self.member, |keeper| &keeper.member)
    }

    /// Whether a member was the present one in a block, or at its beginning or its end.
    #[must_use]
    pub fn was_at(&self, member: &str, height: u64) -> bool {
        let place = self.keepers.iter().position(|keeper| keeper.member == member);
        let (since, next) = match place {
            Some(place) => (self.keepers.get(place), self.keepers.get(place + 1)),
            None if member == self.member => (None, self.keepers.first()),
            None => return false,
        };
        since.is_none_or(|one| one.since_height <= height) && next.is_none_or(|next| height <= next.since_height)
    }

    /// Whether one of them says that a patient has died.
    #[must_use]
    pub fn say_died(&self, patient: &PatientState) -> bool {
        self.deaths(patient).next().is_some()
    }

    /// What they say of a patient's death.
    fn deaths<'p>(&self, patient: &'p PatientState) -> impl Iterator<Item = &'p PatientDeath> {
        patient.deaths.iter().filter(|death| self.include(&death.member))
    }

    /// As what an identity speaks for a patient at a time: it is accepted, and after a death as an
    /// executor, before it as anything else.
    pub fn hear<'p>(
        &self,
        patient: &'p PatientState,
        identity: &str,
        time: TimeMs,
    ) -> impl Iterator<Item = &'p PatientAcceptance> {
        let died = self.say_died(patient);
        let fits = move |a: &&PatientAcceptance| died == (a.relation() == PatientRelation::Executor);
        self.accept(&patient.acceptances, identity, time).filter(fits)
    }

    /// Whether they hear an identity now that they have accepted, whatever for: after a death an
    /// executor alone, before it anybody else. `None`: they have not accepted it.
    #[must_use]
    pub fn listen(&self, patient: &PatientState, identity: &str) -> Option<bool> {
        let died = self.say_died(patient);
        let said =
            |a: &&PatientAcceptance| a.identity == identity && !a.withdrawn && self.counts(a, &patient.acceptances);
        let heard = patient.acceptances.iter().filter(said);
        heard.map(|a| died == (a.relation() == PatientRelation::Executor)).reduce(|one, other| one || other)
    }

    /// Identities whose consents may bind them; those of all others do not.
    #[must_use]
    pub fn signers<'p>(&self, patient: &'p PatientState) -> BTreeSet<&'p str> {
        let signs = |a: &&PatientAcceptance| a.may_consent && !a.withdrawn && self.counts(a, &patient.acceptances);
        patient.acceptances.iter().filter(signs).map(|a| a.identity.as_str()).collect()
    }

    /// Whether a consent binds them, and of what it speaks then: paper of one of them, or signed by
    /// whom they had accepted then for that patient, and heard: not the patient's own key after a
    /// death that they attest, and an executor only after one. No other member can make it binding,
    /// nor end it. A representative's speaks of that for which they accept it now.
    #[must_use]
    pub fn reach(&self, consent: &ConsentState, patient: &PatientState) -> Option<Reach> {
        if !consent.paper_member.is_empty() {
            return self.include(&consent.paper_member).then_some(Reach::Whole);
        }
        let ended = consent.ended_for.iter().any(|member| member == self.member)
            || consent.ended_by.iter().any(|identity| self.let_end(patient, identity));
        let in_life = self.deaths(patient).all(|death| consent.height <= death.height);
        let heard = |a: &PatientAcceptance| match a.relation() {
            // What it signed before it became the executor, it signed as somebody else.
            PatientRelation::Executor => self.say_died(patient) || consent.height < a.height,
            PatientRelation::Self_
            | PatientRelation::Guardian
            | PatientRelation::Proxy
            | PatientRelation::Unspecified => in_life,
        };
        let signed = TimeMs(consent.signed_ms);
        let accepted = self.accept(&patient.acceptances, &consent.author, signed);
        let binding = accepted.filter(|a| !ended && a.may_consent && heard(a));
        let scopes: Vec<_> = binding.map(|a| a.scope.clone()).collect();
        let limited: Option<Vec<_>> = scopes.iter().cloned().collect();
        (!scopes.is_empty()).then(|| limited.map_or(Reach::Whole, Reach::Within))
    }

    /// Whether what an identity has ended is ended for them, since they hear it and accept it to
    /// speak for everything. That it does so for a time only takes nothing back of what it has done.
    fn let_end(&self, patient: &PatientState, identity: &str) -> bool {
        let died = self.say_died(patient);
        let mut said = patient.acceptances.iter().filter(|a| a.identity == identity && !a.withdrawn);
        said.any(|a| {
            let heard = died == (a.relation() == PatientRelation::Executor);
            heard && a.consents_to_all() && self.counts(a, &patient.acceptances)
        })
    }

    /// Their acceptances of an identity that hold at a time.
    fn accept<'p>(
        &self,
        acceptances: &'p [PatientAcceptance],
        identity: &str,
        time: TimeMs,
    ) -> impl Iterator<Item = &'p PatientAcceptance> {
        let holds = move |a: &&PatientAcceptance| {
            let lasts = a.to_ms == 0 || time.0 < a.to_ms;
            a.identity == identity && !a.withdrawn && lasts && self.counts(a, acceptances)
        };
        acceptances.iter().filter(holds)
    }

    /// Whether what a member has said of an identity counts for them. What a later one says of the
    /// same identity replaces it, if that one was their successor already; what it had said before
    /// was of its own records.
    #[must_use]
    pub fn counts(&self, said: &PatientAcceptance, acceptances: &[PatientAcceptance]) -> bool {
        let successors = match self.keepers.iter().position(|keeper| keeper.member == said.member) {
            Some(place) => self.keepers.get(place + 1..).unwrap_or_default(),
            None if said.member == self.member => self.keepers,
            None => return false,
        };
        let replaces = |a: &PatientAcceptance, by: &CustodyKeeper| {
            a.member == by.member && a.identity == said.identity && a.height > by.since_height
        };
        !successors.iter().any(|by| acceptances.iter().any(|a| replaces(a, by)))
    }
}

#[cfg(test)]
mod tests;
