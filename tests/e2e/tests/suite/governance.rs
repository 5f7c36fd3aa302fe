//! What members decide takes effect as it says, and what would stop the
//! network is refused with the arithmetic.

use std::time::Duration;

use consilium_client::ClientError;
use consilium_client::clock::now_ms;
use consilium_e2e::{Load, Network, eventually_async, record, short_epochs};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, proposal_topic::Topic};
use futures::future::try_join_all;

const PATIENCE: Duration = Duration::from_secs(60);

fn rejected(result: Result<impl std::fmt::Debug, ClientError>) -> pb::Outcome {
    match result {
        Err(ClientError::Rejected { outcome, .. }) => outcome,
        other => panic!("not refused by the rules: {other:?}"),
    }
}

#[test]
fn parameters_take_effect_at_once_or_at_the_epoch_and_proposals_expire() {
    Network::of(4).parameters(short_epochs(4_000)).run(async |network| {
        let admins = network.admins().await?;
        let all: Vec<_> = admins.iter().collect();
        let user = network.enrolled(0, Role::Service, "ehr").await?;

        // Open for little more than the least time; nobody else votes on it.
        let policy = Topic::SetAccessPolicy(pb::SetAccessPolicy {
            text: "@id(\"all\") permit (principal, action, resource);".into(),
        });
        let topic = pb::ProposalTopic { topic: Some(policy) };
        let expires_ms = now_ms() + 62_000;
        let left =
            admins[0].client.propose(topic, "", expires_ms).await?.proposal.into_claimed().proposal.unwrap().number;

        let before = admins[0].client.proven_parameters().await?;
        let change = pb::Parameters { block_transactions_max: 1, max_validators: 3, ..before };
        let decided = network.decide(&all, Topic::ChangeParameters(change)).await?;
        assert_eq!(admins[1].client.proven_parameters().await?, change);
        // One transaction a block from the next block on, however many wait.
        let submitted = (0..12).map(|_| async {
            let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
            anyhow::Ok(user.client.submit(tx, pb::WaitFor::Certified).await?.into_applied()?.height.0)
        });
        let mut heights = try_join_all(submitted).await?;
        heights.sort_unstable();
        heights.dedup();
        assert_eq!(heights.len(), 12, "{heights:?}");
        assert!(heights[0] > decided.closed_height);
        // Seats only at the end of the epoch, and Raft after them.
        network.settled(&[0, 1, 2]).await?;
        let epoch = admins[0].client.election(None).await?;
        assert!(epoch.state.first_height > decided.closed_height);
        assert_eq!(epoch.state.candidates[3].reason(), pb::NotSeatedReason::Outranked);
        // Three members cannot all stay below a third: they are equal.
        let powers: Vec<u64> = epoch.state.candidates.iter().map(|c| c.power).collect();
        assert!(powers[0] == powers[1] && powers[1] == powers[2] && powers[3] == 0, "{powers:?}");

        // The ledger's time goes on by itself, and the first proposal is over.
        eventually_async("the end of the vote", Duration::from_secs(90), || async {
            let time_ms = admins[1].client.proposal(left, None).await?.claimed().time_ms;
            anyhow::ensure!(time_ms > expires_ms, "{} ms left", expires_ms - time_ms);
            Ok(())
        })
        .await?;
        let late = admins[1].client.cast_ballot(left, pb::BallotChoice::Approve).await;
        assert_eq!(rejected(late), pb::Outcome::ProposalClosed);
        let open = admins[0].client.list_proposals(true, 0, None).await?.into_claimed();
        assert!(open.proposals.iter().all(|p| p.proposal.as_ref().unwrap().number != left), "{open:?}");
        assert_eq!(admins[0].client.rules().await?.claimed().access_policy, None);
        Ok(())
    });
}

#[test]
fn a_change_that_would_strand_the_network_is_refused_with_the_arithmetic() {
    Network::of(4).parameters(short_epochs(2_000)).run(async |network| {
        let admins = network.admins().await?;
        let suspend = |member: &str| pb::ProposalTopic {
            topic: Some(Topic::SuspendMember(pb::SuspendMember { member: member.into() })),
        };
        // With all four alive one may be cut off.
        let preview = admins[0].client.preview_proposal(&suspend("cedar.example")).await?.into_claimed();
        assert_eq!(preview.refusal, None);
        // With one dead, two would be left of four or of three.
        network.nodes[3].kill9()?;
        network.settled(&[0, 1, 2]).await?;
        let preview = admins[0].client.preview_proposal(&suspend("cedar.example")).await?.into_claimed();
        let refusal = preview.refusal.unwrap();
        assert_eq!(refusal.outcome(), pb::Outcome::WouldStrandNetwork, "{:?}", preview.arithmetic);
        println!("refused: {}", refusal.fact);
        // The rules refuse it, too, whoever does not ask first.
        let done = admins[0].client.propose(suspend("cedar.example"), "", now_ms() + 600_000).await;
        assert_eq!(rejected(done), pb::Outcome::WouldStrandNetwork);
        // The command line shows it before anything is signed.
        let exit = network.cli(&admins[0], &["governance", "propose", "suspend", "cedar.example", "--yes"])?;
        assert_ne!(exit.code, Some(0));
        assert!(exit.output.contains("nothing was signed") && exit.output.contains("more than"), "{}", exit.output);
        // The network goes on, and with the fourth back it may be cut off.
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone()]);
        load.more(3).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        network.nodes[3].restart()?;
        network.settled(&[0, 1, 2, 3]).await?;
        let admins: Vec<_> = admins.iter().take(3).collect();
        eventually_async("enough power", PATIENCE, || async {
            let preview = admins[0].client.preview_proposal(&suspend("cedar.example")).await?.into_claimed();
            anyhow::ensure!(preview.refusal.is_none(), "{:?}", preview.refusal);
            Ok(())
        })
        .await?;
        network.decide(&admins[..2], suspend("cedar.example").topic.unwrap()).await?;
        Ok(())
    });
}

#[test]
fn an_access_policy_is_tested_by_command_before_anyone_votes_on_it() {
    Network::of(3).run(async |network| {
        let admins = network.admins().await?;
        let path = |name: &str| network.folder().join(name).to_str().expect("a path of ours").to_owned();
        let run = |by: usize, arguments: &[&str]| network.cli(&admins[by], arguments);
        let done = |by: usize, arguments: &[&str]| {
            let exit = run(by, arguments)?;
            anyhow::ensure!(exit.code == Some(0), "{arguments:?}: {}", exit.output);
            anyhow::Ok(exit.output)
        };
        let (now, new, proposed) = (path("now.cedar"), path("new.cedar"), path("proposed.cedar"));
        let told = done(0, &["governance", "rules", "--policy", &now])?;
        assert!(told.contains("the default access policy, which is in force"), "{told}");
        done(0, &["policy", "test", &now])?;
        let rule = "@id(\"no-export\")\nforbid (principal, action == Action::\"export\", resource);\n";
        std::fs::write(&new, std::fs::read_to_string(&now)? + rule)?;
        done(0, &["policy", "check", &new])?;
        let propose = ["governance", "propose", "access-policy", "--file", &new, "--yes"];
        assert!(done(0, &propose)?.contains("proposal 1 is open"));

        done(1, &["governance", "show", "1", "--policy", &proposed])?;
        assert_eq!(std::fs::read(&proposed)?, std::fs::read(&new)?, "byte by byte");
        let differs = run(1, &["policy", "test", &proposed, "--against", &now])?;
        assert_eq!(differs.code, Some(1));
        assert!(differs.output.contains("DIFFERS: Another hospital takes records along"), "{}", differs.output);
        let again = run(1, &["governance", "show", "1", "--policy", &proposed])?;
        assert!(again.code != Some(0) && again.output.contains("not overwritten"), "{}", again.output);
        for by in [1, 2] {
            done(by, &["governance", "vote", "1", "approve", "--yes"]).or_else(|e| match by {
                // The vote before has decided it.
                2 => Ok(String::new()),
                _ => Err(e),
            })?;
        }
        let in_force = path("in-force.cedar");
        let told = done(2, &["governance", "rules", "--policy", &in_force])?;
        assert!(told.contains("access policy 1, which is in force"), "{told}");
        assert_eq!(std::fs::read(&in_force)?, std::fs::read(&new)?);
        let shown = done(2, &["governance", "rules", "--policy", "-"])?;
        assert!(shown.contains(rule) && !shown.contains("  | "), "{shown}");
        Ok(())
    });
}
