//! The custodian of a member: wraps the keys of its records for readers to whom the network has
//! permitted access, and for nobody else.
//!
//! It trusts no node: every request that it answers is a row of the certified state, the wrap that
//! it opens for it is the one that the ledger commits to, and the rules judge again when the new
//! wrap comes ([`pb::Outcome::AccessEnded`]). It asks one node after the other: one that shows an
//! earlier state than it has seen is left, and what one has hidden is noticed ([`Round::hidden`]).
//! It keeps nothing: what waits is on the ledger, so it may be stopped at any time, and several may
//! run at once; what one has answered, the others are told is not wanted any more. Between requests
//! it wraps what was written earlier for the member's newest custody key
//! ([`Custodian::carry_on`]), and asks for what is owed to patients ([`Custodian::ask_for_owed`]).

mod background;
mod held;
mod keyring;
mod looks;
mod owed;
mod queue;
pub(crate) mod requests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{Height, KeyId, RecordId};
use consilium_proto::keys::{EncryptionPrivateKey, EncryptionPublicKey};
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::state::keys;
use tonic::Code;

use crate::client::Client;
use crate::error::ClientError;
use crate::submit::Submitted;
use keyring::{Keyring, ToWrap};
use looks::Looks;
use owed::Owing;
use queue::Queue;

pub use background::Progress;
pub use held::{Counts, HeldPage, HeldQuery};
pub use owed::{OWED_EVERY_DEFAULT, OwedProgress};
pub use requests::{WrapPage, WrapQuery, WrapRequest};

/// Wraps of one transaction: a version and its wrap are a few kilobytes.
const BATCH_MAX: usize = 64;
/// For how long it is known whose requests it answers.
const LISTS_FOR: Duration = Duration::from_secs(2);
/// For how long requests are waited for at a node at once. Meanwhile nobody looks for whom else it
/// is to act.
const WAIT: Duration = LISTS_FOR;
/// How long one node is asked: what it does not show, the next one does.
const NODE_FOR: Duration = Duration::from_secs(5);
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
    /// Requests that waited already when a node was asked for all and did not show them.
    pub hidden: usize,
    /// Answers of nodes that do not prove what they say ([`Client::take_false_answers`]): another
    /// node was asked.
    pub refused: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Custodian {
    client: Client,
    keyring: Keyring,
    burst: Burst,
    passes: Vec<background::Pass>,
    owed: Owing,
    /// When it was last looked what is to be wrapped for whom.
    looked: Option<Instant>,
    /// Members whose requests it answers, and since when that is known.
    lists: Option<(Instant, Vec<List>)>,
    /// What nodes have shown.
    looks: Looks,
    /// The highest block that any node has proven anything at.
    newest: Height,
    /// Since when the present node is asked.
    turned: Instant,
}

/// Requests for the records of a member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct List {
    member: MemberId,
    /// Those with an emergency alone.
    as_deputy: bool,
}

impl Custodian {
    /// The custodian as this identity, whose encryption key is the member's custody key; older
    /// ones open what is not wrapped for that one yet. Beyond so many patients within an hour
    /// ordinary requests wait for a person, emergencies never.
    #[must_use]
    pub fn new(client: Client, older: Vec<EncryptionPrivateKey>, patients_per_hour: usize) -> Self {
        let keyring = Keyring::new(client.clone(), older);
        let burst = Burst::new(patients_per_hour);
        let (looks, newest, turned) = (Looks::default(), Height(0), Instant::now());
        let (passes, owed) = (Vec::new(), Owing::new(patients_per_hour));
        Self { client, keyring, burst, passes, owed, looked: None, lists: None, looks, newest, turned }
    }

    /// Answers what waits now, emergencies first: for the own member's records, for those of
    /// members that have left and that it keeps, and as deputy what has an emergency.
    ///
    /// # Errors
    /// If nodes cannot be asked, or what they answer is not proven by any of them. What one
    /// request lacks is no error: it is counted.
    pub async fn round(&mut self) -> Result<Round, ClientError> {
        if self.turned.elapsed() >= NODE_FOR {
            self.turn();
        }
        let mut round = Round::default();
        let mut others = self.client.endpoints().count();
        loop {
            match self.go_through(&mut round).await {
                Err(ClientError::Verification(_) | ClientError::Field(_)) if others > 1 => {
                    (round.refused, others) = (round.refused + 1, others - 1);
                    self.turn();
                }
                Err(error) => {
                    self.turn();
                    return Err(error);
                }
                Ok(()) => break,
            }
        }
        // What this node lacks, another one may have.
        if round.failed > 0 {
            self.turn();
        }
        Ok(round)
    }

    /// Another node is asked from now on.
    pub(crate) fn turn(&mut self) {
        self.client.inner().prefer_another();
        self.turned = Instant::now();
    }

    /// Returns once there may be something to do: a request that was not seen yet, or a while has
    /// passed. A node that does not wait is asked again after `fallback`.
    ///
    /// # Errors
    /// As [`Self::round`].
    pub async fn wait(&mut self, fallback: Duration) -> Result<(), ClientError> {
        let begun = Instant::now();
        let lists = self.lists().await?;
        let queries: Vec<_> = lists.iter().map(|list| self.query(list, self.looks.next(list), WAIT)).collect();
        let waits = queries.iter().map(|query| Box::pin(self.client.wrap_requests(query)));
        // The others end with their connections' streams.
        let (first, ..) = futures::future::select_all(waits).await;
        match first {
            Ok(page) if !page.requests.is_empty() || begun.elapsed() >= WAIT / 2 => {
                self.newest = self.newest.max(page.height);
                Ok(())
            }
            Ok(_) => {
                tokio::time::sleep(fallback).await;
                Ok(())
            }
            Err(error) => {
                self.turn();
                self.lists = None;
                tokio::time::sleep(fallback).await;
                Err(error)
            }
        }
    }

    fn query(&self, list: &List, from_number: u64, wait: Duration) -> WrapQuery {
        WrapQuery {
            member: list.member.clone(),
            as_deputy: list.as_deputy,
            from_number,
            own_keys: self.keyring.ids(),
            at_least: self.newest,
            wait,
        }
    }

    async fn go_through(&mut self, round: &mut Round) -> Result<(), ClientError> {
        let mut queue = Queue::default();
        loop {
            // What came meanwhile may be an emergency.
            for list in self.lists().await? {
                round.hidden += self.look(&list, &mut queue).await?;
            }
            let batch = queue.take(BATCH_MAX);
            if batch.is_empty() {
                return Ok(());
            }
            self.answer(batch, round).await?;
        }
    }

    /// Answers requests, in order.
    async fn answer(&mut self, batch: Vec<(MemberId, WrapRequest)>, round: &mut Round) -> Result<(), ClientError> {
        let mut made: Vec<Made> = Vec::new();
        for (member, request) in batch {
            let pb::WrapRequestState { patient, emergency_id, owed, .. } = &request.state;
            let admitted = match (emergency_id.is_empty(), owed) {
                (false, _) => true,
                // Nobody waits for these: they take nothing from those who do.
                (true, true) => self.owed.admits(patient),
                (true, false) => self.burst.admits(patient, Instant::now()),
            };
            if !admitted {
                round.paused += 1;
                continue;
            }
            match self.wrap(member, &request).await {
                Ok(wrap) => made.push(wrap),
                Err(ClientError::Envelope(_) | ClientError::Field(_) | ClientError::Usage(_)) => round.failed += 1,
                Err(error) => return Err(error),
            }
        }
        for of_one in made.chunk_by(|one, next| (&one.member, one.emergency) == (&next.member, next.emergency)) {
            self.add(of_one, round).await?;
        }
        Ok(())
    }

    /// Whose requests it answers, the own member's first.
    async fn lists(&mut self) -> Result<Vec<List>, ClientError> {
        if let Some((_, lists)) = self.lists.as_ref().filter(|(since, _)| since.elapsed() < LISTS_FOR) {
            return Ok(lists.clone());
        }
        let own = self.client.identity().spiffe_id().member().clone();
        let duties = self.duties_of(&own).await?;
        let of = |as_deputy| move |member| List { member, as_deputy };
        let mut lists: Vec<_> = kept(own, &duties)?.into_iter().map(of(false)).collect();
        for member in &duties.deputy_of {
            let member = MemberId::parse("deputy_of", member)?;
            let duties = self.duties_of(&member).await?;
            lists.extend(kept(member, &duties)?.into_iter().map(of(true)));
        }
        self.lists = Some((Instant::now(), lists.clone()));
        Ok(lists)
    }

    async fn duties_of(&self, member: &MemberId) -> Result<pb::CustodyDutiesState, ClientError> {
        Ok(self.client.proven_row(&keys::custody_duties(member.as_str())).await?.unwrap_or_default())
    }

    /// Adds all that waits in a list: what cannot be answered stays in it, and an emergency may be
    /// behind. Gives how many requests a node has hidden.
    async fn look(&mut self, list: &List, queue: &mut Queue) -> Result<usize, ClientError> {
        let is_whole = queue.next(&list.member) == 0;
        let mut pages = Vec::new();
        loop {
            let query = self.query(list, queue.next(&list.member), Duration::ZERO);
            let page = match self.client.wrap_requests(&query).await {
                Ok(page) => page,
                // It has another deputy since; that must not keep the rest waiting.
                Err(ClientError::Status { code: Code::PermissionDenied, .. })
                    if self.client.identity().spiffe_id().member() != &list.member =>
                {
                    self.lists = None;
                    return Ok(0);
                }
                Err(error) => return Err(error),
            };
            self.newest = self.newest.max(page.height);
            queue.add(&list.member, page.requests.clone());
            let is_last = !page.is_full();
            pages.push(page);
            if is_last {
                break;
            }
        }
        Ok(if is_whole { self.looks.add(list, &pages) } else { 0 })
    }

    /// The reader's wrap for a request.
    async fn wrap(&self, member: MemberId, request: &WrapRequest) -> Result<Made, ClientError> {
        let state = &request.state;
        let key_id = KeyId::from_bytes(fixed("recipient_key_id", &state.recipient_key_id)?);
        let key: Option<pb::EncryptionKeyState> = self.client.proven_row(&keys::encryption_key(&key_id)).await?;
        let key = key.filter(|key| key.spiffe_id == state.reader);
        let key = key.ok_or_else(|| FieldError::malformed("recipient_key_id", "is not a key of the reader"))?;
        let to_wrap = ToWrap {
            own_wrap: request.own_wrap.clone(),
            record: RecordId::parse("record_id", &state.record_id)?,
            version: state.version,
            key: EncryptionPublicKey::decode(&key.encryption_key)?,
        };
        let wrap = self.keyring.wrap_all(vec![to_wrap]).await?.pop();
        let wrap = wrap.ok_or_else(|| ClientError::Usage("nothing was wrapped".into()))??;
        let added = pb::AddedWrap {
            request: request.number,
            record_id: state.record_id.clone(),
            version: state.version,
            recipient_key_id: state.recipient_key_id.clone(),
            wrap_sha256: Bytes::copy_from_slice(&sha256(&[&wrap])),
        };
        Ok(Made { member, added, wrap, emergency: !state.emergency_id.is_empty() })
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
                    let member = made.member.to_string();
                    self.perform(pb::AddWraps { dropped, member, ..pb::AddWraps::default() }, Vec::new()).await?;
                    round.dropped += 1;
                }
                _ => round.failed += 1,
            }
        }
        Ok(())
    }

    async fn submit(&self, made: &[Made]) -> Result<Outcome, ClientError> {
        let member = made.first().map(|made| made.member.to_string()).unwrap_or_default();
        let emergency = !made.is_empty() && made.iter().all(|made| made.emergency);
        let wraps = made.iter().map(|made| made.added.clone()).collect();
        let attachments = made.iter().map(|made| made.wrap.clone()).collect();
        let add = pb::AddWraps { wraps, member, emergency, ..pb::AddWraps::default() };
        Ok(self.perform(add, attachments).await?.outcome)
    }

    async fn perform(&self, add: pb::AddWraps, attachments: Vec<Bytes>) -> Result<Submitted, ClientError> {
        let action = pb::Action { action: Some(pb::action::Action::AddWraps(add)) };
        let signed = self.client.sign(vec![action], attachments)?;
        self.client.submit(signed, pb::WaitFor::Certified).await
    }
}

/// A member, and those whose records it keeps since they have left.
pub(crate) fn kept(member: MemberId, duties: &pb::CustodyDutiesState) -> Result<Vec<MemberId>, ClientError> {
    let left = duties.keeper_of.iter().map(|left| MemberId::parse("keeper_of", left).map_err(ClientError::from));
    std::iter::once(Ok(member)).chain(left).collect()
}

/// A wrap that was made.
struct Made {
    /// Whose records.
    member: MemberId,
    added: pb::AddedWrap,
    wrap: Bytes,
    /// It is waited for in an emergency.
    emergency: bool,
}

/// Patients for whose records keys were wrapped within the last hour.
#[derive(Debug)]
struct Burst {
    max: usize,
    seen: VecDeque<(Instant, Bytes)>,
}

impl Burst {
    fn new(max: usize) -> Self {
        Self { max, seen: VecDeque::new() }
    }

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
        let mut burst = Burst::new(2);
        let patient = |n: u8| Bytes::copy_from_slice(&[n; 16]);
        assert!(burst.admits(&patient(1), start) && burst.admits(&patient(2), start));
        assert!(!burst.admits(&patient(3), start), "a third one");
        assert!(burst.admits(&patient(1), start + HOUR / 2), "one that was admitted already");
        assert!(!burst.admits(&patient(3), start + HOUR - Duration::from_secs(1)));
        assert!(burst.admits(&patient(3), start + HOUR));
    }
}
