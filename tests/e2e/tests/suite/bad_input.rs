//! Input that is refused: a precise status, a named field, and no trace.

use bytes::Bytes;
use consilium_client::Client;
use consilium_client::clock::now_ms;
use consilium_e2e::{Network, User, bad_fields, head, reason, record, submit_raw};
use consilium_proto::header::Header;
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::transaction;
use tonic::Code;

/// A refusal as it must look: code, reason, field (empty for none).
type Expected = (Code, &'static str, &'static str);

const INVALID: Code = Code::InvalidArgument;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn body(client: &Client, actions: Vec<pb::Action>) -> pb::TransactionBody {
    pb::TransactionBody {
        ledger_id: client.genesis().ledger_id.to_bytes(),
        nonce: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
        valid_until_ms: now_ms() + 60_000,
        actions: transaction::encode_actions(&actions),
        author: client.identity().author().to_bytes(),
    }
}

/// Signs what can be signed, and puts something in the place of a signature otherwise.
fn signed(client: &Client, body: &pb::TransactionBody, attachments: Vec<Bytes>) -> pb::SignedTransaction {
    let identity = client.identity();
    let key = identity.signing_key().unwrap();
    transaction::sign(body.clone(), identity.author(), key, attachments.clone()).unwrap_or_else(|_| {
        pb::SignedTransaction { body: Some(body.clone()), signature: vec![1; 64].into(), attachments }
    })
}

/// Submits at every node; each must refuse as expected, and nothing may have
/// changed afterwards.
async fn refused(
    network: &Network,
    user: &User,
    cases: Vec<(&str, pb::SignedTransaction, Expected)>,
) -> anyhow::Result<()> {
    network.agreed(1).await?;
    let before = head(user.channel(&network.nodes[0])?).await?;
    for (what, tx, (code, why, field)) in cases {
        for node in &network.nodes {
            let status = submit_raw(user.channel(node)?, tx.clone()).await.expect_err(what);
            assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{what}: {status:?}");
            let fields = bad_fields(&status);
            let expected: Vec<&str> = if field.is_empty() { vec![] } else { vec![field] };
            assert_eq!(fields, expected, "{what}");
        }
    }
    no_trace(network, user, &before).await
}

async fn no_trace(network: &Network, user: &User, before: &Header) -> anyhow::Result<()> {
    for node in &network.nodes {
        let after = head(user.channel(node)?).await?;
        assert_eq!((after.tree_size, after.state_root), (before.tree_size, before.state_root));
        assert!(!node.log_contains(&["panicked"]), "{}", node.log_tail());
    }
    Ok(())
}

#[test]
fn malformed_transactions_name_their_field() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let good = record(client, "patient", b"{}")?;
        let good_body = body(client, vec![good.action()]);
        let with = |change: &dyn Fn(&mut pb::TransactionBody)| {
            let mut body = good_body.clone();
            change(&mut body);
            signed(client, &body, good.attachments.clone())
        };
        let with_write = |change: &dyn Fn(&mut pb::WriteRecord)| {
            let mut write = good.write.clone();
            change(&mut write);
            let action = pb::Action { action: Some(pb::action::Action::WriteRecord(write)) };
            signed(client, &body(client, vec![action]), good.attachments.clone())
        };
        let as_sent = |change: &dyn Fn(&mut pb::SignedTransaction)| {
            let mut tx = signed(client, &good_body, good.attachments.clone());
            change(&mut tx);
            tx
        };
        let field = |name: &'static str| (INVALID, "INVALID_TRANSACTION", name);
        let write = "body.actions[0].write_record";
        let cases = vec![
            ("no body", as_sent(&|t| t.body = None), field("transaction.body")),
            ("garbage", with(&|b| b.actions[0] = Bytes::from_static(&[0xff; 40])), field("body.actions[0].action")),
            (
                "truncated",
                with(&|b| b.actions[0] = b.actions[0].slice(..b.actions[0].len() - 1)),
                field("body.actions[0].action"),
            ),
            ("large body", with(&|b| b.actions[0] = Bytes::from(vec![0; 256 * 1024 + 1])), field("body.actions")),
            ("short author", as_sent(&|t| t.body.as_mut().unwrap().author.truncate(31)), field("body.author")),
            ("long signature", as_sent(&|t| t.signature = vec![1; 65].into()), field("transaction.signature")),
            ("another ledger", with(&|b| b.ledger_id = vec![7; 32].into()), field("body.ledger_id")),
            ("short ledger id", with(&|b| b.ledger_id = vec![7; 31].into()), field("body.ledger_id")),
            ("short nonce", with(&|b| b.nonce = vec![7; 15].into()), field("body.nonce")),
            ("no actions", with(&|b| b.actions.clear()), field("body.actions")),
            ("too many actions", with(&|b| b.actions = vec![Bytes::new(); 1_001]), field("body.actions")),
            ("empty action", with(&|b| b.actions = vec![Bytes::new()]), field("body.actions[0].action")),
            ("missing attachment", as_sent(&|t| t.attachments.truncate(1)), field("transaction.attachments")),
            ("further attachment", as_sent(&|t| t.attachments.push("x".into())), field("transaction.attachments")),
            (
                "another payload",
                as_sent(&|t| t.attachments[0] = vec![0; t.attachments[0].len()].into()),
                field("transaction.attachments[0]"),
            ),
            (
                "another wrap",
                as_sent(&|t| t.attachments[1] = vec![0; t.attachments[1].len()].into()),
                field("transaction.attachments[1]"),
            ),
        ];
        refused(network, &user, cases).await?;
        let named = |name: &str| format!("{write}.{name}");
        for (what, tx, name) in [
            ("version 0", with_write(&|w| w.version = 0), "version"),
            ("bad kind", with_write(&|w| w.kind = "9 lives".into()), "kind"),
            ("short patient", with_write(&|w| w.patient = vec![1; 15].into()), "patient"),
            ("no confidentiality", with_write(&|w| w.confidentiality = 0), "confidentiality"),
            ("a short hash", with_write(&|w| w.descriptor_sha256 = vec![1; 31].into()), "descriptor_sha256"),
            ("empty payload", with_write(&|w| w.payload_size = 0), "payload_size"),
            ("recipient twice", with_write(&|w| w.wraps.push(w.wraps[0].clone())), "wraps"),
        ] {
            let status = submit_raw(user.channel(&network.nodes[1])?, tx).await.expect_err(what);
            assert_eq!((status.code(), bad_fields(&status)), (INVALID, vec![named(name)]), "{what}: {status:?}");
        }
        Ok(())
    });
}

#[test]
fn oversized_requests_are_refused_before_they_are_parsed() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let tx = |size: usize| pb::SignedTransaction {
            body: Some(pb::TransactionBody { actions: vec!["x".into()], ..Default::default() }),
            signature: vec![0; 64].into(),
            attachments: vec![vec![0; size].into()],
        };
        network.agreed(1).await?;
        let before = head(user.channel(&network.nodes[0])?).await?;
        let status = submit_raw(user.channel(&network.nodes[0])?, tx(1024 * 1024)).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (INVALID, vec!["transaction".to_owned()]), "{status:?}");
        let status = submit_raw(user.channel(&network.nodes[0])?, tx(24 * 1024 * 1024)).await.unwrap_err();
        // The library's own limit, before a byte of it is kept; the reason is ours.
        assert_eq!((status.code(), reason(&status)), (INVALID, "TOO_LARGE".to_owned()), "{status:?}");
        no_trace(network, &user, &before).await
    });
}

#[test]
fn signatures_and_authors_are_checked_before_anything_is_ordered() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let stranger = network.user(1, Role::Service, "not-enrolled").await?;
        let client = &user.client;
        let good = record(client, "patient", b"{}")?.sign(client)?;
        let mut forged = good.clone();
        forged.signature = vec![0x42; 64].into();
        let mut other_body = good.clone();
        let other = record(client, "patient", b"{}")?.sign(client)?;
        other_body.signature = other.signature;
        let unknown = record(&stranger.client, "patient", b"{}")?.sign(&stranger.client)?;
        let mut impostor = unknown.clone();
        impostor.body.as_mut().unwrap().author = good.body.as_ref().unwrap().author.clone();
        let bad = (INVALID, "BAD_SIGNATURE", "");
        let cases = vec![
            ("random signature", forged, bad),
            ("signature of another transaction", other_body, bad),
            ("signed by someone else", impostor, bad),
            ("author not enrolled", unknown, (Code::FailedPrecondition, "UNKNOWN_AUTHOR", "")),
        ];
        refused(network, &user, cases).await
    });
}

#[test]
fn a_signature_of_another_ledger_or_purpose_is_worth_nothing() {
    Network::of(1).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let mut tx = record(client, "patient", b"{}")?.sign(client)?;
        // The same key over the bare body: no domain separation.
        let body = prost::Message::encode_to_vec(tx.body.as_ref().unwrap());
        tx.signature = Bytes::copy_from_slice(&client.identity().signing_key()?.sign(&body)?);
        refused(network, &user, vec![("no domain", tx, (INVALID, "BAD_SIGNATURE", ""))]).await
    });
}

#[test]
fn an_expired_validity_is_refused_and_leaves_no_trace() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = &user.client;
        let sealed = record(client, "patient", b"{}")?;
        let until = |valid_until_ms| {
            let body = pb::TransactionBody { valid_until_ms, ..body(client, vec![sealed.action()]) };
            signed(client, &body, sealed.attachments.clone())
        };
        let expired = (Code::FailedPrecondition, "TRANSACTION_EXPIRED", "body.valid_until_ms");
        let too_long = (INVALID, "INVALID_TRANSACTION", "body.valid_until_ms");
        let cases = vec![
            ("expired a minute ago", until(now_ms() - 60_000), expired),
            ("expired long ago", until(1), expired),
            ("valid for two days", until(now_ms() + 2 * DAY_MS), too_long),
            ("valid for ever", until(u64::MAX), too_long),
        ];
        refused(network, &user, cases).await
    });
}

#[test]
fn an_enrolment_must_be_for_its_own_session_and_member() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let other = network.user(1, Role::Service, "lab").await?;
        // Another's enrolment, stolen and sent over one's own connection.
        let stolen = other.client.enrollment()?;
        let denied = (Code::PermissionDenied, "NOT_OWN_CERTIFICATE", "");
        refused(network, &user, vec![("stolen enrolment", stolen.clone(), denied)]).await?;
        // Its owner may.
        let done = submit_raw(other.channel(&network.nodes[2])?, stolen).await?.into_inner();
        assert_eq!(done.outcome(), pb::Outcome::Applied);
        Ok(())
    });
}

#[test]
fn a_key_of_someone_else_cannot_be_enrolled() {
    Network::of(1).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let other = network.user(0, Role::Service, "copycat").await?;
        // The encryption key is public: anyone can claim it; the rules refuse.
        let own = other.client.enrollment()?;
        let mut body = own.body.unwrap();
        let mut action: pb::Action = prost::Message::decode(body.actions[0].clone())?;
        if let Some(pb::action::Action::EnrollIdentity(enroll)) = &mut action.action {
            enroll.encryption_key = user.encryption_key()?.encode().into();
        }
        body.actions = transaction::encode_actions(&[action]);
        let identity = other.client.identity();
        let tx = transaction::sign(body, identity.certificate_fingerprint(), identity.certificate_key()?, vec![])?;
        let done = submit_raw(other.channel(&network.nodes[0])?, tx).await?.into_inner();
        assert_eq!(done.outcome(), pb::Outcome::KeyInUse);
        Ok(())
    });
}
