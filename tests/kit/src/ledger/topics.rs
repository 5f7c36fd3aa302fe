//! Proposals for tests: topics, ballots, and what became of them.

use bytes::Bytes;
use consilium_ledger::{Preview, Table, keys, preview, tally};
use consilium_proto::ids::NodeId;
use consilium_proto::observed::Observed;
use consilium_proto::pb::proposal_topic::Topic;
use consilium_proto::pb::{self, BallotChoice, Outcome, ProposalStatus};

use super::{Action, Ledger};
use crate::identity_rules::FIRST_CA;
use crate::keys::vote as vote_key;
use crate::{Identity, Rules, genesis};

pub fn suspend(member: &str) -> Topic {
    Topic::SuspendMember(pb::SuspendMember { member: member.into() })
}

pub fn reinstate(member: &str) -> Topic {
    Topic::ReinstateMember(pb::ReinstateMember { member: member.into() })
}

pub fn remove(member: &str) -> Topic {
    remove_after(member, "")
}

/// Of a member whose records another one keeps.
pub fn remove_after(member: &str, successor: &str) -> Topic {
    Topic::RemoveMember(pb::RemoveMember { member: member.into(), successor: successor.into() })
}

pub fn allot(member: &str, stake: u64) -> Topic {
    Topic::AllotStake(pb::AllotStake { member: member.into(), stake })
}

pub fn rotate(member: &str, bundle: &[&'static str], without_overlap: bool) -> Topic {
    let ca_bundle = bundle.iter().map(|ca| Bytes::from_static(ca.as_bytes())).collect();
    Topic::RotateCaBundle(pb::RotateCaBundle { member: member.into(), ca_bundle, without_overlap })
}

/// An access policy of one rule of this name, which permits what the floor does.
pub fn policy(name: &str) -> Topic {
    policy_text(&format!("@id(\"{}\")\npermit (principal, action, resource);", name.replace(' ', "-")))
}

pub fn policy_text(text: &str) -> Topic {
    Topic::SetAccessPolicy(pb::SetAccessPolicy { text: text.into() })
}

pub fn lift(penalty: u64) -> Topic {
    Topic::LiftPenalty(pb::LiftPenalty { penalty })
}

pub fn activate(version: u32, height: u64) -> Topic {
    Topic::ActivateProtocol(pb::ActivateProtocol { version, height })
}

pub fn ballot(proposal: u64, choice: BallotChoice) -> Action {
    Action::CastBallot(pb::CastBallot { proposal, choice: choice as i32 })
}

pub fn cancel(proposal: u64) -> Action {
    Action::CancelProposal(pb::CancelProposal { proposal })
}

pub fn propose(topic: Topic, expires_ms: u64) -> Action {
    let topic = Some(pb::ProposalTopic { topic: Some(topic) });
    Action::Propose(pb::Propose { expires_ms, reason: "because".into(), topic })
}

pub fn register_action(member: &str, node: pb::NodeDescription) -> Action {
    Action::RegisterNode(pb::RegisterNode { member: member.into(), node: Some(node) })
}

pub fn replace_action(raft_id: u64, node: pb::NodeDescription) -> Action {
    Action::ReplaceNode(pb::ReplaceNode { raft_id, node: Some(node) })
}

pub fn retire_action(raft_id: u64) -> Action {
    Action::RetireNode(pb::RetireNode { raft_id })
}

impl Ledger {
    /// Block time of the next block.
    pub fn next_ms(&self) -> u64 {
        self.tip.header.time.0 + 1_000
    }

    /// A node with a vote key of its own, which the ledger will know under the
    /// next raft id.
    pub fn new_node(&mut self, name: &str) -> pb::NodeDescription {
        let pb::GenesisNode { name, peer_address, client_address, vote_key, .. } = self.next_node(name, 1);
        pb::NodeDescription { name, peer_address, client_address, vote_key }
    }

    /// A member with so many nodes, as it describes itself.
    pub fn newcomer(&mut self, id: &str, stake: u64, nodes: usize) -> Topic {
        let nodes = (1..).take(nodes).map(|ahead| self.next_node(&format!("n{}", ahead - 1), ahead)).collect();
        Topic::AdmitMember(pb::AdmitMember { member: Some(genesis::member(id, stake, nodes)) })
    }

    /// No two nodes have one vote key, though a raft id may be offered again.
    fn next_node(&mut self, name: &str, ahead: u64) -> pb::GenesisNode {
        self.vote_keys_made += 1;
        self.vote_keys.insert(self.roster().last_raft_id + ahead, vote_key(self.vote_keys_made));
        genesis::node(name, self.vote_keys_made)
    }

    /// Enrols an administrator of a member that joined.
    pub fn add_admin(&mut self, member: &str) {
        self.add_admin_under(FIRST_CA, member);
    }

    /// Enrols a member's administrator with a certificate by this CA.
    pub fn add_admin_under(&mut self, ca: &str, member: &str) {
        let admin = Identity::under(ca, member, "admin", "root");
        let enrollment = self.enrollment(&admin);
        let executed = self.block(&[enrollment], &Observed::default());
        assert_eq!(executed.leaves[0].1.outcome, Outcome::Applied);
        self.admins.insert(member.into(), admin);
    }

    /// Opens a proposal that lasts an hour.
    pub fn propose(&mut self, member: &str, topic: Topic) -> Outcome {
        let expires = self.next_ms() + 3_600_000;
        self.submit(member, propose(topic, expires))
    }

    /// Opens a proposal that must not be refused; gives its number.
    pub fn open(&mut self, member: &str, topic: Topic) -> u64 {
        assert_eq!(self.propose(member, topic), Outcome::Applied);
        self.roster().last_proposal
    }

    pub fn approve(&mut self, member: &str, proposal: u64) -> Outcome {
        self.submit(member, ballot(proposal, BallotChoice::Approve))
    }

    pub fn reject(&mut self, member: &str, proposal: u64) -> Outcome {
        self.submit(member, ballot(proposal, BallotChoice::Reject))
    }

    /// Opens a proposal by the first of these, and lets them approve until it
    /// is closed; gives it.
    pub fn pass(&mut self, members: &[&str], topic: Topic) -> pb::ProposalState {
        let number = self.open(members[0], topic);
        for member in &members[1..] {
            if self.proposal(number).status() != ProposalStatus::Open {
                break;
            }
            assert_eq!(self.approve(member, number), Outcome::Applied);
        }
        self.proposal(number)
    }

    /// [`Self::pass`], and it must have been executed.
    pub fn execute(&mut self, members: &[&str], topic: Topic) {
        let proposal = self.pass(members, topic);
        assert_eq!(proposal.status(), ProposalStatus::Executed, "{}", proposal.failure);
    }

    /// One transaction that must be refused, and leave no trace in the state.
    pub fn refused(&mut self, member: &str, action: Action, outcome: Outcome) {
        // A block that ends a window of participation changes the state by itself.
        let seen: Option<pb::ParticipationState> = self.store.message(Table::State, &keys::participation());
        let blocks = self.tip.header.height.0 + 2 - seen.unwrap_or_default().window_start;
        if blocks >= self.genesis.parameters.miss_window_blocks {
            self.block(&[], &Observed::default());
        }
        let (root, rows) = (self.tip.header.state_root, self.store.clone());
        assert_eq!(self.submit(member, action), outcome);
        assert_eq!(self.tip.header.state_root, root);
        assert_eq!(self.store.state(), rows.state());
    }

    /// [`Self::refused`] for a proposal.
    pub fn proposal_refused(&mut self, member: &str, topic: Topic, outcome: Outcome) {
        let expires = self.next_ms() + 3_600_000;
        self.refused(member, propose(topic, expires), outcome);
    }

    pub fn preview(&self, topic: Topic) -> Preview {
        preview(&self.store, &Rules, &self.tip.header, &pb::ProposalTopic { topic: Some(topic) }).unwrap()
    }

    pub fn tally(&self, proposal: u64) -> pb::Tally {
        tally(&self.store, &self.proposal(proposal)).unwrap()
    }

    pub fn proposal(&self, number: u64) -> pb::ProposalState {
        self.store.message(Table::State, &keys::proposal(number)).unwrap()
    }

    pub fn roster(&self) -> pb::RosterState {
        self.store.message(Table::State, &keys::roster()).unwrap()
    }

    pub fn node(&self, raft_id: u64) -> pb::NodeState {
        self.store.message(Table::State, &keys::node(NodeId(raft_id))).unwrap()
    }

    /// Ends the epoch with the next but two blocks, for which these nodes vote;
    /// gives the state of the next.
    pub fn end_epoch_of(&mut self, voters: &[u64]) -> pb::EpochState {
        self.run(2, voters);
        let parameters: pb::Parameters = self.store.message(Table::State, &keys::parameters()).unwrap();
        let due = self.tip.header.time.0 + parameters.epoch_ms;
        let observed = self.seen(voters);
        assert!(self.block_at(due, &[], &observed).events.next_set().is_some());
        self.run(1, voters);
        self.epoch(self.tip.header.epoch.0)
    }

    /// [`Self::end_epoch_of`] all nodes.
    pub fn end_epoch_soon(&mut self) -> pb::EpochState {
        let nodes = self.roster().nodes;
        self.end_epoch_of(&nodes)
    }
}
