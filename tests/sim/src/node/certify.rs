//! The certifier: gives the real [`Voting`] its inputs and does its effects in
//! order. An effect that needs a sync holds everything behind it back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use consilium_consensus::voting::{Clock, Effect};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::signing::VerifyingKey;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{CertifiedHeader, Vote};

use super::Node;
use crate::bugs::Bug;
use crate::disk::GuardState;
use crate::env::{CrashPoint, Env, Halt};
use crate::event::{Packet, Timer};
use crate::machine::Host;

/// Inputs of the certifier.
pub enum CertifierInput {
    /// This node executed a block.
    Executed {
        /// Its header.
        header: Header,
        /// Not one that was taken over as certified.
        votable: bool,
        /// If it ends an epoch.
        next_set: Option<ValidatorSet>,
    },
    /// Nodes and keys have changed.
    Nodes(BTreeMap<NodeId, VerifyingKey>),
    /// A vote.
    Vote {
        /// Who sent it.
        from: NodeId,
        /// The vote.
        vote: Vote,
    },
    /// A certified header of a peer.
    Certificate(Box<CertifiedHeader>),
    /// A peer lacks certificates.
    UncertifiedFrom {
        /// The peer.
        peer: NodeId,
        /// From here on.
        height: Height,
    },
}

/// A write that is under way.
enum Hold {
    Guard(Height),
    Boundary(Box<CertifiedHeader>),
}

/// The certifier's queues.
#[derive(Default)]
pub struct Certifier {
    pub(crate) inputs: VecDeque<CertifierInput>,
    pub(crate) tick_due: bool,
    effects: VecDeque<Effect>,
    hold: Option<Hold>,
    /// Executed boundaries without a certificate.
    boundaries: BTreeSet<Height>,
    /// The newest executed headers, for bugs that vote by themselves.
    pub(crate) recent: BTreeMap<Height, (Header, Option<ValidatorSet>)>,
    /// Votes as they came, for bugs that count by themselves.
    pub(crate) heard: BTreeMap<Height, BTreeMap<NodeId, Vote>>,
}

impl Node {
    /// Works until a write is awaited or nothing is left. Returns whether
    /// anything was done.
    pub(crate) fn certify(&mut self, host: &mut Host, env: &mut Env) -> Result<bool, Halt> {
        let mut busy = false;
        while self.certifier.hold.is_none() {
            if let Some(effect) = self.certifier.effects.pop_front() {
                self.effect(host, env, effect)?;
            } else if let Some(input) = self.certifier.inputs.pop_front() {
                self.certifier.tick_due = true;
                self.certifier_input(host, env, input)?;
            } else if std::mem::take(&mut self.certifier.tick_due) {
                let clock = Clock { wall: host.wall(env), monotonic_ms: env.now };
                self.voting.tick(clock);
            } else {
                return Ok(busy);
            }
            busy = true;
            self.certifier.effects.extend(self.voting.take_effects());
        }
        Ok(busy)
    }

    fn certifier_input(&mut self, host: &mut Host, env: &mut Env, input: CertifierInput) -> Result<(), Halt> {
        match input {
            CertifierInput::Executed { header, votable, next_set } => {
                let height = header.height;
                if next_set.is_some() && height > self.voting.certified() {
                    self.certifier.boundaries.insert(height);
                    self.tell_boundary(host, env);
                }
                if env.bug.is_some() {
                    crate::byzantine::bug_wiring::executed(self, host, env, &header, next_set.as_ref())?;
                }
                let result = self.voting.executed(header, votable, next_set);
                result.map_err(|e| Halt::Fault(format!("voting: {e}")))
            }
            CertifierInput::Nodes(nodes) => {
                self.voting.set_nodes(nodes);
                Ok(())
            }
            CertifierInput::Vote { from, vote } => {
                if env.bug.is_some() {
                    crate::byzantine::bug_wiring::heard(self, host, env, &vote)?;
                }
                self.voting.vote(from, vote);
                Ok(())
            }
            CertifierInput::Certificate(certified) => {
                self.voting.certificate(*certified);
                Ok(())
            }
            CertifierInput::UncertifiedFrom { peer, height } => {
                self.voting.uncertified_from(peer, height);
                Ok(())
            }
        }
    }

    fn effect(&mut self, host: &mut Host, env: &mut Env, effect: Effect) -> Result<(), Halt> {
        match effect {
            Effect::WriteGuard(vote) => {
                let status = self.core.status();
                let last_index = host.disk.log.borrow().durable_last().0;
                let state = GuardState { vote, last_index, commit: status.commit.0 };
                env.note(format_args!("{} remembers a vote at {}", host.machine, vote.voted_height));
                host.disk.guard.write(state);
                host.pass(CrashPoint::BeforeGuard)?;
                self.hold(host, env, Hold::Guard(vote.voted_height));
            }
            Effect::BroadcastVote(vote) => self.broadcast_vote(host, env, &vote),
            Effect::RelayVote(vote) => self.broadcast(host, env, &Packet::Vote(vote)),
            Effect::SendCertificate { to, certified } => host.send(env, to, Packet::Certificate(certified)),
            Effect::SendStored { to, from } => {
                if let Some(certified) = host.disk.ledger.boundary_from(from) {
                    host.send(env, to, Packet::Certificate(Box::new(certified)));
                }
            }
            Effect::AskPeers { from } => self.broadcast(host, env, &Packet::AskCertificate(from)),
            Effect::Certified { certified, ends_epoch } => {
                host.pass(CrashPoint::BeforeCertificate)?;
                host.disk.ledger.write_certificate(&certified.certificate);
                if ends_epoch {
                    self.hold(host, env, Hold::Boundary(certified));
                } else {
                    self.certified_header(host, env, &certified)?;
                }
            }
            Effect::Diverged { height, .. } => {
                return Err(Halt::Diverged(format!("another header is certified at height {height}")));
            }
            Effect::Evidence(evidence) => {
                let culprit = evidence.first.validator;
                env.stats.count("evidence found");
                if !env.is_traitor(culprit) && env.bug.is_none() {
                    env.oracle.fail("I9 vote guard", format!("there is evidence against the honest {culprit}"));
                }
                self.leading.evidence.entry(culprit).or_insert(*evidence);
            }
            Effect::Refused { .. } => env.stats.count("votes refused"),
            Effect::Withheld { .. } => env.stats.count("votes withheld for the time"),
        }
        Ok(())
    }

    fn hold(&mut self, host: &mut Host, env: &mut Env, hold: Hold) {
        self.certifier.hold = Some(hold);
        let time = host.sync_time(env);
        host.timer(env, time, Timer::Certifier);
    }

    /// The write is durable.
    pub(crate) fn certifier_written(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        match self.certifier.hold.take() {
            None => Ok(()),
            Some(Hold::Guard(height)) => {
                host.disk.guard.sync();
                if host.honest() {
                    env.oracle.remembered(host.node, height);
                }
                host.pass(CrashPoint::AfterGuard)?;
                self.voting.remembered().map_err(|e| Halt::Fault(format!("voting: {e}")))?;
                // What was to come after the write still comes first.
                let made = self.voting.take_effects();
                self.certifier.effects.extend(made);
                Ok(())
            }
            Some(Hold::Boundary(certified)) => {
                host.disk.ledger.sync();
                self.certified_header(host, env, &certified)
            }
        }
    }

    fn certified_header(&mut self, host: &mut Host, env: &mut Env, certified: &CertifiedHeader) -> Result<(), Halt> {
        host.pass(CrashPoint::AfterCertificate)?;
        let height = certified.header.height;
        self.certifier.boundaries = self.certifier.boundaries.split_off(&height.next());
        self.certifier.heard = self.certifier.heard.split_off(&height.next());
        self.certifier.recent = self.certifier.recent.split_off(&height);
        self.tell_boundary(host, env);
        env.note(format_args!("{} certified {height}", host.machine));
        env.stats.count("certificates");
        if host.honest() {
            let next = host.disk.ledger.next_set_of(&certified.header);
            if next.is_some() {
                env.stats.count("epoch ends certified");
            }
            env.oracle.certified(certified, next.as_ref(), env.now);
            self.waiters.certified(height, env);
        }
        Ok(())
    }

    fn tell_boundary(&self, host: &Host, env: &mut Env) {
        if host.honest() {
            env.oracle.boundary(host.node, self.certifier.boundaries.first().copied());
        }
    }

    pub(crate) fn broadcast(&self, host: &Host, env: &mut Env, packet: &Packet) {
        for peer in self.topology.peers(host.node) {
            host.send(env, peer, packet.clone());
        }
    }

    pub(crate) fn broadcast_vote(&mut self, host: &mut Host, env: &mut Env, vote: &Vote) {
        if host.honest() {
            env.oracle.vote_sent(vote, host.disk.guard.read().unwrap_or_default());
        } else if crate::byzantine::tamper_vote(self, host, env, vote) {
            return;
        }
        if env.has(Bug::CountHeads) || env.has(Bug::NewSetEarly) {
            self.certifier.heard.entry(vote.height).or_default().insert(vote.validator, vote.clone());
        }
        self.broadcast(host, env, &Packet::Vote(vote.clone()));
    }
}
