//! Elections: pre-vote, hand-over, distrust, equal traces for equal seeds.

use consilium_consensus::{ProposeError, Role, Term, TransferError};

use crate::cluster::{Cluster, id};

#[test]
fn one_leader_is_elected_and_known() {
    let mut cluster = Cluster::new(3, 1);
    let leader = cluster.elect();
    assert_eq!(leader, id(1), "the shortest timeout wins");
    cluster.ticks(3);
    for node in cluster.everyone() {
        assert_eq!(cluster.core(node).status().leader, Some(leader));
    }
}

#[test]
fn a_single_node_leads_itself() {
    let mut cluster = Cluster::new(1, 1);
    assert_eq!(cluster.elect(), id(1));
    cluster.commit("a", &[id(1)]);
    assert_eq!(cluster.machine(id(1)), ["a"]);
}

/// The election timeout is the only entropy: equal seeds, equal runs; and the trace is not
/// blind.
#[test]
fn equal_seeds_give_equal_traces() {
    let run = |seed| {
        let mut cluster = Cluster::new(3, seed);
        cluster.net.links.loss_per_mille = 50;
        cluster.net.links.duplicate_per_mille = 50;
        for i in 0..10 {
            cluster.ticks(5);
            if let Some(leader) = cluster.leader() {
                let _ = cluster.core(leader).propose(format!("{i}").into());
                cluster.pump(leader);
            }
        }
        cluster.ticks(50);
        cluster.trace
    };
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(1), run(2));
}

/// I15: a node that was cut off does not raise the term when it comes back.
#[test]
fn a_partitioned_node_does_not_raise_the_term() {
    let mut cluster = Cluster::new(3, 3);
    let leader = cluster.elect();
    let term = cluster.core(leader).status().term;
    let everyone = cluster.everyone();
    cluster.net.links.isolate(id(3), &everyone);
    cluster.ticks(300);
    let away = cluster.core(id(3)).status();
    assert_eq!((away.term, away.role), (term, Role::PreCandidate));
    cluster.net.links.heal();
    cluster.ticks(100);
    for node in everyone {
        let status = cluster.core(node).status();
        assert_eq!((status.term, status.leader), (term, Some(leader)));
    }
}

/// A leader without a quorum steps down: nobody else learns that it has none.
#[test]
fn a_leader_without_quorum_steps_down() {
    let mut cluster = Cluster::new(3, 4);
    let leader = cluster.elect();
    let everyone = cluster.everyone();
    cluster.net.links.isolate(leader, &everyone);
    cluster.ticks(80);
    assert_ne!(cluster.core(leader).status().role, Role::Leader);
    assert_ne!(cluster.elect(), leader);
}

/// A planned stop costs no election.
#[test]
fn leadership_is_handed_to_the_most_caught_up_voter() {
    let mut cluster = Cluster::new(3, 5);
    let leader = cluster.elect();
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    cluster.net.links.isolate(id(2), &everyone);
    cluster.commit("b", &[id(1), id(3)]);
    cluster.net.links.heal();
    assert_eq!(cluster.core(leader).transfer_leadership(None), Ok(id(3)));
    assert_eq!(cluster.core(leader).propose("late".into()), Err(ProposeError::Transferring { to: id(3) }));
    cluster.pump(leader);
    cluster.until(10, "no hand-over", |cluster| cluster.leader() == Some(id(3)));
    cluster.ticks(5);
    assert_eq!(cluster.core(id(1)).transfer_leadership(None), Err(TransferError::NotLeader { leader: Some(id(3)) }));
    let unknown = cluster.core(id(3)).transfer_leadership(Some(id(9)));
    assert_eq!(unknown, Err(TransferError::NotEligible { to: id(9) }));
    cluster.commit("c", &everyone);
    assert_eq!(cluster.machine(id(2)), ["a", "b", "c"]);
}

#[test]
fn a_distrusted_leader_is_replaced() {
    let mut cluster = Cluster::new(3, 6);
    let leader = cluster.elect();
    let term = cluster.core(leader).status().term;
    assert_eq!(cluster.core(leader).distrust_leader(), None, "not oneself");
    for follower in [id(2), id(3)] {
        assert_eq!(cluster.core(follower).heard_leader(), Some(leader));
        assert_eq!(cluster.core(follower).distrust_leader(), Some(leader));
        let core = cluster.core(follower);
        assert_eq!((core.leader(), core.heard_leader()), (Some(leader), None), "it leads, and is not listened to");
    }
    cluster.until(120, "leader stays", |cluster| cluster.leader().is_some_and(|now| now != leader));
    let next = cluster.elect();
    assert!(cluster.core(next).status().term > term);
    let everyone = cluster.everyone();
    cluster.commit("after", &everyone);
    assert!(cluster.oracle.refusals.contains_key("Distrusted"));
}

/// The shortest timeout wins, but for a node to which the others grant nothing.
#[test]
fn a_shunned_node_is_not_elected() {
    let mut cluster = Cluster::new(3, 1);
    for other in [id(2), id(3)] {
        cluster.core(other).set_shunned([id(1)].into());
    }
    assert_ne!(cluster.elect(), id(1));
    assert!(cluster.oracle.refusals.contains_key("Distrusted"));
}

/// One doubting follower alone changes nothing.
#[test]
fn one_distrusting_follower_cannot_replace_the_leader() {
    let mut cluster = Cluster::new(3, 7);
    let leader = cluster.elect();
    let term = cluster.core(leader).status().term;
    let doubting = cluster.core(id(3));
    doubting.distrust_leader();
    doubting.trust_leader();
    assert_eq!(doubting.heard_leader(), Some(leader), "it is listened to again");
    doubting.distrust_leader();
    cluster.ticks(300);
    assert_eq!(cluster.core(id(3)).heard_leader(), None);
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.core(leader).status().term, term);
    assert!(term > Term(0));
}
