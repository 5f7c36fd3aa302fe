//! Validators that are away: without a word they are jailed, with one they are
//! not, and their member brings them back.

use std::time::Duration;

use consilium_certs::Role;
use consilium_client::ClientError;
use consilium_client::client::now_ms;
use consilium_e2e::{Load, Network, User, eventually_async, short_epochs};
use consilium_proto::pb;

const PATIENCE: Duration = Duration::from_secs(90);
const AWAY: usize = 2;

/// Epochs of forty blocks, windows of eight: who misses most of them is jailed.
fn strict() -> pb::Parameters {
    let base = short_epochs(3_600_000);
    pb::Parameters { epoch_blocks: 40, miss_window_blocks: 8, jail_missed_percent: 50, ..base }
}

async fn standing(admin: &User, raft_id: u64) -> anyhow::Result<pb::Candidate> {
    let candidates = admin.client.candidates().await?.candidates;
    let found = candidates.into_iter().find(|c| c.node.as_ref().is_some_and(|n| n.raft_id == raft_id));
    found.ok_or_else(|| anyhow::anyhow!("no candidate {raft_id}"))
}

#[test]
fn a_validator_that_misses_its_votes_is_jailed_and_released_by_its_member() {
    Network::of(4).parameters(strict()).run(async |network| {
        let admin = network.enrolled(AWAY, Role::Admin, "admin").await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let raft_id = network.nodes[AWAY].raft_id();
        let load = Load::start(vec![user.client.clone()]);
        load.more(5).await?;
        network.nodes[AWAY].kill9()?;
        let jailed = eventually_async("jail", PATIENCE, || async {
            let standing = standing(&admin, raft_id).await?.standing.unwrap_or_default();
            anyhow::ensure!(standing.jailed() == pb::JailReason::MissedVotes, "{standing:?}");
            Ok(standing)
        })
        .await?;
        let state = admin.client.election(Some(jailed.jailed_epoch)).await?.state;
        let candidate = state.candidates.iter().find(|c| c.node == raft_id).unwrap();
        assert_eq!(candidate.reason(), pb::NotSeatedReason::Jailed, "{state:?}");
        // Nobody is released in the epoch that he sits out.
        network.nodes[AWAY].restart()?;
        if admin.client.election(None).await?.current == jailed.jailed_epoch {
            let early = admin.client.release_validator(raft_id).await;
            let too_early = matches!(early, Err(ClientError::Rejected { outcome: pb::Outcome::ReleaseTooEarly, .. }));
            assert!(too_early || early.is_ok(), "{early:?}");
        }
        network.reached_epoch(jailed.jailed_epoch + 1).await?;
        if standing(&admin, raft_id).await?.standing.unwrap_or_default().jailed() != pb::JailReason::Unspecified {
            admin.client.release_validator(raft_id).await?;
        }
        network.settled(&[0, 1, 2, 3]).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn announced_maintenance_is_no_miss() {
    Network::of(4).parameters(strict()).run(async |network| {
        let admin = network.enrolled(AWAY, Role::Admin, "admin").await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let raft_id = network.nodes[AWAY].raft_id();
        let load = Load::start(vec![user.client.clone()]);
        load.more(5).await?;
        let from_ms = now_ms() + 1_000;
        admin.client.announce_maintenance(raft_id, from_ms, from_ms + 600_000).await?;
        eventually_async("the announced time", PATIENCE, || async {
            let time_ms = admin.client.certified_head().await?.header.time.0;
            anyhow::ensure!(time_ms > from_ms, "{time_ms}");
            Ok(())
        })
        .await?;
        network.nodes[AWAY].stop()?;
        // Long enough that it would have been jailed.
        network.more_epochs(2).await?;
        let candidate = standing(&admin, raft_id).await?;
        assert_eq!(candidate.standing.unwrap_or_default().jailed(), pb::JailReason::Unspecified, "{candidate:?}");
        assert_eq!(candidate.participation.unwrap_or_default().missed_windows, 0, "{candidate:?}");
        network.nodes[AWAY].restart()?;
        network.settled(&[0, 1, 2, 3]).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}
