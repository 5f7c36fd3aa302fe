//! A node whose state is not what is certified drops its ledger and rebuilds it
//! from certified blocks of its peers, up to at least everything that its log
//! held, so that nothing that it acknowledged to Raft is forgotten. As
//! `node/src/runtime/repair.rs` does.

use consilium_consensus::LogIndex;
use consilium_ledger::{BlockInput, execute};
use consilium_proto::ids::NodeId;
use consilium_proto::pb;

use super::chain::ChainCheck;
use super::start;
use super::topology::Topology;
use crate::disk::LedgerStore;
use crate::env::{Env, Halt};
use crate::event::{Packet, Timer};
use crate::fixture::rules::SimRules;
use crate::machine::{Host, State};

/// Pause between questions.
const RETRY_MS: u64 = 300;

/// A rebuilding that is under way.
pub struct Repair {
    needed: LogIndex,
    reached: LogIndex,
    request: u64,
}

/// Drops the ledger and starts.
pub fn begin(host: &mut Host, env: &mut Env) -> State {
    env.stats.count("ledgers rebuilt");
    let needed = host.disk.log.borrow().last();
    host.disk.ledger = LedgerStore::default();
    start::write_genesis(&mut host.disk, &env.fixture.genesis);
    let mut repair = Repair { needed, reached: LogIndex(0), request: 0 };
    repair.ask(host, env);
    State::Repairing(Box::new(repair))
}

impl Repair {
    /// Asks the next peer.
    pub fn ask(&mut self, host: &mut Host, env: &mut Env) {
        let topology = Topology::with_invitation(&host.disk.ledger, &host.invitation);
        let peers: Vec<NodeId> = topology.peers(host.node).into_iter().collect();
        self.request += 1;
        let from = host.disk.ledger.tip().map(|(_, tip)| tip.header.height.next()).unwrap_or_default();
        if let Some(peer) = peers.get(self.request as usize % peers.len().max(1)) {
            host.send(env, *peer, Packet::FetchBlocks { from, request: self.request });
        }
        host.timer(env, RETRY_MS, Timer::Repair);
    }

    /// Blocks of a peer. `Some`: the ledger is rebuilt.
    ///
    /// # Errors
    /// If a certified block gives another header here.
    pub fn blocks(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        blocks: Vec<pb::FetchBlocksResponse>,
        request: u64,
    ) -> Result<bool, Halt> {
        if request != self.request {
            return Ok(false);
        }
        let Some((_, tip)) = host.disk.ledger.tip().cloned() else { return Ok(false) };
        let set = Topology::load(&host.disk.ledger).validators;
        let place = (tip.header.height, tip.header.hash());
        let mut check = ChainCheck::new(env.fixture.genesis.ledger_id, set, place);
        for block in blocks {
            let Ok(checked) = check.push(block) else { break };
            let Some((certified, certificate)) = checked else { continue };
            for block in certified {
                let Some((_, tip)) = host.disk.ledger.tip() else { break };
                let (time, proposer) = (block.header.time, block.header.proposer);
                let input = BlockInput { time, proposer, transactions: &block.transactions, observed: &block.observed };
                let executed = execute(&host.disk.ledger, &SimRules, tip, &input);
                let executed = executed.map_err(|e| Halt::Fault(e.to_string()))?;
                if executed.tip.header != block.header {
                    return Err(Halt::Fault("a certified block gives another header".into()));
                }
                self.reached = block.position.index;
                host.disk.ledger.write_block(block.position, &executed, block.membership.as_ref());
            }
            host.disk.ledger.write_certificate(&certificate);
            check.set_validators(Topology::load(&host.disk.ledger).validators);
        }
        if self.reached < self.needed {
            return Ok(false);
        }
        finish(host);
        Ok(true)
    }
}

/// The log starts again behind the rebuilt ledger.
fn finish(host: &mut Host) {
    host.disk.ledger.sync();
    let Some((_, tip)) = host.disk.ledger.tip() else { return };
    let Some(position) = host.disk.ledger.position(tip.header.height) else { return };
    let mut log = host.disk.log.borrow_mut();
    let mut hard_state = log.hard_state();
    hard_state.term = hard_state.term.max(position.term);
    hard_state.commit = position.index;
    log.reset_to(position, hard_state);
    log.sync();
    drop(log);
    host.disk.repair = false;
}
