//! What members decide together, and how organisations and machines come in.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use consilium_client::clock::now_ms;
use consilium_proto::names::Role;
use consilium_proto::pb::{self, proposal_topic::Topic};

use crate::binaries::cli_binary;
use crate::ceremony::Member;
use crate::network::Network;
use crate::node::{Exit, Node, run_to_end};
use crate::user::User;

/// Time to vote.
const PROPOSAL_LIFE_MS: u64 = 10 * 60 * 1_000;

impl Network {
    /// An enrolled administrator of each member.
    ///
    /// # Errors
    /// If enrolment fails.
    pub async fn admins(&self) -> anyhow::Result<Vec<User>> {
        let all = (0..self.members.len()).map(|member| self.enrolled(member, Role::Admin, "admin"));
        futures::future::try_join_all(all).await
    }

    /// Has the first of these propose and the others approve, until it is
    /// accepted; answers with the executed proposal.
    ///
    /// # Errors
    /// If it is refused, or not accepted by all of them.
    pub async fn decide(&self, admins: &[&User], topic: Topic) -> anyhow::Result<pb::ProposalState> {
        let (first, others) = admins.split_first().context("nobody to decide")?;
        let topic = pb::ProposalTopic { topic: Some(topic) };
        let opened = first.client.propose(topic, "as agreed", now_ms() + PROPOSAL_LIFE_MS).await.context("proposal")?;
        let mut proposal = opened.proposal.into_claimed().proposal.context("a proposal")?;
        for admin in others {
            if proposal.status() != pb::ProposalStatus::Open {
                break;
            }
            let done = admin.client.cast_ballot(proposal.number, pb::BallotChoice::Approve).await?;
            proposal = admin
                .client
                .proposal(proposal.number, Some(done.height))
                .await?
                .into_claimed()
                .proposal
                .context("a proposal")?;
        }
        anyhow::ensure!(proposal.status() == pb::ProposalStatus::Executed, "not executed: {proposal:?}");
        Ok(proposal)
    }

    /// Lets an organisation in: its CA and part, the others' decision, its
    /// invitation; its node runs and follows when this returns.
    ///
    /// # Errors
    /// If a step fails.
    pub async fn admit(&mut self, admins: &[&User], id: &str, stake: u64) -> anyhow::Result<usize> {
        let member = Member::create(id, self.folder().join(id))?;
        let index = self.nodes.len();
        // The ledger will say which raft id it is.
        let mut node = Node::new(index, 0, &member.dir, self.ip);
        let part = member.part(stake, node.client, node.peer)?;
        let vote_key = part.nodes[0].vote_key.clone();
        let decided = self.decide(admins, Topic::AdmitMember(pb::AdmitMember { member: Some(part) })).await?;
        let client = &admins[0].client;
        let at = Some(consilium_proto::ids::Height(decided.closed_height));
        let registered = client.node_with_vote_key(&vote_key, at).await?.context("the new node")?;
        node.set_raft_id(registered.raft_id);
        let invitation = node.dir.join("invitation.pb");
        fs::write(&invitation, client.invitation(registered.raft_id).await?.encode())?;
        self.settings.write(&node, true)?;
        self.members.push(member);
        self.nodes.push(node);
        self.know(invitation).await?;
        let node = &mut self.nodes[index];
        node.init()?;
        node.restart()?;
        Ok(index)
    }

    /// Puts a new node in the place of a lost one, in its wiped folder, with
    /// the one command that its people have for that; starts it.
    ///
    /// # Errors
    /// If a step fails.
    pub async fn replace(&mut self, admin: &User, node: usize) -> anyhow::Result<u64> {
        let lost = self.nodes[node].raft_id();
        let folder = self.nodes[node].dir.clone();
        let text = |path: &PathBuf| path.display().to_string();
        let exit = self.cli(admin, &["node", "replace", &lost.to_string(), "--dir", &text(&folder), "--yes"])?;
        anyhow::ensure!(exit.code == Some(0), "node replace: {:?}\n{}", exit.code, exit.output);
        let members = admin.client.list_members(None).await?.into_claimed();
        let new = members.iter().flat_map(|m| &m.nodes).find(|n| n.replaces == lost).context("the new node")?.raft_id;
        let node = &mut self.nodes[node];
        node.set_raft_id(new);
        node.init()?;
        node.restart()?;
        Ok(new)
    }

    /// Runs the command line as a user, to its end.
    ///
    /// # Errors
    /// If it cannot be started or does not end.
    pub fn cli(&self, user: &User, arguments: &[&str]) -> anyhow::Result<Exit> {
        let config = user.config_file(&self.members[user.member].dir)?;
        let mut command = Command::new(cli_binary()?);
        run_to_end(command.arg("--config").arg(config).args(arguments), &self.genesis_path)
    }
}
