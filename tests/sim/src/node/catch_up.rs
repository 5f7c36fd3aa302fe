//! Catching up by certified blocks, when a leader offers a snapshot: fetched from
//! the leader, checked, executed, and only then is the log replaced. As
//! `serve_offers` in `node/src/runtime/sync.rs` does.

use std::collections::VecDeque;

use consilium_consensus::{IncomingSnapshot, Installed};
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::pb;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader};

use super::Node;
use super::apply::ApplierJob;
use super::certify::CertifierInput;
use super::chain::{CertifiedBlock, ChainCheck};
use crate::env::Env;
use crate::event::{Packet, Timer};
use crate::machine::Host;

/// How long a node waits for blocks.
const FETCH_MS: u64 = 600;

/// An offer that is being followed.
struct Following {
    offer: IncomingSnapshot,
    request: u64,
    check: ChainCheck,
    /// Blocks of the answer that were not looked at.
    blocks: VecDeque<pb::FetchBlocksResponse>,
    /// Given to the applier; their certificate goes to the certifier after them.
    given: Option<(Height, CertifiedHeader)>,
    reached: bool,
}

/// What is being caught up with.
#[derive(Default)]
pub struct CatchUp {
    following: Option<Following>,
    requests: u64,
}

impl Node {
    /// A leader offers a state.
    pub(crate) fn catch_up(&mut self, host: &mut Host, env: &mut Env, offer: IncomingSnapshot) {
        env.note(format_args!("{} is offered a state at {} by {}", host.machine, offer.meta.index, offer.from));
        env.stats.count("snapshots offered");
        if self.applier.applied >= offer.meta.index {
            self.install(env, &offer);
            return;
        }
        let header = &self.applier.tip.header;
        let ledger = env.fixture.genesis.ledger_id;
        let check = ChainCheck::new(ledger, self.topology.validators.clone(), (header.height, header.hash()));
        self.catch_up.requests += 1;
        let request = self.catch_up.requests;
        let from = header.height.next();
        host.send(env, NodeId(offer.from.get()), Packet::FetchBlocks { from, request });
        host.timer(env, FETCH_MS, Timer::Fetch(request));
        let blocks = VecDeque::new();
        self.catch_up.following = Some(Following { offer, request, check, blocks, given: None, reached: false });
    }

    /// The answer did not come, or did not lead far enough.
    pub(crate) fn fetch_timed_out(&mut self, request: u64) {
        let waits = self.catch_up.following.as_ref();
        if waits.is_some_and(|f| f.request == request && f.blocks.is_empty() && f.given.is_none()) {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.catch_up.following = None;
        self.core.refuse_snapshot();
    }

    pub(crate) fn blocks_arrived(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        blocks: Vec<pb::FetchBlocksResponse>,
        request: u64,
    ) {
        let Some(following) = &mut self.catch_up.following else { return };
        if following.request != request || !following.blocks.is_empty() || following.given.is_some() {
            return;
        }
        following.blocks = blocks.into();
        self.next_blocks(host, env);
    }

    /// Gives the applier the next blocks that a certificate covers. Blocks of the
    /// next epoch are looked at when those of this one are executed.
    fn next_blocks(&mut self, host: &Host, env: &mut Env) {
        let Some(following) = &mut self.catch_up.following else { return };
        let index = following.offer.meta.index;
        while let Some(block) = following.blocks.pop_front() {
            match following.check.push(block) {
                Ok(None) => {}
                Ok(Some((certified, certificate))) => {
                    if certified.iter().any(|block| block.position.index > index) {
                        break;
                    }
                    following.reached = certified.last().is_some_and(|block| block.position.index == index);
                    following.given = give(&mut self.applier.queue, certified, certificate);
                    return;
                }
                Err(problem) => {
                    env.stats.count("bad blocks refused");
                    env.note(format_args!("{} refuses blocks: {problem}", host.machine));
                    break;
                }
            }
        }
        self.give_up();
    }

    /// The applier has executed what it was given.
    pub(crate) fn caught_up(&mut self, host: &Host, env: &mut Env) {
        let validators = self.topology.validators.clone();
        let Some(following) = &mut self.catch_up.following else { return };
        let Some((height, certified)) = following.given.take() else { return };
        following.check.set_validators(validators);
        let (reached, offer) = (following.reached, following.offer.clone());
        self.certifier.inputs.push_back(CertifierInput::Certificate(Box::new(certified)));
        env.stats.count("certified blocks taken over");
        env.note(format_args!("{} has caught up to {height}", host.machine));
        if reached {
            self.catch_up.following = None;
            self.install(env, &offer);
        } else {
            self.next_blocks(host, env);
        }
    }

    fn install(&mut self, env: &mut Env, offer: &IncomingSnapshot) {
        match self.core.install_snapshot(&offer.meta) {
            Ok(Installed::Persisting) => {
                self.applier.applied = self.applier.applied.max(offer.meta.index);
                env.stats.count("logs replaced");
            }
            Ok(Installed::NotNeeded) => {}
            Err(error) => env.note(format_args!("a snapshot was not installed: {error}")),
        }
    }
}

fn give(
    queue: &mut VecDeque<ApplierJob>,
    certified: Vec<CertifiedBlock>,
    certificate: BlockCertificate,
) -> Option<(Height, CertifiedHeader)> {
    let header = certified.last()?.header.clone();
    let height = header.height;
    queue.extend(certified.into_iter().map(|block| ApplierJob::Certified(Box::new(block))));
    queue.push_back(ApplierJob::CaughtUp);
    Some((height, CertifiedHeader { header, certificate }))
}
