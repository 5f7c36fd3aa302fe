//! A suspension cuts a member off everywhere, in one block.

use std::time::Duration;

use consilium_e2e::{Network, eventually_async, record, short_epochs, submit_raw};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::names::Role;
use consilium_proto::pb::{self, proposal_topic::Topic};
use futures::future::join_all;
use tonic::Streaming;

const PATIENCE: Duration = Duration::from_secs(60);
const CUT: usize = 3;

/// Reads a stream to its end; how it ended.
async fn to_the_end(mut stream: Streaming<pb::WatchResponse>) -> Option<tonic::Status> {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

#[test]
fn a_suspended_member_is_cut_off_everywhere_and_comes_back() {
    // Long epochs: only the suspension itself can end one so soon.
    let parameters = pb::Parameters { epoch_ms: 8_000, ..short_epochs(8_000) };
    Network::of(4).parameters(parameters).run(async |network| {
        let admins = network.admins().await?;
        let user = network.enrolled(CUT, Role::Service, "ehr").await?;
        let other = network.enrolled(0, Role::Service, "ehr").await?;
        let mut streams = Vec::new();
        for node in &network.nodes {
            let request = pb::WatchRequest { after_height: 0, headers_only: true };
            streams.push(LedgerServiceClient::new(user.channel(node)?).watch(request).await?.into_inner());
        }
        let member = network.members[CUT].id.clone();
        let topic = Topic::SuspendMember(pb::SuspendMember { member: member.clone() });
        let decided = network.decide(&[&admins[0], &admins[1]], topic).await?;

        // Every open stream ends.
        let ended = tokio::time::timeout(PATIENCE, join_all(streams.into_iter().map(to_the_end))).await?;
        assert!(ended.iter().all(Option::is_some), "a cut stream does not end as if all were told: {ended:?}");
        // Nothing more is taken from it, by any node.
        for node in &network.nodes {
            let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
            let refused = submit_raw(user.channel(node)?, tx).await;
            assert!(refused.is_err(), "node {} took a write", node.raft_id());
        }
        // What the others hand in for it is refused by the rules.
        let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
        let handed_in = submit_raw(other.channel(&network.nodes[0])?, tx).await;
        assert_eq!(handed_in?.into_inner().outcome(), pb::Outcome::MemberNotActive);

        // The block itself ended the epoch, without the member's node.
        let client = &admins[0].client;
        let election = client.election(None).await?.state;
        let cut = election.candidates.iter().find(|c| c.member == member).unwrap();
        assert_eq!((cut.power, cut.reason()), (0, pb::NotSeatedReason::MemberNotActive));
        let mut began_after = None;
        for epoch in 0..=election.epoch {
            let state = client.election(Some(epoch)).await?.state;
            if state.first_height == decided.closed_height + 1 {
                began_after = Some(state);
            }
        }
        let state = began_after.unwrap_or_else(|| panic!("no epoch begins after height {}", decided.closed_height));
        assert!(state.validators.unwrap().seats.iter().all(|seat| seat.validator != network.nodes[CUT].raft_id()));
        network.settled(&[0, 1, 2]).await?;
        for node in 0..3 {
            let status = network.status(node).await?;
            let cut = status.member_cuts.iter().find(|c| c.member == member).unwrap();
            assert_eq!(cut.height, decided.closed_height);
            assert!(cut.connections > 0, "{cut:?}");
            println!(
                "node {node}: {} connections, {} us after execution, {} us after the certificate",
                cut.connections, cut.execution_to_cut_us, cut.certified_to_cut_us
            );
        }

        // Reinstated, it writes and is elected again.
        let topic = Topic::ReinstateMember(pb::ReinstateMember { member: member.clone() });
        let back = network.decide(&[&admins[0], &admins[1], &admins[2]], topic).await?;
        eventually_async("a write", PATIENCE, || async {
            let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
            let done = submit_raw(user.channel(&network.nodes[0])?, tx).await?.into_inner();
            anyhow::ensure!(done.outcome() == pb::Outcome::Applied, "{:?}", done.outcome());
            Ok(())
        })
        .await?;
        network.settled(&[0, 1, 2, 3]).await?;
        network.agreed(back.closed_height).await?;
        Ok(())
    });
}
