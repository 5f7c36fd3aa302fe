//! A node whose state went wrong without its disk noticing: it must stop by
//! itself when it meets a certificate over something else, take the certified
//! chain from its peers, and take part again.

use std::path::Path;

use consilium_certs::Role;
use consilium_e2e::{Load, Network, ledger_at};
use rocksdb::{DB, IteratorMode, Options};

/// First byte of the keys of enrolled signers (docs/formats.md).
const SIGNER: u8 = 0x03;

/// Deletes the signers from the state behind the node's back. Checksums are
/// right afterwards: only the certificates can tell.
fn forget_signers(data_dir: &Path) -> anyhow::Result<usize> {
    let path = data_dir.join("ledger");
    let options = Options::default();
    let families = DB::list_cf(&options, &path)?;
    let db = DB::open_cf(&options, &path, families)?;
    let state = db.cf_handle("state").unwrap();
    let rows = db.iterator_cf(state, IteratorMode::Start).collect::<Result<Vec<_>, _>>()?;
    let signers: Vec<_> = rows.into_iter().map(|(key, _)| key).filter(|key| key.first() == Some(&SIGNER)).collect();
    for key in &signers {
        db.delete_cf(state, key)?;
    }
    db.flush_wal(true)?;
    Ok(signers.len())
}

#[test]
fn a_node_that_went_astray_stops_and_takes_the_certified_chain() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let leader = network.leader().await?;
        let astray = network.follower().await?;
        let near = (0..4).find(|n| *n != astray && *n != leader).unwrap();
        network.nodes[astray].stop()?;
        assert!(forget_signers(&network.nodes[astray].data_dir)? > 0);
        network.nodes[astray].restart()?;

        let load = Load::start(vec![user.at(&network.nodes[near]).await?]);
        load.more(5).await?;
        let status = network.nodes[astray].wait_end()?;
        assert!(!status.success());
        assert!(network.nodes[astray].log_contains(&["state_diverged"]));

        // The next start rebuilds the ledger, while the others go on.
        network.nodes[astray].restart()?;
        load.more(5).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        let last = *acks.last().unwrap();
        network.agreed(last.height).await?;
        let here = ledger_at(user.channel(&network.nodes[astray])?).await?;
        let there = ledger_at(user.channel(&network.nodes[near])?).await?;
        let common = here.len().min(there.len());
        assert_eq!(here[..common], there[..common]);

        // It votes again: with another node away, its vote is needed.
        network.nodes[near].kill9()?;
        let load = Load::start(vec![user.at(&network.nodes[astray]).await?]);
        load.more(3).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}
