//! A disk that was tampered with is found out, by tools that believe nothing.

use std::path::Path;
use std::process::Command;

use consilium_e2e::{
    Exit, Network, asks_for, cli_binary, copy_tree, files_below, flip_bits, node_binary, read_payload, run_to_end,
    stored,
};
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::names::Role;
use consilium_proto::pb::action::Action;

fn verify(network: &Network, arguments: &[&str]) -> anyhow::Result<Exit> {
    let mut command = Command::new(cli_binary()?);
    // `--data-dir` runs the node's dump: found beside the program or on PATH.
    let node = node_binary()?;
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", node.parent().unwrap().display()));
    command.args(["ledger", "verify"]).args(arguments).arg("--genesis").arg(&network.genesis_path);
    run_to_end(&mut command, &network.genesis_path)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A network with some records of which one was asked for, stopped; answers with one payload's bytes.
async fn stopped_with_records(network: &mut Network) -> anyhow::Result<Vec<u8>> {
    let user = network.enrolled(0, Role::Service, "ehr").await?;
    let client = &user.client;
    let mut payload = Vec::new();
    for number in 0..8 {
        let sealed = stored(client, "patient", format!("document {number}").as_bytes()).await?;
        payload = sealed.attachments[0].to_vec();
        if number == 0 {
            let patient = PatientPseudonym::parse("patient", &sealed.write.patient)?;
            client.perform(Action::RequestAccess(asks_for(patient, sealed.record_id))).await?;
        }
    }
    network.agreed(10).await?;
    for node in &mut network.nodes {
        node.stop()?;
    }
    Ok(payload)
}

#[test]
fn an_untouched_disk_verifies() {
    Network::of(3).run(async |network| {
        stopped_with_records(network).await?;
        for node in &network.nodes {
            let exit = verify(network, &["--data-dir", &text(&node.data_dir)])?;
            assert_eq!(exit.code, Some(0), "{}", exit.output);
        }
        let other = network.other_genesis()?;
        let mut command = Command::new(cli_binary()?);
        command.args(["ledger", "verify", "--data-dir"]).arg(&network.nodes[0].data_dir);
        let exit = run_to_end(command.arg("--genesis").arg(other), &network.genesis_path)?;
        assert_eq!(exit.code, Some(1), "another genesis: {}", exit.output);
        Ok(())
    });
}

#[test]
fn a_payload_changed_on_the_disk_is_found() {
    Network::of(3).run(async |network| {
        let payload = stopped_with_records(network).await?;
        let data_dir = network.nodes[1].data_dir.clone();
        let damaged = flip_bits(&data_dir.join("ledger"), &payload[8..40])?;
        assert!(!damaged.is_empty(), "nothing was damaged");
        let exit = verify(network, &["--data-dir", &text(&data_dir)])?;
        assert_eq!(exit.code, Some(1), "damaged {damaged:?}: {}", exit.output);
        assert!(!exit.output.contains("panicked"), "{}", exit.output);
        // The others are as they were.
        let exit = verify(network, &["--data-dir", &text(&network.nodes[0].data_dir)])?;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
        Ok(())
    });
}

#[test]
fn a_node_never_serves_a_payload_that_is_not_what_was_committed_to() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let sealed = stored(&user.client, "patient", b"the only document").await?;
        network.agreed(2).await?;
        let node = &mut network.nodes[1];
        node.stop()?;
        let payload = sealed.attachments[0].clone();
        assert!(!flip_bits(&node.data_dir.join("ledger"), &payload[8..40])?.is_empty(), "nothing was damaged");
        // It may refuse to start, or start and refuse to answer.
        node.start()?;
        if node.wait_ready().is_ok()
            && let Ok(read) = read_payload(&user, node, sealed.patient(), sealed.record_id).await?
        {
            assert_eq!(read, payload, "a damaged payload was served");
        }
        Ok(())
    });
}

#[test]
fn a_flipped_bit_in_any_database_file_is_found_or_harmless() {
    Network::of(1).run(async |network| {
        stopped_with_records(network).await?;
        let (data_dir, scratch) = (network.nodes[0].data_dir.clone(), network.folder().join("scratch"));
        let good = verify(network, &["--data-dir", &text(&data_dir)])?;
        assert_eq!(good.code, Some(0), "{}", good.output);
        let mut found = 0;
        for file in files_below(&data_dir.join("ledger"))? {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            // What RocksDB writes about itself holds nothing of the ledger.
            if name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" || name == "IDENTITY" {
                continue;
            }
            let mut bytes = std::fs::read(&file)?;
            if bytes.is_empty() {
                continue;
            }
            copy_tree(&data_dir, &scratch)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            std::fs::write(scratch.join(file.strip_prefix(&data_dir)?), bytes)?;
            let exit = verify(network, &["--data-dir", &text(&scratch)])?;
            assert!(!exit.output.contains("panicked"), "{name}: {}", exit.output);
            match exit.code {
                Some(1) => found += 1,
                // Not seen: then what was verified is what was there before.
                Some(0) => assert_eq!(head_of(&exit.output), head_of(&good.output), "{name}"),
                code => anyhow::bail!("{name}: {code:?} {}", exit.output),
            }
            std::fs::remove_dir_all(&scratch)?;
        }
        assert!(found > 0, "no damage was found");
        Ok(())
    });
}

fn head_of(output: &str) -> Vec<&str> {
    output.lines().filter(|line| line.contains("root") || line.contains("height")).collect()
}

#[test]
fn a_node_with_a_damaged_log_does_not_start_as_if_nothing_were_wrong() {
    Network::of(3).run(async |network| {
        stopped_with_records(network).await?;
        let node = &mut network.nodes[2];
        let mut damaged = 0;
        for file in files_below(&node.data_dir.join("raft"))? {
            if file.extension().is_some_and(|e| e == "log" || e == "sst") {
                let mut bytes = std::fs::read(&file)?;
                if bytes.len() > 64 {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    std::fs::write(&file, bytes)?;
                    damaged += 1;
                }
            }
        }
        assert!(damaged > 0, "nothing was damaged");
        let exit = node.command(&["run"])?;
        assert_eq!(exit.code, Some(1), "{}", exit.output);
        assert!(exit.output.contains("error:") && !exit.output.contains("panicked"), "{}", exit.output);
        Ok(())
    });
}

#[test]
fn a_tampered_archive_is_found_out() {
    Network::of(3).run(async |network| {
        stopped_with_records(network).await?;
        let archive = network.folder().join("ledger.archive");
        let node = &network.nodes[0];
        let output = Command::new(node_binary()?)
            .args(["dump", "--data-dir"])
            .arg(&node.data_dir)
            .arg("--genesis")
            .arg(&network.genesis_path)
            .output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(&archive, &output.stdout)?;
        let good = verify(network, &[&text(&archive)])?;
        assert_eq!(good.code, Some(0), "{}", good.output);
        assert!(good.output.contains("9 entries of logs"), "8 records are listed, one was asked for: {}", good.output);
        let changed = network.folder().join("changed.archive");
        let bytes = output.stdout;
        let mut found = 0;
        let places: Vec<usize> = (1..60).map(|n| bytes.len() * n / 60).collect();
        for place in &places {
            let mut bytes = bytes.clone();
            bytes[*place] ^= 1;
            std::fs::write(&changed, bytes)?;
            let exit = verify(network, &[&text(&changed)])?;
            match exit.code {
                Some(1) => found += 1,
                // Only in what is not believed anyway: the writer's copy of
                // the endorsements, spare certificates. It says the same then.
                Some(0) => assert_eq!(exit.output, good.output, "byte {place}"),
                code => anyhow::bail!("byte {place}: {code:?} {}", exit.output),
            }
        }
        assert!(found * 10 >= places.len() * 8, "{found} of {} found", places.len());
        std::fs::write(&changed, &bytes[..bytes.len() - 10])?;
        assert_eq!(verify(network, &[&text(&changed)])?.code, Some(1), "a truncated archive");
        Ok(())
    });
}
