//! Notices of emergencies, as they come, and of each access to a patient's records; or of changes
//! of what this identity has read. What is told is proven: an emergency by its row, as it stands at
//! the height that is told with it, accesses by the patient's log as a whole, changes by their rows.
//! That nothing was held back is a node's word for emergencies and changes, and proven for accesses
//! as soon as the node says that there are more; who must be sure looks at the log
//! ([`Client::access_log`]).
//!
//! A broken connection is resumed at the cursor: what is told twice then is told once more, and
//! nothing is passed over. Entries that are sealed are told of when their time is over.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::header::Header;
use consilium_proto::ids::{EmergencyId, Height, PatientPseudonym, TimeMs};
use consilium_proto::pb;
use consilium_proto::state::StateKey;
use tonic::Streaming;

use crate::access_log::verify::message;
use crate::access_log::{AccessLog, KeptAccess, KeptLog, LogFault, at, service};
use crate::changes::KnownChange;
use crate::client::Client;
use crate::clock::now_ms;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::retry::Trouble;

/// A seal ends by block time, which an idle ledger is behind with: so long until it is looked again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// An emergency as it stands, proven.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownEmergency {
    /// Its id.
    pub id: EmergencyId,
    /// Its row.
    pub state: pb::EmergencyState,
    /// It is the row at this block.
    pub height: Height,
    /// Time of that block.
    pub time: TimeMs,
}

impl KnownEmergency {
    /// Whether its review was due and is not done.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.state.reviewer.is_empty() && self.state.review_due_ms <= self.time.0
    }
}

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// It was declared or reviewed, or its review has become overdue.
    Emergency(KnownEmergency),
    /// What came to the patient's log since the last notice of it, proven to be all; and what was
    /// sealed, and is open now.
    Accesses(AccessLog),
    /// It was amended, retracted or moved to another patient since it was read.
    Change(KnownChange),
}

/// What notices are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// Emergencies, and accesses to a patient's records.
    Patient(Option<PatientPseudonym>),
    /// What this identity has read.
    Reads,
}

/// Follows notices; see [`Client::notices`].
pub struct Notices {
    client: Client,
    subject: Subject,
    cursor: Height,
    kept: KeptAccess,
    /// Something that was sealed should be open by the clock, and was not.
    seals_late: bool,
    /// Where to resume once `ready` is handed out.
    told: Height,
    /// Changes up to there were listed, by a node that may be ahead of the one that tells.
    listed: Height,
    ready: VecDeque<Notice>,
    stream: Option<Box<Answered<pb::WatchNoticesRequest, Streaming<pb::WatchNoticesResponse>>>>,
    trouble: Trouble,
}

type NoticesAnswer = Answered<pb::WatchNoticesRequest, pb::WatchNoticesResponse>;

impl Client {
    /// Follows emergencies after a height, and for a patient also accesses after those that were
    /// kept. For auditors, of whom those are told whose members are concerned, and for identities
    /// that the member which registered the patient has accepted to read.
    #[must_use]
    pub fn notices(&self, patient: Option<PatientPseudonym>, after: Height, kept: impl Into<KeptAccess>) -> Notices {
        self.follow(Subject::Patient(patient), after, kept.into())
    }

    /// Follows changes after a height of what this identity has read; for services, also of what
    /// others of their member have read. See [`Client::changes`].
    #[must_use]
    pub fn change_notices(&self, after: Height) -> Notices {
        self.follow(Subject::Reads, after, KeptLog::nothing().into())
    }

    fn follow(&self, subject: Subject, after: Height, kept: KeptAccess) -> Notices {
        Notices {
            client: self.clone(),
            subject,
            cursor: after,
            kept,
            seals_late: false,
            told: after,
            listed: after,
            ready: VecDeque::new(),
            stream: None,
            trouble: Trouble::default(),
        }
    }
}

impl Notices {
    /// Where a later stream resumes: all up to this height was handed out.
    #[must_use]
    pub fn cursor(&self) -> Height {
        self.cursor
    }

    /// As much of the patient's log was handed out, or is sealed.
    #[must_use]
    pub fn kept(&self) -> &KeptAccess {
        &self.kept
    }

    /// The next notice. Waits as long as it takes; reconnects by itself.
    ///
    /// # Errors
    /// What does not verify; a final refusal (NOT_FOUND: no such patient for this identity, or
    /// none any more); [`ClientError::GaveUp`] when no node answered for the retry policy's time.
    /// May be asked again after an error.
    pub async fn next(&mut self) -> Result<Notice, ClientError> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                if let Notice::Accesses(log) = &notice {
                    self.kept = log.kept_access();
                }
                if self.ready.is_empty() {
                    self.cursor = self.told;
                }
                return Ok(notice);
            }
            self.cursor = self.told;
            match self.step().await {
                Ok(()) => self.trouble = Trouble::default(),
                Err(error) => {
                    self.stream = None;
                    // All nodes were asked for a younger one.
                    if matches!(error, ClientError::StaleHead { .. }) {
                        return Err(error);
                    }
                    self.trouble.after(&self.client, error).await?;
                }
            }
        }
    }

    /// Takes one message of the node, or looks at what should not be sealed any more.
    async fn step(&mut self) -> Result<(), ClientError> {
        let opens = self.opens_in();
        let seal_is_over = async {
            match opens {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let answered = tokio::select! {
            answered = self.receive() => answered?,
            () = seal_is_over => {
                let told = self.accesses().await?;
                self.seals_late = told.is_none();
                self.ready.extend(told);
                return Ok(());
            }
        };
        self.take(answered).await
    }

    async fn take(&mut self, answered: NoticesAnswer) -> Result<(), ClientError> {
        let emergencies = self.emergencies(&answered.answer).await;
        let (emergencies, told) = self.client.judged(&answered, emergencies)?;
        let mut ready: VecDeque<_> = emergencies.into_iter().map(Notice::Emergency).collect();
        let told = self.told.max(told);
        match self.subject {
            Subject::Patient(Some(_)) if answered.answer.log_count > self.kept.log.count => {
                ready.extend(self.accesses().await?);
            }
            Subject::Reads if answered.answer.changes => {
                let changes = self.client.changes_at(self.listed, at(told)).await?;
                ready.extend(changes.records.into_iter().map(Notice::Change));
                self.listed = changes.up_to;
            }
            Subject::Patient(_) | Subject::Reads => {}
        }
        self.told = self.told.max(told);
        self.ready = ready;
        Ok(())
    }

    /// What came to the log, and what is sealed no more, if there is any of it. What is sealed is
    /// kept: it must be shown as it was then.
    async fn accesses(&mut self) -> Result<Option<Notice>, ClientError> {
        let Some(patient) = self.patient() else { return Ok(None) };
        let log = self.client.access_log(patient, self.kept.clone()).await?;
        if log.events.is_empty() && log.opened.is_empty() {
            self.kept = log.kept_access();
            return Ok(None);
        }
        Ok(Some(Notice::Accesses(log)))
    }

    /// When the first of what is sealed should be open by this machine's clock.
    fn opens_in(&self) -> Option<Duration> {
        let until = self.kept.sealed.iter().map(|entry| entry.until.0).min()?;
        let wait = Duration::from_millis(until.saturating_sub(now_ms()));
        Some(if self.seals_late { wait.max(LOOK_AGAIN) } else { wait })
    }

    async fn receive(&mut self) -> Result<NoticesAnswer, ClientError> {
        if self.stream.is_none() {
            let patient = self.patient().map(|patient| Bytes::copy_from_slice(&patient.0)).unwrap_or_default();
            let of_reads = self.subject == Subject::Reads;
            let request = pb::WatchNoticesRequest { after_height: self.told.0, patient, of_reads };
            let open = |channel, request| async move { service(channel).watch_notices(request).await };
            self.stream = Some(Box::new(self.client.ask("WatchNotices", request, open).await?));
        }
        let ended = || ClientError::Transport { endpoint: "notices".into(), cause: "the node ended the stream".into() };
        let stream = self.stream.as_mut().ok_or_else(ended)?;
        match stream.answer.message().await {
            Ok(Some(message)) => Ok(stream.part(message)),
            Ok(None) => Err(ended()),
            Err(status) => Err(crate::retry::Failure { endpoint: "notices".into(), status }.into()),
        }
    }

    fn patient(&self) -> Option<PatientPseudonym> {
        match self.subject {
            Subject::Patient(patient) => patient,
            Subject::Reads => None,
        }
    }

    /// What is told of emergencies, and up to which height. A cursor that no block has reached
    /// would have all be passed over that is still to come; and a block from before what was told
    /// would show an emergency as it was before its review.
    async fn emergencies(
        &self,
        answer: &pb::WatchNoticesResponse,
    ) -> Result<(Vec<KnownEmergency>, Height), ClientError> {
        let header = self.client.final_header(answer.header.as_ref()).await?;
        let cursor = Height(answer.cursor);
        if cursor > header.height {
            return Err(ClientError::contradiction("the node has told of blocks that it does not show"));
        }
        if header.height < self.told {
            return Err(ClientError::contradiction("the node goes back behind what was told"));
        }
        let known = answer.emergencies.iter().map(|row| known(row, self.patient(), &header));
        Ok((known.collect::<Result<_, _>>()?, cursor))
    }
}

fn known(
    row: &pb::ProvenRow,
    patient: Option<PatientPseudonym>,
    header: &Header,
) -> Result<KnownEmergency, ClientError> {
    let other = || LogFault::OtherRow("an emergency that was asked for".into());
    let Some(StateKey::Emergency(id)) = StateKey::decode(&row.key) else { return Err(other().into()) };
    let state: Option<pb::EmergencyState> = message(&row.key, Some(row), header)?;
    let state = state.filter(|state| patient.is_none_or(|patient| state.patient == patient.0[..]));
    Ok(KnownEmergency { id, state: state.ok_or_else(other)?, height: header.height, time: header.time })
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notices(after {}, {} waiting)", self.cursor, self.ready.len())
    }
}
