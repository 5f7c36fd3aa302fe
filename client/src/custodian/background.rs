//! Wrapping what was written before for the newest custody key, and for the deputy's, in batches, while nobody waits.
//! It remembers nothing that the state does not say: a pass that was interrupted begins again,
//! and is shown only what is left.

use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_proto::error::fixed;
use consilium_proto::hash::sha256;
use consilium_proto::ids::{Height, KeyId, RecordId};
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::state::keys;

use super::keyring::{Keyring, ToWrap};
use super::{Counts, Custodian, HeldPage, HeldQuery, kept};
use crate::error::ClientError;

/// After how long it is looked again whether something is left.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How often a batch is made anew that another custodian was faster with, before its wraps are
/// added one by one.
const ANEW_MAX: u32 = 3;

/// How far the re-wrapping for a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Whose records.
    pub member: MemberId,
    /// Whose key: the own member, or its deputy.
    pub keeper: MemberId,
    /// Its newest custody key.
    pub key: KeyId,
    /// As the state has it.
    pub counts: Counts,
    /// Versions that this pass has met and that none of the custodian's keys opens.
    pub unopened: u64,
    /// Nothing is left that could be done.
    pub finished: bool,
}

/// What is to be done: a member's records for a custody key.
#[derive(Debug, Clone, PartialEq)]
struct Task {
    member: MemberId,
    keeper: MemberId,
    id: KeyId,
    key: EncryptionPublicKey,
}

/// One way through all versions.
#[derive(Debug)]
pub(super) struct Pass {
    task: Task,
    from: Option<pb::HeldPlace>,
    at_least: Height,
    unopened: u64,
    anew: u32,
    /// Once it is through: when, and what was left then.
    ended: Option<(Instant, u64)>,
}

impl Pass {
    fn new(task: Task, at_least: Height) -> Self {
        Self { task, from: None, at_least, unopened: 0, anew: 0, ended: None }
    }

    fn rests(&self) -> bool {
        self.ended.is_some_and(|(when, _)| when.elapsed() < LOOK_AGAIN)
    }
}

impl Custodian {
    /// Wraps one batch of what is left for the newest custody key, or for that of the deputy, at
    /// most 64 versions. `None`: there is nothing to do, or another service is the custodian.
    ///
    /// # Errors
    /// As [`Self::round`].
    pub async fn carry_on(&mut self) -> Result<Option<Progress>, ClientError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN) && self.passes.iter().all(Pass::rests) {
            return Ok(None);
        }
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN) {
            let tasks = self.tasks().await?;
            self.passes.retain(|pass| tasks.contains(&pass.task));
            let known: Vec<Task> = self.passes.iter().map(|pass| pass.task.clone()).collect();
            let new = tasks.into_iter().filter(|task| !known.contains(task));
            self.passes.extend(new.map(|task| Pass::new(task, Height(0))));
            self.looked = Some(Instant::now());
        }
        let mut passes = std::mem::take(&mut self.passes);
        let mut progress = Ok(None);
        for pass in passes.iter_mut().filter(|pass| !pass.rests()) {
            progress = self.go_on(pass).await;
            if !matches!(progress, Ok(None)) {
                break;
            }
        }
        self.passes = passes;
        progress
    }

    /// A batch of a pass that does not rest. `None`: nothing was left since it ended.
    async fn go_on(&self, pass: &mut Pass) -> Result<Option<Progress>, ClientError> {
        if let Some((_, left)) = pass.ended {
            let counts = self.client.custody_counts(&pass.task.member, pass.task.id, pass.at_least).await?;
            if counts.left() == left {
                pass.ended = Some((Instant::now(), left));
                return Ok(None);
            }
            *pass = Pass::new(pass.task.clone(), pass.at_least);
        }
        self.next_batch(pass).await.map(Some)
    }

    /// Whose records are to be wrapped for which keys, if this identity is the custodian.
    async fn tasks(&self) -> Result<Vec<Task>, ClientError> {
        let own = self.client.identity().spiffe_id();
        let custody = self.client.custody_of(own.member()).await?;
        let Some(custody) = custody.filter(|custody| custody.custodian == own.to_string()) else {
            return Ok(Vec::new());
        };
        let mut keepers = vec![own.member().clone()];
        if !custody.deputy.is_empty() {
            keepers.push(MemberId::parse("deputy", &custody.deputy)?);
        }
        let mut tasks = Vec::new();
        for keeper in keepers {
            let Some((id, key)) = self.newest_key(&keeper).await? else { continue };
            for member in kept(own.member().clone(), &self.duties_of(own.member()).await?)? {
                tasks.push(Task { member, keeper: keeper.clone(), id, key: key.clone() });
            }
        }
        Ok(tasks)
    }

    /// A member's newest custody key.
    pub(super) async fn newest_key(
        &self,
        member: &MemberId,
    ) -> Result<Option<(KeyId, EncryptionPublicKey)>, ClientError> {
        let Some(custody) = self.client.custody_of(member).await? else { return Ok(None) };
        let id = KeyId::from_bytes(fixed("encryption_key_id", &custody.encryption_key_id)?);
        let key: Option<pb::EncryptionKeyState> = self.client.proven_row(&keys::encryption_key(&id)).await?;
        let key = key.ok_or_else(|| ClientError::contradiction("the ledger's state has no such custody key"))?;
        Ok(Some((id, EncryptionPublicKey::decode(&key.encryption_key)?)))
    }

    async fn next_batch(&self, pass: &mut Pass) -> Result<Progress, ClientError> {
        let task = pass.task.clone();
        let query = HeldQuery {
            from: pass.from.clone(),
            own_keys: self.keyring.ids(),
            ..HeldQuery::new(task.member.clone(), task.id, pass.at_least)
        };
        let page = self.client.held_versions(&query).await?;
        let (batch, unopened) = make(&self.keyring, task.id, &task.key, &page).await?;
        if self.add_rewraps(pass, &batch).await? {
            (pass.from, pass.anew) = (page.next.clone(), 0);
            pass.unopened += unopened;
        }
        let through = page.next.is_none() && pass.anew == 0;
        let counts = match batch.is_empty() {
            true => page.counts,
            false => self.client.custody_counts(&task.member, task.id, pass.at_least).await?,
        };
        if through {
            pass.ended = Some((Instant::now(), counts.left()));
        }
        let Task { member, keeper, id: key, .. } = task;
        Ok(Progress { member, keeper, key, counts, unopened: pass.unopened, finished: through })
    }

    /// Adds a batch. False: another custodian was faster with some of it, and it is to be made
    /// anew.
    async fn add_rewraps(&self, pass: &mut Pass, batch: &[Made]) -> Result<bool, ClientError> {
        if batch.is_empty() {
            return Ok(true);
        }
        if self.submit_rewraps(pass, batch).await? == Outcome::Applied {
            return Ok(true);
        }
        pass.anew += 1;
        if pass.anew < ANEW_MAX {
            return Ok(false);
        }
        for made in batch {
            // What is refused was done by another, or will be met again by the next pass.
            self.submit_rewraps(pass, std::slice::from_ref(made)).await?;
        }
        Ok(true)
    }

    async fn submit_rewraps(&self, pass: &mut Pass, batch: &[Made]) -> Result<Outcome, ClientError> {
        let rewraps = batch.iter().map(|made| made.rewrap.clone()).collect();
        let attachments = batch.iter().filter_map(|made| made.wrap.clone()).collect();
        let add = pb::AddWraps { rewraps, member: pass.task.member.to_string(), ..pb::AddWraps::default() };
        let submitted = self.perform(add, attachments).await?;
        pass.at_least = pass.at_least.max(submitted.height);
        Ok(submitted.outcome)
    }
}

/// A re-wrap that was made; without a wrap if the version is only to be counted.
struct Made {
    rewrap: pb::Rewrap,
    wrap: Option<Bytes>,
}

/// The re-wraps for a page, and how many of its versions do not open.
async fn make(
    keyring: &Keyring,
    id: KeyId,
    key: &EncryptionPublicKey,
    page: &HeldPage,
) -> Result<(Vec<Made>, u64), ClientError> {
    let (mut batch, mut named, mut to_wrap) = (Vec::new(), Vec::new(), Vec::new());
    for held in &page.versions {
        let rewrap = pb::Rewrap {
            record_id: held.record_id.clone(),
            version: held.version,
            recipient_key_id: id.to_bytes(),
            wrap_sha256: Bytes::new(),
        };
        if held.uncounted {
            batch.push(Made { rewrap, wrap: None });
            continue;
        }
        to_wrap.push(ToWrap {
            own_wrap: held.own_wrap.clone().unwrap_or_default(),
            record: RecordId::parse("record_id", &held.record_id)?,
            version: held.version,
            key: key.clone(),
        });
        named.push(rewrap);
    }
    let wrapped = keyring.wrap_all(to_wrap).await?;
    let unopened = wrapped.iter().filter(|wrap| wrap.is_err()).count() as u64;
    batch.extend(named.into_iter().zip(wrapped).filter_map(|(rewrap, wrap)| {
        let wrap = wrap.ok()?;
        let wrap_sha256 = Bytes::copy_from_slice(&sha256(&[&wrap]));
        Some(Made { rewrap: pb::Rewrap { wrap_sha256, ..rewrap }, wrap: Some(wrap) })
    }));
    Ok((batch, unopened))
}
