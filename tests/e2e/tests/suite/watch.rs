//! Following the ledger: every block once and in order, over node failures.

use std::time::Duration;

use consilium_client::watch::Contents;
use consilium_e2e::{Load, Network, User, reason};
use consilium_grpc::access_service_client::AccessServiceClient;
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::ids::Height;
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::transaction::transaction_id;
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn a_cursor_resumes_at_another_node_without_gap_or_duplicate() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone(); 4]);
        let (mut seen, mut ids, mut cursor) = (Vec::new(), Vec::new(), 0);
        for node in [0, 1, 2, 3] {
            load.more(10).await?;
            let request = pb::WatchRequest { after_height: cursor, headers_only: false };
            let mut service = LedgerServiceClient::new(user.channel(&network.nodes[node])?);
            let mut stream = service.watch(request).await?.into_inner();
            for _ in 0..10 {
                let answer = tokio::time::timeout(PATIENCE, stream.message()).await??.unwrap();
                let block = answer.block.unwrap();
                let height = block.header.unwrap().height;
                assert_eq!(answer.cursor, height);
                seen.push(height);
                ids.extend(block.transactions.iter().map(|t| transaction_id(t.transaction.as_ref().unwrap()).unwrap()));
                cursor = answer.cursor;
            }
        }
        assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn the_sdk_follows_over_a_killed_node() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(1, Role::Service, "ehr").await?;
        let load = Load::start(vec![network.enrolled(2, Role::Service, "lab").await?.client; 4]);
        load.more(10).await?;
        // Its own member's node comes first: the one that will die.
        let mut watch = user.client.watch(Height(0), false);
        let mut heights = Vec::new();
        for _ in 0..5 {
            let block = tokio::time::timeout(PATIENCE, watch.next()).await??;
            assert!(matches!(block.contents, Contents::Proven(_)));
            heights.push(block.header.height.0);
        }
        network.nodes[1].kill9()?;
        load.more(20).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        let last = acks.iter().map(|a| a.height).max().unwrap();
        while heights.last().is_some_and(|h| *h < last) {
            let block = tokio::time::timeout(PATIENCE, watch.next()).await??;
            assert!(matches!(block.contents, Contents::Proven(_)));
            heights.push(block.header.height.0);
        }
        assert_eq!(heights, (1..=last).collect::<Vec<_>>());
        Ok(())
    });
}

#[test]
fn a_watch_waits_for_what_is_to_come() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let (height, _) = network.agreed(1).await?;
        let mut watch = user.client.watch(Height(height), true);
        let waiting = tokio::spawn(async move { watch.next().await });
        let sealed = consilium_e2e::record(&user.client, "patient", b"{}")?;
        user.client.submit(sealed.sign(&user.client)?, pb::WaitFor::Certified).await?.into_applied()?;
        let block = tokio::time::timeout(PATIENCE, waiting).await???;
        assert_eq!(block.header.height.0, height + 1);
        assert_eq!(block.contents, Contents::LeftOut);
        Ok(())
    });
}

#[test]
fn one_identity_has_so_many_streams_open_over_all_its_connections() {
    Network::of(1).limits("streams_per_identity_max = 2").run(async |network| {
        let user = network.enrolled(0, Role::Auditor, "privacy").await?;
        let other = network.enrolled(0, Role::Auditor, "deputy").await?;
        let channel = |user: &User| user.channel(&network.nodes[0]);
        let request = pb::WatchRequest { after_height: 0, headers_only: true };
        let first = LedgerServiceClient::new(channel(&user)?).watch(request).await?;
        let notices = pb::WatchNoticesRequest::default();
        let second = AccessServiceClient::new(channel(&user)?).watch_notices(notices).await?;
        let refused = LedgerServiceClient::new(channel(&user)?).watch(request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
        LedgerServiceClient::new(channel(&other)?).watch(request).await?;
        drop((first, second));
        consilium_e2e::eventually_async("a place again", PATIENCE, || async {
            LedgerServiceClient::new(channel(&user)?).watch(request).await.map(drop).map_err(anyhow::Error::from)
        })
        .await
    });
}
