//! The tables of the store, by name.

/// A table of the store. Each becomes a column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The authenticated state.
    State,
    /// Nodes of the tree over the state.
    Trie,
    /// Record versions.
    Versions,
    /// Payloads: erasable.
    Payloads,
    /// Descriptors, which hold search tags: erasable.
    Descriptors,
    /// Key wraps: erasable.
    Wraps,
    /// Look-ups of patients: erasable.
    Lookups,
    /// Reasons of emergencies in words, petitions and their answers: erasable.
    Texts,
    /// Entries of logs, to which rows of the state commit, and nodes of their trees.
    Logs,
    /// Transaction id to (height, leaf index, outcome).
    Transactions,
    /// Perfect subtrees of the ledger's tree.
    Tree,
    /// Secondary indexes to records.
    Index,
    /// Blocks by height.
    Blocks,
    /// Attachments that are not here.
    Missing,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 14] = [
        Self::State,
        Self::Trie,
        Self::Versions,
        Self::Payloads,
        Self::Descriptors,
        Self::Wraps,
        Self::Lookups,
        Self::Texts,
        Self::Logs,
        Self::Transactions,
        Self::Tree,
        Self::Index,
        Self::Blocks,
        Self::Missing,
    ];

    /// Name of the column family.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Trie => "trie",
            Self::Versions => "versions",
            Self::Payloads => "payloads",
            Self::Descriptors => "descriptors",
            Self::Wraps => "wraps",
            Self::Lookups => "lookups",
            Self::Texts => "texts",
            Self::Logs => "logs",
            Self::Transactions => "transactions",
            Self::Tree => "tree",
            Self::Index => "index",
            Self::Blocks => "blocks",
            Self::Missing => "missing",
        }
    }
}
