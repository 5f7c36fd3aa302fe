//! Whose room an urgent transaction takes where urgent ones wait. Each identity has a little,
//! and each member some in all: a flood of one, be it of emergencies, fills its own room and
//! stands with all the others beyond it. A member's administrators have room of their own, so
//! that its other people cannot keep it from protecting itself.

use std::collections::BTreeMap;

use consilium_proto::names::{MemberId, Role, SpiffeId};
use consilium_proto::transaction::Urgency;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Share {
    /// What a member's administrators protect it by.
    Administrators(MemberId),
    /// Withdrawals and emergencies of an identity, and a custodian's keys for them.
    Identity(SpiffeId),
}

impl Share {
    /// Of an urgent transaction of an author; `None` if the author has no say in such matters.
    pub(crate) fn of(urgency: Urgency, author: &SpiffeId) -> Option<Self> {
        match urgency {
            Urgency::Protection => {
                (author.role() == Role::Admin).then(|| Self::Administrators(author.member().clone()))
            }
            Urgency::Withdrawal | Urgency::Emergency | Urgency::Key => Some(Self::Identity(author.clone())),
        }
    }

    /// The member within whose room it is.
    fn member(&self) -> Option<&MemberId> {
        match self {
            Self::Administrators(_) => None,
            Self::Identity(id) => Some(id.member()),
        }
    }

    /// Whether two are of one member's people.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.member().is_some_and(|member| other.member() == Some(member))
    }
}

/// So many transactions, and bytes of them unless it is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// How much room there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rooms {
    /// For the administrators of a member.
    pub(crate) administrators: Room,
    /// For any other identity.
    pub(crate) identity: Room,
    /// For all those of a member.
    pub(crate) member: Room,
}

/// What is taken.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    count: usize,
    bytes: usize,
}

impl Taken {
    fn leaves(self, bytes: usize, room: Room) -> bool {
        self.count == 0 || (self.count < room.count && self.bytes + bytes <= room.bytes)
    }
}

/// Who has taken how much.
#[derive(Debug)]
pub(crate) struct Shares {
    rooms: Rooms,
    own: BTreeMap<Share, Taken>,
    of_members: BTreeMap<MemberId, Taken>,
}

impl Shares {
    pub(crate) fn new(rooms: Rooms) -> Self {
        Self { rooms, own: BTreeMap::new(), of_members: BTreeMap::new() }
    }

    /// Whether there is room for so many bytes.
    pub(crate) fn has_room(&self, share: &Share, bytes: usize) -> bool {
        let own_room = match share {
            Share::Administrators(_) => self.rooms.administrators,
            Share::Identity(_) => self.rooms.identity,
        };
        let own = self.own.get(share).copied().unwrap_or_default();
        let member = share.member().and_then(|member| self.of_members.get(member)).copied().unwrap_or_default();
        own.leaves(bytes, own_room) && member.leaves(bytes, self.rooms.member)
    }

    /// Takes room for so many bytes, if there is some.
    pub(crate) fn take(&mut self, share: &Share, bytes: usize) -> bool {
        if !self.has_room(share, bytes) {
            return false;
        }
        add(&mut self.own, share, bytes);
        share.member().into_iter().for_each(|member| add(&mut self.of_members, member, bytes));
        true
    }

    /// Gives room back that was taken.
    pub(crate) fn leave(&mut self, share: &Share, bytes: usize) {
        subtract(&mut self.own, share, bytes);
        share.member().into_iter().for_each(|member| subtract(&mut self.of_members, member, bytes));
    }

    pub(crate) fn clear(&mut self) {
        self.own.clear();
        self.of_members.clear();
    }
}

fn add<K: Ord + Clone>(all: &mut BTreeMap<K, Taken>, key: &K, bytes: usize) {
    let taken = all.entry(key.clone()).or_default();
    taken.count += 1;
    taken.bytes += bytes;
}

fn subtract<K: Ord>(all: &mut BTreeMap<K, Taken>, key: &K, bytes: usize) {
    let Some(taken) = all.get_mut(key) else { return };
    taken.count -= 1;
    taken.bytes -= bytes;
    if taken.count == 0 {
        all.remove(key);
    }
}

#[cfg(test)]
mod tests;
