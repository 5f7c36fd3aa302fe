//! A node whose state went wrong without its disk noticing: it must stop by
//! itself when it meets a certificate over something else, take the certified
//! chain from its peers, and take part again.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use consilium_e2e::{Load, Network, eventually_async, head, ledger_at};
use consilium_grpc::operator_service_client::OperatorServiceClient;
use consilium_proto::names::Role;
use consilium_proto::pb;
use rocksdb::{DB, IteratorMode, Options};

/// First byte of the keys of enrolled signers (docs/formats.md).
const SIGNER: u8 = 0x03;
const PATIENCE: Duration = Duration::from_secs(60);

/// Deletes the signers from the state behind the node's back. Checksums are
/// right afterwards: only the certificates can tell.
fn forget_signers(data_dir: &Path) -> anyhow::Result<usize> {
    let path = data_dir.join("ledger");
    let options = Options::default();
    let families = DB::list_cf(&options, &path)?;
    let db = DB::open_cf(&options, &path, families)?;
    let state = db.cf_handle("state").unwrap();
    let rows = db.iterator_cf(state, IteratorMode::Start).collect::<Result<Vec<_>, _>>()?;
    let signers: Vec<_> = rows.into_iter().map(|(key, _)| key).filter(|key| key.first() == Some(&SIGNER)).collect();
    for key in &signers {
        db.delete_cf(state, key)?;
    }
    db.flush_wal(true)?;
    Ok(signers.len())
}

/// The operator learns what was wrong, and says when that is understood.
async fn report_of_the_repair(network: &Network, node: usize) -> anyhow::Result<()> {
    let (data_dir, report) = (&network.nodes[node].data_dir, network.nodes[node].data_dir.join("DIVERGED"));
    let alarm = || async {
        let alarms = network.status(node).await?.alarms;
        anyhow::Ok(alarms.into_iter().find(|a| a.name == "state_diverged_repaired").map(|a| a.message))
    };
    let message = eventually_async("the alarm", PATIENCE, || async { alarm().await?.context("no alarm") }).await?;
    let told = std::fs::read_to_string(&report)?;
    for text in [&message, &told] {
        assert!(text.contains("the first block that differed was"), "{text}");
        assert!(text.contains("in table `state`, key 03"), "{text}");
        assert!(text.contains("(enrolled signer ") && text.contains("was absent"), "{text}");
    }
    println!("reported: {told}");
    assert!(network.nodes[node].log_contains(&["the ledger had gone astray", "enrolled signer"]));
    assert!(!data_dir.join("ledger.diverged").exists() && !data_dir.join("REPAIR").exists());
    std::fs::remove_file(report)?;
    eventually_async("no alarm", PATIENCE, || async {
        let left = alarm().await?;
        anyhow::ensure!(left.is_none(), "{left:?}");
        Ok(())
    })
    .await
}

#[test]
fn a_node_that_went_astray_stops_and_takes_the_certified_chain() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let leader = network.leader().await?;
        let astray = network.follower().await?;
        let near = (0..4).find(|n| *n != astray && *n != leader).unwrap();
        network.nodes[astray].stop()?;
        assert!(forget_signers(&network.nodes[astray].data_dir)? > 0);
        network.nodes[astray].restart()?;

        let load = Load::start(vec![user.at(&network.nodes[near]).await?]);
        load.more(5).await?;
        let status = network.nodes[astray].wait_end()?;
        assert!(!status.success());
        assert!(network.nodes[astray].log_contains(&["state_diverged"]));

        // The next start rebuilds the ledger, while the others go on.
        network.nodes[astray].restart()?;
        report_of_the_repair(network, astray).await?;
        load.more(5).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        let last = *acks.last().unwrap();
        network.agreed(last.height).await?;
        let here = ledger_at(user.channel(&network.nodes[astray])?).await?;
        let there = ledger_at(user.channel(&network.nodes[near])?).await?;
        let common = here.len().min(there.len());
        assert_eq!(here[..common], there[..common]);

        // It votes again: with another node away, its vote is needed.
        network.nodes[near].kill9()?;
        let load = Load::start(vec![user.at(&network.nodes[astray]).await?]);
        load.more(3).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn a_rebuild_ends_on_an_idle_network_even_if_the_log_ends_with_no_block() {
    Network::of(4).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "admin").await?;
        let (height, _) = network.agreed(1).await?;
        // A new leader begins its term with an entry that is no block.
        let leader = network.leader().await?;
        let to = (leader + 1) % 4;
        let operator = network.user(leader, Role::Admin, "operator").await?;
        let request = pb::TransferLeadershipRequest { to: network.nodes[to].raft_id() };
        OperatorServiceClient::new(operator.channel(&network.nodes[leader])?).transfer_leadership(request).await?;
        let rebuilt = (0..4).find(|n| *n != leader && *n != to).unwrap();
        eventually_async("the new term's entry", PATIENCE, || async {
            let status = network.status(rebuilt).await?;
            let last = network.status(to).await?.last_index;
            anyhow::ensure!(status.last_index == last && status.leader == network.nodes[to].raft_id(), "{status:?}");
            Ok(())
        })
        .await?;
        // An operator who does not trust a copy any more has it made anew.
        network.nodes[rebuilt].stop()?;
        std::fs::write(network.nodes[rebuilt].data_dir.join("REPAIR"), "")?;
        network.nodes[rebuilt].restart()?;
        let (after, _) = network.agreed(height).await?;
        assert_eq!(after, height, "the own log has the rest, and nobody had to make a block");
        let told = std::fs::read_to_string(network.nodes[rebuilt].data_dir.join("DIVERGED"))?;
        assert!(
            told.contains(&format!("no block up to {height} differed")) && told.contains("no row differed"),
            "{told}"
        );
        assert_eq!(head(admin.channel(&network.nodes[rebuilt])?).await?.height.0, after);
        Ok(())
    });
}
