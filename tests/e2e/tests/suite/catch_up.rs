//! A follower that was away for long: by the log, and by certified blocks when
//! the log has been compacted meanwhile.

use std::time::Duration;

use consilium_client::records::RecordReader;
use consilium_e2e::{Load, Network, User, eventually_async, files_below, ledger_at, record};
use consilium_proto::names::Role;
use consilium_proto::pb::WaitFor;

async fn write(user: &User, count: usize) -> anyhow::Result<Vec<consilium_e2e::Ack>> {
    // One writer: every transaction gets a block and a log entry of its own.
    let load = Load::start(vec![user.client.clone()]);
    load.more(count).await?;
    let (acks, failures) = load.finish().await?;
    assert_eq!(failures, Vec::<String>::new());
    Ok(acks)
}

async fn check_caught_up(network: &Network, user: &User, node: usize, last: consilium_e2e::Ack) -> anyhow::Result<()> {
    network.agreed(last.height).await?;
    let reference = (node + 1) % network.nodes.len();
    let here = ledger_at(user.channel(&network.nodes[node])?).await?;
    let there = ledger_at(user.channel(&network.nodes[reference])?).await?;
    assert!(here.iter().any(|row| row.id == last.id));
    let common = here.len().min(there.len());
    assert_eq!(here[..common], there[..common]);
    // Payloads, too: they do not travel in the blocks.
    let reader = RecordReader::new(user.at(&network.nodes[node]).await?);
    let opened = reader.get(last.record_id, None).await?;
    assert_eq!(opened.plaintext.unwrap().as_slice(), b"{\"resourceType\":\"Observation\"}");
    Ok(())
}

#[test]
fn a_follower_that_was_down_catches_up_by_the_log() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let away = network.follower().await?;
        network.nodes[away].kill9()?;
        let acks = write(&user, 100).await?;
        network.nodes[away].restart()?;
        check_caught_up(network, &user, away, *acks.last().unwrap()).await
    });
}

#[test]
fn a_follower_behind_the_compacted_log_catches_up_by_certified_blocks() {
    let small_log = "log_entries_max = 30\nlog_entries_kept = 10";
    Network::of(4).raft(small_log).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let away = network.follower().await?;
        let last_index = network.status(away).await?.last_index;
        network.nodes[away].stop()?;
        let acks = write(&user, 150).await?;
        let leader = network.leader().await?;
        // A leader looks every few ticks whether its log is due.
        eventually_async("a compacted log", Duration::from_secs(20), || async {
            let first_index = network.status(leader).await?.first_index;
            anyhow::ensure!(first_index > last_index + 1, "{first_index} <= {last_index} + 1");
            Ok(())
        })
        .await?;
        network.nodes[away].restart()?;
        check_caught_up(network, &user, away, *acks.last().unwrap()).await?;
        // It takes part again: with another node away, its vote is needed.
        let other = (0..4).find(|n| *n != away && *n != leader).unwrap();
        network.nodes[other].kill9()?;
        write(&user, 5).await?;
        network.agreed(1).await?;
        Ok(())
    });
}

#[test]
fn a_restart_after_compaction_keeps_the_ledger() {
    let small_log = "log_entries_max = 20\nlog_entries_kept = 5";
    Network::of(3).raft(small_log).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let acks = write(&user, 60).await?;
        for node in &mut network.nodes {
            node.kill9()?;
        }
        network.start_all()?;
        let more = write(&user, 5).await?;
        assert!(more[0].height > acks.last().unwrap().height);
        for node in 0..3 {
            check_caught_up(network, &user, node, *more.last().unwrap()).await?;
        }
        Ok(())
    });
}

/// Bytes of a node's Raft log on the disk.
fn log_bytes(network: &Network, node: usize) -> anyhow::Result<u64> {
    let files = files_below(&network.nodes[node].data_dir.join("raft"))?;
    Ok(files.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum())
}

#[test]
fn the_space_of_a_compacted_log_is_given_back_while_the_node_runs() {
    let small_log = "log_entries_max = 10\nlog_entries_kept = 5";
    Network::of(3).raft(small_log).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let written = 40 * (256 << 10);
        for number in 0..40 {
            let document: Vec<u8> = (0..256 << 10).map(|n| (n * number) as u8).collect();
            let sealed = record(&user.client, "patient", &document)?;
            user.client.submit(sealed.sign(&user.client)?, WaitFor::Certified).await?.into_applied()?;
        }
        for node in 0..3 {
            eventually_async("a small log", Duration::from_secs(60), || async {
                let bytes = log_bytes(network, node)?;
                anyhow::ensure!(bytes < written / 2, "{bytes} bytes are kept of {written}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}
