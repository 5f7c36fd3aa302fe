//! What a member's custodian can open, as the state tells it: which versions are in custody, for
//! which keys they are wrapped, and how many of them. The rules judge re-wraps by it, and a node
//! shows a custodian what is left; nobody has to remember anything.
//!
//! A version is counted for a key once: as it is written, if the key was named in an earlier
//! block; else when the custodian wraps it for the key. It is never judged from what is stored
//! of wraps.

mod duties;
mod kept;
mod owed;

use bytes::Bytes;
use consilium_proto::ids::{Height, KeyId, RecordId};
use consilium_proto::pb::{CustodyCountState, CustodyState, CustodyWorkState, RecordVersion, WrapState};
use consilium_proto::state::{CustodyName, WrapName};

use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub use duties::{Keepers, keepers};
pub(crate) use duties::{begin_all, change, join, keepers_over, leave, load, pass_on, wanted_keys};
pub use kept::Kept;
pub use owed::Owed;

/// How a version stands to a key of a member's custody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It has no content, or everything is done.
    Done,
    /// It is wrapped for the key, and not counted.
    Uncounted,
    /// It is not wrapped for the key.
    Left,
}

/// Versions of a member, and one of its custody keys.
#[derive(Debug, Clone)]
pub struct Holding {
    name: CustodyName,
    /// Height of the block in which the member named its first custody key.
    first: u64,
    /// `None`: nothing was counted for the key.
    count: Option<CustodyCountState>,
}

impl Holding {
    /// Looks at what a member has in custody.
    ///
    /// # Errors
    /// If the store fails.
    pub fn of<R: StateReader>(reader: &R, member: &str, key: KeyId) -> Result<Self, StoreFault> {
        Self::over(&View::new(reader), member, key)
    }

    pub(crate) fn over<R: StateReader>(view: &View<'_, R>, member: &str, key: KeyId) -> Result<Self, StoreFault> {
        let custody: Option<CustodyState> = view.message(Table::State, &keys::custody(member))?;
        let name = CustodyName::new(member, key);
        let count = view.message(Table::State, &keys::custody_count(&name))?;
        Ok(Self { name, first: custody.map_or(u64::MAX, |custody| custody.first_height), count })
    }

    /// How a version stands to the key. One that was written before the member had a custody key
    /// is not in custody, and never counted; but it may be wrapped, if it can be opened.
    ///
    /// # Errors
    /// If the store fails.
    pub fn held<R: StateReader>(&self, reader: &R, id: &RecordId, version: &RecordVersion) -> Result<Held, StoreFault> {
        self.held_over(&View::new(reader), id, version)
    }

    pub(crate) fn held_over<R: StateReader>(
        &self,
        view: &View<'_, R>,
        id: &RecordId,
        version: &RecordVersion,
    ) -> Result<Held, StoreFault> {
        if version.retraction {
            return Ok(Held::Done);
        }
        let written_for = is_written_for(version, &self.name.key);
        let added = added(view, id, version.version, &self.name.key)?;
        let counted_then = self.count.as_ref().is_some_and(|count| version.height > count.since_height);
        let counted = (written_for && counted_then) || added.as_ref().is_some_and(|added| added.counted);
        let wrapped = written_for || added.is_some_and(|added| !added.wrap_sha256.is_empty());
        Ok(match (wrapped, counted || version.height <= self.first) {
            (true, true) => Held::Done,
            (true, false) => Held::Uncounted,
            (false, true | false) => Held::Left,
        })
    }

    /// Counts a version that is being wrapped for the key, if the key is, or was, a custody key
    /// and the version is in custody; and says whether it is counted then.
    pub(crate) fn count<R: StateReader>(
        &mut self,
        view: &mut View<'_, R>,
        id: &RecordId,
        version: &RecordVersion,
    ) -> Result<bool, StoreFault> {
        let done = self.held_over(view, id, version)? == Held::Done;
        let Some(count) = self.count.as_mut().filter(|_| version.height > self.first) else { return Ok(false) };
        if !done {
            count.versions = count.versions.saturating_add(1);
            view.put_message(Table::State, keys::custody_count(&self.name), count);
        }
        Ok(true)
    }
}

/// Whether a version is wrapped for a key: as it was written, or since.
///
/// # Errors
/// If the store fails.
pub fn is_wrapped<R: StateReader>(
    reader: &R,
    id: &RecordId,
    version: &RecordVersion,
    key: &KeyId,
) -> Result<bool, StoreFault> {
    let added = added(&View::new(reader), id, version.version, key)?;
    Ok(is_written_for(version, key) || added.is_some_and(|added| !added.wrap_sha256.is_empty()))
}

/// Whether a key is, or was, the custody key of a member.
///
/// # Errors
/// If the store fails.
pub fn was_custody_key<R: StateReader>(reader: &R, member: &str, key: KeyId) -> Result<bool, StoreFault> {
    Ok(reader.get(Table::State, &keys::custody_count(&CustodyName::new(member, key)))?.is_some())
}

fn is_written_for(version: &RecordVersion, key: &KeyId) -> bool {
    version.wraps.iter().any(|wrap| wrap.recipient_key_id == key.as_bytes()[..])
}

pub(crate) fn added<R: StateReader>(
    view: &View<'_, R>,
    id: &RecordId,
    version: u32,
    key: &KeyId,
) -> Result<Option<WrapState>, StoreFault> {
    let name = WrapName { record: *id, version, recipient: *key };
    view.message(Table::State, &keys::wrap_state(&name))
}

/// The hash of the wrap that a version was written with for a key.
pub(crate) fn written_hash(version: &RecordVersion, key: &KeyId) -> Option<Bytes> {
    let wrap = version.wraps.iter().find(|wrap| wrap.recipient_key_id == key.as_bytes()[..]);
    wrap.map(|wrap| wrap.wrap_sha256.clone())
}

/// The custody key of a row.
fn key_of(state: &CustodyState) -> Result<KeyId, StoreFault> {
    KeyId::try_from(state.encryption_key_id.as_ref()).map_err(|e| corrupt(format!("custody key: {e}")))
}

/// Begins to count for a key that is named now. One that was named before goes on.
fn begin<R: StateReader>(view: &mut View<'_, R>, member: &str, key: KeyId, height: Height) -> Result<(), StoreFault> {
    let place = keys::custody_count(&CustodyName::new(member, key));
    if view.get(Table::State, &place)?.is_none() {
        view.put_message(Table::State, place, &CustodyCountState { versions: 0, since_height: height.0 });
    }
    Ok(())
}

/// Counts a patient that a member's people have registered.
pub(crate) fn count_patient<R: StateReader>(view: &mut View<'_, R>, member: &str) -> Result<(), StoreFault> {
    let place = keys::custody_work(member);
    let mut work: CustodyWorkState = view.message(Table::State, &place)?.unwrap_or_default();
    work.patients = work.patients.saturating_add(1);
    view.put_message(Table::State, place, &work);
    Ok(())
}

/// Counts a version of a member's records, written for these keys by its people or by those of who
/// keeps them.
pub(crate) fn count_written<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    recipients: impl Iterator<Item = KeyId>,
    height: Height,
) -> Result<(), StoreFault> {
    let custody = load(view, member)?;
    if custody.is_none_or(|custody| height.0 <= custody.first_height) {
        return Ok(());
    }
    let place = keys::custody_work(member);
    let mut work: CustodyWorkState = view.message(Table::State, &place)?.unwrap_or_default();
    work.versions = work.versions.saturating_add(1);
    view.put_message(Table::State, place, &work);
    for key in recipients {
        let place = keys::custody_count(&CustodyName::new(member, key));
        let count: Option<CustodyCountState> = view.message(Table::State, &place)?;
        if let Some(mut count) = count.filter(|count| height.0 > count.since_height) {
            count.versions = count.versions.saturating_add(1);
            view.put_message(Table::State, place, &count);
        }
    }
    Ok(())
}
