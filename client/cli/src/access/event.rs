//! Entries of a list of accesses as they are shown.

use consilium_client::access_log::{AccessEvent, Change, Decision, DisclosedTo};
use consilium_proto::pb::AccessGround;
use consilium_proto::purpose;
use serde::Serialize;

use super::log::NAME_COLUMN;
use crate::text::{Zone, time_ms};
use crate::words;

/// An access.
#[derive(Serialize)]
pub(crate) struct EventView {
    /// From 0.
    pub(super) number: u64,
    pub(super) time: String,
    /// The same where people are.
    #[serde(skip)]
    pub(super) time_shown: String,
    #[serde(skip)]
    pub(super) time_ms: u64,
    pub(super) member: String,
    /// As in a SPIFFE id.
    pub(super) role: &'static str,
    pub(super) role_words: &'static str,
    /// Of which unit of the member that one was when the entry was made; null: its administrator has named none.
    pub(super) unit: Option<String>,
    /// Null unless names were asked for.
    pub(super) name: Option<String>,
    /// HL7's code.
    pub(super) purpose: &'static str,
    pub(super) purpose_words: &'static str,
    /// An AccessKind of access.proto.
    pub(super) kind: &'static str,
    pub(super) kind_words: &'static str,
    /// Of a list (ACCESS_GROUND_EACH): it was answered, with what may be read, perhaps nothing.
    pub(super) permitted: bool,
    pub(super) decisions: Vec<DecisionView>,
    pub(super) emergency: Option<String>,
    pub(super) project: Option<String>,
    /// Only where records were handed on under a legal duty.
    pub(super) disclosure: Option<DisclosureView>,
    /// Until when it is, or was, kept from the patient.
    pub(super) sealed_until: Option<String>,
    #[serde(skip)]
    pub(super) sealed_until_shown: Option<String>,
    #[serde(skip)]
    pub(super) sealed_until_ms: Option<u64>,
    /// Salted hash of the person for whom a system asked.
    pub(super) acting_sha256: Option<String>,
    pub(super) transaction: String,
    pub(super) height: u64,
    pub(super) policy_version: u32,
    /// When it was read without a quorum, as the reader says; null: it was not.
    pub(super) late: Option<String>,
    /// Only where somebody said something of the patient, and nobody asked to read.
    pub(super) change: Option<ChangeView>,
}

/// Something on which the patient's rights depend.
#[derive(Serialize)]
pub(super) struct ChangeView {
    /// A PatientChangeKind of access.proto.
    pub(super) kind: &'static str,
    /// Who speaks for the patient, or does no more.
    pub(super) identity: Option<String>,
    /// The other pseudonym of a link.
    pub(super) other: Option<String>,
    /// A record that is said to be somebody else's.
    pub(super) record: Option<String>,
    /// An EmergencyReason of emergency.proto, where the entry's emergency was declared.
    pub(super) reason: Option<&'static str>,
    /// When it ends by itself: what is accepted, the emergency, the care, or the consent.
    pub(super) until: Option<String>,
    /// A ReviewVerdict of emergency.proto, where it was reviewed.
    pub(super) verdict: Option<&'static str>,
    /// A consent that was put, or ended.
    pub(super) consent: Option<String>,
    /// Which version of it was put.
    pub(super) consent_version: Option<u32>,
    pub(super) words: String,
}

/// Records that were handed on under a legal duty.
#[derive(Serialize)]
pub(super) struct DisclosureView {
    pub(super) disclosure: String,
    /// A DisclosureBasis of disclosure.proto.
    pub(super) basis: &'static str,
    /// A DisclosureRecipient of disclosure.proto.
    pub(super) recipient: &'static str,
    pub(super) words: String,
}

/// What was decided of some records.
#[derive(Serialize)]
pub(super) struct DecisionView {
    pub(super) permitted: bool,
    pub(super) ground: &'static str,
    pub(super) words: String,
    pub(super) consent: Option<String>,
    pub(super) consent_version: Option<u32>,
    pub(super) records: Vec<VersionView>,
}

#[derive(Serialize)]
pub(super) struct VersionView {
    pub(super) record: String,
    pub(super) version: u32,
}

impl EventView {
    pub(crate) fn new(event: &AccessEvent, names: bool) -> Self {
        Self {
            number: event.sequence,
            time: time_ms(event.time.0),
            time_shown: time_ms(event.time.0),
            time_ms: event.time.0,
            member: event.reader.member().to_string(),
            role: event.reader.role().as_str(),
            role_words: words::reader(event.reader.role(), event.acting.is_some()),
            unit: event.unit.as_ref().map(ToString::to_string),
            name: names.then(|| event.reader.name().to_owned()),
            purpose: purpose::code(event.purpose),
            purpose_words: words::purpose(event.purpose),
            kind: event.kind.as_str_name(),
            kind_words: words::kind(event.kind),
            permitted: event.permits(),
            decisions: event.decisions.iter().map(DecisionView::new).collect(),
            emergency: event.emergency.map(|id| id.to_string()),
            project: event.project.map(|id| id.to_string()),
            disclosure: event.disclosed.as_ref().map(DisclosureView::new),
            sealed_until: event.sealed_until.map(|until| time_ms(until.0)),
            sealed_until_shown: event.sealed_until.map(|until| time_ms(until.0)),
            sealed_until_ms: event.sealed_until.map(|until| until.0),
            acting_sha256: event.acting.map(|hash| hash.to_string()),
            transaction: event.transaction_id.to_string(),
            height: event.height.0,
            policy_version: event.policy_version,
            late: event.late.map(|late| time_ms(late.0)),
            change: event.change.as_ref().map(ChangeView::new),
        }
    }

    pub(super) fn decided(&self) -> String {
        let decided = match (&self.disclosure, &self.change) {
            (_, Some(change)) => change.words.clone(),
            (Some(disclosure), None) => disclosure.words.clone(),
            (None, None) => self.decisions.iter().map(DecisionView::text).collect::<Vec<_>>().join("; "),
        };
        match &self.late {
            Some(late) if self.permitted => format!("{decided} (entered LATE: read {late} while the network was down)"),
            // It was decided twice: by what was known when it was read, and when it was entered.
            Some(late) => format!(
                "{decided} (entered LATE: asked for {late} while the network was down, when it may have been shown)"
            ),
            None => decided,
        }
    }

    /// Neither permitted nor denied: nobody asked to read.
    pub(super) fn is_change(&self) -> bool {
        self.change.is_some()
    }

    /// Neither permitted nor denied: a list was asked for, which shows only what may be read.
    pub(super) fn is_list(&self) -> bool {
        self.decisions.iter().any(|decision| decision.ground == AccessGround::Each.as_str_name())
    }

    /// The member, and the unit where one is named.
    pub(super) fn place(&self) -> String {
        words::place(&self.member, self.unit.as_deref())
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let name = self.name.as_deref().map_or(String::new(), |name| format!(" {name}"));
        let decided = self.marked();
        if self.change.is_some() {
            let (number, time, role, member) = (self.number, &self.time, self.role_words, self.place());
            return format!("entry {number}: {time} a {role}{name} of {member} had it entered: {decided}");
        }
        format!(
            "access {}: {} a {}{name} of {} asked to {} for {}: {decided}",
            self.number,
            self.time,
            self.role_words,
            self.place(),
            self.kind_words,
            self.purpose_words
        )
    }

    /// The same with its time as people see it there.
    pub(super) fn shown_in(self, zone: Zone) -> Self {
        let sealed_until_shown = self.sealed_until_ms.map(|until| zone.time_ms(until));
        Self { time_shown: zone.time_ms(self.time_ms), sealed_until_shown, ..self }
    }

    /// What was decided, and that it is no news for the patient.
    fn marked(&self) -> String {
        match &self.sealed_until_shown {
            Some(until) => format!("{} (kept from the patient until {until})", self.decided()),
            None => self.decided(),
        }
    }

    /// A line of the list, in the order of [`head`].
    pub(super) fn cells(&self, names: bool) -> Vec<String> {
        let decided = self.marked();
        let mut cells = vec![
            self.number.to_string(),
            self.time_shown.clone(),
            self.member.clone(),
            self.role_words.to_owned(),
            self.unit.clone().unwrap_or_default(),
            self.purpose_words.to_owned(),
            self.kind_words.to_owned(),
            decided,
        ];
        if names {
            cells.insert(NAME_COLUMN, self.name.clone().unwrap_or_default());
        }
        cells
    }
}

impl DisclosureView {
    pub(super) fn new(disclosed: &DisclosedTo) -> Self {
        Self {
            disclosure: disclosed.id.to_string(),
            basis: disclosed.basis.as_str_name(),
            recipient: disclosed.recipient.as_str_name(),
            words: words::disclosed(disclosed.recipient, disclosed.basis),
        }
    }
}

impl ChangeView {
    fn new(change: &Change) -> Self {
        let said = Self {
            kind: change.kind().as_str_name(),
            identity: None,
            other: None,
            record: None,
            reason: None,
            until: None,
            verdict: None,
            consent: None,
            consent_version: None,
            words: words::change(change),
        };
        match change {
            Change::Accepted { identity, to, .. } => {
                Self { identity: Some(identity.to_string()), until: to.map(|to| time_ms(to.0)), ..said }
            }
            Change::AcceptanceEnded { identity, .. } => Self { identity: Some(identity.to_string()), ..said },
            Change::Linked(other) | Change::Unlinked(other) => Self { other: Some(other.to_string()), ..said },
            Change::Misfiled(record) | Change::MisfiledConfirmed(record) => {
                Self { record: Some(record.to_string()), ..said }
            }
            Change::Died | Change::DeathTakenBack => said,
            Change::EmergencyDeclared { reason, to, .. } => {
                Self { reason: Some(reason.as_str_name()), until: Some(time_ms(to.0)), ..said }
            }
            Change::EmergencyReviewed { verdict, .. } => Self { verdict: Some(verdict.as_str_name()), ..said },
            Change::CareAttested { to } => Self { until: Some(time_ms(to.0)), ..said },
            Change::ConsentPut { consent, version, to } => Self {
                consent: Some(consent.to_string()),
                consent_version: Some(*version),
                until: to.map(|to| time_ms(to.0)),
                ..said
            },
            Change::ConsentEnded(consent) => Self { consent: Some(consent.to_string()), ..said },
        }
    }
}

impl DecisionView {
    pub(super) fn new(decision: &Decision) -> Self {
        let version = |v: &consilium_proto::transaction::VersionRef| VersionView {
            record: v.record.to_string(),
            version: v.version,
        };
        Self {
            permitted: decision.permits(),
            ground: decision.ground.as_str_name(),
            words: words::ground(decision.ground),
            consent: decision.consent.map(|(id, _)| id.to_string()),
            consent_version: decision.consent.map(|(_, version)| version),
            records: decision.records.iter().map(version).collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        match self.records.len() {
            0 => self.words.clone(),
            1 => format!("1 record {}", self.words),
            number => format!("{number} records {}", self.words),
        }
    }
}

#[cfg(test)]
mod tests;
