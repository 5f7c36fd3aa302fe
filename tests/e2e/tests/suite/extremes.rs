//! Numbers as large or as small as their fields take, in every field of every request and of every
//! action: the node answers something, and lives.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use consilium_client::clock::now_ms;
use consilium_e2e::{Network, User, bare_call, head, record};
use consilium_kit::extremes::{Extreme, Extremes};
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::transaction;
use futures::StreamExt;
use prost::Message;
use tonic::Code;

/// A request that waits for what never comes is left.
const PATIENCE: Duration = Duration::from_millis(300);
const AT_ONCE: usize = 64;

const TRANSACTION: &str = ".consilium.v1.SignedTransaction";

async fn lives(network: &Network, user: &User) -> anyhow::Result<()> {
    let node = &network.nodes[0];
    head(user.channel(node)?).await?;
    anyhow::ensure!(!node.log_contains(&["panicked"]), "{}", node.log_tail());
    Ok(())
}

async fn send(user: &User, network: &Network, extremes: Vec<Extreme>) -> anyhow::Result<()> {
    let channel = user.channel(&network.nodes[0])?;
    let calls = extremes.into_iter().map(|Extreme { path, what, message }| {
        let channel = channel.clone();
        async move {
            let answer = bare_call(channel, &path, message, PATIENCE).await;
            (format!("{path} {what}: {answer:?}"), answer.is_err_and(|status| status.code() == Code::Internal))
        }
    });
    let mut answers = futures::stream::iter(calls).buffer_unordered(AT_ONCE);
    while let Some((what, internal)) = answers.next().await {
        anyhow::ensure!(!internal, "{what}");
    }
    Ok(())
}

#[test]
fn no_number_of_a_request_ends_a_node() {
    Network::of(1).run(async |network| {
        let service = network.enrolled(0, Role::Service, "ehr").await?;
        let signed = record(&service.client, "patient", b"{}")?.sign(&service.client)?;
        let honest = BTreeMap::from([(TRANSACTION, signed.encode_to_vec())]);
        let extremes = Extremes::new(honest);
        let calls = extremes.requests();
        assert!(calls.iter().any(|e| e.path.ends_with("/WatchNotices") && e.what.starts_with("after_height = ")));
        for role in [Role::Service, Role::Auditor, Role::Patient, Role::Admin] {
            // Those of patients are drawn at random.
            let name = if role == Role::Patient { "0c".repeat(16) } else { "extreme".to_owned() };
            let user = network.enrolled(0, role, &name).await?;
            send(&user, network, extremes.requests()).await?;
            lives(network, &service).await?;
        }
        Ok(())
    });
}

/// What a transaction says gets as far as its attachments, or as the rules.
#[test]
fn no_number_of_an_action_ends_a_node() {
    Network::of(1).run(async |network| {
        let service = network.enrolled(0, Role::Service, "ehr").await?;
        let admin = network.enrolled(0, Role::Admin, "registrar").await?;
        let actions = Extremes::new(BTreeMap::new()).of(".consilium.v1.Action");
        assert!(actions.iter().any(|(what, _)| what.starts_with("declare_emergency.")));
        for user in [&service, &admin] {
            let identity = user.client.identity();
            let submit = |(what, action): &(String, Vec<u8>)| {
                let body = pb::TransactionBody {
                    ledger_id: network.genesis.ledger_id.to_bytes(),
                    nonce: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
                    valid_until_ms: now_ms() + 60_000,
                    actions: vec![action.clone().into()],
                    author: identity.author().to_bytes(),
                };
                let unsigned = pb::SignedTransaction { body: Some(body.clone()), ..Default::default() };
                let signed = transaction::sign(body, identity.author(), identity.signing_key()?, Vec::new());
                let request = pb::SubmitRequest {
                    transaction: Some(signed.unwrap_or(unsigned)),
                    wait_for: pb::WaitFor::Ordered.into(),
                    omit_receipt: true,
                };
                let path = "/consilium.v1.LedgerService/Submit".to_owned();
                anyhow::Ok(Extreme { path, what: what.clone(), message: request.encode_to_vec() })
            };
            send(user, network, actions.iter().map(submit).collect::<Result<_, _>>()?).await?;
            lives(network, &service).await?;
        }
        Ok(())
    });
}
