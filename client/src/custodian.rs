//! The custodian of a member: wraps the keys of its records for readers to whom the network has
//! permitted access, and for nobody else.
//!
//! It trusts no node: every request that it answers is a row of the certified state, and the
//! rules judge again when the wrap comes ([`pb::Outcome::AccessEnded`]). It keeps nothing: what
//! waits is on the ledger, so it may be stopped at any time, and several may run at once; what
//! one has answered, the others are told is not wanted any more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_proto::envelope::{EnvelopeContext, KeyWrap, unwrap_key, wrap_key};
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{KeyId, RecordId};
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::state::keys;

use crate::access_log::WrapRequest;
use crate::client::Client;
use crate::error::ClientError;

/// Requests that are asked for at once.
const PAGE_SIZE: u32 = 256;
/// Wraps of one transaction: a version and its wrap are a few kilobytes.
const BATCH_MAX: usize = 64;
/// For which a burst is measured.
const HOUR: Duration = Duration::from_secs(3_600);

/// What became of the requests of one round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Wraps that were added.
    pub answered: usize,
    /// Requests that were dropped: what they asked for is not permitted any more.
    pub dropped: usize,
    /// Requests that another custodian had answered.
    pub taken: usize,
    /// Requests that wait for a person: too many patients within an hour.
    pub paused: usize,
    /// Requests that could not be answered: the version's wrap is not to be had, or does not open
    /// with this key.
    pub failed: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Custodian {
    client: Client,
    burst: Burst,
}

impl Custodian {
    /// The custodian as this identity, whose encryption key is the member's custody key. Beyond
    /// so many patients within an hour ordinary requests wait for a person, emergencies never.
    #[must_use]
    pub fn new(client: Client, patients_per_hour: usize) -> Self {
        Self { client, burst: Burst { max: patients_per_hour, seen: VecDeque::new() } }
    }

    /// Answers what waits now, emergencies first.
    ///
    /// # Errors
    /// If nodes cannot be asked, or what they answer is not proven. What one request lacks is no
    /// error: it is counted.
    pub async fn round(&mut self) -> Result<Round, ClientError> {
        let mut requests = self.waiting().await?;
        requests.sort_by_key(|request| (request.state.emergency_id.is_empty(), request.number));
        let mut round = Round::default();
        let mut made = Vec::new();
        for request in requests {
            let ordinary = request.state.emergency_id.is_empty();
            if ordinary && !self.burst.admits(&request.state.patient, Instant::now()) {
                round.paused += 1;
                continue;
            }
            match self.wrap(&request).await {
                Ok(wrap) => made.push(wrap),
                Err(ClientError::Envelope(_) | ClientError::Field(_) | ClientError::Usage(_)) => round.failed += 1,
                Err(error) => return Err(error),
            }
        }
        for batch in made.chunks(BATCH_MAX) {
            self.add(batch, &mut round).await?;
        }
        Ok(round)
    }

    /// All that waits: what cannot be answered stays in the list, and an emergency may be behind.
    async fn waiting(&self) -> Result<Vec<WrapRequest>, ClientError> {
        let mut waiting: Vec<WrapRequest> = Vec::new();
        loop {
            let from = waiting.last().map_or(0, |last| last.number.saturating_add(1));
            let page = self.client.wrap_requests(from, PAGE_SIZE).await?;
            let is_last = page.len() < PAGE_SIZE as usize;
            waiting.extend(page);
            if is_last {
                return Ok(waiting);
            }
        }
    }

    /// The reader's wrap for a request.
    async fn wrap(&self, request: &WrapRequest) -> Result<Made, ClientError> {
        let state = &request.state;
        let key_id = KeyId::from_bytes(fixed("recipient_key_id", &state.recipient_key_id)?);
        let key: Option<pb::EncryptionKeyState> = self.client.proven_row(&keys::encryption_key(&key_id)).await?;
        let key = key.filter(|key| key.spiffe_id == state.reader);
        let key = key.ok_or_else(|| FieldError::malformed("recipient_key_id", "is not a key of the reader"))?;
        let key = EncryptionPublicKey::decode(&key.encryption_key)?;
        let own = KeyWrap::decode(&request.own_wrap.wrap)?;
        let context = EnvelopeContext {
            ledger_id: *self.client.genesis().ledger_id.as_bytes(),
            record_id: RecordId::parse("record_id", &state.record_id)?.0,
            version: state.version,
        };
        let client = self.client.clone();
        let wrapped = tokio::task::spawn_blocking(move || {
            let private = client.identity().encryption_key();
            let private = private.ok_or(ClientError::Setting { setting: "encryption_key" })?;
            let content_key = unwrap_key(&own, private, &context)?;
            Ok::<_, ClientError>(wrap_key(&content_key, &key, &context)?.encode())
        });
        let wrap: Bytes = wrapped.await.map_err(|_| ClientError::Usage("wrapping was interrupted".into()))??.into();
        let added = pb::AddedWrap {
            request: request.number,
            record_id: state.record_id.clone(),
            version: state.version,
            recipient_key_id: state.recipient_key_id.clone(),
            wrap_sha256: Bytes::copy_from_slice(&sha256(&[&wrap])),
        };
        Ok(Made { added, wrap })
    }

    /// Adds wraps, all at once; where the rules refuse one of them, one by one.
    async fn add(&self, batch: &[Made], round: &mut Round) -> Result<(), ClientError> {
        if self.submit(batch).await? == Outcome::Applied {
            round.answered += batch.len();
            return Ok(());
        }
        for made in batch {
            match self.submit(std::slice::from_ref(made)).await? {
                Outcome::Applied => round.answered += 1,
                Outcome::WrapNotRequested => round.taken += 1,
                Outcome::AccessEnded => {
                    let dropped = vec![made.added.request];
                    self.perform(pb::AddWraps { wraps: Vec::new(), dropped }, Vec::new()).await?;
                    round.dropped += 1;
                }
                _ => round.failed += 1,
            }
        }
        Ok(())
    }

    async fn submit(&self, made: &[Made]) -> Result<Outcome, ClientError> {
        let wraps = made.iter().map(|made| made.added.clone()).collect();
        let attachments = made.iter().map(|made| made.wrap.clone()).collect();
        self.perform(pb::AddWraps { wraps, dropped: Vec::new() }, attachments).await
    }

    async fn perform(&self, add: pb::AddWraps, attachments: Vec<Bytes>) -> Result<Outcome, ClientError> {
        let action = pb::Action { action: Some(pb::action::Action::AddWraps(add)) };
        let signed = self.client.sign(vec![action], attachments)?;
        Ok(self.client.submit(signed, pb::WaitFor::Certified).await?.outcome)
    }
}

/// A wrap that was made.
struct Made {
    added: pb::AddedWrap,
    wrap: Bytes,
}

/// Patients for whose records keys were wrapped within the last hour.
#[derive(Debug)]
struct Burst {
    max: usize,
    seen: VecDeque<(Instant, Bytes)>,
}

impl Burst {
    /// Whether another wrap for a patient is within what is usual.
    fn admits(&mut self, patient: &Bytes, now: Instant) -> bool {
        while self.seen.front().is_some_and(|(since, _)| now.duration_since(*since) >= HOUR) {
            self.seen.pop_front();
        }
        if self.seen.iter().any(|(_, seen)| seen == patient) {
            return true;
        }
        let admits = self.seen.len() < self.max;
        if admits {
            self.seen.push_back((now, patient.clone()));
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_patients_waits_until_the_hour_is_over() {
        let start = Instant::now();
        let mut burst = Burst { max: 2, seen: VecDeque::new() };
        let patient = |n: u8| Bytes::copy_from_slice(&[n; 16]);
        assert!(burst.admits(&patient(1), start) && burst.admits(&patient(2), start));
        assert!(!burst.admits(&patient(3), start), "a third one");
        assert!(burst.admits(&patient(1), start + HOUR / 2), "one that was admitted already");
        assert!(!burst.admits(&patient(3), start + HOUR - Duration::from_secs(1)));
        assert!(burst.admits(&patient(3), start + HOUR));
    }
}
