//! What a block changed that others must know of: told by the rules where it
//! happens, so that nobody infers it from the rows that were written. An event
//! says what is so after the block; it never says what to do about it.

use std::collections::BTreeSet;

use consilium_proto::ids::{NodeId, TransactionId};
use consilium_proto::pb::MemberState;
use consilium_proto::validators::ValidatorSet;

/// Something that a block brought about.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A member is new or has another standing, CA bundle, revocation list or
    /// stake: its row as the block leaves it.
    MemberChanged(MemberState),
    /// The nodes that exist, what is known of one, or its standing changed.
    NodesChanged,
    /// Other parameters are in force from the next block on.
    ParametersChanged,
    /// The block is the last of its epoch.
    EpochEnded {
        /// The validators from the next height on; they may be the same.
        next_set: ValidatorSet,
    },
    /// The nodes that the current window has not seen, if that may have changed.
    Unseen(BTreeSet<NodeId>),
    /// A transaction came too late; it is not on the ledger and never will be.
    Expired(TransactionId),
    /// A transaction was not signed by the author that it names. It is not on the ledger, and
    /// the author's own may still come: no leader that is honest puts such a one into a block.
    Unsigned(TransactionId),
}

impl Event {
    /// Whether this says all that `earlier` says of the same thing.
    fn replaces(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::MemberChanged(now), Self::MemberChanged(before)) => now.id == before.id,
            (Self::NodesChanged, Self::NodesChanged)
            | (Self::ParametersChanged, Self::ParametersChanged)
            | (Self::EpochEnded { .. }, Self::EpochEnded { .. })
            | (Self::Unseen(_), Self::Unseen(_)) => true,
            (
                Self::MemberChanged(_)
                | Self::NodesChanged
                | Self::ParametersChanged
                | Self::EpochEnded { .. }
                | Self::Unseen(_)
                | Self::Expired(_)
                | Self::Unsigned(_),
                _,
            ) => false,
        }
    }
}

/// The events of a block, in the order in which they happened. Of several that
/// tell of the same thing there is the last one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Events(Vec<Event>);

impl Events {
    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Event> {
        self.0.iter()
    }

    /// Members that changed, as the block leaves them.
    pub fn changed_members(&self) -> impl Iterator<Item = &MemberState> {
        self.iter().filter_map(|event| match event {
            Event::MemberChanged(member) => Some(member),
            Event::NodesChanged
            | Event::ParametersChanged
            | Event::EpochEnded { .. }
            | Event::Unseen(_)
            | Event::Expired(_)
            | Event::Unsigned(_) => None,
        })
    }

    /// Whether it changed who takes part and how: nodes, seats, parameters.
    #[must_use]
    pub fn changed_nodes(&self) -> bool {
        self.iter().any(|event| match event {
            Event::NodesChanged | Event::ParametersChanged | Event::EpochEnded { .. } => true,
            Event::MemberChanged(_) | Event::Unseen(_) | Event::Expired(_) | Event::Unsigned(_) => false,
        })
    }

    /// The validators from the next height on, if the block ends its epoch.
    #[must_use]
    pub fn next_set(&self) -> Option<&ValidatorSet> {
        self.iter().find_map(|event| match event {
            Event::EpochEnded { next_set } => Some(next_set),
            Event::MemberChanged(_)
            | Event::NodesChanged
            | Event::ParametersChanged
            | Event::Unseen(_)
            | Event::Expired(_)
            | Event::Unsigned(_) => None,
        })
    }

    /// Nodes that the current window has not seen, if that may have changed.
    #[must_use]
    pub fn unseen(&self) -> Option<&BTreeSet<NodeId>> {
        self.iter().find_map(|event| match event {
            Event::Unseen(nodes) => Some(nodes),
            Event::MemberChanged(_)
            | Event::NodesChanged
            | Event::ParametersChanged
            | Event::EpochEnded { .. }
            | Event::Expired(_)
            | Event::Unsigned(_) => None,
        })
    }

    /// Transactions that came too late.
    pub fn expired(&self) -> impl Iterator<Item = &TransactionId> {
        self.iter().filter_map(|event| match event {
            Event::Expired(id) => Some(id),
            Event::MemberChanged(_)
            | Event::NodesChanged
            | Event::ParametersChanged
            | Event::EpochEnded { .. }
            | Event::Unseen(_)
            | Event::Unsigned(_) => None,
        })
    }

    /// Transactions that were not signed by their authors.
    pub fn unsigned(&self) -> impl Iterator<Item = &TransactionId> {
        self.iter().filter_map(|event| match event {
            Event::Unsigned(id) => Some(id),
            Event::MemberChanged(_)
            | Event::NodesChanged
            | Event::ParametersChanged
            | Event::EpochEnded { .. }
            | Event::Unseen(_)
            | Event::Expired(_) => None,
        })
    }

    /// Adds one, in the place of an earlier one that tells of the same thing.
    pub(crate) fn note(&mut self, event: Event) {
        self.0.retain(|earlier| !event.replaces(earlier));
        self.0.push(event);
    }

    /// Adds those that a transaction of the block brought about.
    pub(crate) fn merge(&mut self, later: Self) {
        later.0.into_iter().for_each(|event| self.note(event));
    }

    /// Adds transactions that were passed over: there may be many, and none tells of the
    /// same as another.
    pub(crate) fn extend(&mut self, passed_over: Vec<Event>) {
        self.0.extend(passed_over);
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Event> for Events {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut all = Self::default();
        events.into_iter().for_each(|event| all.note(event));
        all
    }
}
