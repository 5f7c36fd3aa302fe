//! Nodes are blind: what a client encrypts is nowhere on their disks, in their
//! logs, or in what they publish about themselves.

use consilium_e2e::{Network, holds, http_get, random_id, seal_with};
use consilium_proto::envelope::ContentKey;
use consilium_proto::names::Role;
use consilium_proto::pb;

const PLAINTEXT: &[u8] = b"{\"resourceType\":\"Condition\",\"note\":\"CANARY-hypertriglyceridaemia-4711\"}";
const CANARY: &[u8] = b"CANARY-hypertriglyceridaemia-4711";
const PATIENT: &str = "urn:oid:2.16.840.1.113883|CANARY-patient-0815";

#[test]
fn no_plaintext_and_no_key_is_anywhere_at_a_node() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let key: [u8; 32] = rand::random();
        let content_key = ContentKey::from_bytes(&key);
        let recipients = [user.encryption_key()?];
        let sealed = seal_with(client, random_id(), 1, PATIENT, PLAINTEXT, &content_key, &recipients)?;
        client.submit(sealed.sign(client)?, pb::WaitFor::Certified).await?.into_applied()?;
        // Also what goes wrong must not be told: a transaction that the rules
        // refuse, and one that does not parse.
        let again = seal_with(client, sealed.record_id, 1, PATIENT, PLAINTEXT, &content_key, &recipients)?;
        assert_eq!(
            client.submit(again.sign(client)?, pb::WaitFor::Certified).await?.outcome,
            pb::Outcome::RecordExists
        );
        let mut malformed = again.sign(client)?;
        malformed.attachments[0] = PLAINTEXT.into();
        consilium_e2e::submit_raw(user.channel(&network.nodes[1])?, malformed).await.unwrap_err();
        network.agreed(1).await?;

        let search_key = *client.identity().search_key().unwrap().expose();
        let signing_key = client.identity().signing_key()?.to_pkcs8_der()?;
        let encryption_key = client.identity().encryption_key().unwrap().encode();
        let hexadecimal = hex::encode(key);
        let secrets: [(&str, &[u8]); 9] = [
            ("plaintext", CANARY),
            ("patient", PATIENT.as_bytes()),
            ("patient, cut", b"CANARY-patient"),
            ("content key", &key),
            ("content key, hex", hexadecimal.as_bytes()),
            ("search key", &search_key),
            ("search key, hex", &hex::encode(search_key).into_bytes()),
            ("signing key", &signing_key[signing_key.len() - 32..]),
            ("encryption key", &encryption_key[encryption_key.len() - 32..]),
        ];
        let mut metrics = Vec::new();
        for node in &network.nodes {
            metrics.push(http_get(node.http, "/metrics")?.body);
        }
        for node in &mut network.nodes {
            node.stop()?;
        }
        for (node, metrics) in network.nodes.iter().zip(metrics) {
            // The search finds what is there: the ciphertext.
            let ciphertext = &sealed.attachments[0][..64];
            assert!(holds(&node.data_dir, ciphertext)?.is_some(), "the search does not work");
            for (what, secret) in &secrets {
                assert_eq!(holds(&node.data_dir, secret)?, None, "{what} on the disk of node {}", node.raft_id());
                let log = node.log_text();
                assert!(!log.as_bytes().windows(secret.len()).any(|w| w == *secret), "{what} in the log");
                assert!(!metrics.as_bytes().windows(secret.len()).any(|w| w == *secret), "{what} in the metrics");
            }
        }
        Ok(())
    });
}
