//! SIGKILL: what was acknowledged stays, and everything happened once.

use consilium_client::Client;
use consilium_e2e::{Load, Network, User, ledger_at, nothing_lost, reason, record, submit_raw};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::pb::read_options::Consistency;
use tonic::Code;

/// Writers of one user; some start at each node.
async fn writers(user: &User, network: &Network, count: usize) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for i in 0..count {
        let mut endpoints: Vec<String> = network.nodes.iter().map(|n| n.endpoint()).collect();
        endpoints.rotate_left(i % network.nodes.len());
        let profile = consilium_client::Profile { endpoints, ..user.profile.clone() };
        clients.push(Client::connect(profile).await?);
    }
    Ok(clients)
}

#[test]
fn a_leader_killed_under_load_loses_nothing_acknowledged() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(writers(&user, network, 8).await?);
        load.more(60).await?;
        let old = network.leader().await?;
        network.nodes[old].kill9()?;
        load.more(60).await?;
        let new = network.leader().await?;
        assert_ne!(new, old, "the fault did not happen");
        network.nodes[old].restart()?;
        load.more(30).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        assert_eq!(network.running().len(), 4);
        nothing_lost(network, &user, &acks).await
    });
}

#[test]
fn all_nodes_killed_at_once_come_back_with_everything() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let mut all = Vec::new();
        for _round in 0..2 {
            let load = Load::start(writers(&user, network, 8).await?);
            load.more(40).await?;
            for node in &mut network.nodes {
                node.kill9()?;
            }
            network.start_all()?;
            load.more(20).await?;
            let (acks, failures) = load.finish().await?;
            assert_eq!(failures, Vec::<String>::new());
            all.extend(acks);
        }
        nothing_lost(network, &user, &all).await
    });
}

#[test]
fn killed_followers_one_after_the_other_stop_nobody() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(writers(&user, network, 4).await?);
        for _round in 0..3 {
            let follower = network.follower().await?;
            network.nodes[follower].kill9()?;
            load.more(20).await?;
            network.nodes[follower].restart()?;
        }
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        nothing_lost(network, &user, &acks).await
    });
}

#[test]
fn a_paused_leader_comes_back_as_a_follower() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(writers(&user, network, 8).await?);
        load.more(20).await?;
        let old = network.leader().await?;
        network.nodes[old].pause()?;
        // The others replace it; it still believes that it leads.
        load.more(40).await?;
        network.nodes[old].resume()?;
        load.more(20).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        assert_ne!(network.leader().await?, old);
        nothing_lost(network, &user, &acks).await
    });
}

#[test]
fn without_a_quorum_nothing_is_certified_and_reads_of_what_is_go_on() {
    Network::of(4).limits("request_timeout = \"4s\"").run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let (height, _) = network.agreed(1).await?;
        network.nodes[2].kill9()?;
        network.nodes[3].kill9()?;
        let tx = record(&user.client, "patient", b"x")?.sign(&user.client)?;
        let status = submit_raw(user.channel(&network.nodes[0])?, tx.clone()).await.unwrap_err();
        let retryable = [(Code::Unavailable, "NO_LEADER"), (Code::DeadlineExceeded, "OUTCOME_UNKNOWN")];
        assert!(retryable.contains(&(status.code(), reason(&status).as_str())), "{status:?}");

        let mut service = LedgerServiceClient::new(user.channel(&network.nodes[0])?);
        let status = service.get_head(pb::GetHeadRequest { read: None }).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::Unavailable, "NO_LEADER".to_owned()), "linearizable");
        let read = Some(pb::ReadOptions { consistency: Some(Consistency::MinHeight(height)) });
        let head = service.get_head(pb::GetHeadRequest { read }).await?.into_inner();
        assert!(head.head.unwrap().header.unwrap().height >= height);

        network.start_all()?;
        // The same transaction, again: it executes, once.
        let done = user.client.submit(tx, pb::WaitFor::Certified).await?.into_applied()?;
        let rows = ledger_at(user.channel(&network.nodes[0])?).await?;
        assert_eq!(rows.iter().filter(|row| row.id == done.transaction_id).count(), 1);
        Ok(())
    });
}
