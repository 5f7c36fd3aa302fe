//! What blocks tell of patients, and whom.

use consilium_client::receipts::verify_receipt;
use consilium_client::records::{Draft, RecordDraft, RecordWriter};
use consilium_client::watch::Contents;
use consilium_e2e::{Network, User};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::ids::{Height, PatientPseudonym};
use consilium_proto::names::Role;
use consilium_proto::pb;
use prost::Message;

/// All that a node sends of the blocks up to a height, listed and watched.
async fn sent(network: &Network, user: &User, height: Height) -> anyhow::Result<Vec<u8>> {
    let mut service = LedgerServiceClient::new(user.channel(&network.nodes[0])?);
    let request = pb::ListBlocksRequest { from_height: 0, to_height: height.0, headers_only: false };
    let (mut listed, mut bytes) = (service.list_blocks(request).await?.into_inner(), Vec::new());
    while let Some(answer) = listed.message().await? {
        bytes.extend(answer.encode_to_vec());
    }
    let mut watched = service.watch(pb::WatchRequest { after_height: 0, headers_only: false }).await?.into_inner();
    while let Some(answer) = watched.message().await? {
        bytes.extend(answer.encode_to_vec());
        if answer.cursor >= height.0 {
            break;
        }
    }
    Ok(bytes)
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn blocks_tell_strangers_and_colleagues_nothing_of_patients_and_still_verify() {
    Network::of(3).run(async |network| {
        network.custodian(0).await?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let patient = PatientPseudonym(rand::random());
        let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
        ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?;
        let draft = RecordDraft::document("unmistakable", patient, "what was seen".into());
        let writer = RecordWriter::new(ehr.client.clone()).await?;
        let written = writer.write(vec![Draft::new(draft)], pb::WaitFor::Certified).await?;
        let (record, transaction) = (written[0].1[0], written[0].0.transaction_id);
        assert!(ehr.client.receipt(transaction).await?.signed.is_some(), "its own");
        let height = ehr.client.certified_head().await?.header.height;

        let needles = [&patient.0[..], &record.0[..], b"unmistakable"];
        for (member, role, name, whole) in [
            (0, Role::Service, "archive", true),
            (2, Role::Auditor, "auditor", true),
            (0, Role::Clinician, "colleague", false),
            (0, Role::Admin, "registrar", false),
            (1, Role::Service, "stranger", false),
            (1, Role::Researcher, "researcher", false),
        ] {
            let user = network.enrolled(member, role, name).await?;
            let bytes = sent(network, &user, height).await?;
            for needle in needles {
                assert_eq!(holds(&bytes, needle), whole, "{name}");
            }
            // A receipt proves the same to everybody, and tells who signed to whom a block does.
            let receipt = user.client.receipt(transaction).await?;
            assert_eq!((receipt.leaf.outcome, receipt.signed.is_some()), (pb::Outcome::Applied, whole), "{name}");
            let encoded = pb::Receipt::from(&receipt).encode_to_vec();
            assert_eq!(verify_receipt(&encoded, &network.genesis)?.1.author.is_some(), whole, "{name}");
            // Enrolments are nobody's secret.
            assert!(holds(&bytes, b"ehr"), "{name}");
            // Whole or not, they are held against the headers.
            let (mut watch, mut withheld) = (user.client.watch(Height(0), false), 0);
            while watch.cursor() < height {
                let Contents::Proven(transactions) = watch.next().await?.contents else { panic!("{name}") };
                withheld += transactions.iter().filter(|t| t.transaction.is_none()).count();
            }
            assert_eq!(withheld, if whole { 0 } else { 2 }, "{name}");
        }
        Ok(())
    });
}
