//! Identities that end and are renewed: nothing is restarted, nothing is lost,
//! and whoever looks knows beforehand.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use consilium_certs::{CaStore, IdentityRequest, IssuedFiles, SubjectKey, Validity};
use consilium_client::{Client, ClientError};
use consilium_e2e::{
    Dial, Load, Network, RawIdentity, User, alarms, around_now, at_offset, eventually, eventually_async,
};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, action::Action, proposal_topic::Topic};
use time::OffsetDateTime;

/// A node looks at its files every five seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Valid since an hour ago, for so long from now.
fn for_another(length: time::Duration) -> Validity {
    at_offset(time::Duration::hours(-1), length)
}

fn days(count: i64) -> Validity {
    for_another(time::Duration::days(count))
}

/// Issues into a folder of its own, as an operator does.
fn issue(ca: &CaStore, folder: &Path, (role, name): (Role, &str), validity: Validity) -> anyhow::Result<IssuedFiles> {
    let request = IdentityRequest {
        role,
        name: name.to_owned(),
        dns_names: Vec::new(),
        ip_addrs: Vec::new(),
        validity,
        key: SubjectKey::Generate,
    };
    let folder = tempfile::tempdir_in(folder)?.keep();
    Ok(ca.issue(&request, &folder)?)
}

/// Puts a pair in the place of another one, each file by a rename.
fn install(issued: &IssuedFiles, certificate: &Path, key: &Path) -> anyhow::Result<()> {
    fs::rename(issued.key_path.as_ref().unwrap(), key)?;
    fs::rename(&issued.cert_path, certificate)?;
    Ok(())
}

/// Issues a certificate of a node's name and puts it into its place; answers
/// with its end.
fn renew(network: &Network, node: usize, validity: Validity) -> anyhow::Result<i64> {
    let issued = issue(&network.members[node].ca, network.folder(), (Role::Node, "n1"), validity)?;
    let (certificate, key) = files(network, node);
    install(&issued, &certificate, &key)?;
    Ok(issued.issued.certificate.not_after())
}

fn files(network: &Network, node: usize) -> (std::path::PathBuf, std::path::PathBuf) {
    let dir = &network.members[node].dir;
    (dir.join("node-n1.pem"), dir.join("node-n1.key"))
}

fn alarm(status: &pb::GetStatusResponse, name: &str) -> Option<String> {
    status.alarms.iter().find(|alarm| alarm.name == name).map(|alarm| alarm.message.clone())
}

/// A node says why it does not take what lies there, and keeps what it has.
async fn not_taken(network: &Network, node: usize, why: &str, kept: i64) -> anyhow::Result<()> {
    eventually_async(&format!("an alarm that says {why:?}"), PATIENCE, || async {
        let status = network.status(node).await?;
        let message = alarm(&status, "certificate_reload_failed").unwrap_or_default();
        anyhow::ensure!(message.contains(why), "{message:?}");
        assert_eq!(status.certificate_not_after_s, kept, "it was taken");
        Ok(())
    })
    .await
}

/// A node has taken what lies there, and all others have seen it.
async fn taken(network: &Network, node: usize, end: i64) -> anyhow::Result<()> {
    let subject = format!("spiffe://{}/node/n1", network.members[node].id);
    eventually_async("the renewed certificate", PATIENCE, || async {
        let status = network.status(node).await?;
        anyhow::ensure!(status.certificate_not_after_s == end, "{status:?}");
        anyhow::ensure!(alarm(&status, "certificate_reload_failed").is_none(), "{:?}", status.alarms);
        for other in network.running() {
            let seen = ends(&network.status(other).await?, pb::ExpiryKind::NodeCertificate).get(&subject).copied();
            anyhow::ensure!(seen == Some(end), "node {other} knows {seen:?} of {subject}");
        }
        Ok(())
    })
    .await
}

fn ends(status: &pb::GetStatusResponse, kind: pb::ExpiryKind) -> BTreeMap<String, i64> {
    let of_kind = status.expiries.iter().filter(|e| e.kind() == kind);
    of_kind.map(|e| (e.subject.clone(), e.not_after_s)).collect()
}

async fn publish_list(admin: &User, ca: &CaStore) -> anyhow::Result<i64> {
    let now = OffsetDateTime::now_utc();
    let crl = Bytes::from(ca.crl(now, time::Duration::days(7))?);
    admin.client.perform(Action::PublishRevocations(pb::PublishRevocations { crl })).await?;
    Ok((now + time::Duration::days(7)).unix_timestamp())
}

#[test]
fn only_a_good_pair_is_taken_and_the_network_goes_on_meanwhile() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(1, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone()]);
        load.more(3).await?;
        let node = network.leader().await?;
        let (certificate, key) = files(network, node);
        let kept = network.status(node).await?.certificate_not_after_s;
        let (folder, ca) = (network.folder().to_owned(), &network.members[node].ca);
        let good = issue(ca, &folder, (Role::Node, "n1"), days(20))?;
        let (whole, own_key) = (fs::read(&good.cert_path)?, fs::read(&key)?);

        // Half of the file, as a copy that is under way.
        fs::write(&certificate, &whole[..whole.len() / 2])?;
        not_taken(network, node, "not PEM", kept).await?;
        // The whole certificate, and still the key of the one before.
        fs::write(&certificate, &whole)?;
        not_taken(network, node, "does not match", kept).await?;
        // A pair that is over.
        let late = at_offset(time::Duration::days(-9), time::Duration::hours(-1));
        install(&issue(ca, &folder, (Role::Node, "n1"), late)?, &certificate, &key)?;
        not_taken(network, node, "expired at", kept).await?;
        // Somebody else's, and one of a CA that nobody knows.
        install(&issue(ca, &folder, (Role::Node, "n2"), days(20))?, &certificate, &key)?;
        not_taken(network, node, "certificate names", kept).await?;
        let unknown = CaStore::init(&folder.join("unknown"), &network.members[node].id.parse()?, days(900))?;
        install(&issue(&unknown, &folder, (Role::Node, "n1"), days(20))?, &certificate, &key)?;
        not_taken(network, node, "issuer is not in the bundle", kept).await?;
        assert_eq!(network.nodes[node].metric("consilium_alarm{name=\"certificate_reload_failed\"}")?, 1.0);

        fs::write(&key, own_key)?;
        install(&good, &certificate, &key)?;
        taken(network, node, good.issued.certificate.not_after()).await?;
        assert!(network.nodes[node].log_contains(&["identity certificate reloaded"]));
        assert_eq!(alarms(&network.status(node).await?), vec![]);
        load.more(3).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        network.agreed(acks.last().unwrap().height).await?;
        Ok(())
    });
}

#[test]
fn a_member_moves_to_a_new_ca_while_the_network_goes_on() {
    Network::of(4).run(async |network| {
        let admins = network.admins().await?;
        let all: Vec<_> = admins.iter().collect();
        let user = network.enrolled(1, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone()]);
        let member = network.members[0].id.clone();
        let kept = network.status(0).await?.certificate_not_after_s;
        publish_list(&admins[0], &network.members[0].ca).await?;

        // The new CA is known to nobody yet: a certificate of it has to wait.
        let new = CaStore::init(&network.members[0].dir.join("new-ca"), &member.parse()?, days(900))?;
        let old = std::mem::replace(&mut network.members[0].ca, new);
        let ders = [old.ca(), network.members[0].ca.ca()].map(|ca| Bytes::copy_from_slice(ca.certificate().der()));
        let bundle = |ca_bundle: &[Bytes]| {
            let (member, ca_bundle) = (member.clone(), ca_bundle.to_vec());
            Topic::RotateCaBundle(pb::RotateCaBundle { member, ca_bundle, without_overlap: false })
        };
        let end = renew(network, 0, days(40))?;
        not_taken(network, 0, "issuer is not in the bundle", kept).await?;
        // The old CA publishes lists. That says nothing about the new one.
        network.decide(&all, bundle(&ders)).await?;
        let invitation = network.folder().join("both-cas.pb");
        fs::write(&invitation, admins[1].client.invitation(network.nodes[1].raft_id()).await?.encode())?;
        network.know(invitation).await?;
        taken(network, 0, end).await?;
        // People of both CAs are at home meanwhile.
        let newcomer = network.enrolled(0, Role::Service, "newcomer").await?;
        admins[0].client.identity_of(&newcomer.spiffe_id).await?;

        // Without the old CA, its identities are nobody's, on open connections too.
        let decided = network.decide(&all[1..], bundle(&ders[1..])).await?;
        network.agreed(decided.closed_height).await?;
        network.nodes[0].wait_log(&["connections of fallen identities cut"])?;
        let read = |path: &Option<std::path::PathBuf>| fs::read_to_string(path.as_ref().unwrap());
        let gone = RawIdentity::from_pem(&read(&admins[0].profile.certificate)?, &read(&admins[0].profile.key)?)?;
        for node in &network.nodes[1..] {
            Dial::new(&network.genesis, &gone)?.refusal(node.client).await.unwrap_err();
            node.wait_log(&["refused", "issuer is not in the bundle"])?;
        }
        newcomer.at(&network.nodes[0]).await?.identity_of(&newcomer.spiffe_id).await?;
        for node in network.running() {
            let status = network.status(node).await?;
            assert_eq!(alarms(&status), vec![], "node {node}");
            assert_eq!(
                ends(&status, pb::ExpiryKind::CaCertificate)[&member],
                network.members[0].ca.ca().certificate().not_after()
            );
        }
        // The node of the new CA counts: with another one away, its vote is needed.
        network.nodes[3].kill9()?;
        load.more(5).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        network.agreed(acks.last().unwrap().height).await?;
        Ok(())
    });
}

#[test]
fn ends_are_foretold_and_with_them_the_loss_of_the_quorum() {
    Network::of(4).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "admin").await?;
        let next_update = publish_list(&admin, &network.members[0].ca).await?;
        let mut node_ends = vec![network.status(3).await?.certificate_not_after_s];
        for (node, left) in [(0, 5), (1, 8), (2, 30)] {
            let end = renew(network, node, days(left))?;
            node_ends.push(end);
            taken(network, node, end).await?;
        }
        // With the second of four equal ones the quorum is gone.
        let lost = node_ends[2];
        eventually_async("the forecast", PATIENCE, || async {
            for node in network.running() {
                let status = network.status(node).await?;
                let at: Vec<i64> = status.expiries.iter().map(|e| e.not_after_s).collect();
                assert!(at.is_sorted(), "{:?}", status.expiries);
                anyhow::ensure!(status.quorum_lost_s == lost, "{status:?}");
                assert_eq!(ends(&status, pb::ExpiryKind::CaCertificate).len(), 4);
                assert_eq!(
                    ends(&status, pb::ExpiryKind::RevocationList),
                    [(network.members[0].id.clone(), next_update)].into()
                );
                let own = alarm(&status, "identity_expiring");
                let expected = ["ends in 4 days", "ends in 7 days"].get(node);
                anyhow::ensure!(own.is_some() == expected.is_some(), "node {node}: {:?}", status.alarms);
                assert!(own.iter().zip(expected).all(|(own, expected)| own.contains(expected)), "{own:?}");
                let quorum = alarm(&status, "quorum_expiring").unwrap_or_default();
                let first_two = ["alder", "birch"].iter().all(|m| quorum.contains(m));
                anyhow::ensure!(first_two && !quorum.contains("cedar") && quorum.contains("7 days"), "{quorum:?}");
            }
            Ok(())
        })
        .await?;
        let metric = |name: &str| network.nodes[3].metric(name);
        assert_eq!(metric("consilium_quorum_expiry_seconds")?, lost as f64);
        let subject = "subject=\"spiffe://alder.example/node/n1\",kind=\"node certificate\"";
        assert_eq!(metric(&format!("consilium_certificate_expiry_seconds{{{subject}}}"))?, node_ends[1] as f64);

        // Renewed, they are no more concern.
        for (node, left) in [(0, 40), (1, 50)] {
            let end = renew(network, node, days(left))?;
            taken(network, node, end).await?;
        }
        eventually_async("no alarms", PATIENCE, || async {
            for node in network.running() {
                let alarms = alarms(&network.status(node).await?);
                anyhow::ensure!(alarms.is_empty(), "node {node}: {alarms:?}");
            }
            Ok(())
        })
        .await
    });
}

#[test]
fn a_node_whose_certificate_ended_comes_back_with_a_new_one() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone()]);
        load.more(3).await?;
        let leader = network.leader().await?;
        let late = (1..4).find(|n| *n != leader).unwrap();
        let end = renew(network, late, for_another(time::Duration::seconds(30)))?;
        taken(network, late, end).await?;
        let others: Vec<usize> = (0..4).filter(|n| *n != late).collect();
        for other in &others {
            let node = &network.nodes[*other];
            let refused = ["certificate refused", "expired at"];
            eventually("refusal of the old certificate", PATIENCE, || {
                if node.log_contains(&refused) { Ok(()) } else { Err(node.log_tail()) }
            })?;
        }
        load.more(3).await?;
        renew(network, late, days(40))?;
        eventually_async("the renewed certificate", PATIENCE, || async {
            let status = network.status(late).await?;
            anyhow::ensure!(alarms(&status).is_empty(), "{:?}", status.alarms);
            Ok(())
        })
        .await?;
        // Its vote counts again: with another node away, it is needed.
        let leader = network.leader().await?;
        let away = others.into_iter().find(|n| *n != leader && *n != 0).unwrap();
        network.nodes[away].kill9()?;
        load.more(3).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn a_client_that_runs_for_long_goes_on_with_a_renewed_certificate() {
    Network::of(1).run(async |network| {
        let user = network.user(0, Role::Service, "night").await?;
        let (certificate, key) = (user.profile.certificate.clone().unwrap(), user.profile.key.clone().unwrap());
        let ca = &network.members[0].ca;
        let replace = |validity| -> anyhow::Result<i64> {
            let issued = issue(ca, network.folder(), (Role::Service, "night"), validity)?;
            install(&issued, &certificate, &key)?;
            Ok(issued.issued.certificate.not_after())
        };
        replace(for_another(time::Duration::seconds(25)))?;
        let client = Client::connect(user.profile.clone()).await?;
        client.enroll().await?.into_applied()?;
        assert!(!client.identity().is_renewed());
        replace(around_now())?;
        let node = &network.nodes[0];
        eventually("the end of the old certificate", PATIENCE, || {
            let cut = node.log_contains(&["their certificates have ended"]);
            if cut { Ok(()) } else { Err(node.log_tail()) }
        })?;
        // The same client, over a new connection.
        client.identity_of(&user.spiffe_id).await?;
        assert!(client.identity().is_renewed());
        assert!(matches!(client.enroll().await, Err(ClientError::Usage(_))));
        // What it signs is of an identity that is over, until it enrols the new one.
        let again = Client::connect(user.profile.clone()).await?;
        again.enroll().await?.into_applied()?;
        let load = Load::start(vec![again]);
        load.more(2).await?;
        assert_eq!(load.finish().await?.1, Vec::<String>::new());
        Ok(())
    });
}
