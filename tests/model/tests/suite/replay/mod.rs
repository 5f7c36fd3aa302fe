//! Paths of the model on real cores: each move is what makes it happen there, the liar is played
//! by hand, and after each move the cores are where the model is. Where nobody is elected any
//! more, the cores say to each other what the model has them say.

mod cores;
mod liar;

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_consensus::{Candidacy, EntryKind, LogEntry, LogHash, LogIndex, Mandate, Role, Term};
use consilium_model::log::Log;
use consilium_model::moves::{Leader, Move, would_grant};
use consilium_model::network::Network;
use consilium_model::rules::{Rules, Scope};
use consilium_model::state::{HONEST, State};
use consilium_proto::hash::Hash;
use consilium_proto::ids::NodeId;
use raft::eraftpb::{Message, MessageType};
use stateright::Model;

use self::cores::{Cores, id, validators};
use self::liar::LIAR;
use crate::paths;

/// The model, and the cores beside it.
struct Replay {
    model: Network,
    state: State,
    cores: Cores,
    mandates: BTreeMap<u8, Mandate>,
}

fn node(at: usize) -> consilium_consensus::RaftId {
    id(at as u64 + 1)
}

impl Replay {
    fn of(path: &[Move]) -> Self {
        let scope = Scope { reduced: false, ..Scope::of(3, 2) };
        let model = Network::new(Rules::AS_CODED, scope);
        let (state, cores) = (model.start, Cores::new());
        let mut replay = Self { model, state, cores, mandates: BTreeMap::new() };
        path.iter().for_each(|step| replay.step(*step));
        replay
    }

    fn step(&mut self, step: Move) {
        let mut moves = Vec::new();
        self.model.actions(&self.state, &mut moves);
        assert!(moves.contains(&step), "{step:?} is not possible in {:?}", self.state);
        match step {
            Move::Elect { leader, term, granters } => {
                let granters: Vec<usize> = (0..HONEST).filter(|at| granters >> at & 1 == 1).collect();
                match leader {
                    Leader::Liar => self.elect_liar(term, &granters),
                    Leader::Honest(at) => self.elect(at, term, &granters),
                }
            }
            Move::Append { to, leader, term, log } => {
                self.cores.show(to, &self.mandates[&term]);
                match leader {
                    Leader::Liar => self.append_of_liar(to, term, log),
                    Leader::Honest(at) => self.append(at, to),
                }
            }
            Move::Count { node, len } => self.count(node, len),
            Move::Propose { .. } | Move::Adopt { .. } | Move::Forget { .. } => unreachable!("in no path here"),
        }
        self.state = self.model.next_state(&self.state, step).unwrap();
        self.compare(&step);
    }

    /// The entries that a log of the model stands for.
    fn entries(&self, log: Log) -> Vec<LogEntry> {
        let mut before = LogHash::NONE;
        let entry = |index: usize| {
            let (term, other) = (log.term_at(index), log.variant_at(index));
            let data = if other { "other" } else { "one" };
            let opens = self.mandates[&term].candidacy.candidate != id(LIAR);
            let kind = if opens { EntryKind::Empty } else { EntryKind::Normal(Bytes::from_static(data.as_bytes())) };
            let entry = LogEntry::new(&before, Term(u64::from(term)), LogIndex(index as u64), kind);
            before = entry.hash;
            entry
        };
        (1..=log.len()).map(entry).collect()
    }

    fn compare(&self, step: &Move) {
        for (at, model) in self.state.nodes.iter().enumerate() {
            let real = &self.cores.nodes[at];
            let log: Vec<_> = self.entries(model.log).iter().map(LogEntry::position).collect();
            assert_eq!(real.positions(), log, "log of {at} after {step:?}");
            // Seals differ.
            let executed: Vec<_> = real.executed.iter().map(LogEntry::position).collect();
            let counted: Vec<_> = self.entries(model.counted).iter().map(LogEntry::position).collect();
            assert_eq!(executed, counted, "executed by {at} after {step:?}");
            assert_eq!(real.core.commit_index().0, model.counted.len() as u64, "counted by {at} after {step:?}");
            assert_eq!(real.core.term().0, u64::from(model.term), "term of {at} after {step:?}");
        }
    }

    fn elect_liar(&mut self, term: u8, granters: &[usize]) {
        let candidacy = liar::candidacy(term);
        let mut grants: BTreeMap<_, _> = [(NodeId(LIAR), liar::grant(&candidacy))].into();
        for at in granters {
            self.cores.wait(*at);
            let mark = self.cores.said.len();
            self.cores.deliver(&liar::asks_for_a_grant(node(*at), term)).unwrap();
            let answers = self.cores.since(mark, MessageType::MsgRequestVoteResponse);
            let [answer] = answers.as_slice() else { panic!("{at}: {answers:?}") };
            assert!(!answer.reject);
            grants.insert(NodeId(answer.from), answer.context.as_slice().try_into().unwrap());
        }
        let validators_hash: Hash = validators().hash();
        self.mandates.insert(term, Mandate { candidacy, validators_hash, grants });
    }

    /// All others are asked, and answer as the model has it; only the granters are heard.
    fn elect(&mut self, at: usize, term: u8, granters: &[usize]) {
        let answers = self.ask(at);
        assert_eq!(answers.term, u64::from(term));
        answers.compare(&self.state, at, &self.model.rules);
        let mark = self.cores.said.len();
        for answer in answers.given.into_iter().filter(|answer| granters.contains(&(answer.from as usize - 1))) {
            self.cores.deliver(&answer).unwrap();
        }
        self.cores.deliver(&liar::would_grant(node(at), term)).unwrap();
        let candidacy = self.candidacy(at, term);
        for request in self.cores.since(mark, MessageType::MsgRequestVote) {
            if granters.contains(&(request.to as usize - 1)) {
                self.cores.deliver(&request).unwrap();
            }
        }
        for grant in self.cores.since(mark, MessageType::MsgRequestVoteResponse) {
            self.cores.deliver(&grant).unwrap();
        }
        self.cores.deliver(&liar::grants(&candidacy)).unwrap();
        assert_eq!(self.cores.core(at).role(), Role::Leader);
        self.mandates.insert(term, self.cores.core(at).mandate().unwrap().clone());
    }

    fn candidacy(&mut self, at: usize, term: u8) -> Candidacy {
        let last = self.cores.nodes[at].positions().last().copied().unwrap_or_default();
        let status = self.cores.core(at).status();
        let (applied, membership) = (status.applied, status.membership);
        Candidacy { term: Term(u64::from(term)), candidate: node(at), last, applied, membership }
    }

    /// A node asks all others whether they would grant, in a term that is later than theirs.
    fn ask(&mut self, at: usize) -> Answers {
        let others: Vec<usize> = (0..HONEST).filter(|other| *other != at).collect();
        others.iter().for_each(|other| self.cores.wait(*other));
        let newest = others.iter().map(|other| self.cores.nodes[*other].core.term().0).max().unwrap();
        self.cores.core(at).set_may_lead(true);
        for _ in 0..1_000 {
            let mark = self.cores.said.len();
            self.cores.tick(at);
            let mut given = Vec::new();
            let asked = self.cores.since(mark, MessageType::MsgRequestPreVote);
            let Some(term) = asked.first().map(|request| request.term) else { continue };
            for request in asked {
                let mark = self.cores.said.len();
                // Whoever has counted something else says nothing.
                let _ = self.cores.deliver(&request);
                given.extend(self.cores.since(mark, MessageType::MsgRequestPreVoteResponse));
            }
            if term > newest {
                return Answers { term, given };
            }
            // Nobody grants in a term that has passed; whoever is behind is told so.
            given.iter().for_each(|answer| self.cores.deliver(answer).unwrap());
        }
        panic!("{at} does not stand");
    }

    fn append(&mut self, from: usize, to: usize) {
        let pair = [from, to].map(|at| at as u64 + 1);
        let between = |message: &Message| {
            let kinds = [MessageType::MsgAppend, MessageType::MsgAppendResponse];
            pair.contains(&message.from) && pair.contains(&message.to) && kinds.contains(&message.get_msg_type())
        };
        let mut at = 0;
        while let Some(message) = self.cores.said.get(at).cloned() {
            at += 1;
            if between(&message) {
                let _ = self.cores.deliver(&message);
            }
        }
    }

    fn append_of_liar(&mut self, to: usize, term: u8, log: Log) {
        let entries = self.entries(log);
        let behind = self.state.nodes[to].counted.len();
        self.cores.deliver(&liar::appends(node(to), term, &entries, behind)).unwrap();
    }

    /// Everything that the honest ever acknowledged arrives, and does not do; then the liar
    /// acknowledges the entry.
    fn count(&mut self, at: usize, len: usize) {
        let before = self.cores.nodes[at].core.commit_index();
        for ack in self.cores.since(0, MessageType::MsgAppendResponse) {
            if ack.to == at as u64 + 1 && !ack.reject {
                let _ = self.cores.deliver(&ack);
            }
        }
        assert_eq!(self.cores.nodes[at].core.commit_index(), before);
        let head = self.entries(self.state.nodes[at].log.prefix(len)).pop().unwrap();
        self.cores.deliver(&liar::acknowledges(node(at), &head)).unwrap();
    }

    /// No node gets the grants of both others: without the liar nobody leads.
    #[track_caller]
    fn nobody_is_elected(mut self) {
        for at in 0..HONEST {
            let answers = self.ask(at);
            answers.compare(&self.state, at, &self.model.rules);
            assert!(answers.granters() < HONEST - 1, "{at} would be elected");
        }
    }
}

/// What a node is told that asks for grants.
struct Answers {
    term: u64,
    given: Vec<Message>,
}

impl Answers {
    fn granters(&self) -> usize {
        self.given.iter().filter(|answer| !answer.reject).count()
    }

    fn compare(&self, state: &State, at: usize, rules: &Rules) {
        for other in (0..HONEST).filter(|other| *other != at) {
            let granted = self.given.iter().any(|answer| answer.from == other as u64 + 1 && !answer.reject);
            let expected = would_grant(&state.nodes[other], &state.nodes[at], rules);
            assert_eq!(granted, expected, "{other} to {at}");
        }
    }
}

/// One node counted an entry, and nobody is elected any more.
#[test]
fn real_cores_stop_where_the_model_does() {
    let path = [paths::two_entries(), paths::led_by_the_other()].concat();
    Replay::of(&path).nobody_is_elected();
}

/// Real nodes execute two entries of one term at one index, each by a quorum of acknowledgements.
/// Somebody may be elected yet: whoever has counted an entry does not show its hash any more.
#[test]
fn real_cores_execute_two_entries_at_one_index() {
    let path = [paths::two_entries(), paths::led_by_the_other(), paths::counted_by_the_other()].concat();
    let replay = Replay::of(&path);
    let [a, b, c] = [0, 1, 2].map(|at| replay.cores.nodes[at].executed[0].position());
    assert!(a.hash != b.hash && (a.index, a.term) == (b.index, b.term) && b == c);
}

/// The same without two entries of one term.
#[test]
fn real_cores_let_a_leader_replace_what_it_had() {
    let replay = Replay::of(&paths::replaced());
    let [b, c] = [1, 2].map(|at| replay.cores.nodes[at].executed[0].position());
    assert!(b.index == c.index && b.term > c.term);
}

/// A real node does not grant a candidate that lacks what it has counted itself; nor does that
/// one grant those that are behind it.
#[test]
fn real_cores_elect_nobody_who_lacks_what_is_certified() {
    let path = paths::lacks_what_is_certified();
    let (_, before) = path.split_last().unwrap();
    Replay::of(before).nobody_is_elected();
}
