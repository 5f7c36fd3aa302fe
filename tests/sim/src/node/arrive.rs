//! What comes to a node from outside: packets of peers, and clients. Whoever is
//! not of the ledger is refused at the handshake, as the daemon's transport does.

use bytes::Bytes;
use consilium_consensus::LogIndex;
use consilium_kit::Rules;
use consilium_kit::raft_wire::{acknowledged, acknowledging, claimed_sender, with_hash};
use consilium_ledger::{CheckedTransaction, is_signed_enrollment};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::transaction::Transaction;
use consilium_replica::catch_up::{Serving, serve_attachments};
use consilium_replica::peer::{BATCH_MAX, PeerMessage};
use consilium_replica::submission::{Submission, Verdict, WaitFor};
use consilium_replica::{Input, Output};

use super::{Asker, Node, REQUEST_MS};
use crate::bugs::Bug;
use crate::env::{Env, Halt};
use crate::event::Packet;
use crate::host::Host;

impl Node {
    /// A packet arrives over the connection of `from`.
    ///
    /// # Errors
    /// Why the node goes down.
    pub fn packet(&mut self, host: &mut Host, env: &mut Env, from: NodeId, packet: Packet) -> Result<(), Halt> {
        if !self.may_speak(env, from) && !env.has(Bug::StrangerMessage) {
            self.tell_unheard(host, env, from, &packet);
            return Ok(());
        }
        match packet {
            Packet::Messages(messages) => return self.messages(host, env, from, messages),
            Packet::Forward { call, transactions } => {
                let id = env.fixture.genesis.ledger_id;
                let parsed: Vec<_> = transactions.iter().map(|t| Transaction::parse(t, id).ok()).collect();
                // The bug: whoever does not lead has nothing to do with it.
                let unwatched = env.has(Bug::RightsUnwatched) && !self.leads();
                let parsed = parsed.into_iter().map(|t| t.filter(|t| !unwatched || t.urgency().is_none()));
                let submissions = parsed.map(|t| t.map(|t| submission(host, env, t))).collect();
                let request = self.request(Asker::Forwarder(from, call));
                let submissions = crate::byzantine::tamper_submissions(host, env, self.leads(), submissions);
                self.push(host, env, Input::Forwarded { request, submissions });
            }
            Packet::ForwardAnswer { call, results } => {
                if self.calls.remove(&call) {
                    self.push(host, env, Input::ForwardAnswer { call, results });
                }
            }
            Packet::FetchBlocks { first, call } => self.serve_blocks(host, env, from, first, call)?,
            Packet::Blocks { blocks, call } => {
                for block in blocks {
                    self.push(host, env, Input::Fetched { call, block: Box::new(block) });
                }
                self.push(host, env, Input::FetchEnded { call, problem: None });
            }
            Packet::FetchAttachments { slots, call } => {
                let contents = serve_attachments(&host.disk.ledger_port(), &slots).map_err(|e| host.failed(&e))?;
                host.send(env, from, Packet::Attachments { contents, call });
            }
            Packet::Attachments { contents, call } => {
                self.push(host, env, Input::AttachmentsFetched { call, contents });
            }
            Packet::RequestTimeBlock(after) => self.push(host, env, Input::RequestTimeBlock(after)),
        }
        Ok(())
    }

    fn tell_unheard(&self, host: &Host, env: &mut Env, from: NodeId, packet: &Packet) {
        let Packet::Messages(messages) = packet else { return };
        let voting = self.replica.voting();
        for message in messages {
            if let PeerMessage::Vote(vote) = message
                && host.honest()
            {
                let has_seat = voting.schedule().set_at(vote.height).is_some_and(|set| set.seat(from).is_some());
                env.oracle.unheard(host.node, from, vote.height, voting.certified(), has_seat);
            }
        }
    }

    fn may_speak(&self, env: &Env, from: NodeId) -> bool {
        let topology = self.replica.topology();
        // The bug: whoever is retired is refused at once.
        let known = if env.has(Bug::RetiredAtOnce) { topology.node(from) } else { topology.peer(from) };
        known.is_some()
    }

    fn messages(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        from: NodeId,
        messages: Vec<PeerMessage>,
    ) -> Result<(), Halt> {
        let mut batch = Vec::new();
        for message in messages {
            let message = super::bug_state::remembered(env, message);
            let raft = matches!(message, PeerMessage::Raft(_));
            if raft && self.distrusted.is_some_and(|(leader, _)| leader == from) {
                continue;
            }
            // Where nobody lies there is nothing to compare.
            if let (PeerMessage::Raft(bytes), false) = (&message, env.traitors.is_empty()) {
                let claimed = claimed_sender(bytes);
                if claimed != Some(from) {
                    self.hear(host, env, from, std::mem::take(&mut batch));
                    self.false_sender(host, env, (from, claimed), message)?;
                    continue;
                }
            }
            if let PeerMessage::Raft(bytes) = &message
                && env.has(Bug::GrantsUnchecked)
            {
                batch.extend(super::bug_wiring::mandate(self, env, from, bytes));
            }
            if let PeerMessage::Raft(bytes) = &message
                && env.has(Bug::CommitFromLeader)
            {
                self.hear(host, env, from, std::mem::take(&mut batch));
                let others = (1..=env.swarm.members).map(NodeId).filter(|id| *id != host.node);
                for other in others {
                    let ack = acknowledging(bytes, other, host.node).map(PeerMessage::Raft);
                    self.hear(host, env, other, ack.into_iter().collect());
                }
            }
            if let PeerMessage::Vote(vote) = &message {
                super::bug_wiring::heard(self, host, env, vote);
            }
            if let PeerMessage::Certified(certified) = &message {
                self.give(host, env, from, &certified.header);
            }
            batch.push(match message {
                PeerMessage::Raft(bytes) if !host.honest() => PeerMessage::Raft(env.forks.heard(from, bytes)),
                PeerMessage::Raft(bytes) if env.has(Bug::ChainUnchecked) => PeerMessage::Raft(unchecked(host, bytes)),
                other => other,
            });
        }
        self.hear(host, env, from, batch);
        Ok(())
    }

    /// A certificate of an honest node arrives. It must count if it is one of a block
    /// that this node has executed, and no boundary is in between.
    fn give(&mut self, host: &Host, env: &Env, from: NodeId, header: &Header) {
        let voting = self.replica.voting();
        let limit = voting.schedule().boundary_above(voting.certified());
        let own = host.disk.ledger.borrow().header(header.height);
        if !env.is_traitor(from)
            && limit.is_none_or(|limit| header.height <= limit)
            && own.is_some_and(|own| own.hash() == header.hash())
        {
            self.given = self.given.max(header.height);
        }
    }

    /// What still waits of the same peer grows into one batch, as what waits at the
    /// peer's end of the stream does.
    fn hear(&mut self, host: &Host, env: &mut Env, from: NodeId, mut messages: Vec<PeerMessage>) {
        let waiting = self.inbox.iter_mut().rev().find_map(|input| {
            let Input::Peer { from: peer, messages } = input else { return None };
            (*peer == from).then_some(messages)
        });
        if let Some(waiting) = waiting.filter(|waiting| waiting.len() + messages.len() <= BATCH_MAX) {
            waiting.append(&mut messages);
        } else if !messages.is_empty() {
            self.push(host, env, Input::Peer { from, messages });
        }
    }

    /// A message that claims another sender than its connection proves must be
    /// refused.
    fn false_sender(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        (proven, claimed): (NodeId, Option<NodeId>),
        message: PeerMessage,
    ) -> Result<(), Halt> {
        self.turn(host, env)?;
        let from = if env.has(Bug::StrangerMessage) { claimed.unwrap_or(proven) } else { proven };
        let input = Input::Peer { from, messages: vec![message] };
        let outputs = self.replica.handle(crate::byzantine::clock(host, env, self.leads()), [input]);
        let refused = |output: &Output| {
            use consilium_replica::notice::Notice::{RaftIgnored, RaftRejected};
            matches!(output, Output::Notice(RaftRejected { .. } | RaftIgnored { .. }))
        };
        if host.honest() && !outputs.iter().any(refused) {
            env.oracle.stepped(proven, claimed);
        }
        self.tell_oracle(host, env);
        outputs.into_iter().try_for_each(|output| self.perform(host, env, output))
    }

    fn serve_blocks(
        &self,
        host: &Host,
        env: &mut Env,
        to: NodeId,
        first: Height,
        call: consilium_replica::CallId,
    ) -> Result<(), Halt> {
        let mut serving = Serving::new(env.fixture.genesis.ledger_id, first, self.certified());
        let mut blocks = Vec::new();
        while let Some(block) = serving.next(&host.disk.ledger_port()).map_err(|e| host.failed(&e))? {
            blocks.push(block);
        }
        env.stats.count("block fetches served");
        host.send(env, to, Packet::Blocks { blocks, call });
        Ok(())
    }

    /// A client submits a transaction here.
    pub fn client(&mut self, host: &mut Host, env: &mut Env, transaction: Transaction) {
        if self.release_to_own_staff(host, env, &transaction) {
            return;
        }
        let (id, author) = (transaction.id, transaction.head.author);
        let reader = transaction.access_request().map(|_| author);
        // The bug: who is given contents need not wait for the certificate.
        let at_once = reader.is_some() && env.has(Bug::ReleaseAtOrdered);
        let wait_for = if at_once { WaitFor::Ordered } else { WaitFor::Certified };
        let submission = submission(host, env, transaction);
        let tampered = crate::byzantine::tamper_submissions(host, env, self.leads(), vec![Some(submission)]);
        for submission in tampered.into_iter().flatten() {
            let request = self.request(Asker::Client(id, reader));
            let deadline_ms = env.now + REQUEST_MS;
            self.push(host, env, Input::Submit { request, submission, wait_for, deadline_ms });
        }
    }

    /// A client reads here.
    pub fn read(&mut self, host: &mut Host, env: &mut Env) {
        let told = env.oracle.told();
        if env.has(Bug::ReadOfDeposedLeader) && self.leads() {
            // The bug: whoever believes to lead answers at once.
            env.oracle.read(host.node, told, self.height());
            return;
        }
        let request = self.request(Asker::Reader(told));
        let mut context = [0; 16];
        context[..8].copy_from_slice(&(host.machine as u64 + 1).to_be_bytes());
        context[8..].copy_from_slice(&(request.0 + (host.incarnation << 32)).to_be_bytes());
        self.push(host, env, Input::Read { request, context: consilium_consensus::ReadContext(context) });
    }

    /// Somebody needs the ledger's time to pass a moment.
    pub fn want_time(&mut self, host: &Host, env: &mut Env, after: TimeMs) {
        match self.status().raft.leader {
            Some(leader) if leader.get() == host.node.0 => self.push(host, env, Input::RequestTimeBlock(after)),
            Some(leader) => host.send(env, NodeId(leader.get()), Packet::RequestTimeBlock(after)),
            None => {}
        }
    }
}

/// The bug: an acknowledgement as one of the entry that stands here, whichever that is.
fn unchecked(host: &Host, message: Bytes) -> Bytes {
    let own = acknowledged(&message).and_then(|(index, _)| host.disk.log.borrow().entry(LogIndex(index)).ok());
    own.and_then(|entry| with_hash(&message, &entry.hash)).unwrap_or(message)
}

/// Looks at a signature, as the daemon's verifiers do.
fn submission(host: &Host, env: &mut Env, transaction: Transaction) -> Submission {
    let mut checked = CheckedTransaction { transaction, verified_under: None };
    let known = env.verify(&host.disk.ledger_port(), &mut checked);
    let CheckedTransaction { transaction, verified_under } = checked;
    let verdict = match verified_under {
        Some(key) => Verdict::Good(key),
        None if is_signed_enrollment(&Rules, &transaction) == Some(true) => Verdict::Enrollment,
        None if known || transaction.enrollment().is_some() => Verdict::BadSignature,
        None => Verdict::UnknownAuthor,
    };
    Submission { transaction, verdict }
}
