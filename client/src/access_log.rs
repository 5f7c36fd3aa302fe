//! Who has asked to read a patient's records and what was decided; and the rows of a patient.
//! All is held against a certified header: a node can neither change, swap nor leave out an
//! event of a log that it hands over as whole, and what was shown earlier must still be its
//! beginning.
//!
//! A node may be behind by as much as the profile allows ([`crate::age`]): the log is whole up to
//! the block of [`AccessLog::header`].

pub mod accounting;
mod event;
mod kept;
pub(crate) mod pages;
mod receipt;
pub(crate) mod request;
pub mod staff;
pub(crate) mod verify;

use bytes::Bytes;
use consilium_grpc::access_service_client::AccessServiceClient;
use consilium_proto::consent::Grant;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{ConsentId, Height, PatientPseudonym, TransactionId};
use consilium_proto::limits::ANSWER_BYTES_MAX;
use consilium_proto::merkle::MerkleError;
use consilium_proto::pb::{self, read_options::Consistency};
use tonic::transport::Channel;

use crate::client::Client;
use crate::consents::Pseudonyms;
use crate::error::ClientError;
use crate::false_answer::Answered;

pub use event::{AccessEvent, Change, Decision, DisclosedTo};
pub use kept::{KeptAccess, KeptLog, ParseKeptError, SealedEntry};
pub use receipt::{DecisionReport, verify_decision};
use verify::Pages;
pub(crate) use verify::message as row_message;

/// Events asked for at once: the most that a node gives.
const PAGE_SIZE: u32 = 1_000;

/// Events of a patient's log, proven to be all from `from` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Whose it is.
    pub patient: PatientPseudonym,
    /// The place of the first event, from 0: as many were known before.
    pub from: u64,
    /// Oldest first.
    pub events: Vec<AccessEvent>,
    /// Entries between them that are lawfully kept from this identity until a date, and those
    /// that were kept before and still are. That each is one, is a node's word until its date.
    pub sealed: Vec<SealedEntry>,
    /// Of `events` those that have a seal, also one that is over: auditors see what the patient does
    /// not.
    pub seals: Vec<SealedEntry>,
    /// Entries that were kept from it before, and are open now: each is what its hash was kept of.
    pub opened: Vec<AccessEvent>,
    /// How many events the log has.
    pub count: u64,
    /// The root of the log's tree.
    pub root: Hash,
    /// It is the log at this header's block.
    pub header: Header,
}

impl AccessLog {
    /// What to keep, so that the next look at the log shows that nothing was taken away.
    #[must_use]
    pub fn kept(&self) -> KeptLog {
        KeptLog { count: self.count, root: self.root }
    }

    /// The log as the patient sees it: of entries whose seal lasts beyond the header's time nothing is
    /// left but that there is one, until when, and its hash. For what is handed to the patient.
    #[must_use]
    pub fn without_sealed(mut self) -> Self {
        let kept = self.seals.extract_if(.., |seal| self.header.time < seal.until);
        self.sealed.extend(kept);
        self.sealed.sort_by_key(|seal| seal.sequence);
        let Self { events, sealed, .. } = &mut self;
        events.retain(|event| sealed.iter().all(|seal| seal.sequence != event.sequence));
        self
    }

    /// The same, with the entries that are sealed: the next look shows whether they open as they
    /// were.
    #[must_use]
    pub fn kept_access(&self) -> KeptAccess {
        KeptAccess { log: self.kept(), sealed: self.sealed.clone() }
    }
}

/// Why what a node shows of a log, or of a list of records, is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// It has fewer entries than there were.
    #[error("the list has {shown} entries, and had {known} before")]
    Shorter {
        /// Those that there were.
        known: u64,
        /// Those that it has.
        shown: u64,
    },
    /// Entries are left out, or there are more than the log has.
    #[error("the list has {count} entries, and {shown} are shown")]
    Count {
        /// Those that it has.
        count: u64,
        /// Those up to the last that is shown.
        shown: u64,
    },
    /// A file does not go on to the end of its list.
    #[error("the file ends before the list does, after {shown} entries")]
    EndsEarly {
        /// Those that it shows.
        shown: u64,
    },
    /// What was known is not its beginning.
    #[error("what was known of the list is not its beginning any more: {0}")]
    Rewritten(MerkleError),
    /// An event is not where it says that it is.
    #[error("the event at place {place} of the access log says that it is number {sequence}")]
    OutOfPlace {
        /// Where it stands.
        place: u64,
        /// What it says.
        sequence: u64,
    },
    /// An entry is said to be sealed beyond what is lawful, or when its time is over.
    #[error("the entry at place {place} of the access log is said to be sealed until {until_ms}, which cannot be")]
    SealRefused {
        /// Where it stands.
        place: u64,
        /// Block time, milliseconds.
        until_ms: u64,
    },
    /// An entry that was sealed is not shown when its time is over, or is another.
    #[error("the entry at place {place} of the access log was sealed, and is not what was sealed")]
    NotOpened {
        /// Where it stands.
        place: u64,
    },
    /// An event of another patient, or of another request.
    #[error("the event at place {place} is about something else than was asked for")]
    Other {
        /// Where it stands.
        place: u64,
    },
    /// The entries do not lead to the root: one was changed, left out or put in.
    #[error("the entries of the list do not lead to its root: one was changed, left out or put in")]
    Root,
    /// An event is not in the log that it is said to be in.
    #[error("the event is not proven to be in the log: {0}")]
    NotInLog(MerkleError),
    /// The row is not the one that was asked for.
    #[error("the answer has another row than the one of {0}")]
    OtherRow(String),
    /// The state does not have the row as it is shown.
    #[error("the row of {row} is not proven: {why}")]
    Row {
        /// What it is about.
        row: String,
        /// Why.
        why: String,
    },
}

/// A consent as the ledger has it.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownConsent {
    /// The consent.
    pub id: ConsentId,
    /// Its row.
    pub state: pb::ConsentState,
    /// What it says.
    pub grant: Grant,
}

/// The rows of a patient, proven.
#[derive(Debug, Clone, PartialEq)]
pub struct PatientRows {
    /// The pseudonym.
    pub patient: PatientPseudonym,
    /// `None`: nobody has registered it.
    pub state: Option<pb::PatientState>,
    /// Its consents that are not revoked.
    pub consents: Vec<KnownConsent>,
    /// Which kinds of records it has, and how confidential; `None`: the node does not show it to
    /// this identity.
    pub lists: Option<Vec<pb::RecordListName>>,
    /// Under whose care it is, or was, by members that were not removed, ascending; `None`: the node
    /// does not show it to this identity.
    pub care: Option<Vec<MemberCare>>,
    /// The salts of its labels that this identity may know of.
    pub salts: Vec<MemberSalts>,
    /// Salts, wrapped for keys of this identity, as far as the node has them.
    pub salt_wraps: Vec<Bytes>,
    /// They are the rows at this header's block.
    pub header: Header,
}

/// What a member says of its care for a patient.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberCare {
    /// The member.
    pub member: String,
    /// What it has attested last. It counts up to `to_ms`, block time, exclusive.
    pub state: pb::CareState,
}

/// The salts that a member has put for a patient.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberSalts {
    /// The member.
    pub member: String,
    /// In the order of their numbers; none: it has put none.
    pub salts: Vec<pb::PatientSalt>,
}

/// A decision, and the log in which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenDecision {
    /// The event.
    pub event: AccessEvent,
    /// Whether it is in the log of the reader's member: there was no such patient.
    pub unmatched: bool,
    /// It stands in the log at this header's block.
    pub header: Header,
}

type LogAnswer = Answered<pb::GetAccessLogRequest, pb::GetAccessLogResponse>;
type DecisionAnswer = Answered<pb::GetDecisionRequest, pb::GetDecisionResponse>;
type PatientAnswer = Answered<pb::GetPatientRequest, pb::GetPatientResponse>;

impl Client {
    /// The events of a patient's log after those that were kept, with proof that no event is
    /// missing and that what was kept is its beginning. For auditors, and for identities that the
    /// registering member has accepted to read.
    ///
    /// # Errors
    /// As [`Self::read`]; [`LogFault`] if anything was left out, changed or swapped.
    pub async fn access_log(
        &self,
        patient: PatientPseudonym,
        kept: impl Into<KeptAccess> + Send,
    ) -> Result<AccessLog, ClientError> {
        let KeptAccess { log, sealed } = kept.into();
        let log = self.whole_log(patient, log, |_| ()).await?;
        self.open_sealed(sealed, log).await
    }

    /// The events after those that were kept, and the answers that show them as they come.
    pub(crate) async fn whole_log(
        &self,
        patient: PatientPseudonym,
        kept: KeptLog,
        mut each: impl FnMut(pb::GetAccessLogResponse) + Send,
    ) -> Result<AccessLog, ClientError> {
        let mut pages = Pages::new(patient, kept);
        let mut at_least = None;
        loop {
            let request = pb::GetAccessLogRequest {
                patient: Bytes::copy_from_slice(&patient.0),
                from_sequence: pages.next(),
                page_size: PAGE_SIZE,
                read: at_least,
            };
            let (answered, header) = self.recent(|| self.fetch_log(request.clone())).await?;
            let whole = pages.add(&answered.answer, &header);
            let whole = self.judged(&answered, whole)?;
            each(answered.answer);
            if whole {
                return Ok(pages.into_log(header));
            }
            at_least = at(header.height);
        }
    }

    /// Entries that were sealed when the log was looked at before: those whose time is over must
    /// be what their hashes were kept of.
    async fn open_sealed(&self, kept: Vec<SealedEntry>, mut log: AccessLog) -> Result<AccessLog, ClientError> {
        let (over, still): (Vec<_>, Vec<_>) = kept.into_iter().partition(|entry| entry.until <= log.header.time);
        for entry in over {
            let request = pb::GetAccessLogRequest {
                patient: Bytes::copy_from_slice(&log.patient.0),
                from_sequence: entry.sequence,
                page_size: 1,
                read: at(log.header.height),
            };
            let (answered, _) = self.recent(|| self.fetch_log(request.clone())).await?;
            let opened = verify::opened(&entry, &log.patient, &answered.answer);
            log.opened.push(self.judged(&answered, opened)?);
        }
        log.sealed.splice(0..0, still);
        Ok(log)
    }

    /// What was decided of a request, with proof that it stands in a log. As [`Self::access_log`],
    /// and for the reader if all that it asked for was permitted.
    ///
    /// # Errors
    /// As [`Self::access_log`]; NOT_FOUND.
    pub async fn decision(&self, id: TransactionId) -> Result<ProvenDecision, ClientError> {
        let request = pb::GetDecisionRequest { transaction_id: id.to_bytes(), read: None };
        let (answered, header) = self.recent(|| self.fetch_decision(request.clone())).await?;
        let decision = verify::decision(id, &answered.answer, header);
        self.judged(&answered, decision)
    }

    /// The rows of a patient. As [`Self::access_log`], and for services and clinicians.
    ///
    /// # Errors
    /// As [`Self::access_log`].
    pub async fn patient_rows(&self, patient: PatientPseudonym) -> Result<PatientRows, ClientError> {
        self.patient_rows_at(patient, None).await
    }

    /// The same with the rows of the pseudonyms that are linked with it now.
    ///
    /// # Errors
    /// As [`Self::access_log`].
    pub async fn linked_patient_rows(&self, patient: PatientPseudonym) -> Result<Pseudonyms, ClientError> {
        let first = self.patient_rows(patient).await?;
        let mut linked = Vec::new();
        for (other, members) in first.links()? {
            linked.push((self.patient_rows_at(other, at(first.header.height)).await?, members));
        }
        Ok(Pseudonyms { patient: first, linked })
    }

    async fn patient_rows_at(
        &self,
        patient: PatientPseudonym,
        read: Option<pb::ReadOptions>,
    ) -> Result<PatientRows, ClientError> {
        let request = pb::GetPatientRequest { patient: Bytes::copy_from_slice(&patient.0), read };
        let (answered, header) = self.recent(|| self.fetch_patient(request.clone())).await?;
        let rows = verify::patient_rows(patient, self.identity().spiffe_id(), &answered.answer, header);
        self.judged(&answered, rows)
    }

    async fn fetch_log(&self, request: pb::GetAccessLogRequest) -> Result<(LogAnswer, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).get_access_log(request).await };
        let answered = self.ask("GetAccessLog", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }

    async fn fetch_decision(&self, request: pb::GetDecisionRequest) -> Result<(DecisionAnswer, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).get_decision(request).await };
        let answered = self.ask("GetDecision", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }

    async fn fetch_patient(&self, request: pb::GetPatientRequest) -> Result<(PatientAnswer, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).get_patient(request).await };
        let answered = self.ask("GetPatient", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }
}

pub(crate) fn service(channel: Channel) -> AccessServiceClient<Channel> {
    AccessServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

pub(crate) fn at(height: Height) -> Option<pb::ReadOptions> {
    Some(pb::ReadOptions { consistency: Some(Consistency::MinHeight(height.0)) })
}

#[cfg(test)]
pub(crate) mod tests;
