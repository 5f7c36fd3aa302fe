//! What a power cut leaves behind what was synced: nodes start by themselves.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use consilium_e2e::{Load, Network, Node, TestResult, copy_tree};
use consilium_proto::names::Role;

/// The newest log of writes in a database's folder.
fn newest_log(database: &Path) -> anyhow::Result<PathBuf> {
    let logs = fs::read_dir(database)?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = logs.filter(|path| path.extension().is_some_and(|e| e == "log")).max();
    newest.ok_or_else(|| anyhow::anyhow!("no log of writes in {}", database.display()))
}

/// A file that the ledger's database had begun: zeros, and in no list of its files.
fn unfinished_file(node: &Node) -> TestResult {
    Ok(fs::write(node.data_dir.join("ledger").join("900000.sst"), [0; 100_000])?)
}

/// Kills these nodes under load, whose ledgers have hardly anything in files by then, and starts
/// them again.
async fn cut_power(network: &mut Network, nodes: &[usize]) -> TestResult {
    let user = network.enrolled(0, Role::Service, "ehr").await?;
    let load = Load::start(vec![user.client.clone(); 4]);
    load.more(200).await?;
    for node in nodes {
        network.nodes[*node].kill9()?;
        unfinished_file(&network.nodes[*node])?;
    }
    network.start_all()?;
    load.more(20).await?;
    let (acks, failures) = load.finish().await?;
    assert_eq!(failures, Vec::<String>::new());
    network.agreed(acks.iter().map(|ack| ack.height).max().unwrap_or_default()).await?;
    for node in nodes {
        assert!(!network.nodes[*node].data_dir.join("DIVERGED").exists(), "it replayed its log and fetched nothing");
    }
    Ok(())
}

#[test]
fn one_ledger_is_executed_again() {
    Network::of(4).run(async |network| cut_power(network, &[2]).await);
}

#[test]
fn all_ledgers_are_executed_again() {
    Network::of(4).run(async |network| cut_power(network, &[0, 1, 2, 3]).await);
}

/// Room that a file system made for a write that was under way: the head of a record, and
/// zeros where its content was to be.
fn unfinished_record(log: &Path) -> TestResult {
    let (checksum, length, full) = ([0xaa; 4], 30_000_u16.to_le_bytes(), [1]);
    let record = [&checksum[..], &length, &full, &[0; 150_000]].concat();
    let mut file = OpenOptions::new().append(true).open(log)?;
    Ok(file.write_all(&record)?)
}

/// The newest record of a guard rots.
fn rot_guard(node: &Node) -> TestResult {
    let path = node.data_dir.join("GUARD");
    let mut bytes = fs::read(&path)?;
    let sequence = |slot: &usize| bytes.get(slot * 512 + 8..slot * 512 + 16).map(<[u8]>::to_vec);
    let newest = [0, 1].into_iter().max_by_key(sequence).unwrap_or_default();
    bytes[newest * 512 + 30] ^= 1;
    Ok(fs::write(&path, bytes)?)
}

/// Kills all nodes under load, does something to the disks of some, and starts them again:
/// all go on, and those say something of it.
async fn outage(network: &mut Network, harm: fn(&Node) -> TestResult, harmed: &[usize], said: &[&str]) -> TestResult {
    let user = network.enrolled(0, Role::Service, "ehr").await?;
    let load = Load::start(vec![user.client.clone(); 4]);
    load.more(200).await?;
    for node in &mut network.nodes {
        node.kill9()?;
    }
    for node in harmed {
        harm(&network.nodes[*node])?;
    }
    network.start_all()?;
    load.more(20).await?;
    let (acks, failures) = load.finish().await?;
    assert_eq!(failures, Vec::<String>::new());
    network.agreed(acks.iter().map(|ack| ack.height).max().unwrap_or_default()).await?;
    for node in harmed.iter().map(|node| &network.nodes[*node]) {
        assert!(node.log_contains(said), "{}", node.log_tail());
        assert!(node.log_contains(&["have told what they hold of this node"]), "{}", node.log_tail());
    }
    Ok(())
}

fn harm_log(node: &Node) -> TestResult {
    unfinished_record(&newest_log(&node.data_dir.join("raft"))?)
}

const LEFT_OUT: [&str; 1] = ["the end of the Raft log cannot be read and is left out"];

/// It once was refused for ever.
#[test]
fn zero_tail_of_one_raft_log() {
    Network::of(4).run(async |network| outage(network, harm_log, &[1], &LEFT_OUT).await);
}

#[test]
fn zero_tail_of_all_raft_logs() {
    Network::of(4).run(async |network| outage(network, harm_log, &[0, 1, 2, 3], &LEFT_OUT).await);
}

/// It once went on from the vote before, in silence, if no peer was there to be asked.
#[test]
fn rotten_guards_of_all_nodes_are_told_their_votes() {
    Network::of(4)
        .run(async |network| outage(network, rot_guard, &[0, 1, 2, 3], &["a slot of the guard cannot be read"]).await);
}

/// Each once waited for a certificate that needed the votes of the other.
#[test]
fn half_the_nodes_repair() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        for _ in 0..3 {
            let load = Load::start(vec![user.client.clone(); 4]);
            load.more(50).await?;
            for node in &mut network.nodes {
                node.kill9()?;
            }
            for node in &network.nodes[2..] {
                fs::write(node.data_dir.join("REPAIR"), b"")?;
            }
            network.start_all()?;
            load.more(20).await?;
            let (acks, failures) = load.finish().await?;
            assert_eq!(failures, Vec::<String>::new());
            network.agreed(acks.iter().map(|ack| ack.height).max().unwrap_or_default()).await?;
        }
        Ok(())
    });
}

/// Bytes that are missing in the middle once made RocksDB read for ever, with no line in
/// the log: the process ran, and nothing came of it.
#[test]
fn a_log_with_a_hole_ends_a_start_or_is_no_trouble() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone(); 4]);
        load.more(100).await?;
        let (acks, _) = load.finish().await?;
        network.agreed(acks.iter().map(|ack| ack.height).max().unwrap_or_default()).await?;
        let node = &mut network.nodes[3];
        node.kill9()?;
        let (folder, aside) = (node.data_dir.join("raft"), node.dir.join("aside"));
        copy_tree(&folder, &aside)?;
        let log = newest_log(&folder)?;
        let whole = fs::read(&log)?;
        let middle = whole.len() / 2;
        fs::write(&log, [&whole[..middle], &whole[middle + 5..]].concat())?;
        let toml = fs::read_to_string(&node.config)?;
        fs::write(&node.config, toml.replace("[storage]", "[storage]\nopen_timeout = \"5s\""))?;
        node.start()?;
        if let Err(not_ready) = node.wait_ready() {
            let told = node.log_contains(&["storage.open_timeout"]) || node.log_contains(&["orruption"]);
            anyhow::ensure!(told, "{not_ready:#}");
            node.wait_end()?;
            // What was read up to the hole is all that is left there.
            fs::remove_dir_all(&folder)?;
            copy_tree(&aside, &folder)?;
            node.restart()?;
        }
        assert!(network.nodes[3].log_contains(&["opening a database"]));
        Ok(())
    });
}
