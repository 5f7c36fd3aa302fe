//! Networks that fall apart: who may go on goes on, nobody else says anything
//! that could be wrong, and healing brings all together.

use std::time::Duration;

use bytes::Bytes;
use consilium_e2e::{Load, Network, eventually_async, longest_pause, record, submit_raw};
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::names::Role;
use consilium_proto::pb;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: &str = "request_timeout = \"3s\"";

/// A linearizable read of something that does not exist.
async fn linearizable_read(channel: Channel) -> Result<(), Status> {
    let record_id = Bytes::copy_from_slice(&consilium_e2e::random_id().0);
    let mut request = Request::new(pb::GetRecordRequest { record_id, version: 0, read: None });
    request.set_timeout(Duration::from_secs(10));
    match RecordsServiceClient::new(channel).get_record(request).await {
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status),
        Ok(_) => panic!("there is no such record"),
    }
}

fn is_not_now(status: &Status) -> bool {
    [Code::Unavailable, Code::DeadlineExceeded].contains(&status.code())
}

#[test]
fn a_minority_neither_certifies_nor_answers_and_the_majority_goes_on() {
    Network::of(4).with_links().limits(REQUEST_TIMEOUT).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let leader = network.leader().await?;
        let alone = network.follower().await?;
        let rest: Vec<usize> = (0..4).filter(|n| *n != alone).collect();
        linearizable_read(user.channel(&network.nodes[alone])?).await?;
        network.links().isolate(&[alone]);
        let load = Load::start(vec![user.at(&network.nodes[leader]).await?; 2]);
        load.more(10).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        let last = acks.iter().map(|a| a.height).max().unwrap();
        // Alone it knows no leader after a while, and says so.
        let refused = eventually_async("a refused read", PATIENCE, || async {
            match linearizable_read(user.channel(&network.nodes[alone])?).await {
                Err(status) if is_not_now(&status) => Ok(status),
                other => anyhow::bail!("{other:?}"),
            }
        })
        .await?;
        println!("alone: {refused:?}");
        let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
        let status = submit_raw(user.channel(&network.nodes[alone])?, tx).await.unwrap_err();
        assert!(is_not_now(&status), "{status:?}");
        assert!(network.status(alone).await?.certified_height < last);
        network.agreed_among(&rest, last).await?;
        network.links().heal();
        network.agreed(last).await?;
        linearizable_read(user.channel(&network.nodes[alone])?)
            .await
            .map_err(|status| anyhow::anyhow!("after healing: {status:?}"))
    });
}

#[test]
fn an_isolated_leader_is_replaced_and_says_nothing_new() {
    Network::of(4).with_links().limits(REQUEST_TIMEOUT).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let (height, _) = network.agreed(1).await?;
        let old = network.leader().await?;
        let rest: Vec<usize> = (0..4).filter(|n| *n != old).collect();
        let load = Load::start(vec![user.at(&network.nodes[rest[0]]).await?; 2]);
        load.more(5).await?;
        network.links().isolate(&[old]);
        // Into its log it may go; final it must not become.
        let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
        let status = submit_raw(user.channel(&network.nodes[old])?, tx.clone()).await.unwrap_err();
        assert!(is_not_now(&status), "{status:?}");
        let new = network.leader_of(&rest).await?;
        assert_ne!(new, old);
        let status = linearizable_read(user.channel(&network.nodes[old])?).await.unwrap_err();
        assert!(is_not_now(&status), "{status:?}");
        load.more(10).await?;
        let (acks, failures) = load.finish().await?;
        println!("isolated leader: longest pause {:?}", longest_pause(&acks));
        assert_eq!(failures, Vec::<String>::new());
        let last = acks.iter().map(|a| a.height).max().unwrap();
        assert!(last > height);
        network.links().heal();
        network.agreed(last).await?;
        // The same transaction again: it happens once.
        let done = user.client.submit(tx.clone(), pb::WaitFor::Certified).await?.into_applied()?;
        let again = user.client.submit(tx, pb::WaitFor::Certified).await?.into_applied()?;
        assert_eq!(done.height, again.height);
        Ok(())
    });
}

#[test]
fn two_halves_certify_nothing_and_both_go_on_after_healing() {
    Network::of(4).with_links().limits(REQUEST_TIMEOUT).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        network.agreed(1).await?;
        network.links().isolate(&[0, 1]);
        let tx = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
        for node in 0..4 {
            let status = submit_raw(user.channel(&network.nodes[node])?, tx.clone()).await.unwrap_err();
            assert!(is_not_now(&status), "{status:?}");
            let status = linearizable_read(user.channel(&network.nodes[node])?).await.unwrap_err();
            assert!(is_not_now(&status), "{status:?}");
        }
        network.links().heal();
        let done = user.client.submit(tx, pb::WaitFor::Certified).await?.into_applied()?;
        network.agreed(done.height.0).await?;
        Ok(())
    });
}

#[test]
fn a_node_that_hears_nothing_but_is_heard_does_not_disturb() {
    Network::of(4).with_links().run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let leader = network.leader().await?;
        let deaf = network.follower().await?;
        let load = Load::start(vec![user.at(&network.nodes[leader]).await?; 2]);
        load.more(5).await?;
        let term = network.status(leader).await?.term;
        for node in (0..4).filter(|n| *n != deaf) {
            network.links().cut_one_way(node, deaf);
        }
        eventually_async("the deaf one misses its leader", PATIENCE, || async {
            let status = network.status(deaf).await?;
            anyhow::ensure!(status.leader == 0, "it follows {}", status.leader);
            Ok(())
        })
        .await?;
        load.more(20).await?;
        let status = network.status(leader).await?;
        assert_eq!((status.term, status.leader), (term, network.nodes[leader].raft_id()));
        network.links().heal();
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        network.agreed(acks.last().unwrap().height).await?;
        Ok(())
    });
}
