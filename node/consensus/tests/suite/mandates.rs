//! Who may lead, where power counts: four nodes of one power each.

use consilium_consensus::{
    Candidacy, Electorate, LogHash, LogIndex, LogPosition, Mandate, MandateError, Membership, MembershipChange, RaftId,
    Reject, Role, StepError, Term,
};
use raft::eraftpb::{Message, MessageType};
use raft_prost::Message as _;

use crate::cluster::{Cluster, Passes, equals, id, mandate};

/// A group whose electorate is its first `seats` nodes.
fn group(nodes: u64, seats: u64, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(nodes, seed);
    cluster.electorate = Electorate::new(vec![equals(1..=seats)], vec![]);
    for node in cluster.everyone() {
        let electorate = cluster.electorate.clone();
        cluster.core(node).set_electorate(electorate);
    }
    cluster
}

fn claim(kind: MessageType, from: RaftId, to: RaftId, term: u64) -> bytes::Bytes {
    let message = Message { msg_type: kind as i32, from: from.get(), to: to.get(), term, ..Message::default() };
    message.encode_to_vec().into()
}

#[test]
fn a_leader_shows_grants_of_more_than_two_thirds() {
    let mut cluster = group(4, 4, 1);
    let leader = cluster.elect();
    let mandate = cluster.core(leader).mandate().unwrap().clone();
    assert_eq!((mandate.candidacy.candidate, mandate.grants.len() >= 3), (leader, true));
    cluster.commit("a", &[id(1), id(2), id(3), id(4)]);
}

/// A majority of Raft's voters does not do: they could certify nothing.
#[test]
fn a_majority_without_the_power_elects_nobody() {
    let mut cluster = group(5, 4, 2);
    cluster.crash(id(1));
    cluster.crash(id(2));
    let term = cluster.core(id(3)).status().term;
    cluster.ticks(300);
    assert_eq!(cluster.leader(), None);
    assert_eq!(cluster.core(id(3)).status().term, term, "nobody stands who cannot win");
    cluster.start(id(1));
    cluster.elect();
}

/// Nothing that a node says of a later term moves anybody, or takes the lead from one.
#[test]
fn nobody_follows_who_was_not_elected() {
    let mut cluster = group(4, 4, 3);
    let leader = cluster.elect();
    cluster.ticks(10);
    let (liar, term) = (id(4), cluster.core(leader).status().term);
    let kinds = [
        MessageType::MsgHeartbeat,
        MessageType::MsgAppend,
        MessageType::MsgAppendResponse,
        MessageType::MsgHeartbeatResponse,
        MessageType::MsgRequestVoteResponse,
        MessageType::MsgRequestVote,
    ];
    for kind in kinds {
        for to in [id(1), id(2), id(3)] {
            let _ = cluster.core(to).step(liar, claim(kind, liar, to, term.0 + 5), &Passes);
            cluster.pump(to);
            let status = cluster.core(to).status();
            assert_eq!((status.term, status.leader), (term, Some(leader)), "{kind:?}");
        }
    }
    let heartbeat = claim(MessageType::MsgHeartbeat, liar, id(2), term.0 + 1);
    let reject = Reject::NoMandate { peer: liar, term: Term(term.0 + 1) };
    assert_eq!(cluster.core(id(2)).step(liar, heartbeat, &Passes), Err(StepError::Rejected { peer: liar, reject }));
    // Its own grant makes no mandate, nor do grants for somebody else.
    let alone = Mandate { validators_hash: equals(1..=4).hash(), ..mandate(liar, Term(term.0 + 1)) };
    assert_eq!(cluster.core(id(2)).take_mandate(alone), Err(MandateError::NoQuorum));
    let stolen = cluster.core(leader).mandate().unwrap().clone();
    let candidacy = Candidacy { candidate: liar, term: Term(term.0 + 1), ..stolen.candidacy };
    let stolen = Mandate { candidacy, ..stolen };
    assert_eq!(cluster.core(id(2)).take_mandate(stolen), Err(MandateError::NoQuorum));
}

#[test]
fn a_node_without_a_vote_does_not_stand() {
    let mut cluster = group(3, 3, 4);
    let membership = cluster.core(id(1)).membership().clone();
    cluster.add_node(id(4), membership);
    cluster.elect();
    cluster.ticks(5);
    let request = claim(MessageType::MsgRequestVote, id(4), id(2), 50);
    let reject = Reject::NoVote { node: id(4) };
    assert_eq!(cluster.core(id(2)).step(id(4), request, &Passes), Err(StepError::Rejected { peer: id(4), reject }));
}

/// A voter in a later term is heard again: the leader has itself elected once more, in a term
/// later still, without an election timeout in between.
#[test]
fn a_leader_comes_back_to_a_voter_that_is_ahead_in_terms() {
    let mut cluster = group(4, 4, 5);
    let leader = cluster.elect();
    let stuck = cluster.everyone().into_iter().find(|node| *node != leader).unwrap();
    cluster.crash(stuck);
    cluster.nodes.get_mut(&stuck).unwrap().store.in_term(Term(40));
    cluster.start(stuck);
    cluster.until(60, "heard again", |cluster| {
        let status = cluster.core(stuck).status();
        status.leader == Some(leader) && status.term > Term(40)
    });
    assert_eq!(cluster.core(leader).role(), Role::Leader);
    let everyone = cluster.everyone();
    cluster.commit("again", &everyone);
}

#[test]
fn a_mandate_is_renewed_without_a_pause() {
    let mut cluster = group(4, 4, 6);
    let leader = cluster.elect();
    cluster.ticks(60);
    let term = cluster.core(leader).status().term;
    assert!(cluster.core(leader).renew_mandate());
    cluster.pump(leader);
    assert!(!cluster.core(leader).renew_mandate(), "one at a time");
    cluster.until(5, "elected again", |cluster| {
        let status = cluster.core(leader).status();
        status.role == Role::Leader && status.term > term
    });
    let everyone = cluster.everyone();
    cluster.commit("on", &everyone);
}

/// Leadership goes where the leader says, and to nobody else while it is heard.
#[test]
fn only_a_signed_hand_over_interrupts_a_leader() {
    let mut cluster = group(4, 4, 7);
    let leader = cluster.elect();
    cluster.ticks(10);
    let to = cluster.everyone().into_iter().find(|node| *node != leader).unwrap();
    let other = cluster.everyone().into_iter().find(|node| *node != leader && *node != to).unwrap();
    let (term, last) = (cluster.core(leader).status().term, cluster.core(leader).status().last_index);
    for context in [vec![7; 80], b"CampaignTransfer".to_vec()] {
        let forced = Message {
            msg_type: MessageType::MsgRequestVote as i32,
            from: to.get(),
            to: other.get(),
            term: term.0 + 1,
            log_term: term.0,
            index: last.0,
            context,
            ..Message::default()
        };
        let _ = cluster.core(other).step(to, forced.encode_to_vec().into(), &Passes);
        cluster.pump(other);
        assert_eq!(cluster.core(other).status().term, term);
    }
    cluster.core(leader).transfer_leadership(Some(to)).unwrap();
    cluster.pump(leader);
    cluster.until(20, "handed over", |cluster| cluster.leader() == Some(to));
}

/// Where all the honest are needed, some that doubt the leader are enough for the others, and
/// the leader itself, to grant: they doubt it at different times, and would never do so at one.
#[test]
fn a_leader_that_a_third_wants_replaced_is_replaced() {
    let mut cluster = group(4, 4, 9);
    let leader = cluster.elect();
    let others: Vec<_> = cluster.everyone().into_iter().filter(|node| *node != leader).collect();
    // One does not answer at all, as a traitor may.
    cluster.crash(others[2]);
    cluster.core(others[0]).distrust_leader();
    cluster.ticks(200);
    assert_eq!(cluster.leader(), Some(leader), "one alone changes nothing");
    cluster.core(others[1]).distrust_leader();
    cluster.until(200, "replaced", |cluster| cluster.leader().is_some_and(|now| now != leader));
    let alive = [leader, others[0], others[1]];
    cluster.commit("after", &alive);
}

/// What others hold that a node has acknowledged must be in its log again before it grants:
/// otherwise what was counted with it could be replaced.
#[test]
fn whoever_has_lost_what_it_acknowledged_grants_nothing_before_it_is_there_again() {
    let mut cluster = group(4, 4, 10);
    let leader = cluster.elect();
    let others: Vec<_> = cluster.everyone().into_iter().filter(|node| *node != leader).collect();
    cluster.commit("a", &cluster.everyone());
    let status = cluster.core(others[0]).status();
    let owed = LogPosition { index: LogIndex(status.last_index.0 + 1), term: status.term, hash: LogHash::NONE };
    cluster.core(others[0]).owe(owed);
    assert!(!cluster.core(others[0]).grants());
    // Three of four are needed to elect, and one of these three does not grant.
    cluster.crash(leader);
    cluster.ticks(200);
    assert_eq!(cluster.leader(), None);
    assert_eq!(cluster.core(others[0]).role(), Role::Follower, "nor does it stand");
    cluster.start(leader);
    cluster.elect();
    cluster.commit("b", &cluster.everyone());
    assert!(cluster.core(others[0]).grants(), "its log is as long again");
}

/// Followers that lag count by the membership that a mandate names: nobody grants one with
/// another membership than he knows to have been in force.
#[test]
fn a_candidate_does_not_choose_who_votes() {
    let mut cluster = group(4, 4, 9);
    let leader = cluster.elect();
    cluster.ticks(5);
    let (stands, asked) =
        if leader == id(1) { (id(2), id(3)) } else { (id(1), id(if leader == id(2) { 3 } else { 2 })) };
    let status = cluster.core(asked).status();
    let request = |applied: LogIndex, voters: &[u64], tail: &[u8]| {
        let membership = Membership::new(voters.iter().map(|voter| id(*voter)), []).encode();
        // No hand-over, and no hashes of entries.
        let context = [&[0], applied.0.to_be_bytes().as_slice(), &[0], &membership, tail].concat();
        let msg_type = MessageType::MsgRequestVote as i32;
        let (index, log_term) = (status.last_index.0 + 1, status.term.0);
        let (from, to, term) = (stands.get(), asked.get(), status.term.0 + 1);
        Message { msg_type, from, to, term, index, log_term, context, ..Message::default() }.encode_to_vec()
    };
    let refused = |cluster: &mut Cluster, bytes: Vec<u8>| {
        let Err(StepError::Rejected { reject, .. }) = cluster.core(asked).step(stands, bytes.into(), &Passes) else {
            panic!("it is looked at");
        };
        reject
    };
    let alone = request(status.applied, &[stands.get()], &[]);
    assert_eq!(refused(&mut cluster, alone), Reject::FalseMembership { applied: status.applied });
    let garbled = request(status.applied, &[1, 2, 3, 4], &[0]);
    assert_eq!(refused(&mut cluster, garbled), Reject::Field { name: "context" });
    assert_eq!(cluster.core(asked).step(stands, request(status.applied, &[1, 2, 3, 4], &[]).into(), &Passes), Ok(()));
    // What was in force elsewhere in the log is not known here.
    let later = LogIndex(status.applied.0 + 1);
    assert_eq!(cluster.core(asked).step(stands, request(later, &[stands.get()], &[]).into(), &Passes), Ok(()));
}

/// A node that lags may not know yet that it votes, and be needed to elect the leader from
/// whom it would learn that.
#[test]
fn whoever_does_not_know_that_it_votes_is_heard_all_the_same() {
    let mut cluster = Cluster::new(3, 10);
    let leader = cluster.elect();
    let everyone = cluster.everyone();
    cluster.add_node(id(4), cluster.nodes[&leader].store.membership.clone());
    cluster.core(leader).propose_membership(&[MembershipChange::AddLearner(id(4))]).unwrap();
    cluster.pump(leader);
    cluster.until(100, "it follows", |cluster| cluster.core(id(4)).membership().learners.contains(&id(4)));
    cluster.net.links.isolate(id(4), &everyone);
    cluster.core(leader).propose_membership(&[MembershipChange::AddVoter(id(4))]).unwrap();
    cluster.pump(leader);
    let four = Membership::new([1, 2, 3, 4].map(id), []);
    cluster.until(100, "four vote", |cluster| everyone.iter().all(|node| cluster.nodes[node].store.membership == four));
    cluster.crash(leader);
    cluster.net.links.heal();
    assert!(!cluster.core(id(4)).membership().is_voter(id(4)), "it does not know");
    cluster.until(300, "three of four elect", |cluster| cluster.leader().is_some_and(|new| new != leader));
}
