//! What the consents of a patient say of a question, and which one decides: put together by the
//! functions that the rules use ([`consilium_proto::consent`]), from rows that are proven.
//!
//! It is the consents' part alone. Who wrote a version, the custodian's own people, the patient,
//! an emergency and the access policy count beside it, and the ledger decides when it is asked.

use std::collections::BTreeSet;

use consilium_proto::access::RecordFacts;
use consilium_proto::consent::{Asked, Custodians, Said, strongest};
use consilium_proto::ids::{ConsentId, PolicyTag, ProjectTag, RecordId, TimeMs};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{
    Confidentiality, ConsentBase, CustodyKeeper, PatientAcceptance, PatientRelation, PatientState, PurposeOfUse,
};

use crate::access_log::{KnownConsent, PatientRows};

/// The rows of a patient, and of the pseudonyms that are linked with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pseudonyms {
    /// The pseudonym that was asked for.
    pub patient: PatientRows,
    /// Each with the members for whose records it is the same person.
    pub linked: Vec<(PatientRows, Vec<String>)>,
}

/// Which of the identities that read for a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The patient's own.
    Patient,
    /// All.
    Reader,
}

impl Whose {
    fn is(self, relation: PatientRelation) -> bool {
        match self {
            Self::Patient => relation == PatientRelation::Self_,
            Self::Reader => true,
        }
    }
}

/// A question to the consents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who reads.
    pub reader: SpiffeId,
    /// What for.
    pub purpose: PurposeOfUse,
    /// For which project of research.
    pub project: Option<ProjectTag>,
    /// The member that wrote the record, and is its custodian.
    pub custodian: MemberId,
    /// Who has kept that one's records since it left ([`crate::Client::custody_of`]).
    pub keepers: Vec<CustodyKeeper>,
    /// SPIFFE id of who wrote it. Without one no rule matches that names authors.
    pub author: Option<SpiffeId>,
    /// Without one no rule matches that names records.
    pub record: Option<RecordId>,
    /// Resource type.
    pub kind: String,
    /// How confidential it is.
    pub confidentiality: Confidentiality,
    /// What it is labelled with ([`crate::Client::label_tags`]).
    pub tags: Vec<PolicyTag>,
    /// Block time.
    pub time: TimeMs,
}

/// What one consent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsentSays {
    /// The consent.
    pub id: ConsentId,
    /// Its version.
    pub version: u32,
    /// Nothing counts of one that does not bind the custodian, is not in force, or whose signer
    /// speaks for other things alone.
    pub binds: bool,
    /// What it says.
    pub said: Said,
}

/// What all consents say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The strongest word of those that bind the custodian.
    pub said: Said,
    /// The consent that said it; none if the ledger's implicit consent did, or none says anything.
    pub decided_by: Option<(ConsentId, u32)>,
    /// No consent binds the custodian: what the members have agreed on for that case holds.
    pub implicit: bool,
    /// What each says, in the order of the patient's lists.
    pub each: Vec<ConsentSays>,
}

impl Pseudonyms {
    /// Asks the consents; `implicit` is the ledger's parameter for patients without any.
    #[must_use]
    pub fn explain(&self, question: &Question, implicit: ConsentBase) -> Explained {
        let no_record = RecordId([0; 16]);
        let author = question.author.as_ref().map(ToString::to_string).unwrap_or_default();
        let record = RecordFacts {
            id: question.record.unwrap_or(no_record),
            kind: &question.kind,
            confidentiality: question.confidentiality,
            custodian: question.custodian.as_str(),
            author: &author,
            tags: &question.tags,
            restricted: false,
        };
        let Question { reader, purpose, project, time, .. } = question;
        let asked = Asked { reader, purpose: *purpose, project: *project, time: *time, record: &record };
        let custodians = Custodians::new(record.custodian, &question.keepers);
        let each: Vec<_> = self.consents(&asked, custodians).collect();
        let binding: Vec<_> = each.iter().filter(|consent| consent.binds).collect();
        let words = binding.iter().map(|consent| (consent.said, (consent.id, consent.version)));
        let (said, decided_by) = strongest(words, implicit, &asked);
        let implicit = binding.iter().all(|consent| consent.said == Said::Silent);
        Explained { said, decided_by, implicit, each }
    }

    /// Identities that custodians have accepted to read: for what they write themselves.
    pub(crate) fn identities(&self, custodians: Custodians<'_>, whose: Whose) -> BTreeSet<String> {
        let counts = |members: &[String]| members.iter().any(|member| custodians.include(member));
        let linked = self.linked.iter().filter(|(_, members)| counts(members)).map(|(rows, _)| rows);
        let states = std::iter::once(&self.patient).chain(linked).filter_map(|rows| rows.state.as_ref());
        let time = self.patient.header.time;
        let reads = move |a: &PatientAcceptance| a.may_read && whose.is(a.relation());
        let own = states.flat_map(|state| {
            let named = state.acceptances.iter().map(|a| &a.identity);
            named.filter(move |identity| custodians.hear(state, identity, time).any(reads))
        });
        own.cloned().collect()
    }

    fn consents<'a>(
        &'a self,
        asked: &'a Asked<'a>,
        custodians: Custodians<'a>,
    ) -> impl Iterator<Item = ConsentSays> + 'a {
        let linked = self.linked.iter().map(|(rows, members)| (rows, Some(members)));
        let all = std::iter::once((&self.patient, None)).chain(linked);
        all.flat_map(move |(rows, members)| {
            let counts = members.is_none_or(|members| members.iter().any(|member| custodians.include(member)));
            rows.consents.iter().map(move |consent| ConsentSays {
                id: consent.id,
                version: consent.state.version,
                binds: counts
                    && consent.grant.period.contains(asked.time)
                    && are_bound(rows, consent, (custodians, asked)),
                said: consent.grant.says(asked),
            })
        })
    }
}

fn are_bound(rows: &PatientRows, consent: &KnownConsent, (custodians, asked): (Custodians<'_>, &Asked<'_>)) -> bool {
    let reach = custodians.reach(&consent.state, rows.state.as_ref().unwrap_or(&PatientState::default()));
    reach.is_some_and(|reach| reach.covers(asked))
}

#[cfg(test)]
mod tests;
