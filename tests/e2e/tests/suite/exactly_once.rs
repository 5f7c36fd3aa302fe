//! Exactly once, with a definite outcome.

use std::time::Duration;

use bytes::Bytes;
use consilium_client::Client;
use consilium_client::clock::now_ms;
use consilium_e2e::{Network, User, eventually_async, ledger_at, record, stored, submit_raw};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::ids::TransactionId;
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::transaction::{self, transaction_id};

async fn status(
    user: &User,
    network: &Network,
    node: usize,
    id: TransactionId,
    valid_until_ms: u64,
) -> pb::GetTransactionResponse {
    let mut service = LedgerServiceClient::new(user.channel(&network.nodes[node]).unwrap());
    let request = pb::GetTransactionRequest { transaction_id: id.to_bytes(), valid_until_ms, read: None };
    service.get_transaction(request).await.unwrap().into_inner()
}

async fn times_on_ledger(user: &User, network: &Network, id: TransactionId) -> anyhow::Result<Vec<usize>> {
    let mut counts = Vec::new();
    for node in network.running() {
        let rows = ledger_at(user.channel(&network.nodes[node])?).await?;
        counts.push(rows.iter().filter(|row| row.id == id).count());
    }
    Ok(counts)
}

fn valid_for(client: &Client, ms: u64) -> anyhow::Result<(pb::SignedTransaction, u64)> {
    let sealed = record(client, "patient", b"{}")?;
    let valid_until_ms = now_ms() + ms;
    let body = pb::TransactionBody {
        ledger_id: client.genesis().ledger_id.to_bytes(),
        nonce: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
        valid_until_ms,
        actions: transaction::encode_actions(&[sealed.action()]),
        author: Bytes::new(),
    };
    let identity = client.identity();
    let tx = transaction::sign(body, identity.author(), identity.signing_key()?, sealed.attachments)?;
    Ok((tx, valid_until_ms))
}

#[test]
fn the_same_transaction_to_all_nodes_at_once_executes_once() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        for _round in 0..5 {
            let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
            let id = transaction_id(&tx)?;
            let mut calls = Vec::new();
            for node in network.nodes.iter().chain(&network.nodes) {
                calls.push(submit_raw(user.channel(node)?, tx.clone()));
            }
            let mut answers = Vec::new();
            for answer in futures::future::join_all(calls).await {
                let answer = answer?.into_inner();
                answers.push((answer.height, answer.outcome()));
            }
            assert!(answers.iter().all(|a| *a == answers[0]), "{answers:?}");
            assert_eq!(answers[0].1, pb::Outcome::Applied);
            network.agreed(answers[0].0).await?;
            assert_eq!(times_on_ledger(&user, network, id).await?, vec![1; 4]);
        }
        Ok(())
    });
}

#[test]
fn a_replay_much_later_gets_the_first_answer() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
        let first = submit_raw(user.channel(&network.nodes[0])?, tx.clone()).await?.into_inner();
        for node in &mut network.nodes {
            node.kill9()?;
        }
        network.start_all()?;
        for node in &network.nodes {
            let again = submit_raw(user.channel(node)?, tx.clone()).await?.into_inner();
            assert_eq!((again.height, again.outcome()), (first.height, pb::Outcome::Applied));
            // The receipt may be under a newer head; it is about the same leaf.
            let leaf = |answer: &pb::SubmitResponse| answer.receipt.clone().and_then(|r| r.leaf);
            assert_eq!(leaf(&again), leaf(&first));
        }
        assert_eq!(times_on_ledger(&user, network, transaction_id(&tx)?).await?, vec![1; 3]);
        Ok(())
    });
}

#[test]
fn a_resubmission_across_a_leader_crash_executes_once() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        for _round in 0..3 {
            let leader = network.leader().await?;
            let txs: Vec<_> = (0..8)
                .map(|_| record(&user.client, "patient", b"{}")?.sign(&user.client))
                .collect::<anyhow::Result<_>>()?;
            // Under way at the leader when it dies: nobody knows what became of them.
            let channel = user.channel(&network.nodes[leader])?;
            let under_way: Vec<_> =
                txs.iter().map(|tx| tokio::spawn(submit_raw(channel.clone(), tx.clone()))).collect();
            under_way.into_iter().next().unwrap().await?.ok();
            network.nodes[leader].kill9()?;
            for tx in &txs {
                let done = user.client.submit(tx.clone(), pb::WaitFor::Certified).await?;
                assert_eq!(done.outcome, pb::Outcome::Applied);
            }
            network.nodes[leader].restart()?;
            network.agreed(1).await?;
            for tx in &txs {
                assert_eq!(times_on_ledger(&user, network, transaction_id(tx)?).await?, vec![1; 4]);
            }
        }
        Ok(())
    });
}

#[test]
fn a_transaction_is_certified_or_pending() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let (tx, until) = valid_for(&user.client, 60_000)?;
        let id = transaction_id(&tx)?;
        for node in 0..3 {
            for valid_until in [0, until] {
                let answer = status(&user, network, node, id, valid_until).await;
                assert_eq!(answer.status(), pb::TransactionStatus::Pending);
            }
        }
        let done = submit_raw(user.channel(&network.nodes[1])?, tx).await?.into_inner();
        for node in 0..3 {
            let answer = eventually_async("certified here, too", Duration::from_secs(10), || async {
                let answer = status(&user, network, node, id, until).await;
                anyhow::ensure!(answer.status() == pb::TransactionStatus::Certified, "{answer:?}");
                Ok(answer)
            })
            .await?;
            assert_eq!((answer.height, answer.outcome()), (done.height, pb::Outcome::Applied));
        }
        Ok(())
    });
}

#[test]
fn expired_is_for_ever() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let (tx, until) = valid_for(&user.client, 300)?;
        let id = transaction_id(&tx)?;
        // Nothing else happens on the ledger: its time must pass all the same.
        for node in 0..3 {
            eventually_async("expired", Duration::from_secs(20), || async {
                let answer = status(&user, network, node, id, until).await;
                anyhow::ensure!(answer.status() == pb::TransactionStatus::Expired, "{answer:?}");
                Ok(())
            })
            .await?;
        }
        for node in &network.nodes {
            assert!(submit_raw(user.channel(node)?, tx.clone()).await.is_err());
        }
        network.agreed(1).await?;
        assert_eq!(times_on_ledger(&user, network, id).await?, vec![0; 3], "it was said that it can never be");
        for node in 0..3 {
            assert_eq!(status(&user, network, node, id, until).await.status(), pb::TransactionStatus::Expired);
        }
        Ok(())
    });
}

#[test]
fn a_transaction_that_the_rules_refuse_changes_nothing_else() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let taken = stored(client, "patient", b"{}").await?;
        // Two good records and one that exists: all or nothing.
        let (a, b) = (record(client, "patient", b"a")?, record(client, "patient", b"b")?);
        let attachments: Vec<Bytes> = [&a, &taken, &b].iter().flat_map(|s| s.attachments.clone()).collect();
        let tx = client.sign(vec![a.action(), taken.action(), b.action()], attachments)?;
        let (_, before) = network.agreed(1).await?;
        let done = client.submit(tx, pb::WaitFor::Certified).await?;
        assert_eq!(done.outcome, pb::Outcome::RecordExists);
        // Its leaf and receipt say so; the state is as it was.
        assert_eq!(done.receipt.unwrap().leaf.outcome, pb::Outcome::RecordExists);
        let (_, after) = network.agreed(done.height.0).await?;
        assert_eq!(after, before);
        Ok(())
    });
}

#[test]
fn a_stream_answers_each_of_its_transactions() {
    Network::of(3).run(async |network| {
        use futures::StreamExt;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = user.at(&network.nodes[2]).await?;
        let mut txs: Vec<_> =
            (0..50).map(|_| record(&client, "patient", b"{}")?.sign(&client)).collect::<anyhow::Result<_>>()?;
        txs.push(txs[7].clone());
        let mut bad = record(&client, "patient", b"{}")?.sign(&client)?;
        bad.signature = vec![9; 64].into();
        txs.push(bad);
        let answers: Vec<_> = client.submit_all(txs, pb::WaitFor::Certified).collect().await;
        assert_eq!(answers.len(), 52);
        let of = |position: usize| answers.iter().find(|(p, _)| *p == position).map(|(_, a)| a.clone()).unwrap();
        for position in 0..51 {
            assert_eq!(of(position)?.outcome, pb::Outcome::Applied);
        }
        assert_eq!(of(50)?, of(7)?);
        let refused = of(51).unwrap_err();
        assert!(
            matches!(&refused, consilium_client::ClientError::Status { reason, .. } if reason == "BAD_SIGNATURE"),
            "{refused:?}"
        );
        Ok(())
    });
}
