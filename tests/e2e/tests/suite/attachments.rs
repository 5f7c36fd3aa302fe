//! Attachments that a disk has lost: the ledger is whole without them, and they come back
//! from the others.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use consilium_e2e::{Network, Node, Sealed, User, eventually_async, read_payload, reason, record};
use consilium_proto::names::Role;
use consilium_proto::pb;
use rocksdb::{DB, IteratorMode, Options};

const PATIENCE: Duration = Duration::from_secs(90);

/// Changes the payloads of a stopped node's ledger.
fn payloads(node: &Node, change: impl FnOnce(&DB, &rocksdb::ColumnFamily)) -> anyhow::Result<()> {
    let path = node.data_dir.join("ledger");
    let families = DB::list_cf(&Options::default(), &path)?;
    let db = DB::open_cf(&Options::default(), &path, families)?;
    change(&db, db.cf_handle("payloads").unwrap());
    db.flush_wal(true)?;
    Ok(())
}

/// A stopped node loses a payload; gives its key.
fn lose(node: &Node, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut lost = None;
    payloads(node, |db, family| {
        let mut rows = db.iterator_cf(family, IteratorMode::Start).map(Result::unwrap);
        lost = rows.find(|(_, value)| **value == *payload).map(|(key, _)| key.to_vec());
        lost.iter().for_each(|key| db.delete_cf(family, key).unwrap());
    })?;
    lost.ok_or_else(|| anyhow::anyhow!("the payload was not there: {}", Path::new(&node.data_dir).display()))
}

/// A payload comes back to a node; until then the node says that it has it not.
async fn comes_back(user: &User, node: &Node, sealed: &Sealed, payload: &Bytes) -> anyhow::Result<()> {
    eventually_async("the payload", PATIENCE, || async {
        match read_payload(user, node, sealed.patient(), sealed.record_id).await? {
            Ok(read) => assert_eq!(read, *payload),
            Err(status) => anyhow::bail!("{}", reason(&status)),
        }
        Ok(())
    })
    .await
}

async fn raised(network: &Network, node: usize) -> anyhow::Result<bool> {
    let alarms = network.status(node).await?.alarms;
    Ok(alarms.iter().any(|alarm| alarm.name == "attachments_missing"))
}

#[test]
fn an_attachment_that_a_disk_lost_comes_back_from_the_others() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let sealed = record(&user.client, "patient", b"a document that is lost")?;
        user.client.submit(sealed.sign(&user.client)?, pb::WaitFor::Certified).await?.into_applied()?;
        let (height, _) = network.agreed(2).await?;
        let forgetful = network.follower().await?;
        let payload = sealed.attachments[0].clone();
        network.nodes[forgetful].stop()?;
        lose(&network.nodes[forgetful], &payload)?;
        network.nodes[forgetful].restart()?;
        network.agreed(height).await?;
        comes_back(&user, &network.nodes[forgetful], &sealed, &payload).await?;
        assert!(network.nodes[forgetful].log_contains(&["are not on this disk as they were stored"]));
        Ok(())
    });
}

#[test]
fn an_alarm_says_that_nobody_has_an_attachment_until_somebody_does() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let sealed = record(&user.client, "patient", b"a document that all lose")?;
        user.client.submit(sealed.sign(&user.client)?, pb::WaitFor::Certified).await?.into_applied()?;
        network.agreed(2).await?;
        let payload = sealed.attachments[0].clone();
        let mut key = Vec::new();
        for node in &mut network.nodes {
            node.stop()?;
            key = lose(node, &payload)?;
        }
        network.start_all()?;
        eventually_async("the alarm", PATIENCE, || async {
            anyhow::ensure!(raised(network, 0).await? && raised(network, 2).await?, "no alarm");
            Ok(())
        })
        .await?;
        let status = read_payload(&user, &network.nodes[2], sealed.patient(), sealed.record_id).await?.unwrap_err();
        assert_eq!(reason(&status), "BEHIND");
        // One of them finds it in a copy.
        network.nodes[1].stop()?;
        payloads(&network.nodes[1], |db, family| db.put_cf(family, &key, &payload).unwrap())?;
        network.nodes[1].restart()?;
        comes_back(&user, &network.nodes[0], &sealed, &payload).await?;
        comes_back(&user, &network.nodes[2], &sealed, &payload).await?;
        eventually_async("the end of the alarm", PATIENCE, || async {
            anyhow::ensure!(!raised(network, 0).await? && !raised(network, 2).await?, "still raised");
            Ok(())
        })
        .await
    });
}
