//! An identity with its keys and its client.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use consilium_certs::Serial;
use consilium_client::retry::RetryPolicy;
use consilium_client::{Client, HeadAge, NodesOf, Profile};
use consilium_proto::keys::{EncryptionPrivateKey, EncryptionPublicKey, KemId};
use consilium_proto::names::{MemberId, Role};
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use tonic::transport::Channel;

use crate::ceremony::{around_now, write_secret};
use crate::network::Network;
use crate::node::Node;

/// For one call at one node, which may have to wait for an election first.
const ONE_NODE: RetryPolicy = RetryPolicy {
    overall: Duration::from_secs(40),
    attempt: Duration::from_secs(20),
    backoff_first: Duration::from_millis(20),
    backoff_max: Duration::from_millis(200),
};

/// A person or a system of a member.
#[derive(Debug)]
pub struct User {
    /// `spiffe://<member>/<role>/<name>`.
    pub spiffe_id: String,
    /// Files of the identity.
    pub profile: Profile,
    /// Talks to all nodes, the own member's first.
    pub client: Client,
    /// Serial number of the identity certificate.
    pub serial: Serial,
    /// Position of its member in the network.
    pub member: usize,
}

impl User {
    pub(crate) async fn create(network: &Network, member: usize, role: Role, name: &str) -> anyhow::Result<Self> {
        let position = member;
        let member = &network.members[position];
        let files = member.issue(role, name, around_now())?;
        let file = |kind: &str| member.dir.join(format!("{role}-{name}.{kind}"));
        let signing_key = SigningKey::generate(SignatureAlgorithm::Ed25519)?;
        write_secret(&file("signing.key"), &signing_key.to_pem()?)?;
        let encryption_key = EncryptionPrivateKey::generate(KemId::X25519HkdfSha256)?;
        write_secret(&file("encryption.key"), &encryption_key.to_pem()?)?;
        let profile = Profile {
            genesis: Some(network.genesis_path.clone()),
            trust: network.trust(),
            endpoints: Vec::new(),
            // Everybody here goes on with other members' nodes when the own one is down.
            nodes_of: Some(NodesOf::Any),
            max_head_age: None,
            refresh: None,
            certificate: Some(files.cert_path),
            key: files.key_path,
            signing_key: Some(file("signing.key")),
            encryption_key: Some(file("encryption.key")),
            search_key: Some(network.folder().join("search.key")).filter(|key| key.exists()),
            fhir_base: Vec::new(),
            fhir_validation: None,
            fhir_modifier_extensions: Vec::new(),
        };
        Self::load(profile, files.issued.certificate.serial().clone(), position).await
    }

    /// Asks a network for its status that may have come to a halt: goes by what
    /// is proven of the nodes, however old.
    pub(crate) async fn observer(network: &Network, member: usize) -> anyhow::Result<Self> {
        let user = Self::create(network, member, Role::Auditor, "observer").await?;
        let profile = Profile { max_head_age: Some(HeadAge::Any), ..user.profile };
        Self::load(profile, user.serial, member).await
    }

    async fn load(profile: Profile, serial: Serial, member: usize) -> anyhow::Result<Self> {
        let client = Client::connect(profile.clone()).await?;
        Ok(Self { spiffe_id: client.identity().spiffe_id().to_string(), profile, client, serial, member })
    }

    /// A client that talks to one node only.
    ///
    /// # Errors
    /// If a file of the profile is gone.
    pub async fn at(&self, node: &Node) -> anyhow::Result<Client> {
        let profile = Profile { endpoints: vec![node.endpoint()], ..self.profile.clone() };
        Ok(Client::connect_with(profile, ONE_NODE).await?)
    }

    /// A bare channel to one node, for statuses as they come.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn channel(&self, node: &Node) -> anyhow::Result<Channel> {
        Ok(self.client.dial(&node.endpoint())?)
    }

    /// The public encryption key.
    ///
    /// # Errors
    /// Never: every user of the harness has one.
    pub fn encryption_key(&self) -> anyhow::Result<EncryptionPublicKey> {
        Ok(self.client.identity().encryption_key().context("no encryption key")?.public_key())
    }

    /// The profile as a configuration file for the command line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn config_file(&self, folder: &std::path::Path) -> anyhow::Result<PathBuf> {
        let path = folder.join("config.toml");
        let entry = |key: &str, path: &Option<PathBuf>| {
            path.as_ref().map(|p| format!("{key} = {:?}\n", p.display().to_string())).unwrap_or_default()
        };
        let Profile { genesis, trust, endpoints, certificate, key, signing_key, encryption_key, search_key, .. } =
            &self.profile;
        let mut text = format!("endpoints = {endpoints:?}\n");
        match &self.profile.nodes_of {
            None | Some(NodesOf::Own) => {}
            Some(NodesOf::Also(members)) => {
                let members: Vec<&str> = members.iter().map(MemberId::as_str).collect();
                text.push_str(&format!("nodes_of = {members:?}\n"));
            }
            Some(NodesOf::Any) => text.push_str("nodes_of = [\"*\"]\n"),
        }
        if let Some(HeadAge::Within(age)) = self.profile.max_head_age {
            text.push_str(&format!("max_head_age_s = {}\n", age.as_secs()));
        }
        for (name, path) in [
            ("genesis", genesis),
            ("trust", trust),
            ("certificate", certificate),
            ("key", key),
            ("signing_key", signing_key),
            ("encryption_key", encryption_key),
            ("search_key", search_key),
        ] {
            text.push_str(&entry(name, path));
        }
        std::fs::write(&path, text)?;
        Ok(path)
    }
}
