//! A custodian can open whatever its member's people write from then on.

use consilium_certs::{RevocationReason, RevokeTarget};
use consilium_client::ClientError;
use consilium_client::records::{
    Draft, RecipientRefusal, RecordDraft, RecordReader, RecordWriter, custodian, new_pseudonym,
};
use consilium_e2e::{Network, record};
use consilium_proto::names::Role;
use consilium_proto::pb;
use time::OffsetDateTime;

use crate::whom::publish_revocations;

#[test]
fn the_custodian_opens_what_its_member_writes() {
    Network::of(3).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "registrar").await?;
        let keeper = network.enrolled(0, Role::Service, "custodian").await?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let other = network.enrolled(1, Role::Service, "ehr").await?;
        let text = "what was seen";
        let write = async |client: &consilium_client::Client| -> anyhow::Result<_> {
            let draft = RecordDraft::document("note", new_pseudonym(), text.into());
            let writer = RecordWriter::new(client.clone(), &[]).await?;
            let written = writer.write(vec![Draft::new(draft)], pb::WaitFor::Certified).await?;
            Ok(written[0].1[0])
        };
        let reader = RecordReader::new(keeper.client.clone());
        let before = write(&ehr.client).await?;
        assert!(reader.get(before, None).await.is_err(), "sealed before there was a custodian");

        let named = network.cli(&admin, &["custodian", "set-key", &keeper.spiffe_id])?;
        assert_eq!(named.code, Some(0), "{}", named.output);
        let shown = network.cli(&ehr, &["custodian", "show"])?;
        assert!(shown.output.contains(&keeper.spiffe_id), "{}", shown.output);
        let member = network.members[0].id.parse()?;
        let found = custodian(&other.client, &member).await?.expect("proven to another member");
        assert_eq!(found.name, keeper.spiffe_id);

        let record_id = write(&ehr.client).await?;
        let opened = reader.get(record_id, None).await?;
        assert_eq!(opened.plaintext.as_deref().map(Vec::as_slice), Some(text.as_bytes()));
        // Whoever leaves the custodian out, writes nothing.
        let forgotten = record(&ehr.client, "patient", b"{}")?.sign(&ehr.client)?;
        let refused = ehr.client.submit(forgotten, pb::WaitFor::Certified).await?;
        assert_eq!(refused.outcome, pb::Outcome::CustodyWrapMissing);
        // It is nothing to other members.
        let theirs = record(&other.client, "patient", b"{}")?.sign(&other.client)?;
        other.client.submit(theirs, pb::WaitFor::Certified).await?.into_applied()?;
        let not_admin = network.cli(&ehr, &["custodian", "set-key", &keeper.spiffe_id])?;
        assert_eq!(not_admin.code, Some(1), "{}", not_admin.output);
        let foreign = network.cli(&admin, &["custodian", "set-key", &other.spiffe_id])?;
        assert!(foreign.output.contains("CUSTODIAN_REFUSED"), "{}", foreign.output);
        // Nothing more is sealed for a custodian that was revoked.
        let target = RevokeTarget::Serial(keeper.serial.clone());
        let now = OffsetDateTime::now_utc();
        network.members[0].ca.revoke(&target, RevocationReason::KeyCompromise, now)?;
        publish_revocations(network, &admin).await?;
        let refused = RecordWriter::new(ehr.client.clone(), &[]).await.unwrap_err();
        let reason = RecipientRefusal::Revoked;
        assert_eq!(refused, ClientError::RecipientRefused { recipient: keeper.spiffe_id.clone(), reason });
        Ok(())
    });
}
