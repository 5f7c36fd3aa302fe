//! Whoever has the genesis document can verify everything, however often the
//! validators have changed since.

use std::fs;
use std::process::Command;

use consilium_client::receipts::verify_receipt;
use consilium_e2e::{Exit, Network, User, cli_binary, node_binary, record, run_to_end, short_epochs};
use consilium_proto::ids::TransactionId;
use consilium_proto::names::Role;
use consilium_proto::pb;
use prost::Message;

async fn write(user: &User) -> anyhow::Result<TransactionId> {
    let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
    Ok(user.client.submit(tx, pb::WaitFor::Certified).await?.into_applied()?.transaction_id)
}

fn verify(network: &Network, arguments: &[&str]) -> anyhow::Result<Exit> {
    let mut command = Command::new(cli_binary()?);
    // `--data-dir` runs the node's dump: found beside the program or on PATH.
    let node = node_binary()?;
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", node.parent().unwrap().display()));
    run_to_end(command.args(arguments).arg("--genesis").arg(&network.genesis_path), &network.genesis_path)
}

#[test]
fn receipts_clients_and_archives_need_only_the_genesis_after_many_epochs() {
    let parameters = pb::Parameters { max_validators: 4, ..short_epochs(1_500) };
    Network::of(5).parameters(parameters).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "admin").await?;
        let user = network.enrolled(1, Role::Service, "ehr").await?;
        let mut transactions = vec![write(&user).await?];
        let early = user.client.receipt(transactions[0]).await?;
        for (from, to, seated) in [(1, 5, [1, 2, 3, 4]), (5, 1, [0, 1, 2, 3]), (1, 5, [1, 2, 3, 4])] {
            admin.client.redelegate(from, to, 100).await?;
            network.settled(&seated).await?;
            transactions.push(write(&user).await?);
        }
        // A client that has seen nothing yet.
        let fresh = network.enrolled(2, Role::Service, "fresh").await?;
        let head = fresh.client.certified_head().await?;
        let changes = fresh.client.set_changes(head.header.height);
        assert!(changes.len() >= 3, "{} changes of the validators", changes.len());
        assert!(fresh.client.validators() != network.genesis.validators()?);

        // Receipts from before, kept as they are, and from now.
        for (number, id) in transactions.iter().enumerate() {
            let receipt = match number {
                0 => user.client.self_contained(early.clone()),
                _ => fresh.client.self_contained(fresh.client.receipt(*id).await?),
            };
            let encoded = pb::Receipt::from(&receipt).encode_to_vec();
            let (_, report) = verify_receipt(&encoded, &network.genesis)?;
            assert_eq!(report.transaction_id, id.to_string());
            let file = network.folder().join(format!("receipt-{number}.pb"));
            fs::write(&file, &encoded)?;
            let exit = verify(network, &["receipt", "verify", &file.display().to_string()])?;
            assert_eq!(exit.code, Some(0), "receipt {number}: {}", exit.output);
            // Without the changes that lead to its signers it proves nothing.
            if !receipt.set_changes.is_empty() {
                let bare = pb::Receipt { set_changes: vec![], ..pb::Receipt::from(&receipt) };
                assert!(verify_receipt(&bare.encode_to_vec(), &network.genesis).is_err(), "receipt {number}");
            }
        }
        let archive = network.folder().join("ledger.archive").display().to_string();
        // Who may not see whose records there are gets no archive, and not half of one.
        let exit = network.cli(&admin, &["ledger", "export", "--out", &archive])?;
        assert_eq!(exit.code, Some(1), "{}", exit.output);
        assert!(exit.output.contains("as an auditor") && !fs::exists(&archive)?, "{}", exit.output);
        let auditor = network.enrolled(1, Role::Auditor, "auditor").await?;
        let exit = network.cli(&auditor, &["ledger", "export", "--out", &archive])?;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
        let exit = verify(network, &["ledger", "verify", &archive])?;
        assert_eq!(exit.code, Some(0), "{}", exit.output);

        // The whole ledger, from each disk.
        network.agreed(1).await?;
        for node in &mut network.nodes {
            node.stop()?;
        }
        for node in &network.nodes {
            let exit = verify(network, &["ledger", "verify", "--data-dir", &node.data_dir.display().to_string()])?;
            assert_eq!(exit.code, Some(0), "node {}: {}", node.raft_id(), exit.output);
        }
        Ok(())
    });
}
