//! Receipts: verified offline from the genesis alone, in our form and as COSE.

use consilium_client::receipts::verify_receipt;
use consilium_e2e::{Network, record};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::cose::verify_inclusion_receipt;
use consilium_proto::header::Header;
use consilium_proto::merkle::{ConsistencyProof, verify_consistency};
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::receipt::Receipt;
use prost::Message;

#[test]
fn receipts_verify_offline_and_tampered_ones_do_not() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let done = client.submit(record(client, "patient", b"{}")?.sign(client)?, pb::WaitFor::Certified).await?;
        let mut encoded = Vec::new();
        for node in &network.nodes {
            // From every node, all about the same leaf.
            let id = done.transaction_id;
            let receipt = consilium_e2e::eventually_async("a receipt", std::time::Duration::from_secs(10), || async {
                user.at(node).await?.receipt(id).await.map_err(anyhow::Error::from)
            })
            .await?;
            assert_eq!(receipt.leaf.height, done.height);
            encoded = pb::Receipt::from(&receipt).encode_to_vec();
        }
        for node in &mut network.nodes {
            node.stop()?;
        }
        let (receipt, report) = verify_receipt(&encoded, &network.genesis)?;
        assert_eq!(report.transaction_id, done.transaction_id.to_string());
        assert!(report.signed_power > report.total_power * 2 / 3, "{report:?}");
        for position in 0..encoded.len() {
            for bit in [1, 0x80] {
                let mut bytes = encoded.clone();
                bytes[position] ^= bit;
                // Protobuf has several spellings of one message; what verifies
                // must say exactly the same.
                if let Ok((changed, _)) = verify_receipt(&bytes, &network.genesis) {
                    assert_eq!(changed.leaf, receipt.leaf, "byte {position}");
                    assert_eq!(changed.head.header, receipt.head.header, "byte {position}");
                }
            }
        }
        let mut other = receipt.clone();
        other.leaf.outcome = pb::Outcome::RecordExists;
        assert!(verify_receipt(&pb::Receipt::from(&other).encode_to_vec(), &network.genesis).is_err());
        Ok(())
    });
}

#[test]
fn a_receipt_of_another_ledger_does_not_verify() {
    Network::of(1).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let done = client.submit(record(client, "patient", b"{}")?.sign(client)?, pb::WaitFor::Certified).await?;
        let encoded = pb::Receipt::from(&done.receipt.unwrap()).encode_to_vec();
        let other = consilium_proto::genesis::Genesis::parse(&std::fs::read(network.other_genesis()?)?)?;
        assert!(verify_receipt(&encoded, &network.genesis).is_ok());
        assert!(verify_receipt(&encoded, &other).is_err());
        Ok(())
    });
}

#[test]
fn cose_receipts_verify_under_each_validators_key() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let done = client.submit(record(client, "patient", b"{}")?.sign(client)?, pb::WaitFor::Certified).await?;
        let mut service = LedgerServiceClient::new(user.channel(&network.nodes[0])?);
        let request = pb::GetReceiptRequest { transaction_id: done.transaction_id.to_bytes(), cose: true };
        let answer = service.get_receipt(request).await?.into_inner();
        let receipt = Receipt::try_from(&answer.receipt.unwrap())?;
        assert_eq!(answer.cose_receipts.len(), receipt.head.certificate.signatures().count());
        assert!(answer.cose_receipts.len() >= 3, "more than two thirds of four");
        let leaf_hash = *receipt.leaf.hash().as_bytes();
        let validators = network.genesis.validators()?;
        let mut signers = std::collections::BTreeSet::new();
        for bytes in &answer.cose_receipts {
            let verified: Vec<_> = validators
                .seats()
                .iter()
                .filter_map(|seat| Some((seat.id, verify_inclusion_receipt(bytes, &leaf_hash, &seat.key).ok()?)))
                .collect();
            assert_eq!(verified.len(), 1, "exactly one validator's");
            let (id, verified) = &verified[0];
            // It names the key: nobody has to try them all.
            let kid = validators.seat(*id).unwrap().key.thumbprint();
            assert_eq!(consilium_proto::cose::Receipt::decode(bytes)?.kid(), Some(&kid[..]));
            assert_eq!(verified.root, *receipt.head.header.tree_root.as_bytes());
            assert_eq!((verified.tree_size, verified.leaf_index), (receipt.head.header.tree_size, receipt.leaf_index));
            signers.insert(*id);
            let mut wrong = leaf_hash;
            wrong[0] ^= 1;
            let key = &validators.seat(*id).unwrap().key;
            assert!(verify_inclusion_receipt(bytes, &wrong, key).is_err());
        }
        assert_eq!(signers.len(), answer.cose_receipts.len());
        Ok(())
    });
}

#[test]
fn every_later_tree_contains_the_earlier_one() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let mut service = LedgerServiceClient::new(user.channel(&network.nodes[1])?);
        let mut heads: Vec<Header> = Vec::new();
        for _ in 0..6 {
            client.submit(record(client, "patient", b"{}")?.sign(client)?, pb::WaitFor::Certified).await?;
            let head = service.get_head(pb::GetHeadRequest { read: None }).await?.into_inner().head.unwrap();
            heads.push(Header::try_from(&head.header.unwrap())?);
        }
        for old in &heads {
            for new in heads.iter().filter(|new| new.tree_size >= old.tree_size) {
                let request = pb::GetConsistencyProofRequest { old_size: old.tree_size, new_size: new.tree_size };
                let answer = service.get_consistency_proof(request).await?.into_inner();
                check_consistency(old, new, &answer.path);
            }
        }
        Ok(())
    });
}

fn check_consistency(old: &Header, new: &Header, path: &[bytes::Bytes]) {
    let path: Vec<consilium_proto::hash::Hash> =
        path.iter().map(|h| consilium_proto::hash::Hash::try_from(h.as_ref()).unwrap()).collect();
    let proof = ConsistencyProof::new(old.tree_size, new.tree_size, path).unwrap();
    verify_consistency(&proof, &old.tree_root, &new.tree_root).unwrap();
}
