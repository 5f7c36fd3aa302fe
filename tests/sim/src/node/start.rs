//! How a node starts: it checks its disk against itself, asks its peers what it
//! voted for last, and only then takes part. As `node/src/setup.rs` and
//! `node/src/runtime/repair.rs` do.

use std::collections::BTreeMap;

use consilium_consensus::voting::{Start, VoteGuard, Voting};
use consilium_consensus::{Config, Core, ElectionTicks, HardState, Initial, LogIndex, LogPosition, Membership, RaftId};
use consilium_ledger::{Tip, genesis_block};
use consilium_proto::genesis::Genesis;
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::vote::Vote;

use super::Node;
use super::topology::Topology;
use crate::bugs::Bug;
use crate::disk::{Disk, GuardState, LogHandle};
use crate::env::{Env, Halt};
use crate::event::{Packet, Timer};
use crate::machine::{Host, State};

/// How long a starting node waits for answers.
const ASK_MS: u64 = 250;
/// Milliseconds of one tick of Raft.
pub const TICK_MS: u64 = 50;

/// A node that waits for what its peers remember of its votes.
pub struct Asking {
    newest: Option<Vote>,
}

impl Asking {
    /// A peer answered.
    pub fn answer(&mut self, host: &Host, vote: Vote) {
        let own = vote.validator == host.node && vote.verifies(&host.key.verifying_key());
        if own && self.newest.as_ref().is_none_or(|newest| newest.height < vote.height) {
            self.newest = Some(vote);
        }
    }

    /// The newest vote that anybody remembers.
    #[must_use]
    pub fn newest(&self) -> Height {
        self.newest.as_ref().map_or(Height::GENESIS, |vote| vote.height)
    }
}

/// Executes the genesis document on an empty disk.
///
/// # Panics
/// If the fixture's genesis does not execute.
pub fn write_genesis(disk: &mut Disk, genesis: &Genesis) {
    let executed = genesis_block(&disk.ledger, genesis).expect("the fixture's genesis executes");
    let founders = genesis.nodes().filter_map(|(_, node)| RaftId::new(node.raft_id.0));
    let membership = Membership::new(founders, []);
    disk.ledger.write_block(LogPosition::default(), &executed, Some(&membership));
    disk.ledger.sync();
    disk.log.borrow_mut().sync();
}

/// The first step of a start.
pub fn begin(host: &mut Host, env: &mut Env) -> State {
    host.incarnation += 1;
    if host.disk.owner != host.node || host.disk.guard.read().is_none() {
        return State::Out("the disk is not this node's");
    }
    if host.disk.repair {
        return super::repair::begin(host, env);
    }
    let topology = Topology::with_invitation(&host.disk.ledger, &host.invitation);
    if !topology.nodes.contains_key(&host.node) && topology.retired(&host.disk.ledger, host.node) {
        return State::Out("retired");
    }
    for peer in topology.peers(host.node) {
        host.send(env, peer, Packet::AskOwnVote);
    }
    host.timer(env, ASK_MS, Timer::OwnVotes);
    State::Asking(Box::new(Asking { newest: None }))
}

/// The second step: the node takes part, or never again.
///
/// # Errors
/// What is wrong with the disk, although nothing was lost that was promised.
pub fn finish(host: &mut Host, env: &mut Env, asking: &Asking) -> Result<State, Halt> {
    let mut guard = host.disk.guard.read().unwrap_or_default();
    if env.has(Bug::SkipVoteGuard) {
        guard = GuardState::default();
    }
    let forgotten = asking.newest() > guard.vote.voted_height;
    if forgotten && !env.has(Bug::ReuseRaftId) && !env.has(Bug::SkipVoteGuard) {
        return Ok(State::Out("the disk does not remember a vote"));
    }
    let Some((applied, tip)) = host.disk.ledger.tip().cloned() else {
        return Err(Halt::Fault("the ledger has no genesis block".into()));
    };
    if host.disk.log.borrow().last().0 < guard.last_index {
        return Ok(State::Out("the log has lost synced writes"));
    }
    if applied > host.disk.log.borrow().last() {
        finish_catching_up(host, applied, &tip)?;
    }
    let last = host.disk.log.borrow().last();
    let stored = host.disk.log.borrow().hard_state();
    let membership = match env.has(Bug::MembershipApart) {
        true => Some(host.disk.log.borrow().membership()),
        false => host.disk.ledger.membership_at(tip.header.height).cloned(),
    };
    let membership = membership.ok_or_else(|| Halt::Fault("there is no membership".into()))?;
    if host.honest() {
        env.oracle.started(host.node, host.disk_number, stored, last, applied);
        env.oracle.resumed(host.node, applied, &membership);
    }
    // What is applied was committed; the commit may have been on its way.
    let hard_state = HardState { commit: stored.commit.max(applied), ..stored };
    let initial = Initial { hard_state, membership, applied };
    let core = Core::new(config(host.node), initial, LogHandle(std::rc::Rc::clone(&host.disk.log)));
    let core = core.map_err(|e| Halt::Fault(format!("the core does not start: {e}")))?;
    let voting = voting(host, guard.vote);
    let node = Node::new(host, env, core, voting, (applied, tip))?;
    Ok(State::Up(Box::new(node)))
}

/// A crash between executing certified blocks and resetting the log.
fn finish_catching_up(host: &mut Host, applied: LogIndex, tip: &Tip) -> Result<(), Halt> {
    let position = host.disk.ledger.position(tip.header.height).filter(|position| position.index == applied);
    let position = position.ok_or_else(|| Halt::Fault("the ledger is ahead of the log".into()))?;
    // Only then may the log begin behind these blocks.
    host.disk.ledger.sync();
    let mut log = host.disk.log.borrow_mut();
    let mut hard_state = log.hard_state();
    hard_state.term = hard_state.term.max(position.term);
    hard_state.commit = position.index;
    log.reset_to(position, hard_state);
    log.sync();
    Ok(())
}

/// Raft's settings: a one-value election timeout, distinct per node, so that the
/// library draws nothing.
fn config(node: NodeId) -> Config {
    let id = RaftId::new(node.0).expect("the ledger gives raft ids from 1");
    let mut config = Config::new(id);
    let min = 8 + 2 * (node.0 as u32 % 16);
    config.election_ticks = ElectionTicks { min, max: min + 1 };
    config.heartbeat_ticks = 2;
    config.snapshot_ticks_max = 60;
    config.append_bytes_max = 64 << 10;
    config
}

fn voting(host: &Host, guard: VoteGuard) -> Voting {
    let ledger = &host.disk.ledger;
    let certified = ledger.newest_certified();
    let genesis = ledger.header(Height::GENESIS);
    let header: Option<Header> = certified.as_ref().map(|c| c.header.clone()).or(genesis);
    let validators = header.as_ref().and_then(|header| Topology::set_above(ledger, header));
    let topology = Topology::load(ledger);
    Voting::new(Start {
        me: host.node,
        key: std::sync::Arc::clone(&host.key),
        ledger_id: header.as_ref().map(|h| h.ledger_id).expect("the ledger has a genesis block"),
        clock_skew_max_ms: topology.parameters.clock_skew_max_ms,
        guard,
        certified,
        validators: validators.expect("the ledger names the validators of each epoch"),
        nodes: topology.vote_keys(),
    })
}

/// Headers that are executed and not certified, with the set that follows.
pub fn uncertified(disk: &Disk) -> Vec<(Header, Option<consilium_proto::validators::ValidatorSet>)> {
    let certified = disk.ledger.newest_certified().map_or(Height::GENESIS, |c| c.header.height);
    let top = disk.ledger.tip().map_or(Height::GENESIS, |(_, tip)| tip.header.height);
    let headers = (certified.0 + 1..=top.0).filter_map(|height| disk.ledger.header(Height(height)));
    headers.map(|header| (header.clone(), disk.ledger.next_set_of(&header))).collect()
}

/// Votes of others that a starting node knows of: none.
#[must_use]
pub fn no_votes() -> BTreeMap<NodeId, Vote> {
    BTreeMap::new()
}
