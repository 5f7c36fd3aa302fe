//! A disk that is slow, on a real node: its node does not keep the lead.

use std::time::Duration;

use consilium_e2e::{Load, Network, eventually_async};
use consilium_proto::names::Role;

const PATIENCE: Duration = Duration::from_secs(90);
const SLOW: Duration = Duration::from_millis(400);

#[test]
fn a_leader_on_a_slow_disk_hands_over() {
    Network::of(4).with_slow_disks().run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone(); 4]);
        load.more(20).await?;
        let slow = network.leader().await?;
        network.nodes[slow].pace()?.set(SLOW)?;
        let others: Vec<usize> = (0..4).filter(|node| *node != slow).collect();
        eventually_async("another leader, by a hand-over for the disk", PATIENCE, || async {
            let leader = network.leader_of(&others).await?;
            anyhow::ensure!(leader != slow, "node {slow} leads");
            anyhow::ensure!(network.nodes[slow].log_contains(&["the log is slower here than at others"]));
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        load.more(20).await?;
        eventually_async("the alarm of the slow node", PATIENCE, || async {
            let status = network.status(slow).await?;
            anyhow::ensure!(status.alarms.iter().any(|alarm| alarm.name == "slow_log"), "{:?}", status.alarms);
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        network.nodes[slow].pace()?.set(Duration::ZERO)?;
        load.more(20).await?;
        eventually_async("no alarm any more", PATIENCE, || async {
            let status = network.status(slow).await?;
            anyhow::ensure!(status.alarms.iter().all(|alarm| alarm.name != "slow_log"), "{:?}", status.alarms);
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        network.agreed(acks.last().unwrap().height).await?;
        Ok(())
    });
}
