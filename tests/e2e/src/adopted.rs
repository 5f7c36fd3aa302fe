//! A network that its people founded themselves, with the command line: the
//! harness takes over the folders as they are, to run, ask and end the nodes.
//! It writes nothing there but identities of its own for asking.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use consilium_certs::CaStore;
use consilium_proto::genesis::Genesis;
use consilium_proto::pb;
use prost::Message;

use crate::ceremony::Member;
use crate::network::{Folder, Network};
use crate::node::Node;
use crate::settings::Settings;

impl Member {
    /// A member with the CA that is in `ca` below its folder.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(id: &str, dir: &Path) -> anyhow::Result<Self> {
        Ok(Self { id: id.to_owned(), dir: dir.to_owned(), ca: CaStore::open(&dir.join("ca"))? })
    }
}

impl Network {
    /// Takes over a founded network. `found` are its members with the node of
    /// each, whose files are in place; `folder` holds them all and stays when
    /// the network is dropped.
    ///
    /// # Errors
    /// If the genesis document names a member that is not among them.
    pub async fn adopt(folder: &Path, genesis: PathBuf, mut found: Vec<(Member, Node)>) -> anyhow::Result<Self> {
        let parsed = Genesis::parse(&fs::read(&genesis)?)?;
        let (mut members, mut nodes) = (Vec::new(), Vec::new());
        for (index, founder) in parsed.members.iter().enumerate() {
            let id = founder.id.as_str();
            let position = found.iter().position(|(member, _)| member.id == id);
            let (member, mut node) = found.swap_remove(position.with_context(|| format!("no folder of {id}"))?);
            let own = founder.nodes.first().with_context(|| format!("{id} has no node"))?;
            node.set_raft_id(own.raft_id.0);
            node.index = index;
            members.push(member);
            nodes.push(node);
        }
        let ip = nodes.first().context("a network without members")?.ip()?;
        let folder = Folder::Lasting(folder.to_owned());
        Self::assemble(members, nodes, (genesis, parsed), Settings::default(), None, ip, folder).await
    }

    /// Takes in a member that was admitted and whose node's files are in place,
    /// with its invitation. The node is not started.
    ///
    /// # Errors
    /// If the invitation names no node.
    pub async fn adopt_joined(&mut self, member: Member, mut node: Node, invitation: &Path) -> anyhow::Result<usize> {
        let joined = pb::JoinInvitation::decode(fs::read(invitation)?.as_slice())?.node.context("an invited node")?;
        let index = self.nodes.len();
        node.set_raft_id(joined.raft_id);
        node.index = index;
        self.members.push(member);
        self.nodes.push(node);
        self.know(invitation.to_owned()).await?;
        Ok(index)
    }

    /// Position of a member's node.
    ///
    /// # Errors
    /// If it is no member.
    pub fn of_member(&self, id: &str) -> anyhow::Result<usize> {
        self.members.iter().position(|member| member.id == id).with_context(|| format!("{id} is no member"))
    }

    /// Starts all nodes, waits until they are ready, and leaves them to
    /// themselves: neither the end of this process nor Ctrl-C at its terminal
    /// ends them. Answers with their process ids, in the nodes' order.
    ///
    /// # Errors
    /// If one runs already, or does not become ready.
    pub fn leave_running(mut self) -> anyhow::Result<Vec<u32>> {
        self.nodes.iter_mut().try_for_each(Node::start_apart)?;
        self.nodes.iter_mut().try_for_each(Node::wait_ready)?;
        self.nodes.iter_mut().map(Node::release).collect()
    }
}
