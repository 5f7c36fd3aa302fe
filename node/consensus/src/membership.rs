//! Who takes part: the Raft configuration as plain, sorted sets.
//!
//! A `Membership` that passes [`Membership::validate`] can be restored by the library without
//! a panic; that is why every membership from disk or network goes through it.

pub(crate) mod invalid;

use std::collections::BTreeSet;

use crate::codec::{DecodeError, Decoder};
use crate::ids::RaftId;

pub(crate) use self::invalid::MEMBERS_MAX;
pub use self::invalid::MembershipInvalid;

const VERSION: u8 = 1;
/// Steps in one change. More is no legitimate wish, and memory.
pub(crate) const CHANGES_MAX: usize = 64;

/// No membership is longer, encoded.
pub(crate) const MEMBERSHIP_LEN_MAX: usize = 2 + 4 * 4 + 8 * MEMBERS_MAX;

/// A Raft configuration. Joint while `voters_outgoing` is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Voters (of the incoming configuration while joint).
    pub voters: BTreeSet<RaftId>,
    /// Nodes that replicate and do not vote.
    pub learners: BTreeSet<RaftId>,
    /// Voters of the configuration that is being left. Both majorities are needed meanwhile.
    pub voters_outgoing: BTreeSet<RaftId>,
    /// Outgoing voters that become learners when the joint configuration is left.
    pub learners_next: BTreeSet<RaftId>,
    /// The leader leaves the joint configuration by itself.
    pub auto_leave: bool,
}

/// One step of a membership proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// Makes a node a voter, whether new or a learner so far.
    AddVoter(RaftId),
    /// Makes a node a learner; demotes a voter.
    AddLearner(RaftId),
    /// Removes a node in whatever role. Its id must never come back.
    Remove(RaftId),
}

impl Membership {
    /// A plain configuration of voters and learners.
    pub fn new(voters: impl IntoIterator<Item = RaftId>, learners: impl IntoIterator<Item = RaftId>) -> Self {
        Self { voters: voters.into_iter().collect(), learners: learners.into_iter().collect(), ..Self::default() }
    }

    /// Whether two majorities are needed.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// All nodes, each once, ascending.
    pub(crate) fn members(&self) -> impl Iterator<Item = RaftId> {
        let Self { voters, learners, voters_outgoing, learners_next, .. } = self;
        let all: BTreeSet<RaftId> =
            [voters, learners, voters_outgoing, learners_next].into_iter().flatten().copied().collect();
        all.into_iter()
    }

    /// Whether `nodes` hold a majority of the voters, of both halves while joint.
    pub(crate) fn has_majority(&self, nodes: &BTreeSet<RaftId>) -> bool {
        let majority = |half: &BTreeSet<RaftId>| 2 * half.intersection(nodes).count() > half.len();
        majority(&self.voters) && (!self.is_joint() || majority(&self.voters_outgoing))
    }

    /// Whether `id` has a vote, in either half of a joint configuration.
    pub fn is_voter(&self, id: RaftId) -> bool {
        self.voters.contains(&id) || self.voters_outgoing.contains(&id)
    }

    /// Whether `id` has any role.
    pub fn contains(&self, id: RaftId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Checks the rules under which the Raft library accepts a configuration.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn validate(&self) -> Result<(), MembershipInvalid> {
        let count = self.voters.len() + self.learners.len() + self.voters_outgoing.len() + self.learners_next.len();
        if count > MEMBERS_MAX {
            return Err(MembershipInvalid::TooMany { count });
        }
        if self.voters.is_empty() {
            return Err(MembershipInvalid::NoVoters);
        }
        if let Some(&id) = self.learners.iter().find(|id| self.is_voter(**id)) {
            return Err(MembershipInvalid::LearnerVotes { id });
        }
        let misplaced = |id: &&RaftId| !self.voters_outgoing.contains(*id) || self.voters.contains(*id);
        if let Some(&id) = self.learners_next.iter().find(misplaced) {
            return Err(MembershipInvalid::LearnerNext { id });
        }
        if self.auto_leave && !self.is_joint() {
            return Err(MembershipInvalid::NotJoint);
        }
        Ok(())
    }

    /// The store encoding: version, auto-leave (0 or 1), then voters, learners, outgoing
    /// voters, next learners, each as u32 count and ascending u64 ids, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        let Self { voters, learners, voters_outgoing, learners_next, auto_leave } = self;
        let mut out = vec![VERSION, u8::from(*auto_leave)];
        for set in [voters, learners, voters_outgoing, learners_next] {
            let count = u32::try_from(set.len()).unwrap_or(u32::MAX);
            out.extend(count.to_be_bytes());
            for id in set {
                out.extend(id.get().to_be_bytes());
            }
        }
        out
    }

    /// Reads the store encoding and validates it.
    ///
    /// # Errors
    /// Wrong version or length, ids out of order, or a configuration that breaks the rules.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(input);
        decoder.version(VERSION)?;
        let auto_leave = match decoder.u8()? {
            0 => false,
            1 => true,
            found => return Err(DecodeError::Tag { found }),
        };
        let membership = Self {
            voters: decode_ids(&mut decoder)?,
            learners: decode_ids(&mut decoder)?,
            voters_outgoing: decode_ids(&mut decoder)?,
            learners_next: decode_ids(&mut decoder)?,
            auto_leave,
        };
        decoder.finish()?;
        membership.validate().map_err(DecodeError::Membership)?;
        Ok(membership)
    }
}

fn decode_ids(decoder: &mut Decoder<'_>) -> Result<BTreeSet<RaftId>, DecodeError> {
    let count = decoder.u32()?;
    if count as usize > MEMBERS_MAX {
        return Err(DecodeError::TooMany { count });
    }
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let id = RaftId::new(decoder.u64()?).ok_or(DecodeError::ZeroId)?;
        if ids.last().is_some_and(|last| *last >= id) {
            return Err(DecodeError::Order);
        }
        ids.insert(id);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests;
