//! Codes of the ledger in plain words: for patients, and for those who talk with them.

use consilium_client::access_log::Change;
use consilium_client::changes::Fate;
use consilium_proto::access::permits;
use consilium_proto::consent::Said;
use consilium_proto::names::Role;
use consilium_proto::pb::{
    AccessGround, AccessKind, Confidentiality, ConsentBase, DisclosureBasis, DisclosureRecipient, EmergencyReason,
    PatientRelation, PetitionKind, PetitionRefusal, PetitionState, PetitionVerdict, PurposeOfUse, ReviewVerdict,
};
use consilium_proto::purpose;
use consilium_proto::transaction::Answered;

use crate::text::time_ms;

/// A member, and the unit of it where one is named.
pub(crate) fn place(member: &str, unit: Option<&str>) -> String {
    unit.map_or_else(|| member.to_owned(), |unit| format!("{member} (unit {unit})"))
}

/// Parses the code of a purpose, such as `TREAT`.
pub(crate) fn parse_purpose(code: &str) -> Result<PurposeOfUse, String> {
    purpose::of_code(code).ok_or_else(|| format!("{code:?} is no purpose of use such as TREAT (docs/consents.md)"))
}

/// What each purpose of use is, as in "for ...".
const PURPOSES: [(PurposeOfUse, &str); 62] = [
    (PurposeOfUse::Treat, "treatment"),
    (PurposeOfUse::Clintrl, "treatment in a clinical trial"),
    (PurposeOfUse::Coc, "coordination of care"),
    (PurposeOfUse::Etreat, "treatment that cannot wait"),
    (PurposeOfUse::Btg, "a declared emergency"),
    (PurposeOfUse::Ertreat, "treatment in the emergency room"),
    (PurposeOfUse::Pophlth, "health of a group of patients"),
    (PurposeOfUse::Treatds, "treatment and disclosure for it"),
    (PurposeOfUse::Hpaymt, "payment"),
    (PurposeOfUse::Clmattch, "an attachment to a claim"),
    (PurposeOfUse::Covauth, "authorization of what is paid for"),
    (PurposeOfUse::Coverage, "insurance cover"),
    (PurposeOfUse::Eligdtrm, "deciding on insurance cover"),
    (PurposeOfUse::Eligver, "checking insurance cover"),
    (PurposeOfUse::Enrollm, "enrolment with an insurer"),
    (PurposeOfUse::Mildcrg, "discharge from military service"),
    (PurposeOfUse::Remitadv, "advice of a payment"),
    (PurposeOfUse::Pmtds, "payment and disclosure for it"),
    (PurposeOfUse::Hresch, "research"),
    (PurposeOfUse::Biorch, "biomedical research"),
    (PurposeOfUse::Clintrch, "research in a clinical trial"),
    (PurposeOfUse::Clintrchnpc, "research in a clinical trial, without care of patients"),
    (PurposeOfUse::Clintrchpc, "research in a clinical trial, with care of patients"),
    (PurposeOfUse::Preclintrch, "preparing a clinical trial"),
    (PurposeOfUse::Dsrch, "research on a disease"),
    (PurposeOfUse::Poarch, "research on origins and ancestry"),
    (PurposeOfUse::Transrch, "research that is to help treatment"),
    (PurposeOfUse::Patrqt, "the patient's own request"),
    (PurposeOfUse::Famrqt, "a request of the family"),
    (PurposeOfUse::Pwatrny, "a request of who has power of attorney"),
    (PurposeOfUse::Supnwk, "a request of those who support the patient"),
    (PurposeOfUse::Pubhlth, "public health"),
    (PurposeOfUse::Disaster, "a disaster"),
    (PurposeOfUse::Threat, "a threat to public health"),
    (PurposeOfUse::Hmarkt, "marketing"),
    (PurposeOfUse::Hoperat, "running the hospital"),
    (PurposeOfUse::Caremgt, "management of care"),
    (PurposeOfUse::Donat, "donation of organs"),
    (PurposeOfUse::Fraud, "finding fraud"),
    (PurposeOfUse::Gov, "a duty to the government"),
    (PurposeOfUse::Haccred, "accreditation of the hospital"),
    (PurposeOfUse::Hcompl, "compliance with rules"),
    (PurposeOfUse::Hdecd, "a decedent's affairs"),
    (PurposeOfUse::Hdirect, "the hospital's directory"),
    (PurposeOfUse::Hdm, "medical devices and supplies"),
    (PurposeOfUse::Hlegal, "a legal matter"),
    (PurposeOfUse::Houtcoms, "measuring outcomes"),
    (PurposeOfUse::Hprgrp, "a report of a programme"),
    (PurposeOfUse::Hqualimp, "improving quality"),
    (PurposeOfUse::Hsysadmin, "administration of systems"),
    (PurposeOfUse::Labeling, "labelling records"),
    (PurposeOfUse::Metamgt, "managing data about records"),
    (PurposeOfUse::Memadmin, "administration of members"),
    (PurposeOfUse::Milcdm, "military command"),
    (PurposeOfUse::Patadmin, "administration of patients"),
    (PurposeOfUse::Patsfty, "safety of patients"),
    (PurposeOfUse::Perfmsr, "measuring performance"),
    (PurposeOfUse::Recordmgt, "management of records"),
    (PurposeOfUse::Sysdev, "development of systems"),
    (PurposeOfUse::Htest, "testing systems"),
    (PurposeOfUse::Train, "training of staff"),
    (PurposeOfUse::Mltraining, "training of machines"),
];

/// What a purpose of use is.
pub(crate) fn purpose(purpose: PurposeOfUse) -> &'static str {
    PURPOSES.iter().find(|(known, _)| *known == purpose).map_or("an unknown purpose", |(_, words)| words)
}

/// Who reads: a system that names no person has none behind it, and says so by that.
pub(crate) fn reader(role: Role, for_somebody: bool) -> &'static str {
    match role {
        Role::Service if !for_somebody => "hospital system, for no person",
        role => self::role(role),
    }
}

/// Who somebody is, by the role.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Node => "node of the network",
        Role::Admin => "administrator",
        Role::Service => "hospital system",
        Role::Clinician => "clinician",
        Role::Researcher => "researcher",
        Role::Auditor => "auditor",
        Role::Patient => "patient or representative",
        Role::Device => "medical device",
    }
}

/// What was said of the patient.
pub(crate) fn change(change: &Change) -> String {
    match change {
        Change::Accepted { identity, relation, may_read, may_consent, to, scope } => {
            let may = match (may_read, may_consent) {
                (true, true) => "may read and sign consents",
                (true, false) => "may read",
                (false, true) => "may sign consents",
                (false, false) => "may do nothing",
            };
            let until = to.map_or(String::new(), |to| format!(" until {}", time_ms(to.0)));
            let some = if scope.is_some() { ", of some records or purposes alone" } else { "" };
            let relation = self::relation(*relation);
            format!("{identity} is {relation}, and {may}{until}, for this hospital's records{some}")
        }
        Change::AcceptanceEnded { identity, .. } => format!("{identity} speaks for the patient no more here"),
        Change::Linked(other) => format!("the pseudonym {other} is the same person's, for this hospital's records"),
        Change::Unlinked(other) => format!("the pseudonym {other} is not taken for the same person's any more here"),
        Change::Died => "the patient has died".to_owned(),
        Change::DeathTakenBack => "that the patient has died was said in error".to_owned(),
        Change::Misfiled(record) => {
            format!("record {record} is somebody else's: nobody but you reads it here any more")
        }
        Change::MisfiledConfirmed(record) => {
            format!("a second person confirmed that record {record} is somebody else's: it is closed")
        }
        Change::EmergencyDeclared { emergency, reason, to } => {
            format!("declared emergency {emergency}, and may read until {}: {}", time_ms(to.0), self::reason(*reason))
        }
        Change::EmergencyReviewed { emergency, verdict } => {
            format!("reviewed emergency {emergency}: {}", self::review(*verdict))
        }
        Change::CareAttested { to } => {
            format!("the patient is under the care of this hospital until {}", time_ms(to.0))
        }
        Change::ConsentPut { consent, version, to } => {
            let until = to.map_or(String::new(), |to| format!(", until {}", time_ms(to.0)));
            format!("version {version} of consent {consent} holds from now on{until}")
        }
        Change::ConsentEnded(consent) => format!("consent {consent} is ended, as far as who says so may end it"),
    }
}

/// What was asked for.
pub(crate) fn kind(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Unspecified => "something unknown",
        AccessKind::Read => "read records",
        AccessKind::Query => "list records",
        AccessKind::History => "see the versions of records",
        AccessKind::Export => "take records along",
        AccessKind::Disclosure => "hand records to an authority",
        AccessKind::Change => "have it entered",
    }
}

/// Of a request for a list that was answered: it may have shown nothing, so that nothing was
/// permitted.
const LISTED: &str = "a list was asked for: it shows only what may be read, perhaps nothing";

/// What was decided and on which ground.
pub(crate) fn ground(ground: AccessGround) -> String {
    use AccessGround as G;
    let why = match ground {
        G::Unspecified => "for an unknown reason",
        G::Author => "who asked wrote it",
        G::Custodian => "it is a record of their own hospital",
        G::Patient => "it is the patient",
        G::Representative => "who asked speaks for the patient",
        G::Consent => "a consent of the patient permits it",
        G::Emergency => "in a declared emergency",
        G::Each => return LISTED.to_owned(),
        G::NotFound => "there is no such record of this patient",
        G::Role => "those of this role read no records",
        G::ConsentDenies => "the patient's consents, or the rule for patients without one, forbid it",
        G::NoConsent => "no consent permits it",
        G::NoEmergency => "no such emergency was in force",
        G::Policy => "the network's access policy forbids it",
        G::PolicyError => "the network's access policy could not be applied",
        G::Restricted => "the record is restricted or erased",
    };
    format!("{}: {why}", if permits(ground) { "permitted" } else { "denied" })
}

/// What consents say.
pub(crate) fn said(said: Said) -> &'static str {
    match said {
        Said::Silent => "is about other things",
        Said::Nothing => "says nothing of it",
        Said::BasePermits => "permits it, as all ordinary use",
        Said::BaseDenies => "denies it, but for emergencies",
        Said::Permits { by_name: true } => "permits it by a rule, to this very reader",
        Said::Permits { by_name: false } => "permits it by a rule",
        Said::OptedOut => "denies it, whatever another consent permits, but for emergencies",
        Said::AllDenied => "denies everything",
        Said::RuleDenies => "denies it by a rule",
    }
}

/// What holds where no rule matches.
pub(crate) fn base(base: ConsentBase) -> &'static str {
    match base {
        ConsentBase::Unspecified => "unknown",
        ConsentBase::BasicNormal => "treatment, payment and operations may read what is at most normal",
        ConsentBase::AllNormal => "treatment, payment and operations may read everything",
        ConsentBase::BreakGlassOnly => "nobody else may read, but in emergencies",
        ConsentBase::Deny => "nobody else may read",
        ConsentBase::Silent => "nothing is said; other consents decide",
    }
}

/// The code of a base, as in arguments.
pub(crate) fn base_code(base: ConsentBase) -> &'static str {
    match base {
        ConsentBase::Unspecified => "unspecified",
        ConsentBase::BasicNormal => "basic-normal",
        ConsentBase::AllNormal => "all-normal",
        ConsentBase::BreakGlassOnly => "break-glass-only",
        ConsentBase::Deny => "deny",
        ConsentBase::Silent => "silent",
    }
}

/// Why an emergency was declared.
pub(crate) fn reason(reason: EmergencyReason) -> &'static str {
    match reason {
        EmergencyReason::Unspecified => "for an unknown reason",
        EmergencyReason::CannotConsent => "the patient cannot be asked",
        EmergencyReason::Danger => "the patient's life or health is in danger",
        EmergencyReason::ThreatToOthers => "others are in danger",
        EmergencyReason::Disaster => "a disaster, or many injured at once",
    }
}

/// What a review of an emergency found.
fn review(verdict: ReviewVerdict) -> &'static str {
    match verdict {
        ReviewVerdict::Unspecified => "what it found is unknown",
        ReviewVerdict::Justified => "it was one",
        ReviewVerdict::NotJustified => "it was none, and is over",
    }
}

/// Whose identity it is.
pub(crate) fn relation(relation: PatientRelation) -> &'static str {
    match relation {
        PatientRelation::Unspecified => "unknown",
        PatientRelation::Self_ => "self",
        PatientRelation::Guardian => "guardian",
        PatientRelation::Proxy => "proxy",
        PatientRelation::Executor => "executor",
    }
}

/// Why records are handed on under a legal duty.
pub(crate) fn basis(basis: DisclosureBasis) -> &'static str {
    match basis {
        DisclosureBasis::Unspecified => "for an unknown reason",
        DisclosureBasis::PublicHealth => "a duty to report to public health",
        DisclosureBasis::CourtOrder => "an order of a court",
        DisclosureBasis::Death => "the investigation of a death",
        DisclosureBasis::Crime => "the investigation of a crime",
        DisclosureBasis::Oversight => "oversight of the hospital",
        DisclosureBasis::Protection => "the protection of a child or of another who cannot protect itself",
        DisclosureBasis::Threat => "a serious threat to somebody's health or life",
    }
}

/// To whom.
pub(crate) fn recipient(recipient: DisclosureRecipient) -> &'static str {
    match recipient {
        DisclosureRecipient::Unspecified => "somebody unknown",
        DisclosureRecipient::HealthAuthority => "an authority of public health",
        DisclosureRecipient::Court => "a court",
        DisclosureRecipient::Coroner => "a coroner",
        DisclosureRecipient::Police => "the police",
        DisclosureRecipient::OversightBody => "who oversees the hospital",
        DisclosureRecipient::WelfareAuthority => "an authority of welfare",
        DisclosureRecipient::Other => "another authority",
    }
}

/// That records were handed on.
pub(crate) fn disclosed(to: DisclosureRecipient, because: DisclosureBasis) -> String {
    format!("handed to {}: {}", recipient(to), basis(because))
}

/// What became of a record that somebody has read, as in "record ...: it ...".
pub(crate) fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Amended => "it was amended",
        Fate::Retracted => "it was entered in error",
        Fate::Misfiled => "it was filed under the wrong patient",
    }
}

/// What a petition asks.
pub(crate) fn petition(kind: PetitionKind) -> &'static str {
    match kind {
        PetitionKind::Unspecified => "something unknown",
        PetitionKind::Correction => "put this right",
        PetitionKind::Complaint => "was this access rightful?",
        PetitionKind::Name => "who was it?",
        PetitionKind::Disagreement => "the patient disagrees",
    }
}

/// Why a petition is refused.
fn refusal(refusal: PetitionRefusal) -> &'static str {
    match refusal {
        PetitionRefusal::Unspecified => "for an unknown reason",
        PetitionRefusal::NotOurs => "there is no such version or entry of this hospital",
        PetitionRefusal::Accurate => "the record is right and complete",
        PetitionRefusal::Rightful => "the access was rightful",
        PetitionRefusal::NotIdentified => "who asks is not known well enough",
        PetitionRefusal::RightsOfOthers => "the rights of others outweigh it",
        PetitionRefusal::Law => "a law forbids it",
    }
}

/// An answer to a petition.
pub(crate) fn verdict(verdict: &Answered) -> String {
    match verdict {
        Answered::Granted { amended: 0 } => "granted".to_owned(),
        Answered::Granted { amended } => format!("granted: version {amended} puts it right"),
        Answered::Refused(why) => format!("refused: {}", refusal(*why)),
    }
}

/// What became of a petition.
pub(crate) fn answered(state: &PetitionState) -> String {
    match state.verdict() {
        PetitionVerdict::Granted => verdict(&Answered::Granted { amended: state.amended_version }),
        PetitionVerdict::Refused => verdict(&Answered::Refused(state.refusal())),
        PetitionVerdict::Unspecified if state.due_ms == 0 => "no answer is due".to_owned(),
        PetitionVerdict::Unspecified => "nobody has answered".to_owned(),
    }
}

/// How confidential something is: HL7's letter.
pub(crate) fn level(level: Confidentiality) -> &'static str {
    match level {
        Confidentiality::Unspecified => "?",
        Confidentiality::Unrestricted => "U",
        Confidentiality::Low => "L",
        Confidentiality::Moderate => "M",
        Confidentiality::Normal => "N",
        Confidentiality::Restricted => "R",
        Confidentiality::VeryRestricted => "V",
    }
}

/// Parses HL7's letter of a level.
pub(crate) fn parse_level(letter: &str) -> Result<Confidentiality, String> {
    let known = (1..=6).filter_map(|code| Confidentiality::try_from(code).ok());
    let found = known.into_iter().find(|known| level(*known) == letter);
    found.ok_or_else(|| format!("{letter:?} is none of U, L, M, N, R, V"))
}

#[cfg(test)]
mod tests;
