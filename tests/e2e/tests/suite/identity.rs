//! Who gets in: refused at the handshake or the request, with the reason in
//! the server's log and not in the answer.

use std::time::Duration;

use bytes::Bytes;
use consilium_certs::{CaStore, MemberCa, RevocationReason, RevokeTarget};
use consilium_e2e::{Dial, Network, RawIdentity, around_now, at_offset, eventually_async, reason, record, submit_raw};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_grpc::operator_service_client::OperatorServiceClient;
use consilium_proto::names::Role;
use consilium_proto::pb;
use time::OffsetDateTime;
use tonic::Code;

/// Nobody with this identity gets an answer from any node; the log of each
/// says why, and the refused side is not told.
async fn refused(network: &Network, identity: RawIdentity, why: &str) -> anyhow::Result<()> {
    for node in &network.nodes {
        let told = Dial::new(&network.genesis, &identity)?.refusal(node.client).await.expect_err(why);
        assert!(!told.contains(why), "the refused side was told {why:?}: {told}");
        for member in &network.members {
            assert!(!told.contains(&member.id), "the answer names a member: {told}");
        }
        node.wait_log(&["refused", why])?;
    }
    Ok(())
}

#[test]
fn without_a_certificate_nobody_gets_in() {
    Network::of(1).run(async |network| refused(network, RawIdentity::nobody(), "no certificate").await);
}

#[test]
fn a_valid_identity_gets_in_without_being_enrolled() {
    Network::of(1).run(async |network| {
        let issued = network.members[0].issue(Role::Service, "ehr", around_now())?;
        let dial = Dial::new(&network.genesis, &RawIdentity::issued(&issued.issued)?)?;
        dial.refusal(network.nodes[0].client).await.map_err(anyhow::Error::msg)
    });
}

#[test]
fn a_ca_of_the_members_name_that_is_not_on_the_ledger_is_worth_nothing() {
    Network::of(1).run(async |network| {
        let rogue = MemberCa::create(&network.members[0].id.parse()?, around_now())?;
        let spiffe_id = format!("spiffe://{}/service/ehr", network.members[0].id);
        refused(network, RawIdentity::forged(&rogue, &spiffe_id, around_now())?, "issuer is not in the bundle").await
    });
}

#[test]
fn a_stranger_is_no_member() {
    Network::of(1).run(async |network| {
        let foreign = CaStore::init(&network.folder().join("foreign"), &"elm.example".parse()?, around_now())?;
        let identity = RawIdentity::forged(foreign.ca(), "spiffe://elm.example/service/ehr", around_now())?;
        refused(network, identity, "is not a member").await
    });
}

#[test]
fn one_members_ca_cannot_mint_anothers_identity() {
    Network::of(2).run(async |network| {
        let spiffe_id = format!("spiffe://{}/service/ehr", network.members[0].id);
        let identity = RawIdentity::forged(network.members[1].ca.ca(), &spiffe_id, around_now())?;
        refused(network, identity, "issuer is not in the bundle").await
    });
}

#[test]
fn validity_is_enforced_at_both_ends() {
    Network::of(1).run(async |network| {
        let member = &network.members[0];
        let expired = at_offset(time::Duration::days(-10), time::Duration::hours(-1));
        let issued = member.issue(Role::Service, "late", expired)?;
        refused(network, RawIdentity::issued(&issued.issued)?, "expired at").await?;
        let future = at_offset(time::Duration::hours(1), time::Duration::days(10));
        let issued = member.issue(Role::Service, "early", future)?;
        refused(network, RawIdentity::issued(&issued.issued)?, "valid from").await
    });
}

#[test]
fn the_peer_listener_is_for_nodes_only() {
    Network::of(2).run(async |network| {
        for role in [Role::Service, Role::Admin] {
            let issued = network.members[0].issue(role, "outsider", around_now())?;
            let dial = Dial::new(&network.genesis, &RawIdentity::issued(&issued.issued)?)?;
            assert!(dial.refusal(network.nodes[1].peer).await.is_err());
            network.nodes[1].wait_log(&["refused", &format!("role {role} is not accepted here")])?;
        }
        // A node's certificate that the ledger does not know by that name.
        let issued = network.members[0].issue(Role::Node, "n2", around_now())?;
        let dial = Dial::new(&network.genesis, &RawIdentity::issued(&issued.issued)?)?;
        let channel = dial.connect(network.nodes[1].peer).await?;
        let mut peers = consilium_grpc::peer_service_client::PeerServiceClient::new(channel);
        let status = peers.get_certified_head(pb::GetCertifiedHeadRequest {}).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        network.nodes[1].wait_log(&["not a node of the ledger"])
    });
}

#[test]
fn a_node_cannot_speak_for_another_one() {
    Network::of(2).run(async |network| {
        let dir = &network.members[0].dir;
        let read = |name: &str| std::fs::read_to_string(dir.join(name));
        let identity = RawIdentity::from_pem(&read("node-n1.pem")?, &read("node-n1.key")?)?;
        for (ledger, id, why) in
            [(network.genesis.ledger_id.to_string(), "2", "another raft id"), ("00".repeat(32), "1", "another ledger")]
        {
            let channel = Dial::new(&network.genesis, &identity)?.connect(network.nodes[1].peer).await?;
            let mut request = tonic::Request::new(pb::GetCertifiedHeadRequest {});
            request.metadata_mut().insert("consilium-ledger-id", ledger.parse()?);
            request.metadata_mut().insert("consilium-raft-id", id.parse()?);
            let mut peers = consilium_grpc::peer_service_client::PeerServiceClient::new(channel);
            let status = peers.get_certified_head(request).await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied);
            assert!(!status.message().contains(why), "{status:?}");
            network.nodes[1].wait_log(&["peer refused", why])?;
        }
        Ok(())
    });
}

#[test]
fn the_client_listener_does_not_speak_to_peers() {
    Network::of(2).run(async |network| {
        let dir = &network.members[0].dir;
        let read = |name: &str| std::fs::read_to_string(dir.join(name));
        let identity = RawIdentity::from_pem(&read("node-n1.pem")?, &read("node-n1.key")?)?;
        let channel = Dial::new(&network.genesis, &identity)?.connect(network.nodes[1].client).await?;
        let mut peers = consilium_grpc::peer_service_client::PeerServiceClient::new(channel);
        let status = peers.get_certified_head(pb::GetCertifiedHeadRequest {}).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        Ok(())
    });
}

#[test]
fn a_revocation_holds_from_its_block_on_open_connections_too() {
    Network::of(3).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "security").await?;
        let victim = network.enrolled(0, Role::Service, "lost-laptop").await?;
        let other = network.enrolled(1, Role::Service, "ehr").await?;
        let read = |path: &Option<std::path::PathBuf>| std::fs::read_to_string(path.as_ref().unwrap());
        let pem = (read(&victim.profile.certificate)?, read(&victim.profile.key)?);
        let identity = RawIdentity::from_pem(&pem.0, &pem.1)?;

        // Open connections and streams at every node, each used once.
        let mut open = Vec::new();
        for node in &network.nodes {
            let dial = Dial::new(&network.genesis, &identity)?;
            let channel = dial.connect(node.client).await?;
            OperatorServiceClient::new(channel.clone()).get_status(pb::GetStatusRequest::default()).await?;
            let watch = pb::WatchRequest { after_height: 0, headers_only: true };
            let mut stream = LedgerServiceClient::new(channel.clone()).watch(watch).await?.into_inner();
            assert!(stream.message().await?.is_some());
            open.push((dial, channel, stream));
        }
        let signed_before = record(&victim.client, "patient", b"{}")?.sign(&victim.client)?;

        let ca = &network.members[0].ca;
        let now = OffsetDateTime::now_utc();
        ca.revoke(&RevokeTarget::Serial(victim.serial.clone()), RevocationReason::KeyCompromise, now)?;
        let crl = Bytes::from(ca.crl(now, time::Duration::days(7))?);
        let publish = |crl: Bytes| pb::Action {
            action: Some(pb::action::Action::PublishRevocations(pb::PublishRevocations { crl })),
        };
        // Not by another member, not a list that does not verify, and by no other role.
        let stranger = network.enrolled(1, Role::Admin, "stranger").await?;
        for (by, refused) in [(&stranger, pb::Outcome::RevocationsRefused), (&other, pb::Outcome::RoleNotAllowed)] {
            let foreign = by.client.sign(vec![publish(crl.clone())], vec![])?;
            let foreign = by.client.submit(foreign, pb::WaitFor::Certified).await?;
            assert_eq!(foreign.outcome, refused);
        }
        let tx = admin.client.sign(vec![publish(crl.clone())], vec![])?;
        let done = admin.client.submit(tx, pb::WaitFor::Certified).await?.into_applied()?;
        network.agreed(done.height.0).await?;

        for ((dial, channel, mut stream), node) in open.into_iter().zip(&network.nodes) {
            let status = eventually_async("refusal on the open connection", Duration::from_secs(10), || async {
                let answer =
                    OperatorServiceClient::new(channel.clone()).get_status(pb::GetStatusRequest::default()).await;
                answer.err().ok_or("it was answered")
            })
            .await?;
            let cut = [Code::Unauthenticated, Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal];
            assert!(cut.contains(&status.code()), "{status:?}");
            // The stream ends; whatever was sent before may still be read.
            let ended = async { while let Ok(Some(_)) = stream.message().await {} };
            tokio::time::timeout(Duration::from_secs(10), ended).await?;
            assert!(dial.connections() <= 2);
            assert!(!format!("{status:?}").contains("revoked"), "{status:?}");
            // And no new one.
            let told = Dial::new(&network.genesis, &identity)?.refusal(node.client).await.unwrap_err();
            assert!(!told.contains("is revoked"), "{told}");
            node.wait_log(&["refused", "is revoked"])?;
        }
        // What it signed, brought by somebody else, is refused by the rules.
        let late = submit_raw(other.channel(&network.nodes[0])?, signed_before).await?.into_inner();
        assert_eq!(late.outcome(), pb::Outcome::AuthorRevoked);
        // An old list cannot bring it back.
        let tx = admin.client.sign(vec![publish(crl)], vec![])?;
        let again = admin.client.submit(tx, pb::WaitFor::Certified).await?;
        assert_eq!(again.outcome, pb::Outcome::RevocationsRefused);
        // Others of the member are not touched, and a restart forgets nothing.
        network.nodes[1].kill9()?;
        network.nodes[1].restart()?;
        assert!(Dial::new(&network.genesis, &identity)?.refusal(network.nodes[1].client).await.is_err());
        admin.at(&network.nodes[1]).await?.identity_of(&admin.spiffe_id).await?;
        Ok(())
    });
}

#[test]
fn roles_that_do_not_write_do_not_write() {
    Network::of(1).run(async |network| {
        for role in [Role::Patient, Role::Auditor, Role::Researcher, Role::Admin] {
            let user = network.enrolled(0, role, &"0a".repeat(16)).await?;
            let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
            let done = user.client.submit(tx, pb::WaitFor::Certified).await?;
            assert_eq!(done.outcome, pb::Outcome::RoleNotAllowed, "{role}");
        }
        for role in [Role::Service, Role::Clinician, Role::Device] {
            let user = network.enrolled(0, role, "someone").await?;
            let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
            let done = user.client.submit(tx, pb::WaitFor::Certified).await?;
            assert_eq!(done.outcome, pb::Outcome::Applied, "{role}");
        }
        Ok(())
    });
}

#[test]
fn operations_are_for_administrators_of_the_nodes_own_member() {
    Network::of(3).run(async |network| {
        let leader = network.leader().await?;
        let other = (leader + 1) % 3;
        let request = pb::TransferLeadershipRequest { to: network.nodes[other].raft_id() };
        for (member, role) in [(leader, Role::Service), (other, Role::Admin)] {
            let user = network.user(member, role, "operator").await?;
            let mut service = OperatorServiceClient::new(user.channel(&network.nodes[leader])?);
            let status = service.transfer_leadership(request).await.unwrap_err();
            assert_eq!((status.code(), reason(&status)), (Code::PermissionDenied, "PERMISSION_DENIED".to_owned()));
        }
        assert_eq!(network.leader().await?, leader);
        let admin = network.user(leader, Role::Admin, "operator").await?;
        let mut service = OperatorServiceClient::new(admin.channel(&network.nodes[leader])?);
        let answer = service.transfer_leadership(request).await?.into_inner();
        assert_eq!(answer.leader, network.nodes[other].raft_id());
        assert_eq!(network.leader().await?, other);
        Ok(())
    });
}
