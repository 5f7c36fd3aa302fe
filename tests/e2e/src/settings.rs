//! What is written into each node's configuration file.

use std::fs;

use crate::node::Node;

/// Lines of a test for every node's configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// For `[raft]`.
    pub(crate) raft: String,
    /// For `[limits]`.
    pub(crate) limits: String,
}

impl Settings {
    /// Writes the configuration of a founding node, or of one that joins with
    /// `invitation.pb` beside it.
    pub(crate) fn write(&self, node: &Node, joins: bool) -> anyhow::Result<()> {
        let (client, peer, http) = (node.client, node.peer, node.http);
        let data = node.data_dir.strip_prefix(&node.dir)?.display();
        let Self { raft, limits } = self;
        let invitation = if joins { "invitation = \"invitation.pb\"\n" } else { "" };
        // Elections in about a second: short for tests, long enough for a busy
        // machine with real fsync.
        let election = if raft.contains("election_ticks") { "" } else { "election_ticks = 16" };
        let text = format!(
            "data_dir = \"{data}\"\ngenesis = \"../genesis.pb\"\n{invitation}\n\
             [identity]\ncertificate = \"node-n1.pem\"\nkey = \"node-n1.key\"\nvote_key = \"vote.key\"\n\n\
             [listen]\nclient = \"{client}\"\npeer = \"{peer}\"\nhttp = \"{http}\"\n\n\
             [raft]\n{election}\n{raft}\n\n[limits]\n{limits}\n\n\
             [storage]\ncache_bytes = 16777216\nverify_threads = 1\nnetwork_threads = 2\n\n\
             [log]\nformat = \"json\"\nfilter = \"info\"\n"
        );
        Ok(fs::write(&node.config, text)?)
    }
}
