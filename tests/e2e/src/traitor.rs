//! A member that runs the honest program and lies with what leaves its machine, as the
//! traitors of the simulator do: real elections bring it into the lead, with real grants, and
//! its lies are signed with its own keys.
//!
//! It sits between its own process and everybody else. To the others it shows its own
//! certificate. Its process takes it for the others, whose certificates it needs for that
//! alone: what happens inside a traitor's machine binds nobody.

mod relay;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consilium_consensus::Signer;
use consilium_kit::forks::Forks;
use consilium_kit::raft_wire;
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{self, peer_message::Message};
use consilium_proto::signing::SigningKey;
use tokio::net::TcpStream;

use crate::node::Node;
use crate::raw::RawIdentity;

const HOUR_MS: i64 = 3_600_000;

/// What a traitor does while it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing: it is honest.
    Nothing,
    /// Tells half of the others blocks of another time, with hashes that fit.
    Fork,
    /// Tells everyone else blocks of a time of his own.
    ForkAll,
    /// Proposes what is no block.
    Garbage,
    /// Proposes blocks with observations that cannot be read.
    Garble,
    /// Dates blocks an hour ahead.
    DateAhead,
    /// Dates blocks an hour back.
    DateBack,
    /// Hears of no clock, so that its own one may be off; whoever leads does date by it.
    DeafToClocks,
    /// Says that everything is committed, and more.
    ClaimCommit,
    /// Says nothing any more.
    Silence,
}

/// See the module.
#[derive(Debug)]
pub struct Traitor {
    node: usize,
    genesis: PathBuf,
    parties: Vec<Party>,
    state: Mutex<State>,
}

/// What there is to know of a node.
#[derive(Debug)]
struct Party {
    id: NodeId,
    dir: PathBuf,
    peer: SocketAddr,
}

#[derive(Debug)]
struct State {
    lie: Lie,
    forks: Forks,
}

impl Traitor {
    /// One of these nodes; the genesis document will be at `genesis`.
    pub(crate) fn new(node: usize, nodes: &[Node], genesis: PathBuf) -> Self {
        let party = |node: &Node| Party { id: NodeId(node.raft_id()), dir: node.dir.clone(), peer: node.peer };
        let state = Mutex::new(State { lie: Lie::Nothing, forks: Forks::default() });
        Self { node, genesis, parties: nodes.iter().map(party).collect(), state }
    }

    /// Its position in the network.
    #[must_use]
    pub fn node(&self) -> usize {
        self.node
    }

    /// From now on it lies like this.
    pub fn lie(&self, lie: Lie) {
        *self.state() = State { lie, forks: Forks::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is said on this link goes through its hands.
    pub(crate) fn holds(&self, (caller, called): (usize, usize)) -> bool {
        caller != called && (caller == self.node || called == self.node)
    }

    /// Stands in the middle of a connection.
    ///
    /// # Errors
    /// If one of the two does not believe it.
    pub(crate) async fn stand_between(self: Arc<Self>, stream: TcpStream, link: (usize, usize)) -> io::Result<()> {
        relay::serve(self, stream, link).await.map_err(io::Error::other)
    }

    /// A batch on its way, as it goes on.
    fn pass(&self, (caller, called): (usize, usize), batch: pb::ExchangeRequest) -> pb::ExchangeRequest {
        let state = &mut *self.state();
        let messages = batch.messages.into_iter().filter_map(|message| message.message);
        let passed: Vec<Message> = match caller == self.node {
            true => messages.filter_map(|message| self.say(state, called, message)).collect(),
            false => messages.filter_map(|message| hear(state, self.parties[caller].id, message)).collect(),
        };
        let messages = passed.into_iter().map(|message| pb::PeerMessage { message: Some(message) });
        pb::ExchangeRequest { messages: messages.collect() }
    }

    /// What it says instead of what its honest code says.
    fn say(&self, state: &mut State, called: usize, message: Message) -> Option<Message> {
        let State { lie, forks } = state;
        let (me, to) = (self.parties[self.node].id, self.parties[called].id);
        let Message::Raft(own) = &message else { return (*lie != Lie::Silence).then_some(message) };
        let instead = match lie {
            Lie::Nothing | Lie::DeafToClocks => return Some(message),
            Lie::Silence => return None,
            Lie::ClaimCommit => return Some(Message::Raft(raft_wire::committed(own).unwrap_or_else(|| own.clone()))),
            Lie::Fork if called % 2 == self.node % 2 => None,
            Lie::Fork => raft_wire::dated(own, 1),
            Lie::ForkAll => raft_wire::dated(own, 1 + called as i64),
            Lie::Garbage => raft_wire::nonsense(own),
            Lie::Garble => raft_wire::garbled(own, me),
            Lie::DateAhead => raft_wire::dated(own, HOUR_MS),
            Lie::DateBack => raft_wire::dated(own, -HOUR_MS),
        };
        // Also what is told as it is belongs to what was told.
        let signer = self.signer().ok()?;
        let told = forks.told(&signer, (me, to), own, instead.unwrap_or_else(|| own.clone()));
        Some(Message::Raft(forks.acknowledged(to, told)))
    }

    /// A node's identity.
    fn identity(&self, node: usize) -> anyhow::Result<RawIdentity> {
        let read = |name: &str| fs::read_to_string(self.parties[node].dir.join(name));
        RawIdentity::from_pem(&read("node-n1.pem")?, &read("node-n1.key")?)
    }

    /// With what its own node signs.
    fn signer(&self) -> anyhow::Result<Signer> {
        let pem = fs::read_to_string(self.parties[self.node].dir.join("vote.key"))?;
        Ok(Signer { ledger_id: self.genesis()?.ledger_id, key: Arc::new(SigningKey::from_pem(&pem)?) })
    }

    fn genesis(&self) -> anyhow::Result<Genesis> {
        Ok(Genesis::parse(&fs::read(&self.genesis)?)?)
    }
}

/// What its honest code hears.
fn hear(state: &State, from: NodeId, message: Message) -> Option<Message> {
    match message {
        Message::WallClockMs(_) if state.lie == Lie::DeafToClocks => None,
        Message::Raft(bytes) if state.lie != Lie::Nothing => Some(Message::Raft(state.forks.heard(from, bytes))),
        other => Some(other),
    }
}
