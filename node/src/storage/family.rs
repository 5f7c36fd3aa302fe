//! The column families of the ledger's database: one for each table of the rules, and four that
//! the node keeps for itself.

use consilium_ledger::Table;

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// A table of the rules.
    Table(Table),
    /// Certificates, by height.
    Certificates,
    /// Places of blocks in the Raft log, by height.
    Positions,
    /// Raft's memberships, by the height from which they held.
    Memberships,
    /// The tip.
    Meta,
}

impl Family {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Table::ALL.into_iter().map(Self::Table).chain([
            Self::Certificates,
            Self::Positions,
            Self::Memberships,
            Self::Meta,
        ])
    }

    /// Its name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table(table) => table.name(),
            Self::Certificates => "certificates",
            Self::Positions => "positions",
            Self::Memberships => "memberships",
            Self::Meta => "meta",
        }
    }

    /// Its place in [`Self::all`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            // In the order of `Table::ALL`, which a test holds.
            Self::Table(table) => table as usize,
            Self::Certificates => Table::ALL.len(),
            Self::Positions => Table::ALL.len() + 1,
            Self::Memberships => Table::ALL.len() + 2,
            Self::Meta => Table::ALL.len() + 3,
        }
    }

    /// Whether rows are looked for one by one under keys without order: old and new ones lie in
    /// all files, and most of what is looked into does not hold them.
    #[must_use]
    pub const fn is_scattered(self) -> bool {
        match self {
            Self::Table(table) => match table {
                Table::State
                | Table::Trie
                | Table::Transactions
                | Table::Versions
                | Table::Payloads
                | Table::Wraps
                | Table::Descriptors
                | Table::Lookups
                | Table::Texts => true,
                Table::Logs | Table::Tree | Table::Index | Table::Blocks | Table::Missing => false,
            },
            Self::Certificates | Self::Positions | Self::Memberships | Self::Meta => false,
        }
    }

    /// Whether its rows are large, and are not changed while they are there.
    #[must_use]
    pub const fn is_bulky(self) -> bool {
        match self {
            Self::Table(table) => match table {
                Table::Payloads | Table::Descriptors | Table::Wraps | Table::Texts | Table::Blocks => true,
                Table::State
                | Table::Trie
                | Table::Transactions
                | Table::Versions
                | Table::Lookups
                | Table::Logs
                | Table::Tree
                | Table::Index
                | Table::Missing => false,
            },
            Self::Certificates | Self::Positions | Self::Memberships | Self::Meta => false,
        }
    }

    /// Whether nobody reads its rows in the order of their keys while the node runs, but when
    /// something is repaired.
    #[must_use]
    pub const fn is_hashed(self) -> bool {
        !matches!(self, Self::Table(Table::State)) && self.is_scattered()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_place_and_a_name_of_its_own() {
        let places: Vec<usize> = Family::all().map(Family::index).collect();
        assert_eq!(places, (0..Table::ALL.len() + 4).collect::<Vec<_>>());
        let names: std::collections::BTreeSet<_> = Family::all().map(Family::name).collect();
        assert_eq!(names.len(), places.len());
    }
}
