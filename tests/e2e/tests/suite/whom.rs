//! Whom a client believes: nodes of its own member, as long as the ledger
//! vouches for them and what they show is not of the past.

use std::time::Duration;

use bytes::Bytes;
use consilium_certs::{RevocationReason, RevokeTarget};
use consilium_client::patients::{Acceptance, Patients};
use consilium_client::records::{Access, Draft, RecordDraft, RecordReader, RecordWriter};
use consilium_client::retry::{Failure, RetryPolicy};
use consilium_client::standing::Refusal;
use consilium_client::{Client, ClientError, HeadAge, NodesOf, Profile};
use consilium_e2e::{Network, TestResult, User, eventually_async, short_epochs};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_grpc::operator_service_client::OperatorServiceClient;
use consilium_proto::hash::Hash;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::names::Role;
use consilium_proto::pb::{self, PatientRelation, action::Action, proposal_topic::Topic};
use time::OffsetDateTime;
use tonic::Streaming;

const PATIENCE: Duration = Duration::from_secs(60);
const CUT: usize = 3;
const BRIEF: RetryPolicy = RetryPolicy {
    overall: Duration::from_secs(30),
    attempt: Duration::from_secs(15),
    backoff_first: Duration::from_millis(20),
    backoff_max: Duration::from_millis(200),
};

/// A client that looks again every second.
async fn watchful(user: &User, network: &Network, nodes: &[usize]) -> anyhow::Result<Client> {
    let endpoints = nodes.iter().map(|node| network.nodes[*node].endpoint()).collect();
    let profile = Profile { endpoints, refresh: Some(Duration::from_secs(1)), ..user.profile.clone() };
    Ok(Client::connect_with(profile, BRIEF).await?)
}

/// A status, over a connection of its own.
async fn asked(client: &Client, network: &Network, node: usize) -> Result<(), ClientError> {
    let endpoint = network.nodes[node].endpoint();
    let answer = OperatorServiceClient::new(client.dial(&endpoint)?).get_status(pb::GetStatusRequest::default()).await;
    answer.map(drop).map_err(|status| Failure { endpoint: endpoint.into(), status }.into())
}

async fn is_refused(client: &Client, network: &Network, why: impl Fn(&Refusal) -> bool) -> TestResult {
    eventually_async("a refusal", PATIENCE, || async {
        match asked(client, network, CUT).await {
            Err(ClientError::NodeRefused { refusal, .. }) if why(&refusal) => Ok(()),
            other => anyhow::bail!("{other:?}"),
        }
    })
    .await
}

async fn watching(client: &Client, network: &Network) -> anyhow::Result<Streaming<pb::WatchResponse>> {
    let request = pb::WatchRequest { after_height: 0, headers_only: true };
    let channel = client.dial(&network.nodes[CUT].endpoint())?;
    let mut stream = LedgerServiceClient::new(channel).watch(request).await?.into_inner();
    anyhow::ensure!(stream.message().await?.is_some());
    Ok(stream)
}

/// Reads a stream until it breaks.
async fn broken(mut stream: Streaming<pb::WatchResponse>) -> TestResult {
    let end = async { while let Ok(Some(_)) = stream.message().await {} };
    Ok(tokio::time::timeout(PATIENCE, end).await?)
}

pub(crate) async fn publish_revocations(network: &Network, admin: &User) -> TestResult {
    let crl = network.members[admin.member].ca.crl(OffsetDateTime::now_utc(), time::Duration::days(7))?;
    let publish = Action::PublishRevocations(pb::PublishRevocations { crl: Bytes::from(crl) });
    // Not over the member's own node: who is revoked by it does not come to answer.
    admin.at(&network.nodes[0]).await?.perform(publish).await?;
    Ok(())
}

#[test]
fn suspended_node() {
    Network::of(4).parameters(short_epochs(8_000)).run(async |network| {
        let admins = network.admins().await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = watchful(&user, network, &[0, CUT]).await?;
        asked(&client, network, CUT).await?;
        let open = watching(&client, network).await?;
        let member = network.members[CUT].id.clone();
        let topic = Topic::SuspendMember(pb::SuspendMember { member });
        network.decide(&[&admins[0], &admins[1]], topic).await?;
        // What was open breaks, and there is no new connection.
        broken(open).await?;
        is_refused(&client, network, |refusal| matches!(refusal, Refusal::Suspended(_))).await?;
        // Who knows nothing but the suspended node does not believe it for long.
        let age = Some(HeadAge::Within(Duration::from_secs(2)));
        let endpoints = vec![network.nodes[CUT].endpoint()];
        let refresh = Some(Duration::from_secs(1));
        let profile = Profile { endpoints, max_head_age: age, refresh, ..user.profile.clone() };
        let alone = Client::connect_with(profile, BRIEF).await?;
        eventually_async("no belief in a suspended node alone", PATIENCE, || async {
            match alone.certified_head().await {
                Ok(head) => anyhow::bail!("believed: {head:?}"),
                Err(error) => {
                    println!("alone: {error}");
                    Ok::<_, anyhow::Error>(())
                }
            }
        })
        .await?;
        client.certified_head().await?;
        Ok(())
    });
}

#[test]
fn revoked_node() {
    Network::of(4).run(async |network| {
        let admin = network.enrolled(CUT, Role::Admin, "security").await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = watchful(&user, network, &[0, CUT]).await?;
        asked(&client, network, CUT).await?;
        let open = watching(&client, network).await?;
        let ca = &network.members[CUT].ca;
        let node = network.status(CUT).await?.spiffe_id;
        let target = RevokeTarget::Identity(node.parse()?);
        ca.revoke(&target, RevocationReason::KeyCompromise, OffsetDateTime::now_utc())?;
        publish_revocations(network, &admin).await?;
        broken(open).await?;
        let revoked =
            |refusal: &Refusal| matches!(refusal, Refusal::Certificate(consilium_certs::VerifyError::Revoked { .. }));
        is_refused(&client, network, revoked).await?;
        client.certified_head().await?;
        Ok(())
    });
}

/// An identity of a patient, accepted by the writer's member as its own.
async fn accepted(
    network: &Network,
    writer: &Client,
    member: usize,
    (name, patient): (&str, PatientPseudonym),
) -> anyhow::Result<User> {
    let user = network.enrolled(member, Role::Patient, &name.repeat(32)).await?;
    let acceptance = Acceptance {
        identity: user.spiffe_id.parse()?,
        relation: PatientRelation::Self_,
        may_read: true,
        may_consent: true,
        to: None,
        evidence: Hash::of(&[b"shown"]),
        scope: None,
    };
    writer.accept_patient(patient, &acceptance).await?;
    Ok(user)
}

/// Members of the identities of a patient for whom a record would be sealed.
async fn sealed_for(writer: &RecordWriter, patient: PatientPseudonym) -> anyhow::Result<Vec<String>> {
    let draft = RecordDraft::document("note", patient, "a note".into());
    Ok(writer.keys_of([&draft]).await?.recipients().map(|recipient| recipient.member.to_string()).collect())
}

#[test]
fn revoked_recipient() {
    Network::of(4).parameters(short_epochs(8_000)).run(async |network| {
        let admins = network.admins().await?;
        network.custodian(0).await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let client = watchful(&user, network, &[0, 1]).await?;
        let patients = Patients::new(client.clone())?;
        let identifier = patients.canonical("p1");
        let patient = *patients.ensure([identifier.as_str()]).await?.values().next().unwrap();
        let mary = accepted(network, &client, 1, ("a", patient)).await?;
        let john = accepted(network, &client, CUT, ("b", patient)).await?;
        let [one, cut] = [1, CUT].map(|member| network.members[member].id.to_string());
        let writer = RecordWriter::new(client.clone()).await?;
        assert_eq!(sealed_for(&writer, patient).await?, [one.clone(), cut.clone()]);
        let draft = || Draft::new(RecordDraft::document("note", patient, "a note".into()));
        let before = writer.keys_of([&draft().draft]).await?;
        let written = writer.write(vec![draft()], pb::WaitFor::Certified).await?;
        let access = Access::of(pb::PurposeOfUse::Patrqt);
        let reader = RecordReader::with(mary.client.clone(), access.clone());
        let opened = reader.get_of(patient, written[0].1[0], None).await?;
        assert_eq!(opened.plaintext.as_deref().map(Vec::as_slice), Some(&b"a note"[..]));

        let file = network.folder().join("note.txt");
        std::fs::write(&file, "a note")?;
        let whose = network.folder().join("patient.txt");
        std::fs::write(&whose, "p1\n")?;
        let submit = || {
            let (file, whose) = (file.display().to_string(), whose.display().to_string());
            network.cli(&user, &["record", "submit", &file, "--kind", "note", "--patient-file", &whose])
        };
        let line = |who: &User, member: &str| format!("sealing for {} of member {member}", who.spiffe_id);
        let told = submit()?;
        assert_eq!(told.code, Some(0), "{}", told.output);
        assert!(told.output.contains(&line(&mary, &one)), "{}", told.output);

        let now = OffsetDateTime::now_utc();
        let target = RevokeTarget::Serial(mary.serial.clone());
        network.members[1].ca.revoke(&target, RevocationReason::AffiliationChanged, now)?;
        publish_revocations(network, &admins[1]).await?;
        let fresh = RecordWriter::new(client.clone()).await?;
        assert_eq!(sealed_for(&fresh, patient).await?, std::slice::from_ref(&cut));
        let told = submit()?;
        assert_eq!(told.code, Some(0), "{}", told.output);
        assert!(
            !told.output.contains(&line(&mary, &one)) && told.output.contains(&line(&john, &cut)),
            "{}",
            told.output
        );
        // Nor does a writer go on that was made before; and what it sealed then, the rules refuse.
        let late = writer.sealer().prepare(&[draft()], &before)?;
        let refused = client.submit(late.transaction, pb::WaitFor::Certified).await?;
        assert_eq!(refused.outcome, pb::Outcome::WrapNotPermitted);
        eventually_async("a writer that stops", PATIENCE, || async {
            let sealed_for = sealed_for(&writer, patient).await?;
            anyhow::ensure!(sealed_for == [cut.clone()], "{sealed_for:?}");
            Ok(())
        })
        .await?;

        let member = network.members[CUT].id.clone();
        network.decide(&[&admins[0], &admins[1]], Topic::SuspendMember(pb::SuspendMember { member })).await?;
        let fresh = RecordWriter::new(client).await?;
        assert_eq!(sealed_for(&fresh, patient).await?, Vec::<String>::new());
        fresh.write(vec![draft()], pb::WaitFor::Certified).await?;
        Ok(())
    });
}

#[test]
fn stale_head() {
    Network::of(4).with_links().limits("request_timeout = \"3s\"").run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let alone = network.follower().await?;
        let other = (alone + 1) % 4;
        let bound = Duration::from_secs(2);
        let client = async |nodes: &[usize]| {
            let endpoints = nodes.iter().map(|node| network.nodes[*node].endpoint()).collect();
            let profile = Profile { endpoints, max_head_age: Some(HeadAge::Within(bound)), ..user.profile.clone() };
            Client::connect_with(profile, BRIEF).await
        };
        // An idle ledger has a block made for who wants a younger head.
        let pinned = client(&[alone]).await?;
        let first = pinned.recent_head().await?.header;
        eventually_async("time passes on an idle ledger", PATIENCE, || async {
            let head = pinned.recent_head().await?.header;
            anyhow::ensure!(head.height > first.height, "{head:?}");
            Ok(())
        })
        .await?;
        network.links().isolate(&[alone]);
        let stale = eventually_async("a stale head", PATIENCE, || async {
            match pinned.recent_head().await {
                Err(error @ ClientError::StaleHead { .. }) => Ok(error),
                other => anyhow::bail!("{other:?}"),
            }
        })
        .await?;
        let ClientError::StaleHead { age_ms, bound_ms } = stale else { unreachable!() };
        assert!(age_ms > bound_ms && bound_ms == 2_000, "{age_ms} {bound_ms}");
        // Nothing new is believed of it, either, and the command line says why.
        let error = client(&[alone]).await?.certified_head().await.unwrap_err();
        assert!(error.to_string().contains("the newest certified head that nodes show is"), "{error}");
        // Where there is another node it is asked.
        let two = client(&[alone, other]).await?;
        let head = two.recent_head().await?;
        two.check_age(&head.header)?;
        network.links().heal();
        eventually_async("belief again", PATIENCE, || async { pinned.recent_head().await.map(drop) }).await?;
        Ok(())
    });
}

#[test]
fn another_members_node_is_refused_by_default() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let (other, own) = (network.members[1].id.clone(), network.nodes[0].endpoint());
        let profile = Profile { nodes_of: None, ..user.profile.clone() };
        let by_default = Client::connect(profile.clone()).await?;
        assert_eq!(by_default.endpoints().collect::<Vec<_>>(), [own.as_str()]);
        by_default.certified_head().await?;
        let endpoints = vec![network.nodes[1].endpoint()];
        let elsewhere = Profile { endpoints, ..profile };
        let error = Client::connect_with(elsewhere.clone(), BRIEF).await?.certified_head().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("it is spiffe://{other}/node/n1")), "{text}");
        assert!(text.contains(&format!("nodes_of = [\"{other}\"] would allow it")), "{text}");
        let named = NodesOf::parse(&[other])?;
        Client::connect(Profile { nodes_of: Some(named), ..elsewhere }).await?.certified_head().await?;
        Ok(())
    });
}

#[test]
fn a_member_admitted_later_is_reached_from_the_genesis_alone() {
    Network::of(4).parameters(short_epochs(2_000)).run(async |network| {
        let admins = network.admins().await?;
        let index = network.admit(&admins.iter().collect::<Vec<_>>(), "elm.example", 100).await?;
        let user = network.user(index, Role::Service, "ehr").await?;
        let endpoints = vec![network.nodes[index].endpoint()];
        let profile = Profile { trust: None, nodes_of: None, endpoints, ..user.profile.clone() };
        let client = Client::connect(profile).await?;
        client.enroll().await?.into_applied()?;
        client.recent_head().await?;
        // Without an address there is nobody to talk to, and it is said what to do.
        let nowhere = Profile { trust: None, nodes_of: None, ..user.profile.clone() };
        let error = Client::connect(nowhere).await.unwrap_err();
        assert!(matches!(error, ClientError::NoOwnNode { .. }), "{error}");
        Ok(())
    });
}
