//! Too much at once: a refusal with a hint when to come back, not growth.

use consilium_e2e::{Network, ledger_at, reason, record, retry_delay, submit_raw};
use consilium_proto::names::Role;
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb;
use consilium_proto::transaction::transaction_id;
use tonic::Code;

#[test]
fn a_full_queue_answers_resource_exhausted_with_a_hint() {
    let one_by_one = pb::Parameters { block_transactions_max: 1, ..recommended_parameters() };
    let network = Network::of(3).parameters(one_by_one);
    network.limits("queued_transactions_max = 4").raft("blocks_in_flight = 1").run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let leader = network.leader().await?;
        let txs: Vec<_> = (0..200)
            .map(|_| record(&user.client, "patient", b"{}")?.sign(&user.client))
            .collect::<anyhow::Result<_>>()?;
        for node in [leader, network.follower().await?] {
            let channel = user.channel(&network.nodes[node])?;
            let calls = txs.iter().map(|tx| submit_raw(channel.clone(), tx.clone()));
            let refused: Vec<_> = futures::future::join_all(calls).await.into_iter().filter_map(Result::err).collect();
            assert!(!refused.is_empty(), "nothing was refused at node {node}: no overload");
            for status in &refused {
                assert_eq!((status.code(), reason(status)), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
                assert!(retry_delay(status).is_some_and(|d| !d.is_zero()), "{status:?}");
            }
        }
        // The SDK comes back until all are through, each once.
        let calls = txs.iter().map(|tx| user.client.submit(tx.clone(), pb::WaitFor::Certified));
        let mut newest = 0;
        for done in futures::future::join_all(calls).await {
            let done = done?;
            assert_eq!(done.outcome, pb::Outcome::Applied);
            newest = newest.max(done.height.0);
        }
        // Whichever node answered, the one that is asked may hear of it later.
        network.agreed(newest).await?;
        let rows = ledger_at(user.channel(&network.nodes[0])?).await?;
        for tx in &txs {
            let id = transaction_id(tx)?;
            assert_eq!(rows.iter().filter(|row| row.id == id).count(), 1);
        }
        Ok(())
    });
}

#[test]
fn one_identity_cannot_take_all_connections() {
    Network::of(1).limits("connections_per_identity_max = 3").run(async |network| {
        use consilium_e2e::{Dial, RawIdentity, around_now};
        let issued = network.members[0].issue(Role::Service, "greedy", around_now())?;
        let identity = RawIdentity::issued(&issued.issued)?;
        let mut held = Vec::new();
        for _ in 0..3 {
            let channel = Dial::new(&network.genesis, &identity)?.connect(network.nodes[0].client).await?;
            let mut service = consilium_grpc::operator_service_client::OperatorServiceClient::new(channel);
            service.get_status(pb::GetStatusRequest::default()).await?;
            held.push(service);
        }
        assert!(Dial::new(&network.genesis, &identity)?.refusal(network.nodes[0].client).await.is_err());
        network.nodes[0].wait_log(&["too many connections of one identity"])?;
        // Others are served, and one's own come back when the old ones are gone.
        network.status(0).await?;
        drop(held);
        consilium_e2e::eventually_async("a free place", std::time::Duration::from_secs(10), || async {
            let dial = Dial::new(&network.genesis, &identity).map_err(|e| e.to_string())?;
            dial.refusal(network.nodes[0].client).await
        })
        .await
    });
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    Network::of(1).limits("handshake_timeout = \"300ms\"").run(async |network| {
        use std::io::Read;
        let mut silent = std::net::TcpStream::connect(network.nodes[0].client)?;
        silent.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        let mut byte = [0];
        // Closed by the server, not our own time-out.
        assert!(matches!(silent.read(&mut byte), Ok(0) | Err(_)));
        let error = silent.read(&mut byte).err().map(|e| e.kind());
        assert_ne!(error, Some(std::io::ErrorKind::WouldBlock));
        network.status(0).await?;
        Ok(())
    });
}
