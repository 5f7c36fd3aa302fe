//! Certificates apart from Raft: a majority of nodes orders, but only more
//! than two thirds of the power make anything final.

use std::time::Duration;

use consilium_e2e::{Network, alarms, eventually_async, reason, record, submit_raw};
use consilium_proto::names::Role;
use consilium_proto::pb;
use tonic::Code;

const HEAVY: usize = 3;

#[test]
fn without_the_power_nothing_is_final_and_the_alarm_says_who_is_missing() {
    // Three of four nodes are a Raft majority, but have 300 of 1,300 power.
    let network = Network::of(4).stakes([100, 100, 100, 1_000]);
    let short = "certificate_timeout = \"1s\"\nelection_ticks = 16";
    network.raft(short).limits("request_timeout = \"3s\"").run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let (height, _) = network.agreed(1).await?;
        network.nodes[HEAVY].kill9()?;

        // Nobody says that it is ordered, and it is not final.
        let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
        let status = submit_raw(user.channel(&network.nodes[0])?, tx.clone()).await.unwrap_err();
        let said = (status.code(), reason(&status));
        let honest = [(Code::Unavailable, "NO_LEADER"), (Code::DeadlineExceeded, "OUTCOME_UNKNOWN")];
        assert!(honest.iter().any(|(code, reason)| (*code, *reason) == (said.0, &said.1)), "{said:?}");
        let missing = network.nodes[HEAVY].raft_id();
        eventually_async("the alarm", Duration::from_secs(60), || async {
            for node in network.running() {
                let status = network.status(node).await?;
                assert_eq!(status.certified_height, height, "certified without the power");
                let named =
                    status.alarms.iter().any(|a| a.name == "no_quorum" && a.message.contains(&missing.to_string()));
                anyhow::ensure!(named, "node {node}: {:?}", status.alarms);
            }
            Ok(())
        })
        .await?;

        network.nodes[HEAVY].restart()?;
        let done = user.client.submit(tx, pb::WaitFor::Certified).await?;
        assert_eq!(done.outcome, pb::Outcome::Applied);
        network.agreed(done.height.0).await?;
        eventually_async("no alarms", Duration::from_secs(30), || async {
            for node in network.running() {
                let alarms = alarms(&network.status(node).await?);
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
