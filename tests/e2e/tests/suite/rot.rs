//! A ledger that has rotten on the disk: the node must not vote on with it.

use std::time::Duration;

use consilium_e2e::{Load, Network, eventually_async, flip_bits, ledger_at, read_payload, stored};
use consilium_proto::names::Role;

const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever reads what has rotten first, here a client: the node ends, and comes back with what
/// the others certified, without a hand. It may meet the rot at its start already.
#[test]
fn rotten_ledger_stops_voting() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let sealed = stored(client, "patient", b"a document that rots").await?;
        let (height, _) = network.agreed(2).await?;
        let rotten = network.follower().await?;
        let near = (0..4).find(|n| *n != rotten).unwrap();
        // What was in the log of writes is in tables after a start.
        network.nodes[rotten].stop()?;
        network.nodes[rotten].restart()?;
        network.agreed(height).await?;
        network.nodes[rotten].stop()?;
        let payload = sealed.attachments[0].clone();
        let node = &mut network.nodes[rotten];
        assert!(!flip_bits(&node.data_dir.join("ledger"), &payload[8..40])?.is_empty(), "nothing was damaged");
        node.start()?;
        if node.wait_ready().is_ok() {
            let answer = read_payload(&user, node, sealed.patient(), sealed.record_id).await?;
            assert!(answer.is_err(), "what has rotten is not served: {answer:?}");
        }
        assert!(!node.wait_end()?.success());
        assert!(node.log_contains(&["the ledger on this disk cannot be read"]), "{}", node.log_tail());
        assert!(node.data_dir.join("REPAIR").exists());

        let load = Load::start(vec![user.at(&network.nodes[near]).await?]);
        load.more(5).await?;
        network.nodes[rotten].restart()?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        network.agreed(acks.last().unwrap().height).await?;
        let here = ledger_at(user.channel(&network.nodes[rotten])?).await?;
        let there = ledger_at(user.channel(&network.nodes[near])?).await?;
        let common = here.len().min(there.len());
        assert_eq!(here[..common], there[..common]);
        assert!(!network.nodes[rotten].data_dir.join("REPAIR").exists());
        eventually_async("the alarm", PATIENCE, || async {
            let alarms = network.status(rotten).await?.alarms;
            anyhow::ensure!(alarms.iter().any(|alarm| alarm.name == "state_diverged_repaired"), "{alarms:?}");
            Ok(())
        })
        .await?;
        // What was read again is whole.
        let read = read_payload(&user, &network.nodes[rotten], sealed.patient(), sealed.record_id).await??;
        assert_eq!(read, payload);
        Ok(())
    });
}
