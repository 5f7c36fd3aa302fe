//! Notices of emergencies, as they come, and of each access to a patient's records. What is told
//! is proven: an emergency by its row, accesses by the patient's log as a whole. That nothing was
//! held back is a node's word for emergencies, and proven for accesses as soon as the node says
//! that there are more; who must be sure looks at the log ([`Client::access_log`]).
//!
//! A broken connection is resumed at the cursor: what is told twice then is told once more, and
//! nothing is passed over.

use std::collections::VecDeque;

use bytes::Bytes;
use consilium_proto::header::Header;
use consilium_proto::ids::{EmergencyId, Height, PatientPseudonym, TimeMs};
use consilium_proto::pb;
use consilium_proto::state::StateKey;
use tonic::Streaming;

use crate::access_log::verify::message;
use crate::access_log::{AccessLog, KeptLog, LogFault, service};
use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::retry::Trouble;

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
    /// What came to the patient's log since the last notice of it, proven to be all.
    Accesses(AccessLog),
}

/// Follows notices; see [`Client::notices`].
pub struct Notices {
    client: Client,
    patient: Option<PatientPseudonym>,
    cursor: Height,
    kept: KeptLog,
    /// Where to resume once `ready` is handed out.
    told: Height,
    ready: VecDeque<Notice>,
    stream: Option<Box<Answered<pb::WatchNoticesRequest, Streaming<pb::WatchNoticesResponse>>>>,
    trouble: Trouble,
}

impl Client {
    /// Follows emergencies after a height, and for a patient also accesses after those that were
    /// kept. For auditors, of whom those are told whose members are concerned, and for identities
    /// that the member which registered the patient has accepted to read.
    #[must_use]
    pub fn notices(&self, patient: Option<PatientPseudonym>, after: Height, kept: KeptLog) -> Notices {
        let (client, ready) = (self.clone(), VecDeque::new());
        Notices { client, patient, cursor: after, kept, told: after, ready, stream: None, trouble: Trouble::default() }
    }
}

impl Notices {
    /// Where a later stream resumes: all up to this height was handed out.
    #[must_use]
    pub fn cursor(&self) -> Height {
        self.cursor
    }

    /// As much of the patient's log was handed out.
    #[must_use]
    pub fn kept(&self) -> KeptLog {
        self.kept
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
                    self.kept = log.kept();
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

    /// Takes one message of the node.
    async fn step(&mut self) -> Result<(), ClientError> {
        let answered = self.receive().await?;
        let emergencies = self.emergencies(&answered.answer).await;
        let emergencies = self.client.judged(&answered, emergencies)?;
        let mut ready: VecDeque<_> = emergencies.into_iter().map(Notice::Emergency).collect();
        if let Some(patient) = self.patient.filter(|_| answered.answer.log_count > self.kept.count) {
            let log = self.client.access_log(patient, self.kept).await?;
            ready.extend((!log.events.is_empty()).then_some(Notice::Accesses(log)));
        }
        self.told = self.told.max(Height(answered.answer.cursor));
        self.ready = ready;
        Ok(())
    }

    async fn receive(&mut self) -> Result<Answered<pb::WatchNoticesRequest, pb::WatchNoticesResponse>, ClientError> {
        if self.stream.is_none() {
            let patient = self.patient.map(|patient| Bytes::copy_from_slice(&patient.0)).unwrap_or_default();
            let request = pb::WatchNoticesRequest { after_height: self.told.0, patient };
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

    async fn emergencies(&self, answer: &pb::WatchNoticesResponse) -> Result<Vec<KnownEmergency>, ClientError> {
        if answer.emergencies.is_empty() {
            return Ok(Vec::new());
        }
        let header = self.client.final_header(answer.header.as_ref()).await?;
        answer.emergencies.iter().map(|row| known(row, self.patient, &header)).collect()
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
