//! Linearizable reads: answered on every node, or reported as dropped, which the library
//! does in silence.

use consilium_consensus::{ReadContext, ReadError, ReadOutcome};

use crate::cluster::{Cluster, id};

const CONTEXT: ReadContext = ReadContext([7; 16]);

#[test]
fn every_node_can_read() {
    let mut cluster = Cluster::new(3, 1);
    let everyone = cluster.everyone();
    let index = cluster.commit("a", &everyone).index;
    for node in everyone {
        cluster.core(node).read_index(CONTEXT).unwrap();
        assert_eq!(cluster.core(node).read_index(CONTEXT), Err(ReadError::Duplicate));
        cluster.pump(node);
        cluster.until(10, "no answer", |cluster| !cluster.nodes[&node].reads.is_empty());
        let expected = ReadOutcome::Ready { context: CONTEXT, index };
        assert_eq!(cluster.nodes[&node].reads, [expected]);
    }
}

#[test]
fn a_single_node_reads_at_once() {
    let mut cluster = Cluster::new(1, 1);
    let index = cluster.commit("a", &[id(1)]).index;
    cluster.core(id(1)).read_index(CONTEXT).unwrap();
    cluster.pump(id(1));
    assert_eq!(cluster.nodes[&id(1)].reads, [ReadOutcome::Ready { context: CONTEXT, index }]);
}

#[test]
fn reads_that_cannot_be_confirmed_are_dropped() {
    let mut cluster = Cluster::new(3, 2);
    let everyone = cluster.everyone();
    let leader = cluster.elect();
    cluster.commit("a", &everyone);
    cluster.net.links.isolate(leader, &everyone);
    for node in [leader, id(3)] {
        cluster.core(node).read_index(CONTEXT).unwrap();
        cluster.pump(node);
    }
    cluster.ticks(39);
    assert!(cluster.nodes[&leader].reads.is_empty());
    cluster.ticks(1);
    for node in [leader, id(3)] {
        let expected = ReadOutcome::Dropped { context: CONTEXT };
        assert_eq!(cluster.nodes[&node].reads, [expected], "node {node}");
    }
    // Given up is given up: no second outcome later, and the context is free again.
    cluster.net.links.heal();
    let leader = cluster.elect();
    cluster.ticks(60);
    assert_eq!(cluster.nodes[&leader].reads.len(), usize::from(leader != id(2)));
    cluster.core(leader).read_index(CONTEXT).unwrap();
}

#[test]
fn refusals_say_why() {
    let mut cluster = Cluster::with_config(3, 3, |config| config.reads_max = 1);
    assert_eq!(cluster.core(id(2)).read_index(CONTEXT), Err(ReadError::NoLeader));
    cluster.until(100, "no leader", |cluster| cluster.leader().is_some());
    let leader = cluster.leader().unwrap();
    // Nothing is committed in this term yet: the library would drop the read without a word.
    assert_eq!(cluster.core(leader).read_index(CONTEXT), Err(ReadError::NotReady));
    cluster.elect();
    cluster.core(leader).read_index(CONTEXT).unwrap();
    let other = ReadContext([8; 16]);
    assert_eq!(cluster.core(leader).read_index(other), Err(ReadError::Overloaded { waiting: 1 }));
}
