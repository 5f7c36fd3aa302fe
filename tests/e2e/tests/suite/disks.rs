//! Disks and genesis documents that are not the node's own.

use std::fs;
use std::process::Command;

use consilium_e2e::{Exit, Load, Network, cli_binary, copy_tree, eventually_async, run_to_end};
use consilium_proto::names::Role;
use consilium_proto::pb::{Endorsement, GenesisDocument, GenesisNode};
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use prost::Message;

fn refused(exit: &Exit, texts: &[&str]) {
    // 78 is what the configuration is at fault for, of a node.
    assert!(matches!(exit.code, Some(1 | 78)), "{:?}: {}", exit.code, exit.output);
    for text in texts {
        assert!(exit.output.contains(text), "{text:?} is not in\n{}", exit.output);
    }
    assert!(!exit.output.contains("panicked"), "{}", exit.output);
}

#[test]
fn a_wiped_disk_is_refused_with_a_clear_error() {
    Network::of(3).run(async |network| {
        network.enrolled(0, Role::Service, "ehr").await?;
        let node = &mut network.nodes[1];
        node.stop()?;
        fs::remove_dir_all(&node.data_dir)?;
        refused(&node.command(&["run"])?, &["MARKER", "its disk was lost"]);
        fs::create_dir(&node.data_dir)?;
        refused(&node.command(&["run"])?, &["MARKER", "its disk was lost"]);
        Ok(())
    });
}

#[test]
fn a_disk_set_up_again_under_a_known_id_is_refused_by_what_peers_remember() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let lost = network.follower().await?;
        network.nodes[lost].stop()?;
        fs::remove_dir_all(&network.nodes[lost].data_dir)?;
        network.nodes[lost].init()?;
        let node = &mut network.nodes[lost];
        node.start()?;
        // It has voted before and has forgotten it.
        let status = node.wait_end()?;
        assert_eq!(status.code(), Some(1));
        assert!(node.log_contains(&["disk", "lost"]), "{}", node.log_tail());
        // The others go on.
        let load = Load::start(vec![user.client.clone()]);
        load.more(5).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn a_disk_rolled_back_to_an_older_copy_is_refused() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let node = network.follower().await?;
        let backup = network.folder().join("backup");
        network.nodes[node].stop()?;
        copy_tree(&network.nodes[node].data_dir, &backup)?;
        network.nodes[node].restart()?;
        let load = Load::start(vec![user.client.clone()]);
        load.more(20).await?;
        let (acks, _) = load.finish().await?;
        network.agreed(acks.last().unwrap().height).await?;
        let node = &mut network.nodes[node];
        node.stop()?;
        fs::remove_dir_all(&node.data_dir)?;
        copy_tree(&backup, &node.data_dir)?;
        node.start()?;
        assert_eq!(node.wait_end()?.code(), Some(1));
        assert!(node.log_contains(&["disk", "rolled back"]), "{}", node.log_tail());
        Ok(())
    });
}

#[test]
fn a_disk_without_its_guard_is_refused() {
    Network::of(3).run(async |network| {
        network.enrolled(0, Role::Service, "ehr").await?;
        // Nobody else can remind it of what it signed.
        for node in &mut network.nodes {
            node.stop()?;
        }
        let node = &network.nodes[0];
        let guard = node.data_dir.join("GUARD");
        let bytes = fs::read(&guard)?;
        fs::remove_file(&guard)?;
        refused(&node.command(&["run"])?, &["GUARD"]);
        assert!(!guard.exists(), "a refusal must not make the damage look repaired");
        fs::write(&guard, vec![0; bytes.len()])?;
        refused(&node.command(&["run"])?, &["guard"]);
        fs::write(&guard, bytes)?;
        network.start_all()
    });
}

#[test]
fn a_disk_without_its_log_or_its_ledger_is_refused() {
    Network::of(3).run(async |network| {
        network.enrolled(0, Role::Service, "ehr").await?;
        let node = &mut network.nodes[1];
        node.stop()?;
        for part in ["raft", "ledger"] {
            let (here, aside) = (node.data_dir.join(part), node.data_dir.with_extension(part));
            fs::rename(&here, &aside)?;
            refused(&node.command(&["run"])?, &["error:"]);
            if here.exists() {
                fs::remove_dir_all(&here)?;
            }
            fs::rename(&aside, &here)?;
        }
        node.restart()
    });
}

#[test]
fn the_disk_of_another_node_is_refused() {
    Network::of(3).run(async |network| {
        network.nodes[0].stop()?;
        network.nodes[1].stop()?;
        fs::remove_dir_all(&network.nodes[0].data_dir)?;
        copy_tree(&network.nodes[1].data_dir, &network.nodes[0].data_dir)?;
        let other = format!("spiffe://{}/node/n1", network.members[1].id);
        refused(&network.nodes[0].command(&["run"])?, &["belongs to", &other]);
        Ok(())
    });
}

#[test]
fn init_refuses_a_disk_in_use() {
    Network::of(1).run(async |network| {
        refused(&network.nodes[0].command(&["init"])?, &["data"]);
        network.nodes[0].stop()?;
        refused(&network.nodes[0].command(&["init"])?, &["data"]);
        // Nothing was touched.
        network.nodes[0].restart()
    });
}

#[test]
fn another_genesis_is_refused_at_the_start() {
    Network::of(3).run(async |network| {
        let other = network.other_genesis()?;
        let node = &mut network.nodes[0];
        node.stop()?;
        let config = fs::read_to_string(&node.config)?;
        fs::write(&node.config, config.replace("../genesis.pb", &other.display().to_string()))?;
        refused(&node.command(&["run"])?, &["belongs to", "ledger"]);
        fs::write(&node.config, config)?;
        node.restart()
    });
}

/// Gives the node a genesis document; command line and node refuse it alike.
fn refused_by_both(network: &Network, document: &[u8], why: &str) -> anyhow::Result<()> {
    let path = network.folder().join("refused.pb");
    fs::write(&path, document)?;
    let mut inspect = Command::new(cli_binary()?);
    refused(&run_to_end(inspect.args(["network", "inspect"]).arg(&path), &path)?, &[why]);
    let node = &network.nodes[0];
    let config = fs::read_to_string(&node.config)?;
    fs::write(&node.config, config.replace("../genesis.pb", &path.display().to_string()))?;
    refused(&node.command(&["check"])?, &[why]);
    fs::write(&node.config, config)?;
    Ok(())
}

#[test]
fn a_genesis_that_the_command_line_refuses_no_node_starts_on() {
    Network::of(3).run(async |network| {
        let good = GenesisDocument::decode(&*fs::read(&network.genesis_path)?)?;
        let spoilt = |spoil: &dyn Fn(&mut Vec<Endorsement>), why: &str| {
            let mut document = good.clone();
            spoil(&mut document.endorsements);
            refused_by_both(network, &document.encode_to_vec(), why)
        };
        let second = &network.members[1].id;
        spoilt(&|e| drop(e.remove(1)), &format!("not endorsed by {second}"))?;
        spoilt(&|e| e.swap(0, 1), "is out of order")?;
        spoilt(&|e| e.insert(1, e[1].clone()), &format!("the endorsement of {second} is out of order"))?;
        let stranger = Endorsement { member: "mallory.example".into(), ..good.endorsements[0].clone() };
        spoilt(&|e| e.push(stranger.clone()), "which is no member")?;
        let twice = network.changed_genesis(|genesis| {
            let nodes = &mut genesis.members[2].nodes;
            let vote_key = SigningKey::generate(SignatureAlgorithm::Es256).unwrap().verifying_key();
            nodes.push(GenesisNode {
                raft_id: 4,
                peer_address: "127.0.0.1:1".into(),
                client_address: "127.0.0.1:2".into(),
                vote_key: vote_key.raw().to_vec().into(),
                ..nodes[0].clone()
            });
        })?;
        refused_by_both(network, &twice, "has two nodes named n1")?;
        let shared = network.changed_genesis(|genesis| {
            let address = genesis.members[0].nodes[0].client_address.clone();
            genesis.members[2].nodes[0].peer_address = address;
        })?;
        refused_by_both(network, &shared, "is used twice")
    });
}

#[test]
fn a_node_of_another_ledger_cannot_peer() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let other = network.other_genesis()?;
        let stray = 3;
        network.nodes[stray].stop()?;
        let node = &mut network.nodes[stray];
        fs::remove_dir_all(&node.data_dir)?;
        let config = fs::read_to_string(&node.config)?;
        fs::write(&node.config, config.replace("../genesis.pb", &other.display().to_string()))?;
        node.init()?;
        node.start()?;
        let peers: Vec<usize> = (0..4).filter(|n| *n != stray).collect();
        eventually_async("a peer that refuses the other ledger", std::time::Duration::from_secs(30), || async {
            let said = peers.iter().any(|n| network.nodes[*n].log_contains(&["another ledger"]));
            anyhow::ensure!(said, "no log line says so");
            Ok(())
        })
        .await?;
        let ready = consilium_e2e::http_get(network.nodes[stray].http, "/readyz")?;
        assert_eq!(ready.status, 503, "{ready:?}");
        let load = Load::start(vec![user.client.clone()]);
        load.more(10).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        network.nodes[stray].kill9()?;
        network.agreed(10).await?;
        Ok(())
    });
}

#[test]
fn a_disk_is_not_opened_by_two_processes() {
    Network::of(1).run(async |network| {
        // Same folder, other ports: only the disk can be in the way.
        let node = &network.nodes[0];
        let config = fs::read_to_string(&node.config)?;
        let moved = config.replace(":7401", ":8401").replace(":7501", ":8501").replace(":7601", ":8601");
        fs::write(&node.config, moved)?;
        refused(&node.command(&["run"])?, &["data"]);
        let answer = consilium_e2e::http_get(node.http, "/livez")?;
        assert_eq!(answer.status, 200);
        Ok(())
    });
}
