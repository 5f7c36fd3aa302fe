//! Who signed is part of what was signed: nobody takes a transaction for his own, or uses up its
//! id, by what travels beside it.

use consilium_e2e::{Network, reason, record, submit_raw};
use consilium_proto::names::Role;
use consilium_proto::pb::Outcome;
use consilium_proto::transaction::{self, signed_head, transaction_id};

/// An entry node, or whoever else sees a transaction first, signs it with a key of its own.
#[test]
fn author_swap() {
    Network::of(4).run(async |network| {
        let victim = network.enrolled(0, Role::Service, "ehr").await?;
        let thief = network.enrolled(1, Role::Service, "thief").await?;
        let own = record(&victim.client, "patient", b"{}")?.sign(&victim.client)?;
        let (identity, body) = (thief.client.identity(), own.body.clone().unwrap());
        let stolen = transaction::sign(body, identity.author(), identity.signing_key()?, own.attachments.clone())?;
        assert_ne!(transaction_id(&stolen)?, transaction_id(&own)?);
        let done = submit_raw(thief.channel(&network.nodes[1])?, stolen).await?.into_inner();
        // The key of the record is wrapped for the victim, which is nobody to the thief.
        assert_eq!(done.outcome(), Outcome::WrapNotPermitted);
        // Nobody takes the thief's for the victim's, whose own is judged for itself.
        let told = victim.client.submit(own.clone(), consilium_proto::pb::WaitFor::Certified).await?;
        assert_eq!((told.transaction_id, told.outcome), (transaction_id(&own)?, Outcome::Applied));
        let receipt = victim.client.receipt(told.transaction_id).await?;
        assert_eq!(receipt.signed, Some(signed_head(&own)?), "the receipt shows who signed, and what");
        Ok(())
    });
}

/// Another signature beside what an author signed.
#[test]
fn burnt_id() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let good = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
        for node in &network.nodes {
            let mut bad = good.clone();
            bad.signature = vec![0; 64].into();
            let status = submit_raw(user.channel(node)?, bad).await.unwrap_err();
            assert_eq!(reason(&status), "BAD_SIGNATURE");
        }
        let done = user.client.submit(good, consilium_proto::pb::WaitFor::Certified).await?;
        assert_eq!(done.outcome, Outcome::Applied);
        Ok(())
    });
}
