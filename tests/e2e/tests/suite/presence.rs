//! Validators that are away: without a word they are jailed, with one they are
//! not, and their member brings them back.

use std::time::Duration;

use consilium_client::ClientError;
use consilium_client::clock::now_ms;
use consilium_e2e::{Load, Network, User, eventually_async, record, short_epochs};
use consilium_proto::names::Role;
use consilium_proto::pb;

const PATIENCE: Duration = Duration::from_secs(90);
const AWAY: usize = 2;

/// Epochs of forty blocks, windows of eight: who misses most of them is jailed.
fn strict() -> pb::Parameters {
    let base = short_epochs(3_600_000);
    pb::Parameters { epoch_blocks: 40, miss_window_blocks: 8, jail_missed_percent: 50, ..base }
}

async fn standing(admin: &User, raft_id: u64) -> anyhow::Result<pb::Candidate> {
    let candidates = admin.client.candidates().await?.into_claimed().candidates;
    let found = candidates.into_iter().find(|c| c.node.as_ref().is_some_and(|n| n.raft_id == raft_id));
    found.ok_or_else(|| anyhow::anyhow!("no candidate {raft_id}"))
}

/// One block, so that a test says when an epoch ends.
async fn write(user: &User) -> anyhow::Result<()> {
    let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
    user.client.submit(tx, pb::WaitFor::Certified).await?.into_applied()?;
    Ok(())
}

#[test]
fn a_validator_that_misses_its_votes_is_jailed_and_released_by_its_member() {
    Network::of(4).parameters(strict()).run(async |network| {
        let admin = network.enrolled(AWAY, Role::Admin, "admin").await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let raft_id = network.nodes[AWAY].raft_id();
        network.nodes[AWAY].kill9()?;
        let mut blocks = 0;
        let jailed = loop {
            write(&user).await?;
            blocks += 1;
            let standing = standing(&admin, raft_id).await?.standing.unwrap_or_default();
            if standing.jailed() == pb::JailReason::MissedVotes {
                break standing;
            }
            assert!(blocks < 90, "not jailed after two epochs: {standing:?}");
        };
        let state = admin.client.election(None).await?.state;
        assert_eq!(state.epoch, jailed.jailed_epoch);
        let candidate = state.candidates.iter().find(|c| c.node == raft_id).unwrap();
        assert_eq!(candidate.reason(), pb::NotSeatedReason::Jailed, "{state:?}");
        network.settled(&[0, 1, 3]).await?;
        // Nobody is released in the epoch that he sits out.
        network.nodes[AWAY].restart()?;
        let early = admin.client.release_validator(raft_id).await;
        let too_early = matches!(early, Err(ClientError::Rejected { outcome: pb::Outcome::ReleaseTooEarly, .. }));
        assert!(too_early, "{early:?}");
        while admin.client.election(None).await?.current.into_claimed() == jailed.jailed_epoch {
            write(&user).await?;
        }
        // Being there is not enough.
        let still = standing(&admin, raft_id).await?.standing.unwrap_or_default();
        assert_eq!(still.jailed(), pb::JailReason::MissedVotes);
        admin.client.release_validator(raft_id).await?;
        // The next election may come before its votes have been seen again: a later one seats it.
        eventually_async("seated again", PATIENCE, || async {
            write(&user).await?;
            let state = admin.client.election(None).await?.state;
            let candidate = state.candidates.into_iter().find(|c| c.node == raft_id);
            let power = candidate.as_ref().map_or(0, |c| c.power);
            anyhow::ensure!(power > 0, "epoch {}: {candidate:?}", state.epoch);
            Ok(())
        })
        .await?;
        network.settled(&[0, 1, 2, 3]).await?;
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
