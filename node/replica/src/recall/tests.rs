#![allow(clippy::unwrap_used)]
use super::*;
use consilium_consensus::{LogIndex, Term};
use consilium_kit::chain::{Chain, validators};
use consilium_kit::keys;
use consilium_proto::header::Header;
use consilium_proto::ids::HeaderHash;

const NOTHING: Recollection = Recollection { vote: None, acknowledged: None };

fn headers() -> Vec<Header> {
    let mut chain = Chain::new(&[1, 2, 3, 4]);
    (0..4).map(|_| chain.append()).collect()
}

/// A vote of node 1 for a height, as told by others, signed by anybody's key.
fn told(height: usize, key: u64) -> Recollection {
    let vote = Vote::sign(NodeId(1), &headers()[height - 1], &keys::vote(key)).unwrap();
    Recollection { vote: Some(vote), acknowledged: None }
}

fn acknowledged(term: u64, index: u64) -> Recollection {
    let position = LogPosition { term: Term(term), index: LogIndex(index), ..LogPosition::default() };
    Recollection { vote: None, acknowledged: Some(position) }
}

fn recall(doubt: Doubt) -> Recall {
    Recall::new(NodeId(1), headers()[0].ledger_id, keys::vote(1).verifying_key(), doubt)
}

fn guard(height: u64) -> VoteGuard {
    VoteGuard { voted_height: Height(height), voted_header: HeaderHash::from_bytes([1; 32]) }
}

#[test]
fn a_node_that_is_alone_asks_nobody() {
    let mut alone = recall(Doubt::default());
    let settled = alone.settle(&validators(&[1])).unwrap();
    assert_eq!(settled, Recalled { answers: 0, vote: None, owed: None, log_trusted: false });
    let mut out = Vec::new();
    alone.ask([NodeId(2)].into_iter(), Epoch(0), 0, &mut out);
    assert_eq!((out, alone.settle(&validators(&[1]))), (vec![], None), "once");
}

#[test]
fn so_many_must_answer_as_are_a_quorum_with_it() {
    let mut node = recall(Doubt::default());
    let set = validators(&[1, 2, 3, 4]);
    for (from, enough) in [(2, false), (2, false), (9, false), (3, true)] {
        node.hear(NodeId(from), NOTHING, guard(0)).unwrap();
        assert_eq!(node.settle(&set).is_some(), enough, "{from}");
    }
    // Who has no seat itself needs a quorum of the others.
    let mut node = recall(Doubt::default());
    let set = validators(&[2, 3, 4, 5]);
    for (from, enough) in [(2, false), (3, false), (4, true)] {
        node.hear(NodeId(from), NOTHING, guard(0)).unwrap();
        assert_eq!(node.settle(&set).is_some(), enough, "{from}");
    }
}

#[test]
fn only_whom_it_has_not_heard_is_asked_again_and_not_at_once() {
    let mut node = recall(Doubt::default());
    let asked = |node: &mut Recall, now_ms| {
        let mut out = Vec::new();
        node.ask([2, 3].map(NodeId).into_iter(), Epoch(5), now_ms, &mut out);
        out.into_iter()
            .map(|output| match output {
                Output::Send { to, message: PeerMessage::Recall(Epoch(5)) } => to.0,
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(&mut node, 1), [2, 3]);
    assert!(asked(&mut node, 2).is_empty());
    node.hear(NodeId(2), NOTHING, guard(0)).unwrap();
    assert_eq!(asked(&mut node, 1 + RESEND_MS), [3]);
    assert_eq!((node.may_answer(NodeId(2), 7), node.may_answer(NodeId(2), 7)), (true, false));
}

#[test]
fn a_vote_that_the_guard_does_not_remember_ends_the_node() {
    let mut node = recall(Doubt::default());
    node.hear(NodeId(2), told(2, 1), guard(2)).unwrap();
    assert_eq!(node.hear(NodeId(3), told(3, 1), guard(2)), Err(Fault::VoteForgotten(Height(3))));
    // Also if enough had answered before.
    let mut node = recall(Doubt::default());
    node.settle(&validators(&[1])).unwrap();
    assert_eq!(node.hear(NodeId(3), told(3, 1), guard(2)), Err(Fault::VoteForgotten(Height(3))));
}

#[test]
fn nobody_ends_it_with_votes_that_are_not_its_own() {
    let mut node = recall(Doubt::default());
    node.hear(NodeId(2), told(3, 2), guard(0)).unwrap();
    let mut others = told(3, 2);
    others.vote.as_mut().unwrap().validator = NodeId(2);
    node.hear(NodeId(2), others, guard(0)).unwrap();
    let mut elsewhere = told(3, 1);
    elsewhere.vote.as_mut().unwrap().ledger_id = LedgerId::from_bytes([8; 32]);
    node.hear(NodeId(2), elsewhere, guard(0)).unwrap();
}

#[test]
fn a_guard_that_is_known_to_have_lost_a_vote_is_told_the_newest() {
    let mut node = recall(Doubt { guard: Height(4), log: false });
    assert!(!node.is_silent());
    for (from, height) in [(2, 2), (3, 3), (4, 1)] {
        node.hear(NodeId(from), told(height, 1), guard(1)).unwrap();
    }
    let settled = node.settle(&validators(&[1, 2, 3, 4])).unwrap();
    assert_eq!((settled.vote, settled.owed, settled.log_trusted), (Some(Height(3)), None, false));
    let lost = |node: &Recall, height| node.lost_vote(guard(height)).map(|vote| vote.height);
    assert_eq!((lost(&node, 1), lost(&node, 3)), (Some(Height(3)), None));
    // Whoever answers last may be the only one that holds it.
    node.hear(NodeId(4), told(4, 1), guard(3)).unwrap();
    assert_eq!((lost(&node, 3), lost(&node, 4)), (Some(Height(4)), None));
}

#[test]
fn a_vote_above_all_that_may_be_lost_is_a_rolled_back_disk() {
    let mut node = recall(Doubt { guard: Height(2), log: false });
    node.hear(NodeId(2), told(2, 1), guard(1)).unwrap();
    assert_eq!(node.hear(NodeId(3), told(3, 1), guard(1)), Err(Fault::VoteForgotten(Height(3))));
}

#[test]
fn a_log_that_lost_its_end_owes_what_more_than_liars_say() {
    let owed = |told: &[(u64, u64, u64)]| {
        let mut node = recall(Doubt { guard: Height(0), log: true });
        assert!(node.is_silent());
        for (from, term, index) in told {
            node.hear(NodeId(*from), acknowledged(*term, *index), guard(0)).unwrap();
        }
        let settled = node.settle(&validators(&[1, 2, 3, 4])).unwrap();
        assert!(settled.log_trusted && !node.is_silent());
        settled.owed.map(|position| (position.term.0, position.index.0))
    };
    assert_eq!(owed(&[(2, 3, 900), (3, 3, 7)]), Some((3, 7)), "a liar says anything");
    assert_eq!(owed(&[(2, 3, 7), (3, 2, 99), (4, 3, 9)]), Some((3, 7)), "a later term is further");
    let mut node = recall(Doubt { guard: Height(0), log: true });
    node.hear(NodeId(2), acknowledged(3, 900), guard(0)).unwrap();
    node.hear(NodeId(3), NOTHING, guard(0)).unwrap();
    assert_eq!(node.settle(&validators(&[1, 2, 3, 4])).unwrap().owed, None);
}
