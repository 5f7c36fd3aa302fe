//! Heights that nodes disagree about. A validator that tells two halves of the
//! network two things is found only when they compare, so everything that is
//! known about such a height is passed on to all peers, once. A vote for the right
//! header with a root that is not in it is a lie by itself, and passed on as well.

use std::collections::BTreeMap;

use consilium_proto::ids::{Height, NodeId};
use consilium_proto::vote::{Equivocation, Vote};

use super::{Effect, Executed, Voting, key_of};

/// Disputed heights that one node may cause at a time: the limit on what it can
/// make others pass on.
const PER_NODE_MAX: usize = 4;

/// Disputed heights, and who disagreed first.
#[derive(Debug, Default)]
pub(super) struct Disputes(BTreeMap<Height, NodeId>);

impl Disputes {
    fn may_open(&self, by: NodeId) -> bool {
        self.0.values().filter(|opener| **opener == by).count() < PER_NODE_MAX
    }

    pub(super) fn prune(&mut self, above: Height) {
        self.0 = self.0.split_off(&above);
    }
}

impl Voting {
    /// A vote came from its validator: passes it on if its height is disputed,
    /// or becomes so by it.
    pub(super) fn dispute(&mut self, vote: &Vote) {
        if self.disputes.0.contains_key(&vote.height) {
            self.relay(vote.height, Some(vote.validator));
        } else if self.headers.get(&vote.height).is_some_and(|own| own.subject() != (vote.header_hash, vote.tree_root))
        {
            self.look_for_dispute(vote.height);
        }
    }

    /// Passes all votes for a height on if one of them is for another header or
    /// root than this node executed.
    pub(super) fn look_for_dispute(&mut self, height: Height) {
        let Some(own) = self.headers.get(&height).map(Executed::subject) else { return };
        let may_open = |id: &NodeId| *id != self.me && self.disputes.may_open(*id);
        if self.disputes.0.contains_key(&height) || !self.votes.others(height, own).any(|id| may_open(&id)) {
            return;
        }
        let Self { votes, schedule, nodes, .. } = self;
        let _ = votes.verified_at(height, |id| key_of(schedule, nodes, id, height));
        // Those that are left are verified.
        let opener = self.votes.others(height, own).find(may_open);
        if let Some(opener) = opener {
            self.disputes.0.insert(height, opener);
            self.relay(height, None);
        }
    }

    /// Votes for the header that was executed here, with a root that is not in it: the
    /// header proves the lie.
    pub(super) fn look_for_false_roots(&mut self, height: Height) {
        let Self { headers, votes, schedule, nodes, effects, .. } = self;
        let Some(own) = headers.get(&height) else { return };
        let found = votes.false_roots(height, own.subject(), |id| key_of(schedule, nodes, id, height));
        let evidence = found.into_iter().filter_map(|vote| Equivocation::of_header(vote, own.header.clone()).ok());
        effects.extend(evidence.map(|evidence| Effect::Evidence(Box::new(evidence))));
    }

    fn relay(&mut self, height: Height, only: Option<NodeId>) {
        let Self { votes, schedule, nodes, me, .. } = self;
        let verified = votes.verified_at(height, |id| key_of(schedule, nodes, id, height));
        let passed_on = verified.into_iter().filter(|vote| vote.validator != *me);
        let passed_on = passed_on.filter(|vote| only.is_none_or(|id| vote.validator == id));
        self.effects.extend(passed_on.map(Effect::RelayVote));
    }
}
