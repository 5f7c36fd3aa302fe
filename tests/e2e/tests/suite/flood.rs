//! A node's real identity that sends much, and nothing that counts.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use consilium_e2e::{Impostor, Load, Network, eventually_async};
use consilium_proto::names::Role;
use consilium_proto::pb;
use futures::stream::{self, FuturesUnordered, StreamExt};
use tonic::Code;

/// Calls that one node may have under way at another.
const CALLS_MAX: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);

/// The most memory that a process has had, in MiB.
fn peak_mib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024)
}

#[test]
fn calls_of_one_node_are_few_and_the_others_go_on() {
    Network::of(4).run(async |network| {
        let client = network.enrolled(0, Role::Service, "ehr").await?.client;
        let (hostile, honest) = (3, 0);
        let impostor = Impostor::with_keys_of(network, hostile)?;
        network.nodes[hostile].pause()?;
        let calls = 2 * CALLS_MAX;
        let mut open: FuturesUnordered<_> =
            (0..calls).map(|_| impostor.exchange(network, honest, stream::pending())).collect();
        // Those that are not refused stay open.
        for _ in 0..calls - CALLS_MAX {
            let refused = tokio::time::timeout(PATIENCE, open.next()).await?.context("no call ended")??;
            assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
        }
        let load = Load::start(vec![client]);
        load.more(5).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        drop(open);
        network.nodes[hostile].resume()?;
        eventually_async("the node itself is heard again", PATIENCE, || async { network.agreed(1).await.map(drop) })
            .await
    });
}

/// Two million empty messages are 4 MiB, and would take hundreds once they are decoded.
#[test]
fn messages_of_many_empty_parts_take_no_memory() {
    Network::of(4).run(async |network| {
        let client = network.enrolled(0, Role::Service, "ehr").await?.client;
        let (hostile, honest) = (3, 0);
        let impostor = Impostor::with_keys_of(network, hostile)?;
        let before = peak_mib(network.nodes[honest].pid()?)?;
        let batch = pb::ExchangeRequest { messages: vec![pb::PeerMessage::default(); 2 << 20] };
        for _ in 0..3 {
            let refused = impostor.exchange(network, honest, stream::iter([batch.clone()])).await?;
            assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
        }
        let grown = peak_mib(network.nodes[honest].pid()?)? - before;
        assert!(grown < 128, "{grown} MiB more");
        let load = Load::start(vec![client]);
        load.more(5).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}
