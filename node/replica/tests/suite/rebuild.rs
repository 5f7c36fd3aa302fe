//! A ledger that went astray is rebuilt from certified blocks of the peers.

use consilium_consensus::{LogBounds, LogEntry, LogError, LogIndex, LogPosition, LogReader, Term};
use consilium_kit::replica::{Did, Disk, LedgerPort, Replicas};
use consilium_kit::{Identity, Rules};
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::pb;
use consilium_replica::catch_up::rebuild::{Rebuild, RebuildInput, RebuildOutput, finish};
use consilium_replica::start::write_genesis;
use consilium_replica::{CallId, Fault};

const PATIENCE_MS: u64 = 500;

/// Three nodes with some blocks, and an empty disk for the third.
struct Astray {
    net: Replicas,
    disk: Disk,
    rebuild: Rebuild<LedgerPort, OwnLog>,
}

fn astray() -> Astray {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1)];
    let mut net = Replicas::new(&members, |_| {}, |_| {});
    net.elect(1);
    for member in ["a.example", "b.example", "c.example"] {
        net.enroll(1, &Identity::new(member, "admin", "root"));
    }
    net.time_blocks(1, 4);
    let disk = Disk::new();
    write_genesis(&disk.ledger, &net.genesis).unwrap();
    disk.journal.take();
    let me = (NodeId(3), net.genesis.ledger_id);
    let needed = OwnLog { truncated: 0, last: net.node(3).replica.applied().index.0, term: 1 };
    let rebuild = Rebuild::new(me, None, (disk.ledger.clone(), Box::new(Rules)), needed, PATIENCE_MS).unwrap();
    Astray { net, disk, rebuild }
}

/// A log of one term that begins behind an index and ends with one.
pub(crate) struct OwnLog {
    pub(crate) truncated: u64,
    pub(crate) last: u64,
    pub(crate) term: u64,
}

impl LogReader for OwnLog {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        let truncated = self.position(LogIndex(self.truncated))?;
        Ok(LogBounds { truncated, last: LogIndex(self.last) })
    }

    fn entries(&self, low: LogIndex, _: LogIndex, _: usize) -> Result<Vec<LogEntry>, LogError> {
        Err(LogError::Missing { index: low })
    }

    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError> {
        Ok(LogPosition { index, term: Term(self.term), ..LogPosition::default() })
    }
}

impl Astray {
    /// Gives an input and as many ticks as are asked for.
    fn give(&mut self, now_ms: u64, input: RebuildInput) -> Result<Vec<RebuildOutput>, Fault> {
        let mut all = self.rebuild.handle(now_ms, input)?;
        while all.last() == Some(&RebuildOutput::Continue) {
            all.pop();
            all.extend(self.rebuild.handle(now_ms, RebuildInput::Tick)?);
        }
        Ok(all)
    }

    /// A peer answers a call.
    fn answer(
        &mut self,
        now_ms: u64,
        call: u64,
        change: fn(&mut pb::FetchBlocksResponse),
    ) -> Result<Vec<RebuildOutput>, Fault> {
        let first = self.rebuild.progress().0.next();
        let mut all = Vec::new();
        for mut block in self.net.blocks(1, first) {
            change(&mut block);
            let block = Box::new(block);
            all.extend(self.give(now_ms, RebuildInput::Fetched { call: CallId(call), block })?);
        }
        all.extend(self.give(now_ms, RebuildInput::FetchEnded { call: CallId(call), problem: None })?);
        Ok(all)
    }
}

/// What the header covers only through what it does to the state.
fn lie(block: &mut pb::FetchBlocksResponse) {
    let block = block.block.as_mut().unwrap();
    block.observed_certificate = None;
    block.observed_votes.clear();
}

fn fetch(call: u64, from: u64, first: u64) -> RebuildOutput {
    RebuildOutput::Fetch { call: CallId(call), from: NodeId(from), first: Height(first) }
}

fn failed(outputs: &[RebuildOutput]) -> Vec<u64> {
    let peer = |output: &RebuildOutput| match output {
        RebuildOutput::PeerFailed { peer, .. } => Some(peer.0),
        _ => None,
    };
    outputs.iter().filter_map(peer).collect()
}

#[test]
fn the_ledger_comes_to_all_that_the_log_held_and_the_log_begins_behind_it() {
    let mut astray = astray();
    assert_eq!(astray.give(0, RebuildInput::Tick), Ok(vec![fetch(1, 1, 1)]));
    let outputs = astray.answer(0, 1, |_| {}).unwrap();
    assert!(outputs.contains(&RebuildOutput::Done), "{outputs:?}");
    assert!(failed(&outputs).is_empty());
    let executed = outputs.iter().filter(|output| matches!(output, RebuildOutput::Executed { .. })).count();
    assert_eq!(executed, 7);
    assert_eq!(*astray.disk.ledger.rows(), *astray.net.node(1).disk.ledger.rows());
    let position = finish(&astray.disk.ledger, &astray.disk.log).unwrap();
    assert_eq!(position.index, astray.net.node(3).replica.applied().index);
    assert_eq!(astray.disk.journal.take(), [Did::Ledger, Did::Reset(position)]);
    assert_eq!(astray.disk.log.bounds().unwrap().truncated, position);
}

#[test]
fn a_peer_that_gives_another_header_is_skipped() {
    let mut astray = astray();
    astray.give(0, RebuildInput::Tick).unwrap();
    let outputs = astray.answer(0, 1, lie).unwrap();
    assert_eq!(failed(&outputs), [1]);
    let reached = astray.rebuild.progress().0;
    assert_eq!(outputs.last(), Some(&fetch(2, 2, reached.next().0)), "the next goes on from what was executed");
    let outputs = astray.answer(0, 2, |_| {}).unwrap();
    assert_eq!((failed(&outputs), outputs.contains(&RebuildOutput::Done)), (vec![], true));
}

#[test]
fn where_all_peers_give_another_header_this_node_is_at_fault() {
    let mut astray = astray();
    astray.give(0, RebuildInput::Tick).unwrap();
    assert_eq!(failed(&astray.answer(0, 1, lie).unwrap()), [1]);
    assert_eq!(failed(&astray.answer(0, 2, lie).unwrap()), [2]);
    let reached = astray.rebuild.progress().0;
    assert_eq!(astray.give(999, RebuildInput::Tick), Ok(vec![]));
    match astray.give(1_000, RebuildInput::Tick) {
        Err(Fault::Diverged { height, .. }) => assert_eq!(height, reached.next()),
        other => panic!("{other:?}"),
    }
}

/// The others are away, or rebuild, too.
#[test]
fn where_only_one_peer_answers_and_gives_another_header_nothing_is_decided() {
    let mut astray = astray();
    astray.give(0, RebuildInput::Tick).unwrap();
    assert_eq!(failed(&astray.answer(0, 1, lie).unwrap()), [1]);
    let away = RebuildInput::FetchEnded { call: CallId(2), problem: Some("away".into()) };
    assert_eq!(failed(&astray.give(0, away).unwrap()), [2]);
    let next = astray.rebuild.progress().0.next().0;
    assert_eq!(astray.give(1_000, RebuildInput::Tick).unwrap().last(), Some(&fetch(3, 1, next)));
}

/// The network cannot certify more than this: its certificate may need this node's vote.
#[test]
fn the_own_log_goes_on_where_the_peers_have_no_more() {
    let mut astray = astray();
    let me = (NodeId(3), astray.net.genesis.ledger_id);
    let parts = (astray.disk.ledger.clone(), Box::new(Rules) as consilium_replica::Rules);
    let last = astray.net.node(3).replica.applied().index.0;
    astray.rebuild =
        Rebuild::new(me, None, parts, OwnLog { truncated: 0, last: last + 5, term: 1 }, PATIENCE_MS).unwrap();
    astray.give(0, RebuildInput::Tick).unwrap();
    let outputs = astray.answer(0, 1, |_| {}).unwrap();
    assert_eq!(outputs.last(), Some(&fetch(2, 2, astray.rebuild.progress().0.next().0)), "another may have more");
    let end = RebuildInput::FetchEnded { call: CallId(2), problem: None };
    assert_eq!(astray.give(0, end), Ok(vec![RebuildOutput::StopFetch(CallId(2)), RebuildOutput::Done]));

    // A log that holds the newest block and what comes behind it stays as it is.
    let log = astray.net.node(3).disk.log.clone();
    let before = log.bounds().unwrap();
    astray.disk.journal.take();
    let position = finish(&astray.disk.ledger, &log).unwrap();
    assert_eq!((log.bounds().unwrap(), astray.disk.journal.take()), (before, vec![Did::Ledger]));
    assert_eq!(position.index.0, last);
}

/// A leader that was cut off left entries that nobody else ever had: a later one's are
/// certified in their place.
#[test]
fn a_log_that_a_later_leader_has_replaced_is_not_waited_for() {
    let mut astray = astray();
    let me = (NodeId(3), astray.net.genesis.ledger_id);
    let parts = (astray.disk.ledger.clone(), Box::new(Rules) as consilium_replica::Rules);
    let last = astray.net.node(3).replica.applied().index.0 + 5;
    let log = OwnLog { truncated: 0, last, term: 0 };
    astray.rebuild = Rebuild::new(me, None, parts, log, PATIENCE_MS).unwrap();
    astray.give(0, RebuildInput::Tick).unwrap();
    astray.answer(0, 1, |_| {}).unwrap();
    let end = RebuildInput::FetchEnded { call: CallId(2), problem: None };
    assert_eq!(astray.give(0, end).unwrap().last(), Some(&RebuildOutput::Done));
}

/// The own log begins further on, or is not the one that was certified.
#[test]
fn a_log_that_does_not_hold_the_newest_block_is_no_help() {
    let last = astray().net.node(3).replica.applied().index.0;
    for log in
        [OwnLog { truncated: last + 1, last: last + 5, term: 1 }, OwnLog { truncated: 0, last: last + 5, term: 2 }]
    {
        let mut astray = astray();
        let me = (NodeId(3), astray.net.genesis.ledger_id);
        let parts = (astray.disk.ledger.clone(), Box::new(Rules) as consilium_replica::Rules);
        astray.rebuild = Rebuild::new(me, None, parts, log, PATIENCE_MS).unwrap();
        astray.give(0, RebuildInput::Tick).unwrap();
        astray.answer(0, 1, |_| {}).unwrap();
        let end = RebuildInput::FetchEnded { call: CallId(2), problem: None };
        assert_eq!(astray.give(0, end), Ok(vec![RebuildOutput::StopFetch(CallId(2))]));
    }
}

#[test]
fn peers_that_do_not_answer_are_asked_again_and_for_a_block() {
    let mut astray = astray();
    assert_eq!(astray.give(0, RebuildInput::Tick), Ok(vec![fetch(1, 1, 1)]));
    assert_eq!(astray.give(PATIENCE_MS, RebuildInput::Tick), Ok(vec![]));
    let outputs = astray.give(PATIENCE_MS + 1, RebuildInput::Tick).unwrap();
    assert_eq!((failed(&outputs), outputs.last()), (vec![1], Some(&fetch(2, 2, 1))));
    let end = RebuildInput::FetchEnded { call: CallId(2), problem: Some("away".into()) };
    assert_eq!(failed(&astray.give(PATIENCE_MS + 2, end).unwrap()), [2]);
    let after = astray.net.genesis.time;
    let ask = |to| RebuildOutput::RequestTimeBlock { to: NodeId(to), after };
    assert_eq!(astray.give(1_000, RebuildInput::Tick), Ok(vec![ask(1), ask(2), fetch(3, 1, 1)]));
}

#[test]
fn a_log_that_held_nothing_needs_nothing() {
    let astray = astray();
    let me = (NodeId(3), astray.net.genesis.ledger_id);
    let parts = (astray.disk.ledger.clone(), Box::new(Rules) as consilium_replica::Rules);
    let mut rebuild = Rebuild::new(me, None, parts, OwnLog { truncated: 0, last: 0, term: 1 }, PATIENCE_MS).unwrap();
    assert_eq!(rebuild.handle(0, RebuildInput::Tick), Ok(vec![RebuildOutput::Done]));
}
