//! Certificates apart from Raft: a majority of nodes orders, but only more
//! than two thirds of the power make anything final.

use std::time::Duration;

use consilium_e2e::{Network, eventually_async, reason, record, submit_raw};
use consilium_proto::names::Role;
use consilium_proto::pb;
use tonic::Code;

const HEAVY: usize = 3;

#[test]
fn blocks_without_a_certificate_raise_an_alarm_and_become_final_later() {
    // Three of four nodes are a Raft majority, but have 300 of 1,300 power.
    let network = Network::of(4).stakes([100, 100, 100, 1_000]);
    let short = "certificate_timeout = \"1s\"\nelection_ticks = 16";
    network.raft(short).limits("request_timeout = \"3s\"").run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let (height, _) = network.agreed(1).await?;
        network.nodes[HEAVY].kill9()?;
        let leader = network.leader().await?;
        let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
        let ordered = user.client.submit(tx.clone(), pb::WaitFor::Ordered).await?.into_applied()?;
        assert!(ordered.height.0 > height);

        // Final it is not, and nobody says so.
        let status = submit_raw(user.channel(&network.nodes[leader])?, tx.clone()).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::DeadlineExceeded, "OUTCOME_UNKNOWN".to_owned()));
        let fate = user.at(&network.nodes[leader]).await?.transaction_fate(ordered.transaction_id, None).await?;
        assert_eq!(fate, consilium_client::receipts::TransactionFate::Pending);
        eventually_async("the alarm", Duration::from_secs(30), || async {
            let mut named = 0;
            for node in network.running() {
                let status = network.status(node).await?;
                assert_eq!(status.certified_height, height, "certified without the power");
                named += usize::from(status.alarms.iter().any(|a| a.name == "certificates_stalled"));
            }
            anyhow::ensure!(named > 0, "no node raised it");
            Ok(())
        })
        .await?;

        network.nodes[HEAVY].restart()?;
        let done = user.client.submit(tx, pb::WaitFor::Certified).await?;
        assert_eq!((done.height, done.outcome), (ordered.height, pb::Outcome::Applied));
        network.agreed(done.height.0).await?;
        eventually_async("no alarms", Duration::from_secs(30), || async {
            for node in network.running() {
                let alarms = network.status(node).await?.alarms;
                anyhow::ensure!(alarms.is_empty(), "node {node}: {alarms:?}");
            }
            Ok(())
        })
        .await
    });
}

#[test]
fn one_heavy_member_cannot_certify_alone() {
    // More than two thirds of the power at one node: it still needs Raft's
    // majority to order anything.
    Network::of(3).stakes([100, 100, 1_000, 0]).limits("request_timeout = \"3s\"").run(async |network| {
        let user = network.enrolled(2, Role::Service, "ehr").await?;
        let (height, _) = network.agreed(1).await?;
        network.nodes[0].kill9()?;
        network.nodes[1].kill9()?;
        let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
        let status = submit_raw(user.channel(&network.nodes[2])?, tx).await.unwrap_err();
        assert!([Code::Unavailable, Code::DeadlineExceeded].contains(&status.code()), "{status:?}");
        assert_eq!(network.status(2).await?.certified_height, height);
        Ok(())
    });
}
