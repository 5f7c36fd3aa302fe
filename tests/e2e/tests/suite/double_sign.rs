//! A validator that signs two headers of one height is found, loses its seat
//! and a part of its stake, and gets both back only by the others' decision.

use std::time::Duration;

use consilium_client::ClientError;
use consilium_e2e::{Impostor, Network, eventually_async, short_epochs};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, proposal_topic::Topic};
use consilium_proto::vote::Contradiction;

const PATIENCE: Duration = Duration::from_secs(60);
const LIAR: usize = 2;

async fn penalty(network: &Network, client: &consilium_client::Client) -> anyhow::Result<pb::PenaltyState> {
    let raft_id = network.nodes[LIAR].raft_id();
    eventually_async("a penalty", PATIENCE, || async {
        let penalties = client.penalties().await?.into_claimed();
        let found = penalties.iter().find(|p| p.node == raft_id && p.lifted_height == 0).cloned();
        found.ok_or_else(|| anyhow::anyhow!("{penalties:?}"))
    })
    .await
}

#[test]
fn a_validator_that_tells_two_nodes_two_things_is_jailed_until_the_others_lift_it() {
    // Epochs that do not end by themselves within this test's first half.
    let parameters = pb::Parameters { equivocation_cut_percent: 20, ..short_epochs(20_000) };
    Network::of(4).parameters(parameters).run(async |network| {
        let admins = network.admins().await?;
        let client = &admins[0].client;
        let liar = network.nodes[LIAR].raft_id();
        let signer = Impostor::with_keys_of(network, LIAR)?;
        // Its keys are used elsewhere while it hangs: two nodes hear two things
        // about a height that it has not voted on. Only together they know.
        let height = network.agreed(1).await?.0 + 1;
        network.nodes[LIAR].pause()?;
        let lie = signer.two_votes(height)?;
        signer.tell(network, 0, &lie.first).await?;
        let Contradiction::Vote(second) = &lie.second else { panic!("it is of two votes") };
        signer.tell(network, 1, second).await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        assert!(user.client.certified_head().await?.header.height.0 >= height);
        network.nodes[LIAR].resume()?;
        let penalty = penalty(network, client).await?;
        assert_eq!((penalty.evidence_height, penalty.cut), (height, 20), "{penalty:?}");
        // The epoch ended with that block, and it has no seat in the next.
        let mut epochs = Vec::new();
        for epoch in 0..=client.election(None).await?.current.into_claimed() {
            epochs.push(client.election(Some(epoch)).await?.state);
        }
        let next = epochs.iter().find(|e| e.first_height == penalty.height + 1);
        let next = next.unwrap_or_else(|| panic!("no epoch begins after height {}", penalty.height));
        let candidate = next.candidates.iter().find(|c| c.node == liar).unwrap();
        assert_eq!((candidate.power, candidate.reason()), (0, pb::NotSeatedReason::Jailed));
        network.settled(&[0, 1, 3]).await?;
        let member = network.members[LIAR].id.clone();
        assert_eq!(client.stake(&member, None).await?.claimed().allotted, 80);
        // It cannot release itself, and the same lie is punished once.
        let released = admins[LIAR].client.release_validator(liar).await;
        assert!(matches!(released, Err(ClientError::Rejected { outcome: pb::Outcome::NotJailed, .. })), "{released:?}");
        let again = client.submit_evidence((&signer.two_votes(height)?).into()).await;
        assert!(matches!(again, Err(ClientError::Rejected { outcome: pb::Outcome::EvidenceKnown, .. })), "{again:?}");

        let lift = Topic::LiftPenalty(pb::LiftPenalty { penalty: penalty.number });
        network.decide(&[&admins[0], &admins[1], &admins[3]], lift).await?;
        assert_eq!(client.stake(&member, None).await?.claimed().allotted, 100);
        network.settled(&[0, 1, 2, 3]).await?;
        network.agreed(penalty.height).await?;
        Ok(())
    });
}

/// A vote over the header of all, with a root of its own: whoever verifies receipts by that vote
/// alone would believe another tree.
#[test]
fn false_root() {
    let parameters = pb::Parameters { equivocation_cut_percent: 20, ..short_epochs(20_000) };
    Network::of(4).parameters(parameters).run(async |network| {
        let admins = network.admins().await?;
        let client = &admins[0].client;
        let signer = Impostor::with_keys_of(network, LIAR)?;
        network.enrolled(0, Role::Service, "ehr").await?;
        network.nodes[LIAR].pause()?;
        let header = client.certified_head().await?.header;
        signer.tell(network, 0, &signer.false_root(&header)?).await?;
        network.enrolled(0, Role::Service, "other").await?;
        network.nodes[LIAR].resume()?;
        let penalty = penalty(network, client).await?;
        assert_eq!((penalty.evidence_height, penalty.cut), (header.height.0, 20), "{penalty:?}");
        network.settled(&[0, 1, 3]).await?;
        Ok(())
    });
}

#[test]
fn anyone_may_submit_the_proof_and_forged_proofs_are_refused() {
    Network::of(4).parameters(short_epochs(20_000)).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let signer = Impostor::with_keys_of(network, LIAR)?;
        let (height, _) = network.agreed(1).await?;
        let lie = pb::Equivocation::from(&signer.two_votes(height)?);
        // Somebody else's name on it.
        let mut framed = lie.clone();
        for vote in [framed.first.as_mut().unwrap(), framed.second.as_mut().unwrap()] {
            vote.validator = network.nodes[1].raft_id();
        }
        let refused = user.client.submit_evidence(framed).await;
        assert!(
            matches!(refused, Err(ClientError::Rejected { outcome: pb::Outcome::EvidenceRefused, .. })),
            "{refused:?}"
        );
        user.client.submit_evidence(lie).await?;
        assert_eq!(penalty(network, &user.client).await?.evidence_height, height);
        network.settled(&[0, 1, 3]).await?;
        Ok(())
    });
}
