//! Power cuts on real file systems, under load, and while the kernel is writing back: nodes
//! start by themselves, and everything that was acknowledged is still there.

use consilium_e2e::{Load, Network, PowerDisk, TestResult, nothing_lost};
use consilium_proto::names::Role;

const ROUNDS: usize = 3;

/// Whether the kernel is kept busy with writing back single pages of the logs.
#[derive(Clone, Copy, PartialEq)]
enum WriteBack {
    AsUsual,
    Scattered,
}

/// Cuts the power of these nodes under load and brings it back, some times.
async fn cut_power(network: &mut Network, nodes: &[usize], write_back: WriteBack) -> TestResult {
    let user = network.enrolled(0, Role::Service, "ehr").await?;
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for _round in 0..ROUNDS {
        if write_back == WriteBack::Scattered {
            nodes.iter().try_for_each(|node| network.nodes[*node].disk()?.scatter())?;
        }
        let load = Load::start(vec![user.client.clone(); 8]);
        load.more(100).await?;
        // Within a moment of each other, as when a site loses its power.
        nodes.iter().try_for_each(|node| network.nodes[*node].disk()?.cut())?;
        nodes.iter().try_for_each(|node| network.nodes[*node].kill9())?;
        nodes.iter().try_for_each(|node| network.nodes[*node].disk()?.power_up())?;
        network.start_all()?;
        load.more(20).await?;
        let (acks, failures) = load.finish().await?;
        failed.extend(failures);
        all.extend(acks);
        nothing_lost(network, &user, &all).await?;
        for node in nodes {
            assert!(
                !network.nodes[*node].data_dir.join("DIVERGED").exists(),
                "it replayed its log, and fetched nothing"
            );
        }
    }
    // Nobody was told for good what was not so: an outage is waited for.
    failed.sort();
    failed.dedup();
    assert_eq!(failed, Vec::<String>::new());
    Ok(())
}

fn with_disks(nodes: &'static [usize], write_back: WriteBack) {
    if let Err(reason) = PowerDisk::probe() {
        eprintln!("SKIPPED: no disk whose power could be cut (root, loop devices, mkfs.ext4): {reason:#}");
        return;
    }
    Network::of(4).with_power_disks().run(async |network| cut_power(network, nodes, write_back).await);
}

#[test]
fn power_cut_of_one() {
    // One whose journal waits for no data.
    with_disks(&[1], WriteBack::AsUsual);
}

#[test]
fn power_cut_of_all() {
    with_disks(&[0, 1, 2, 3], WriteBack::AsUsual);
}

#[test]
fn power_cut_of_one_while_it_writes_back() {
    with_disks(&[1], WriteBack::Scattered);
}

#[test]
fn power_cut_of_all_while_they_write_back() {
    with_disks(&[0, 1, 2, 3], WriteBack::Scattered);
}
