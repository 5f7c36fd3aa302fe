//! What comes to a node from outside: packets of peers, and clients. Whoever is
//! not of the ledger is refused at the handshake.

use bytes::Bytes;
use consilium_consensus::{RaftId, StepError};
use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::NodeId;
use consilium_proto::pb;
use consilium_proto::transaction::Transaction;

use super::certify::CertifierInput;
use super::{Node, chain};
use crate::bugs::Bug;
use crate::byzantine::raft_wire::claimed_sender;
use crate::env::{Env, Halt};
use crate::event::Packet;
use crate::machine::Host;

impl Node {
    /// A packet arrives over the connection of `from`.
    ///
    /// # Errors
    /// Why the node goes down.
    pub fn packet(&mut self, host: &mut Host, env: &mut Env, from: NodeId, packet: Packet) -> Result<(), Halt> {
        let stranger = !self.topology.knows(from);
        if stranger && !(env.has(Bug::StrangerMessage) && matches!(packet, Packet::Raft(_))) {
            // Refused at the handshake.
            return Ok(());
        }
        match packet {
            Packet::Raft(bytes) => self.step(host, env, from, bytes),
            Packet::Vote(vote) => {
                let newest = self.votes.get(&vote.validator).is_none_or(|before| before.height < vote.height);
                if newest && vote.validator == from {
                    self.votes.insert(from, vote.clone());
                }
                self.certifier.inputs.push_back(CertifierInput::Vote { from, vote });
            }
            Packet::Certificate(certified) => {
                self.certifier.inputs.push_back(CertifierInput::Certificate(certified));
            }
            Packet::AskCertificate(height) => {
                self.certifier.inputs.push_back(CertifierInput::UncertifiedFrom { peer: from, height });
            }
            Packet::Forward(transaction) => self.forwarded(host, env, &transaction),
            Packet::FetchBlocks { from: height, request } => {
                let id = env.fixture.genesis.ledger_id;
                let blocks = chain::serve(&host.disk.ledger, id, height, 64);
                env.stats.count("block fetches served");
                host.send(env, from, Packet::Blocks { blocks, request });
            }
            Packet::Blocks { blocks, request } => self.blocks_arrived(host, env, blocks, request),
            Packet::AskOwnVote => {
                let vote = self.votes.get(&from).cloned();
                host.send(env, from, Packet::OwnVote(Box::new(vote)));
            }
            Packet::OwnVote(_) => {}
        }
        self.work(host, env)
    }

    fn step(&mut self, host: &Host, env: &mut Env, proven: NodeId, bytes: Bytes) {
        // Where nobody lies there is nothing to compare.
        let claimed = if env.traitors.is_empty() { Some(proven) } else { claimed_sender(&bytes) };
        let from = if env.has(Bug::StrangerMessage) { claimed.unwrap_or(proven) } else { proven };
        let Some(peer) = RaftId::new(from.0) else { return };
        match self.core.step(peer, bytes) {
            Ok(()) if host.honest() => env.oracle.stepped(proven, claimed),
            Ok(()) => {}
            Err(StepError::Rejected { .. }) => env.stats.count("raft messages refused"),
            Err(_) => env.stats.count("raft messages ignored"),
        }
    }

    fn forwarded(&mut self, host: &mut Host, env: &mut Env, transaction: &pb::SignedTransaction) {
        let Ok(transaction) = Transaction::parse(transaction, env.fixture.genesis.ledger_id) else { return };
        if self.leads() {
            let mut checked = CheckedTransaction { transaction, verified_under: None };
            env.verify(&host.disk.ledger, &mut checked);
            if checked.verified_under.is_some() || checked.transaction.enrollment().is_some() {
                self.leading.push(checked);
            }
        }
    }

    pub(super) fn submit(&mut self, host: &mut Host, env: &mut Env, checked: CheckedTransaction, leader: RaftId) {
        if self.leads() {
            self.leading.push(checked);
        } else {
            let wire = Box::new(checked.transaction.to_wire());
            host.send(env, NodeId(leader.get()), Packet::Forward(wire));
        }
    }

    /// A client submits a transaction here.
    ///
    /// # Errors
    /// Why the node goes down.
    pub fn client(&mut self, host: &mut Host, env: &mut Env, transaction: Transaction) -> Result<(), Halt> {
        let id = transaction.id;
        if let Some(location) = host.disk.ledger.location(&id) {
            self.waiters.executed(id, location.height, location.outcome);
            let certified = self.certified();
            self.waiters.certified(certified, env);
            return Ok(());
        }
        let mut checked = CheckedTransaction { transaction, verified_under: None };
        env.verify(&host.disk.ledger, &mut checked);
        self.waiters.keep(checked.clone());
        if let Some(leader) = self.core.status().leader {
            self.submit(host, env, checked, leader);
        }
        self.work(host, env)
    }
}
