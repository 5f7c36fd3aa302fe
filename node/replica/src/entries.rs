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
/// Bytes of entries that are taken up before they commit, until they are executed.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An entry, and its bytes.
struct Held {
    slot: Slot,
    bytes: usize,
}

enum Slot {
    Waiting(Bytes),
    HandedOut,
    Done(Option<CheckedBlock>),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Entries {
    slots: BTreeMap<LogPosition, Held>,
    held_bytes: usize,
    waiting: VecDeque<LogPosition>,
    handed_out: usize,
}

impl Entries {
    /// An entry came into the log. Whoever leads may have any number of them written that
    /// never commit: most of those are not taken up.
    pub(crate) fn announce(&mut self, position: LogPosition, entry: &Bytes) {
        if self.held_bytes + entry.len() <= HELD_BYTES_MAX {
            self.want(position, entry);
        }
    }

    /// An entry is committed and must be looked at, if it was not already.
    pub(crate) fn want(&mut self, position: LogPosition, entry: &Bytes) {
        if self.slots.contains_key(&position) {
            return;
        }
        self.hold(position, Slot::Waiting(entry.clone()), entry.len());
        self.waiting.push_back(position);
    }

    /// The leader has built the block itself.
    pub(crate) fn built(&mut self, position: LogPosition, block: CheckedBlock) {
        let bytes = block.transactions.iter().map(|checked| checked.transaction.size()).sum();
        self.hold(position, Slot::Done(Some(block)), bytes);
    }

    fn hold(&mut self, position: LogPosition, slot: Slot, bytes: usize) {
        self.held_bytes += bytes;
        if let Some(before) = self.slots.insert(position, Held { slot, bytes }) {
            self.held_bytes -= before.bytes;
        }
    }

    /// An entry was looked at.
    pub(crate) fn checked(&mut self, position: LogPosition, block: Option<CheckedBlock>) {
        self.handed_out = self.handed_out.saturating_sub(1);
        if let Some(held) = self.slots.get_mut(&position) {
            held.slot = Slot::Done(block);
        }
    }

    /// Takes a block that was looked at; `None` if that is yet to come.
    pub(crate) fn take(&mut self, position: LogPosition) -> Option<Option<CheckedBlock>> {
        let Held { slot, bytes } = self.slots.remove(&position)?;
        match slot {
            Slot::Done(block) => {
                self.held_bytes -= bytes;
                Some(block)
            }
            slot @ (Slot::Waiting(_) | Slot::HandedOut) => {
                self.slots.insert(position, Held { slot, bytes });
                None
            }
        }
    }

    /// Hands out what waits, oldest first.
    pub(crate) fn hand_out(&mut self, out: &mut Vec<Output>) {
        while self.handed_out < CHECKS_MAX {
            let Some(position) = self.waiting.pop_front() else { return };
            let Some(held) = self.slots.get_mut(&position) else { continue };
            if let Slot::Waiting(_) = held.slot
                && let Slot::Waiting(entry) = std::mem::replace(&mut held.slot, Slot::HandedOut)
            {
                self.handed_out += 1;
                out.push(Output::Check { position, entry });
            }
        }
    }

    /// Forgets what is at or below an index.
    pub(crate) fn forget(&mut self, applied: LogIndex) {
        let above = self.slots.split_off(&LogPosition { index: applied.next(), ..LogPosition::default() });
        let gone = std::mem::replace(&mut self.slots, above);
        self.held_bytes -= gone.values().map(|held| held.bytes).sum::<usize>();
        self.waiting.retain(|position| position.index > applied);
    }
}

#[cfg(test)]
mod tests;
