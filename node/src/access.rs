//! Who may read what: one pure function of the reader and of facts about what
//! is asked for. Whoever serves data to a client gathers the facts, from one
//! snapshot of the ledger, asks [`decide`], and releases from that snapshot.
//!
//! It reads no disk, knows no connection, and says nothing of whether the
//! reader is who it claims to be: an identity that has fallen never gets here.
//! What is denied must look to the reader as if it did not exist.

use consilium_proto::ids::TimeMs;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::state::{self, Readers};

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who asks: its member and its role are in its name.
    pub reader: &'a SpiffeId,
    /// For what.
    pub what: What<'a>,
}

/// What is asked for, with the facts that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// What is said of one version of a record, outside of a request for access: not its
    /// contents, and no key.
    Record {
        /// The member that wrote it.
        author_member: &'a str,
        /// The member that keeps its records since it left, where the reader names one of them;
        /// `None`: there is none, or it was not looked for.
        kept_by: Option<&'a str>,
    },
    /// Which records there are of the reader's own member, looked for without a request for access.
    Search,
    /// A key wrap of a version that the reader may have.
    Wrap {
        /// SPIFFE id of whose key it is wrapped for; `None` if nobody's.
        owner: Option<&'a str>,
    },
    /// A key wrap of a version for its custodian.
    CustodyWrap {
        /// As in [`Self::Wrap`].
        owner: Option<&'a str>,
        /// Whether the key is, or was, the custody key of the reader's member.
        of_custody: bool,
    },
    /// A row of the authenticated state, with its proof.
    StateRow {
        /// See [`consilium_ledger::keys`].
        key: &'a [u8],
    },
    /// A certified block: its header, what leaders observed, and the leaves of its transactions.
    Block,
    /// A transaction of a certified block, without attachments.
    Transaction {
        /// Who signed it; `None` if the ledger does not say.
        author: Option<&'a SpiffeId>,
        /// It tells of a patient.
        of_patient: bool,
    },
    /// Which pseudonym an identifier leads to.
    Lookup,
    /// The log of access to a patient's records.
    AccessLog(Patient),
    /// An entry of a log, of whom the log is.
    SealedEntry {
        /// Block time until which it is kept from the patient.
        until: TimeMs,
        /// Block time.
        now: TimeMs,
    },
    /// Who speaks for a patient, and its consents.
    Patient(Patient),
    /// That there is an emergency, and how it stands.
    Emergency(Emergency<'a>),
    /// Which members say that a patient is under their care.
    Care(Patient),
    /// Every record of a patient, by kind and confidentiality, and that there are such.
    RecordLists(Patient),
    /// A petition of a patient, with its sealed texts.
    Petition(Petition<'a>),
    /// The reason of an emergency in words, sealed.
    EmergencyText {
        /// The member whose identity declared it.
        declared_by: &'a str,
        /// SPIFFE id of that member's custodian; `None` if it has none.
        custodian: Option<&'a str>,
    },
    /// A disclosure under a legal duty, with what the caller's member has of it.
    Disclosure {
        /// The member that discloses.
        member: &'a str,
        /// SPIFFE id of who has made it.
        made_by: &'a str,
    },
    /// That a version which somebody was permitted to read does not count any more.
    Read {
        /// Who was.
        by: &'a SpiffeId,
    },
    /// Requests for key wraps.
    WrapRequests {
        /// SPIFFE id of who keeps the records that they are for; `None` if nobody does.
        custodian: Option<&'a str>,
        /// SPIFFE id of the deputy's custodian; `None` if there is none.
        deputy: Option<&'a str>,
    },
    /// Which versions of a member are wrapped for a key.
    HeldVersions {
        /// As in [`Self::WrapRequests`].
        custodian: Option<&'a str>,
    },
}

/// What is known of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patient {
    /// The member that registered it has accepted the reader to read for it. What others
    /// accept opens their own records, and not the log of all.
    pub accepted: Accepted,
}

/// For how much of a patient's records somebody is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// For none.
    Not,
    /// For some: it learns who speaks for the patient, and not what tells of all of them.
    ForSome,
    /// For all.
    ForAll,
}

/// What is known of an emergency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emergency<'a> {
    /// The member whose identity declared it.
    pub declared_by: &'a str,
    /// The reader's member registered the patient, or has written records of it.
    pub concerns_member: bool,
    /// As for the patient's log.
    pub patient: Patient,
}

/// What is known of a petition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Petition<'a> {
    /// The member that is asked, or that keeps its records since it left.
    pub member: &'a str,
    /// It is about what somebody of that member did: colleagues need not know of it.
    pub concerns_person: bool,
    /// The reader signed it, or may see the patient's log.
    pub of_reader: bool,
}

/// The answer, with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may be released.
    Allow(Grant),
    /// It must look as if it were absent.
    Deny(Denial),
}

/// Why something may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// The reader's member wrote it.
    AuthorsMember,
    /// The reader's member answers for it, since the one that wrote it has left.
    Successor,
    /// The reader signed it.
    Author,
    /// The reader is a node, and has all blocks as a peer.
    Peer,
    /// It is wrapped for a key of the reader.
    Recipient,
    /// The reader is the patient, or acts for it.
    Patient,
    /// The reader is the custodian.
    Custodian,
    /// The reader is the deputy: what has an emergency, and nothing else.
    Deputy,
    /// The reader is an auditor.
    Auditor,
    /// Every identity of the network may have it.
    Everyone,
    /// The reader writes records, and must know whose they are.
    Writer,
    /// The reader's member is asked, and the reader answers for it.
    Asked,
}

/// Why something may not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Another member wrote it, or the role does not work with records.
    NotAuthorsMember,
    /// A person looks by a request for access, which the patient sees; systems keep their own records.
    NotSystem,
    /// The reader does not speak for the patient.
    NotPatient,
    /// Another is the custodian.
    NotCustodian,
    /// It is lawfully kept from the patient until a date.
    Sealed,
    /// Another member is asked, or the role does not answer for it.
    NotAsked,
    /// Another has read it.
    NotReader,
    /// The wrap is for another's key.
    NotOwner,
    /// Only auditors may have it.
    NotAuditor,
    /// It is no business of the auditor's member.
    NotConcerned,
    /// Only those who write records may have it.
    NotWriter,
    /// No rule names it.
    Unlisted,
}

impl Decision {
    /// Whether it may be released.
    #[must_use]
    pub const fn allows(self) -> bool {
        match self {
            Self::Allow(_) => true,
            Self::Deny(_) => false,
        }
    }
}

/// Decides one request.
#[must_use]
pub fn decide(request: &Request<'_>) -> Decision {
    let Request { reader, what } = *request;
    match what {
        What::Record { author_member, kept_by } => record_version(reader, author_member, kept_by),
        What::Search => match reader.role() {
            Role::Auditor => Decision::Allow(Grant::Auditor),
            Role::Service | Role::Device => Decision::Allow(Grant::AuthorsMember),
            Role::Clinician | Role::Researcher | Role::Patient | Role::Admin | Role::Node => {
                Decision::Deny(Denial::NotSystem)
            }
        },
        What::Wrap { owner } => key_wrap(reader, owner),
        What::StateRow { key } => state_row(reader, key),
        What::Block => Decision::Allow(Grant::Everyone),
        What::Transaction { of_patient: false, .. } => Decision::Allow(Grant::Everyone),
        What::Transaction { author, of_patient: true } => transaction(reader, author),
        What::Lookup => match writes(reader.role()) {
            true => Decision::Allow(Grant::Writer),
            false => Decision::Deny(Denial::NotWriter),
        },
        What::AccessLog(patient) | What::RecordLists(patient) | What::Care(patient) => of_all_members(reader, patient),
        What::SealedEntry { until, now } => sealed_entry(reader, until, now),
        What::Patient(patient) => match reader.role() {
            Role::Service | Role::Clinician => Decision::Allow(Grant::Writer),
            Role::Patient if patient.accepted == Accepted::ForSome => Decision::Allow(Grant::Patient),
            _ => of_all_members(reader, patient),
        },
        What::Emergency(emergency) => notice(reader, emergency),
        What::Petition(petition) => self::petition(reader, petition),
        What::EmergencyText { declared_by, custodian } => match reader.role() {
            Role::Auditor if reader.member().as_str() == declared_by => Decision::Allow(Grant::Auditor),
            Role::Auditor => Decision::Deny(Denial::NotConcerned),
            _ if custodian.is_some_and(|custodian| custodian == reader.to_string()) => {
                Decision::Allow(Grant::Custodian)
            }
            _ => Decision::Deny(Denial::NotCustodian),
        },
        What::Disclosure { member, made_by } => disclosure(reader, member, made_by),
        What::Read { by } => own_read(reader, by),
        What::CustodyWrap { owner: _, of_custody: true } => Decision::Allow(Grant::Custodian),
        What::CustodyWrap { owner, of_custody: false } => key_wrap(reader, owner),
        What::WrapRequests { custodian, deputy } => match custodians(reader, custodian) {
            Decision::Deny(_) if deputy.is_some_and(|deputy| deputy == reader.to_string()) => {
                Decision::Allow(Grant::Deputy)
            }
            decision => decision,
        },
        What::HeldVersions { custodian } => match reader.role() {
            Role::Auditor => Decision::Allow(Grant::Auditor),
            _ => custodians(reader, custodian),
        },
    }
}

fn custodians(reader: &SpiffeId, custodian: Option<&str>) -> Decision {
    match custodian.is_some_and(|custodian| custodian == reader.to_string()) {
        true => Decision::Allow(Grant::Custodian),
        false => Decision::Deny(Denial::NotCustodian),
    }
}

/// Whether those of a role write records.
const fn writes(role: Role) -> bool {
    match role {
        Role::Service | Role::Clinician | Role::Device => true,
        Role::Node | Role::Admin | Role::Researcher | Role::Auditor | Role::Patient => false,
    }
}

/// Whoever keeps it amends and retracts it, and has to be told which one it is.
fn record_version(reader: &SpiffeId, author_member: &str, kept_by: Option<&str>) -> Decision {
    match reader.role() {
        Role::Auditor => Decision::Allow(Grant::Auditor),
        role if writes(role) && reader.member().as_str() == author_member => Decision::Allow(Grant::AuthorsMember),
        role if writes(role) && kept_by == Some(reader.member().as_str()) => Decision::Allow(Grant::Successor),
        _ => Decision::Deny(Denial::NotAuthorsMember),
    }
}

/// Pseudonym, kind and recipients are in it, and of a request for access who reads whose records:
/// colleagues learn no more of that than strangers. Services, the custodian among them, made it
/// on behalf of their member.
fn transaction(reader: &SpiffeId, author: Option<&SpiffeId>) -> Decision {
    match reader.role() {
        Role::Auditor => Decision::Allow(Grant::Auditor),
        Role::Node => Decision::Allow(Grant::Peer),
        _ if author == Some(reader) => Decision::Allow(Grant::Author),
        Role::Service if author.is_some_and(|author| author.member() == reader.member()) => {
            Decision::Allow(Grant::AuthorsMember)
        }
        _ => Decision::Deny(Denial::NotAuthorsMember),
    }
}

/// What is of all members' records: no member may count what it may not read, nor learn where else
/// somebody is treated.
fn of_all_members(reader: &SpiffeId, patient: Patient) -> Decision {
    match reader.role() {
        Role::Auditor => Decision::Allow(Grant::Auditor),
        Role::Patient if patient.accepted == Accepted::ForAll => Decision::Allow(Grant::Patient),
        _ => Decision::Deny(Denial::NotPatient),
    }
}

/// An auditor could look all of it up; told are those who have to look.
fn notice(reader: &SpiffeId, emergency: Emergency<'_>) -> Decision {
    match reader.role() {
        Role::Auditor if emergency.concerns_member || reader.member().as_str() == emergency.declared_by => {
            Decision::Allow(Grant::Auditor)
        }
        Role::Auditor => Decision::Deny(Denial::NotConcerned),
        _ => of_all_members(reader, emergency.patient),
    }
}

fn sealed_entry(reader: &SpiffeId, until: TimeMs, now: TimeMs) -> Decision {
    match (reader.role(), now >= until) {
        (Role::Auditor, _) => Decision::Allow(Grant::Auditor),
        (_, true) => Decision::Allow(Grant::Patient),
        (_, false) => Decision::Deny(Denial::Sealed),
    }
}

fn petition(reader: &SpiffeId, petition: Petition<'_>) -> Decision {
    let answers = match reader.role() {
        Role::Auditor => return Decision::Allow(Grant::Auditor),
        Role::Patient if petition.of_reader => return Decision::Allow(Grant::Patient),
        Role::Service => true,
        Role::Clinician => !petition.concerns_person,
        Role::Patient | Role::Node | Role::Admin | Role::Researcher | Role::Device => false,
    };
    match answers && reader.member().as_str() == petition.member {
        true => Decision::Allow(Grant::Asked),
        false => Decision::Deny(Denial::NotAsked),
    }
}

/// Those who confirm it, and who is to be told whether it was.
fn disclosure(reader: &SpiffeId, member: &str, made_by: &str) -> Decision {
    match reader.role() {
        Role::Auditor if reader.member().as_str() == member => Decision::Allow(Grant::Auditor),
        _ if reader.to_string() == made_by => Decision::Allow(Grant::Author),
        _ => Decision::Deny(Denial::NotAsked),
    }
}

/// Services pass it on to the people for whom they read. An auditor finds former readers in the
/// logs, and is not told here.
fn own_read(reader: &SpiffeId, by: &SpiffeId) -> Decision {
    match reader.role() {
        _ if reader == by => Decision::Allow(Grant::Author),
        Role::Service if reader.member() == by.member() => Decision::Allow(Grant::AuthorsMember),
        _ => Decision::Deny(Denial::NotReader),
    }
}

/// A wrap helps only who has the key: the author's member gets no others.
fn key_wrap(reader: &SpiffeId, owner: Option<&str>) -> Decision {
    match owner.is_some_and(|owner| owner == reader.to_string()) {
        true => Decision::Allow(Grant::Recipient),
        false => Decision::Deny(Denial::NotOwner),
    }
}

fn state_row(reader: &SpiffeId, key: &[u8]) -> Decision {
    match state::readers(key) {
        Readers::Everyone => Decision::Allow(Grant::Everyone),
        Readers::Auditors if reader.role() == Role::Auditor => Decision::Allow(Grant::Auditor),
        Readers::Auditors => Decision::Deny(Denial::NotAuditor),
        Readers::Nobody => Decision::Deny(Denial::Unlisted),
    }
}

#[cfg(test)]
mod tests;
