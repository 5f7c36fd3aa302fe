//! What every gRPC server and every process of an operator is asked first.

use std::collections::BTreeSet;
use std::time::Duration;

use consilium_e2e::{Network, alarms, eventually, http_get};
use consilium_proto::names::Role;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[test]
fn health_and_reflection_answer() {
    Network::of(1).run(async |network| {
        let user = network.user(0, Role::Service, "ehr").await?;
        let channel = user.channel(&network.nodes[0])?;
        for service in ["", "consilium.v1.LedgerService", "consilium.v1.AccessService", "consilium.v1.OperatorService"]
        {
            let request = HealthCheckRequest { service: service.into() };
            let answer = HealthClient::new(channel.clone()).check(request).await?.into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
        }
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut answers = ServerReflectionClient::new(channel)
            .server_reflection_info(futures::stream::iter([request]))
            .await?
            .into_inner();
        let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await?.unwrap().message_response
        else {
            anyhow::bail!("no list of services");
        };
        let names: BTreeSet<&str> = list.service.iter().map(|s| s.name.as_str()).collect();
        for name in ["LedgerService", "RecordsService", "IdentityService", "AccessService", "OperatorService"] {
            assert!(names.contains(format!("consilium.v1.{name}").as_str()), "{name} is not in {names:?}");
        }
        assert!(names.contains("grpc.health.v1.Health"), "{names:?}");
        assert!(!names.contains("consilium.v1.PeerService"), "peers have a listener of their own");
        Ok(())
    });
}

#[test]
fn probes_tell_live_from_ready() {
    Network::of(3).run(async |network| {
        for node in &network.nodes {
            assert_eq!(http_get(node.http, "/livez")?.status, 200);
            assert_eq!(http_get(node.http, "/readyz")?.status, 200);
            assert_eq!(http_get(node.http, "/elsewhere")?.status, 404);
            let metrics = http_get(node.http, "/metrics")?;
            assert_eq!(metrics.status, 200);
            assert!(metrics.body.contains("consilium_"), "{}", metrics.body);
        }
        // Alone: alive, not ready, and it says why.
        network.nodes[0].kill9()?;
        network.nodes[1].kill9()?;
        let alone = &network.nodes[2];
        let answer = eventually("not ready any more", Duration::from_secs(30), || {
            let answer = http_get(alone.http, "/readyz").map_err(|e| e.to_string())?;
            if answer.status == 503 { Ok(answer) } else { Err(format!("{answer:?}")) }
        })?;
        assert!(answer.body.contains("no leader"), "{answer:?}");
        assert_eq!(http_get(alone.http, "/livez")?.status, 200);
        Ok(())
    });
}

#[test]
fn status_is_consistent_over_the_nodes() {
    Network::of(4).run(async |network| {
        network.agreed(0).await?;
        let leader = network.leader().await?;
        for node in 0..4 {
            let status = network.status(node).await?;
            assert_eq!(status.ledger_id, network.genesis.ledger_id.to_bytes());
            assert_eq!(status.raft_id, network.nodes[node].raft_id());
            assert_eq!(status.spiffe_id, format!("spiffe://{}/node/n1", network.members[node].id));
            let expected = if node == leader {
                consilium_proto::pb::RaftRole::Leader
            } else {
                consilium_proto::pb::RaftRole::Follower
            };
            assert_eq!(status.raft_role(), expected);
            assert_eq!(alarms(&status), vec![]);
            assert_eq!(status.peers.len(), 4);
            assert!(status.peers.iter().all(|p| p.voter && p.voting_power == 100), "{:?}", status.peers);
        }
        Ok(())
    });
}
