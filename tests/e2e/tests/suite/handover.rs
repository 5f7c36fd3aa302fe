//! A planned stop hands leadership over.

use std::time::{Duration, Instant};

use consilium_e2e::{Load, Network};
use consilium_proto::names::Role;

#[test]
fn a_stopping_leader_hands_over_and_no_write_fails() {
    // Elections take at least five seconds here: whoever leads sooner was asked to.
    Network::of(4).raft("tick = \"50ms\"\nelection_ticks = 100").run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone(); 4]);
        load.more(20).await?;
        for _round in 0..2 {
            let old = network.leader().await?;
            let start = Instant::now();
            network.nodes[old].stop()?;
            let new = network.leader().await?;
            let taken = start.elapsed();
            assert_ne!(new, old);
            assert!(taken < Duration::from_secs(4), "leaderless for {taken:?}: an election, not a hand-over");
            assert!(network.nodes[old].log_contains(&["handing leadership over"]));
            load.more(20).await?;
            network.nodes[old].restart()?;
        }
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        network.agreed(acks.last().unwrap().height).await?;
        Ok(())
    });
}

#[test]
fn a_stop_is_orderly_under_load_and_a_restart_is_ready() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone(); 4]);
        load.more(20).await?;
        for node in &mut network.nodes {
            // Exit code 0, although clients and streams are connected.
            node.stop()?;
        }
        network.start_all()?;
        load.more(20).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        for node in &network.nodes {
            assert!(!node.log_contains(&["panicked"]), "{}", node.log_tail());
        }
        Ok(())
    });
}
