//! One wall clock that is off, on real nodes: it takes out its own node and no other.

use std::time::Duration;

use consilium_e2e::{Network, TestResult, eventually, eventually_async, http_get, reason, record, submit_raw};
use consilium_proto::names::Role;
use consilium_proto::pb;

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_S: i64 = 3_600;

/// Writes something by each of the nodes but one, and has it certified.
async fn writes_go_on(network: &Network, but: usize, user: &consilium_e2e::User) -> TestResult {
    for node in network.nodes.iter().filter(|node| node.index != but) {
        let client = user.at(node).await?;
        let sealed = record(&client, "patient", b"{}")?;
        eventually_async("a certified write", PATIENCE, || async {
            client.submit(sealed.sign(&user.client)?, pb::WaitFor::Certified).await.map_err(anyhow::Error::from)
        })
        .await?;
    }
    Ok(())
}

fn apart(status: &pb::GetStatusResponse) -> bool {
    status.alarms.iter().any(|alarm| alarm.name == "clock_apart")
}

/// Sets the leader's clock, and has everybody find out.
async fn leader_is_off(network: &mut Network, ahead_s: i64) -> TestResult {
    let user = network.enrolled(0, Role::Service, "ehr").await?;
    let wrong = network.leader().await?;
    network.nodes[wrong].clock()?.set(ahead_s)?;
    writes_go_on(network, wrong, &user).await?;

    let http = network.nodes[wrong].http;
    eventually("not ready", PATIENCE, || {
        let answer = http_get(http, "/readyz")?;
        anyhow::ensure!(answer.status == 503 && answer.body.contains("clock"), "{answer:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    let status = network.status(wrong).await?;
    assert!((status.clock_ahead_ms - ahead_s * 1_000).abs() < 5_000, "{}", status.clock_ahead_ms);
    assert!(apart(&status), "{:?}", status.alarms);
    assert!((network.nodes[wrong].metric("consilium_clock_ahead_seconds")? - ahead_s as f64).abs() < 5.0);
    let others: Vec<usize> = (0..4).filter(|node| *node != wrong).collect();
    for node in &others {
        let status = network.status(*node).await?;
        assert!(!apart(&status) && status.clock_ahead_ms == 0, "node {node}: {:?}", status.alarms);
    }
    let leader = network.leader_of(&others).await?;
    assert_ne!(leader, wrong);

    // A client there is told, and the SDK goes elsewhere by itself.
    let sealed = record(&user.client, "patient", b"{}")?;
    let transaction = sealed.sign(&user.client)?;
    let refused = submit_raw(user.channel(&network.nodes[wrong])?, transaction.clone()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (tonic::Code::Unavailable, "CLOCK_APART"), "{refused:?}");
    user.client.submit(transaction, pb::WaitFor::Certified).await?;

    network.nodes[wrong].clock()?.set(0)?;
    network.nodes[wrong].wait_ready()?;
    let status = network.status(wrong).await?;
    assert!(!apart(&status) && status.clock_ahead_ms == 0, "{:?}", status.alarms);
    let applied = network.status(leader).await?.applied_height;
    network.agreed(applied).await?;
    Ok(())
}

#[test]
fn clock_far_ahead() {
    Network::of(4).with_clocks().run(async |network| leader_is_off(network, 2 * HOUR_S).await);
}

#[test]
fn clock_behind() {
    // Within the validity of the certificates, which begins an hour ago.
    Network::of(4).with_clocks().run(async |network| leader_is_off(network, -HOUR_S / 2).await);
}

/// A node that was off when it started, and in office before it heard of the others.
#[test]
fn a_clock_that_is_wrong_from_the_start_stops_nobody() {
    Network::of(4).with_clocks().run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        for ahead_s in [2 * HOUR_S, -HOUR_S / 2] {
            network.nodes[3].stop()?;
            network.nodes[3].clock()?.set(ahead_s)?;
            network.nodes[3].start()?;
            writes_go_on(network, 3, &user).await?;
            let http = network.nodes[3].http;
            eventually("the clock to be found wrong", PATIENCE, || {
                let answer = http_get(http, "/readyz")?;
                anyhow::ensure!(answer.body.contains("clock"), "{answer:?}");
                Ok::<_, anyhow::Error>(())
            })?;
        }
        Ok(())
    });
}
