//! What is urgent while everybody else sends too much: it is taken, and goes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use consilium_client::Client;
use consilium_client::consents::{ConsentDraft, Consents};
use consilium_client::reach::Seen;
use consilium_e2e::{Network, asks_for, eventually_async, reason, record, request_access, retry_delay, submit_raw};
use consilium_proto::consent::Grant;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{ConsentId, PatientPseudonym, RecordId};
use consilium_proto::names::Role;
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb::{self, ConsentBase, action::Action};
use tonic::transport::Channel;
use tonic_types::StatusExt;

/// Callers of the flood: many for each place in the queue.
const FLOOD: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes of one identity over one node, one after another from each of its callers, that do
/// not come back when they are turned away.
#[derive(Default)]
struct Flood {
    stop: AtomicBool,
    refused: AtomicUsize,
    /// Height of the newest one that was certified.
    newest: AtomicUsize,
}

impl Flood {
    fn start(client: &Client, channel: &Channel) -> (Arc<Self>, Vec<tokio::task::JoinHandle<anyhow::Result<()>>>) {
        let flood = Arc::new(Self::default());
        let caller = |_| tokio::spawn(Arc::clone(&flood).call(client.clone(), channel.clone()));
        let callers = (0..FLOOD).map(caller).collect();
        (flood, callers)
    }

    async fn call(self: Arc<Self>, client: Client, channel: Channel) -> anyhow::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            match submit_raw(channel.clone(), record(&client, "patient", b"{}")?.sign(&client)?).await {
                Ok(done) => _ = self.newest.fetch_max(done.into_inner().height as usize, Ordering::Relaxed),
                Err(status) => {
                    anyhow::ensure!(reason(&status) == "OVERLOADED", "{status}");
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// Waits until another one is turned away.
    async fn is_full(&self) -> anyhow::Result<()> {
        let before = self.refused.load(Ordering::Relaxed);
        eventually_async("somebody is turned away", PATIENCE, || async {
            match self.refused.load(Ordering::Relaxed) > before {
                true => Ok(()),
                false => Err("nobody was"),
            }
        })
        .await
    }

    /// Waits until one is certified above a height.
    async fn goes_on(&self, height: u64) -> anyhow::Result<()> {
        eventually_async("the others go on", PATIENCE, || async {
            match self.newest.load(Ordering::Relaxed) as u64 > height {
                true => Ok(()),
                false => Err("nothing was certified since"),
            }
        })
        .await
    }
}

async fn put(client: &Client, patient: PatientPseudonym) -> anyhow::Result<ConsentId> {
    let grant = Grant::of_base(ConsentBase::BasicNormal);
    let mut draft = ConsentDraft::new(patient, grant, Some(Hash::of(&[b"salted scan"])));
    Consents::new(client.clone()).put(&mut draft).await?;
    Ok(draft.id)
}

#[test]
fn a_withdrawal_is_taken_at_once_where_ordinary_transactions_are_turned_away() {
    let one_by_one = pb::Parameters { block_transactions_max: 1, ..recommended_parameters() };
    let network = Network::of(3).parameters(one_by_one);
    network.limits("queued_transactions_max = 4").raft("blocks_in_flight = 1").run(async |network| {
        let registrar = network.enrolled(0, Role::Service, "registrar").await?;
        let ehr = network.enrolled(1, Role::Service, "ehr").await?;
        let patient = PatientPseudonym(rand::random());
        let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
        registrar.client.perform(Action::RegisterPatient(register)).await?;
        for node in [network.follower().await?, network.leader().await?] {
            let mut consents = Vec::new();
            for _ in 0..3 {
                consents.push(put(&registrar.client, patient).await?);
            }
            let node = &network.nodes[node];
            let (flood, callers) = Flood::start(&ehr.client, &ehr.channel(node)?);
            for consent in consents {
                flood.is_full().await?;
                let revoke = pb::RevokeConsent { consent_id: Bytes::copy_from_slice(&consent.0) };
                let action = pb::Action { action: Some(Action::RevokeConsent(revoke)) };
                let withdrawal = registrar.client.sign(vec![action], Vec::new())?;
                // Nobody comes back here: it is taken when it is handed in.
                let done = submit_raw(registrar.channel(node)?, withdrawal).await?.into_inner();
                assert_eq!(done.outcome(), pb::Outcome::Applied);
                flood.goes_on(done.height).await?;
            }
            flood.stop.store(true, Ordering::Relaxed);
            for caller in callers {
                caller.await??;
            }
        }
        Ok(())
    });
}

#[test]
fn who_asks_too_often_is_turned_away_and_told_when_to_come_back() {
    let quota = "access_requests_per_minute = 1\naccess_requests_burst = 3";
    Network::of(3).limits(quota).run(async |network| {
        let nosy = network.enrolled(1, Role::Clinician, "nosy").await?;
        let other = network.enrolled(1, Role::Clinician, "doctor").await?;
        let patient = PatientPseudonym(rand::random());
        let mut over = Vec::new();
        // Over all nodes: the leader counts, too.
        for node in network.nodes.iter().cycle().take(9) {
            let request = asks_for(patient, RecordId(rand::random()));
            over.extend(request_access(&nosy, node, request).await?.err());
        }
        assert_eq!(over.len(), 6, "three were let through: {over:?}");
        for status in &over {
            assert_eq!(reason(status), "OVERLOADED");
            let quota = status.get_details_quota_failure().expect("which quota");
            assert_eq!(quota.violations[0].subject, "author");
            assert!(retry_delay(status).is_some_and(|delay| delay > Duration::from_secs(1)), "{status:?}");
        }
        let emergency = pb::RequestAccess {
            purpose: pb::PurposeOfUse::Btg.into(),
            emergency_id: vec![1; 16].into(),
            ..asks_for(patient, RecordId(rand::random()))
        };
        assert!(request_access(&nosy, &network.nodes[1], emergency).await?.is_ok(), "an emergency is not kept out");
        let request = asks_for(patient, RecordId(rand::random()));
        assert!(request_access(&other, &network.nodes[1], request).await?.is_ok());
        Ok(())
    });
}

#[test]
fn every_node_that_a_withdrawal_has_reached_is_named_and_who_it_has_not() {
    Network::of(4).run(async |network| {
        let registrar = network.enrolled(0, Role::Service, "registrar").await?;
        let patient = PatientPseudonym(rand::random());
        let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
        registrar.client.perform(Action::RegisterPatient(register)).await?;
        let consent = put(&registrar.client, patient).await?;
        let height = Consents::new(registrar.client.clone()).revoke(consent).await?.height;
        let reach = registrar.client.reach(height, PATIENCE).await?;
        assert!(reach.is_complete() && reach.silent.is_empty(), "{reach:?}");
        assert!(reach.nodes.iter().all(|node| matches!(node.seen, Seen::Held(_, Some(_)))), "{reach:?}");
        // Who talks to one node only knows the others by their votes.
        let reach = registrar.at(&network.nodes[0]).await?.reach(height, PATIENCE).await?;
        let mut seen: Vec<_> = reach.nodes.iter().map(|node| node.seen).collect();
        seen.sort();
        assert!(matches!(seen[..], [Seen::Voted, Seen::Voted, Seen::Voted, Seen::Held(_, Some(_))]), "{seen:?}");

        let (other, gone) = (put(&registrar.client, patient).await?, 3);
        network.nodes[gone].stop()?;
        let revoked =
            network.cli(&registrar, &["consent", "revoke", &other.to_string(), "--yes", "--reach-within", "2"])?;
        assert_eq!(revoked.code, Some(0), "{}", revoked.output);
        let named = revoked.output.lines().find(|line| line.contains(&network.members[gone].id));
        assert!(named.is_some_and(|line| line.contains("not known")), "{}", revoked.output);
        assert!(revoked.output.contains("NOT every node"), "{}", revoked.output);
        network.nodes[gone].start()?;
        Ok(())
    });
}
