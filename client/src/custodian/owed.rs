//! What is owed to patients, and to people who wrote themselves: versions that were written before
//! they had the key that they have now. The custodian goes through what it keeps, and puts requests
//! on its list; the rules judge each, and what it wraps is only what the certified list has then. It
//! remembers nothing: a way through that was interrupted begins again.
//!
//! Who speaks for a patient is what a service of the hospital says, whose key may be stolen: beyond
//! so many patients within an hour it goes on in the next one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_proto::ids::Height;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, Outcome};

use super::{Burst, Custodian, HeldPage, HeldQuery, kept};
use crate::error::ClientError;

/// Requests of one transaction, at most.
const BATCH_MAX: usize = 64;
/// How often a batch is looked up anew that another custodian was faster with, before its wraps are
/// asked for one by one: each refusal stands on the ledger.
const ANEW_MAX: u32 = 3;
/// After how long it is tried again whether more patients are admitted.
const PAUSE: Duration = Duration::from_secs(60);
/// How often it goes through what is kept, unless it is told otherwise.
pub const OWED_EVERY_DEFAULT: Duration = Duration::from_secs(6 * 3_600);

/// How far a way through a member's versions is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedProgress {
    /// Whose records.
    pub member: MemberId,
    /// Versions in custody, as the state has it.
    pub versions: u64,
    /// Versions that were looked at, as nodes say.
    pub looked_at: u64,
    /// Wraps that were asked for.
    pub asked: u64,
    /// Those that the rules refused: another custodian was faster, or they are not owed any more.
    pub refused: u64,
    /// It goes on later: so many patients within an hour are not usual.
    pub paused: bool,
    /// All were looked at.
    pub finished: bool,
}

impl OwedProgress {
    fn new(member: MemberId) -> Self {
        Self { member, versions: 0, looked_at: 0, asked: 0, refused: 0, paused: false, finished: false }
    }
}

/// Ways through what is kept, and when the next one begins.
#[derive(Debug)]
pub(super) struct Owing {
    every: Duration,
    /// Patients within an hour.
    burst: Burst,
    /// Members that this way has to go through yet, the last one first.
    left: Vec<MemberId>,
    from: Option<pb::HeldPlace>,
    progress: Option<OwedProgress>,
    at_least: Height,
    anew: u32,
    /// When this way, or the last one, began.
    begun: Option<Instant>,
    paused: Option<Instant>,
}

impl Owing {
    pub(super) fn new(patients_per_hour: usize) -> Self {
        Self {
            every: OWED_EVERY_DEFAULT,
            burst: Burst::new(patients_per_hour),
            left: Vec::new(),
            from: None,
            progress: None,
            at_least: Height(0),
            anew: 0,
            begun: None,
            paused: None,
        }
    }

    /// Whether what is owed of a patient's records may be wrapped now.
    pub(super) fn admits(&mut self, patient: &Bytes) -> bool {
        self.burst.admits(patient, Instant::now())
    }

    /// Whether all was gone through, and it is not time for the next way; or it pauses.
    fn rests(&self) -> bool {
        let paused = self.paused.is_some_and(|since| since.elapsed() < PAUSE);
        paused || (self.left.is_empty() && self.begun.is_some_and(|begun| begun.elapsed() < self.every))
    }

    /// Takes what is admitted of a page, and says where to go on behind it.
    fn take(&mut self, page: &HeldPage) -> (Vec<pb::OwedWrap>, Option<pb::HeldPlace>) {
        let mut taken = Vec::new();
        for (version, owed) in page.versions.iter().zip(&page.owed) {
            if !self.admits(&version.patient) {
                self.paused = Some(Instant::now());
                return (taken, version.place.clone());
            }
            taken.push(owed.clone());
        }
        self.paused = None;
        (taken, page.next.clone())
    }
}

impl Custodian {
    /// How often it goes through what it keeps for what is owed.
    #[must_use]
    pub fn looking_for_owed_every(mut self, every: Duration) -> Self {
        self.owed.every = every;
        self
    }

    /// Asks for one batch of wraps that are owed. `None`: it was looked for them a short while ago,
    /// or another service is the custodian.
    ///
    /// # Errors
    /// As [`Self::round`].
    pub async fn ask_for_owed(&mut self) -> Result<Option<OwedProgress>, ClientError> {
        if self.owed.rests() {
            return Ok(None);
        }
        if self.owed.left.is_empty() {
            self.owed.begun = Some(Instant::now());
            self.owed.left = self.keeps_now().await?;
        }
        let Some(member) = self.owed.left.last().cloned() else { return Ok(None) };
        let Some((key, _)) = self.newest_key(self.client.identity().spiffe_id().member()).await? else {
            return Ok(None);
        };
        let from = self.owed.from.clone();
        let query = HeldQuery { owed: true, from, ..HeldQuery::new(member.clone(), key, self.owed.at_least) };
        let page = self.client.held_versions(&query).await?;
        let (taken, mut next) = self.owed.take(&page);
        let (mut asked, mut looked_at, mut refused) = (0, page.looked_at, 0);
        for batch in taken.chunks(BATCH_MAX) {
            match self.ask_for(&member, batch).await? {
                Some(done) => (asked, refused) = (asked + done, refused + (batch.len() as u64 - done)),
                // The default place is before all.
                None => (next, looked_at) = (Some(self.owed.from.clone().unwrap_or_default()), 0),
            }
        }
        let owing = &mut self.owed;
        let before = owing.progress.take().filter(|_| owing.from.is_some());
        let before = before.unwrap_or_else(|| OwedProgress::new(member));
        let progress = OwedProgress {
            versions: page.counts.versions,
            looked_at: before.looked_at + looked_at,
            asked: before.asked + asked,
            refused: before.refused + refused,
            paused: owing.paused.is_some(),
            finished: next.is_none(),
            ..before
        };
        owing.from = next;
        if progress.finished {
            owing.left.pop();
        }
        owing.progress = Some(progress.clone());
        Ok(Some(progress))
    }

    /// Whose records it keeps, if this identity is the custodian.
    async fn keeps_now(&self) -> Result<Vec<MemberId>, ClientError> {
        let own = self.client.identity().spiffe_id();
        let custody = self.client.custody_of(own.member()).await?;
        match custody.is_some_and(|custody| custody.custodian == own.to_string()) {
            true => kept(own.member().clone(), &self.duties_of(own.member()).await?),
            false => Ok(Vec::new()),
        }
    }

    /// Puts requests on the list, all at once, and gives how many are on it. `None`: another custodian
    /// was faster with some of them, and they are to be looked up anew.
    async fn ask_for(&mut self, member: &MemberId, batch: &[pb::OwedWrap]) -> Result<Option<u64>, ClientError> {
        if self.submit_owed(member, batch).await? == Outcome::Applied {
            self.owed.anew = 0;
            return Ok(Some(batch.len() as u64));
        }
        self.owed.anew += 1;
        if self.owed.anew < ANEW_MAX {
            return Ok(None);
        }
        self.owed.anew = 0;
        let mut asked = 0;
        for one in batch {
            asked += u64::from(self.submit_owed(member, std::slice::from_ref(one)).await? == Outcome::Applied);
        }
        Ok(Some(asked))
    }

    async fn submit_owed(&mut self, member: &MemberId, batch: &[pb::OwedWrap]) -> Result<Outcome, ClientError> {
        let (owed, member) = (batch.to_vec(), member.to_string());
        let submitted = self.perform(pb::AddWraps { owed, member, ..pb::AddWraps::default() }, Vec::new()).await?;
        self.owed.at_least = self.owed.at_least.max(submitted.height);
        Ok(submitted.outcome)
    }
}
