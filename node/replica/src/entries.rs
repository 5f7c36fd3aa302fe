//! Log entries on their way through a node: handed out to be decoded and
//! verified as soon as they are in the log, and taken again when they commit, by
//! position. Bounded; what does not fit is handed out when it commits.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition};

use crate::block::CheckedBlock;
use crate::io::Output;

/// Entries that are being looked at at a time.
pub const CHECKS_MAX: usize = 64;
/// Bytes of entries that wait to be handed out before they commit.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

enum Slot {
    Waiting(Bytes),
    HandedOut,
    Done(Option<CheckedBlock>),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Entries {
    slots: BTreeMap<LogPosition, Slot>,
    waiting: VecDeque<LogPosition>,
    waiting_bytes: usize,
    handed_out: usize,
}

impl Entries {
    /// An entry came into the log.
    pub(crate) fn announce(&mut self, position: LogPosition, entry: &Bytes) {
        if self.waiting_bytes + entry.len() <= WAITING_BYTES_MAX {
            self.want(position, entry);
        }
    }

    /// An entry is committed and must be looked at, if it was not already.
    pub(crate) fn want(&mut self, position: LogPosition, entry: &Bytes) {
        if self.slots.contains_key(&position) {
            return;
        }
        self.waiting_bytes += entry.len();
        self.slots.insert(position, Slot::Waiting(entry.clone()));
        self.waiting.push_back(position);
    }

    /// The leader has built the block itself.
    pub(crate) fn built(&mut self, position: LogPosition, block: CheckedBlock) {
        self.slots.insert(position, Slot::Done(Some(block)));
    }

    /// An entry was looked at.
    pub(crate) fn checked(&mut self, position: LogPosition, block: Option<CheckedBlock>) {
        self.handed_out = self.handed_out.saturating_sub(1);
        if let Some(slot) = self.slots.get_mut(&position) {
            *slot = Slot::Done(block);
        }
    }

    /// Takes a block that was looked at; `None` if that is yet to come.
    pub(crate) fn take(&mut self, position: LogPosition) -> Option<Option<CheckedBlock>> {
        match self.slots.remove(&position)? {
            Slot::Done(block) => Some(block),
            slot @ (Slot::Waiting(_) | Slot::HandedOut) => {
                self.slots.insert(position, slot);
                None
            }
        }
    }

    /// Hands out what waits, oldest first.
    pub(crate) fn hand_out(&mut self, out: &mut Vec<Output>) {
        while self.handed_out < CHECKS_MAX {
            let Some(position) = self.waiting.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&position) else { continue };
            if let Slot::Waiting(_) = slot
                && let Slot::Waiting(entry) = std::mem::replace(slot, Slot::HandedOut)
            {
                self.waiting_bytes -= entry.len();
                self.handed_out += 1;
                out.push(Output::Check { position, entry });
            }
        }
    }

    /// Forgets what is at or below an index.
    pub(crate) fn forget(&mut self, applied: LogIndex) {
        let above = self.slots.split_off(&LogPosition { index: applied.next(), ..LogPosition::default() });
        for slot in std::mem::replace(&mut self.slots, above).into_values() {
            if let Slot::Waiting(entry) = slot {
                self.waiting_bytes -= entry.len();
            }
        }
        self.waiting.retain(|position| position.index > applied);
    }
}

#[cfg(test)]
mod tests;
