//! Organisations and machines that come and go while others write.

use std::fs;

use consilium_e2e::{Load, Network, longest_pause, short_epochs};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, proposal_topic::Topic};

#[test]
fn three_members_join_and_two_leave_under_load() {
    Network::of(4).parameters(short_epochs(2_000)).run(async |network| {
        let mut admins = network.admins().await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone(); 2]);
        load.more(10).await?;
        for id in ["elm.example", "fir.example", "gorse.example"] {
            let index = network.admit(&admins.iter().collect::<Vec<_>>(), id, 100).await?;
            let seated: Vec<usize> = (0..=index).collect();
            let status = network.settled(&seated).await?;
            println!("{id} joined as raft id {} at epoch {}", network.nodes[index].raft_id(), status.epoch);
            admins.push(network.enrolled(index, Role::Admin, "admin").await?);
            load.more(5).await?;
        }
        assert_eq!(network.nodes[6].raft_id(), 7);
        for (leaves, rest) in [(1, vec![0, 2, 3, 4, 5, 6]), (5, vec![0, 2, 3, 4, 6])] {
            let member = network.members[leaves].id.clone();
            let voting: Vec<_> = rest.iter().map(|m| &admins[*m]).collect();
            network.decide(&voting, Topic::RemoveMember(pb::RemoveMember { member, successor: String::new() })).await?;
            network.settled(&rest).await?;
            network.nodes[leaves].kill9()?;
            load.more(5).await?;
        }
        let status = network.settled(&[0, 2, 3, 4, 6]).await?;
        assert!(status.peers.iter().all(|p| p.raft_id != 2 && p.raft_id != 6), "{:?}", status.peers);
        let (acks, failures) = load.finish().await?;
        println!("{} writes; longest pause {:?}", acks.len(), longest_pause(&acks));
        assert_eq!(failures, Vec::<String>::new());
        network.agreed(acks.iter().map(|a| a.height).max().unwrap()).await?;
        // Whoever starts with nothing but the genesis document and an
        // invitation follows all of it.
        let late = network.enrolled(6, Role::Service, "late").await?;
        let sealed = consilium_e2e::record(&late.client, "patient", b"{}")?;
        late.client.submit(sealed.sign(&late.client)?, pb::WaitFor::Certified).await?.into_applied()?;
        Ok(())
    });
}

#[test]
fn a_dead_machine_is_replaced_by_one_command() {
    Network::of(4).parameters(short_epochs(2_000)).run(async |network| {
        let admin = network.enrolled(2, Role::Admin, "admin").await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone()]);
        load.more(10).await?;
        for (lost, new) in [(3, 5), (5, 6)] {
            network.nodes[2].kill9()?;
            fs::remove_dir_all(&network.nodes[2].data_dir)?;
            load.more(5).await?;
            assert_eq!(network.nodes[2].raft_id(), lost);
            assert_eq!(network.replace(&admin, 2).await?, new);
            let status = network.settled(&[0, 1, 2, 3]).await?;
            assert!(status.peers.iter().all(|p| p.raft_id != lost), "{:?}", status.peers);
            load.more(5).await?;
        }
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        network.agreed(acks.last().unwrap().height).await?;
        // Its vote counts: with another node away it is needed.
        network.nodes[3].kill9()?;
        let load = Load::start(vec![user.client.clone()]);
        load.more(5).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn a_wiped_node_does_not_come_back_under_its_old_id() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone()]);
        load.more(5).await?;
        let lost = network.follower().await?;
        network.nodes[lost].kill9()?;
        fs::remove_dir_all(&network.nodes[lost].data_dir)?;
        load.more(5).await?;
        // Its disk has forgotten what it voted for: it must not vote again.
        network.nodes[lost].init()?;
        network.nodes[lost].start()?;
        let ended = network.nodes[lost].wait_end()?;
        assert!(!ended.success(), "{}", network.nodes[lost].log_tail());
        load.more(5).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}
