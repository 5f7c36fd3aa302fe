//! What a ledger that went astray had wrong: compared with the one rebuilt from
//! certified blocks, reported by key and never by value.
//!
//! State is kept without versions, so both ledgers must stand at one height:
//! the newest of the wrong one, which the rebuilt one passes. Between the first
//! block that differs and that height, further rows may have come to differ.

use std::cmp::Ordering;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use consilium_ledger::{Table, keys};
use consilium_proto::ids::{HeaderHash, Height};

use crate::storage::StorageError;
use crate::storage::ledger_store::{LedgerStore, StoredRow};

/// Tables that decide what a header says, in the order in which they tell most.
const COMPARED: [Table; 5] = [Table::State, Table::Transactions, Table::Versions, Table::Trie, Table::Tree];

/// How a row of the wrong ledger differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It is not there.
    Absent,
    /// It should not be there.
    Surplus,
    /// It has another value.
    Value,
}

/// The first row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Box<[u8]>,
    /// What is wrong with it.
    pub how: How,
    /// Rows of the table that differ, this one among them.
    pub rows: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.table {
            Table::State => format!(" ({})", keys::describe(&self.key)),
            _ => String::new(),
        };
        let how = match self.how {
            How::Absent => "was absent",
            How::Surplus => "should not have been there",
            How::Value => "had another value",
        };
        let hex: String = self.key.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(f, "in table `{}`, key {hex}{words} {how}; {} rows of the table differed", self.table.name(), self.rows)
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// The first block that differs, with its header in the wrong ledger and in
    /// the rebuilt one. `None` if no block differs.
    pub first_block: Option<(Height, HeaderHash, HeaderHash)>,
    /// Height of the wrong ledger and of the rebuilt one when they were compared.
    pub compared: (Height, Height),
    /// The first row that differs. `None` if none does.
    pub difference: Option<Difference>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wrong, right) = self.compared;
        match &self.first_block {
            Some((height, here, certified)) => {
                write!(f, "the first block that differed was {height} (here {here}, certified {certified}). ")?;
            }
            None => write!(f, "no block up to {wrong} differed. ")?,
        }
        if wrong == right {
            write!(f, "Compared after block {wrong}: ")?;
        } else {
            write!(f, "Compared after block {wrong} of the wrong ledger and {right} of the right one: ")?;
        }
        match &self.difference {
            Some(difference) => write!(f, "the first difference was {difference}")?,
            None => write!(f, "no row differed")?,
        }
        match self.first_block {
            Some((height, ..)) if height < wrong => {
                write!(f, " (blocks after {height} may have added differences)")
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The copy of a wrong ledger.
#[derive(Debug)]
pub(crate) struct WrongLedger {
    store: Arc<LedgerStore>,
    height: Height,
}

impl WrongLedger {
    /// Opens it, to read only. `None`, with a line in the log, if it cannot be
    /// read: a damaged copy must not keep a node from being repaired.
    #[must_use]
    pub(crate) fn open(path: &Path) -> Option<Self> {
        let opened = LedgerStore::open_read_only(path).and_then(|store| {
            let tip = store.tip()?.ok_or_else(|| StorageError::corrupt("ledger", "has no genesis block"))?;
            Ok(Self { store: Arc::new(store), height: tip.1.header.height })
        });
        opened.inspect_err(|error| tracing::warn!(%error, "the wrong ledger cannot be compared")).ok()
    }

    /// Its newest block.
    #[must_use]
    pub(crate) fn height(&self) -> Height {
        self.height
    }

    /// Its rows.
    #[must_use]
    pub(crate) fn store(&self) -> &Arc<LedgerStore> {
        &self.store
    }

    /// Compares it with the rebuilt ledger, best when that is at the same height.
    ///
    /// # Errors
    /// If a disk fails or a row is damaged.
    pub(crate) fn compare(&self, right: &LedgerStore, right_height: Height) -> Result<Report, StorageError> {
        let first_block = first_block(&self.store, right, self.height.min(right_height))?;
        let mut difference = None;
        for table in COMPARED {
            difference = first_difference(&self.store, right, table)?;
            if difference.is_some() {
                break;
            }
        }
        Ok(Report { first_block, compared: (self.height, right_height), difference })
    }
}

/// Headers name their predecessors: where two are equal, all before are.
fn first_block(
    wrong: &LedgerStore,
    right: &LedgerStore,
    last: Height,
) -> Result<Option<(Height, HeaderHash, HeaderHash)>, StorageError> {
    let hashes = |height| -> Result<(HeaderHash, HeaderHash), StorageError> {
        let hash = |store: &LedgerStore| Ok(store.header(height)?.map(|h| h.hash()));
        let absent = || StorageError::corrupt("block", "absent");
        Ok((hash(wrong)?.ok_or_else(absent)?, hash(right)?.ok_or_else(absent)?))
    };
    let differs = |height| hashes(height).map(|(wrong, right)| wrong != right);
    if !differs(last)? {
        return Ok(None);
    }
    let (mut equal_below, mut different) = (Height::GENESIS.0, last.0);
    while equal_below < different {
        let middle = equal_below + (different - equal_below) / 2;
        if differs(Height(middle))? { different = middle } else { equal_below = middle + 1 }
    }
    let (wrong, right) = hashes(Height(different))?;
    Ok(Some((Height(different), wrong, right)))
}

/// Goes through both tables in the order of their keys.
fn first_difference(
    wrong: &LedgerStore,
    right: &LedgerStore,
    table: Table,
) -> Result<Option<Difference>, StorageError> {
    let (mut wrong, mut right) = (wrong.scan(table, &[], &[]), right.scan(table, &[], &[]));
    let (mut left_row, mut right_row) = (wrong.next().transpose()?, right.next().transpose()?);
    let mut first = None::<Difference>;
    loop {
        let order = match (&left_row, &right_row) {
            (None, None) => return Ok(first),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.0.cmp(&right.0),
        };
        let how = match order {
            Ordering::Less => Some(How::Surplus),
            Ordering::Greater => Some(How::Absent),
            Ordering::Equal => (value(&left_row) != value(&right_row)).then_some(How::Value),
        };
        if let Some(how) = how {
            let row = if order == Ordering::Greater { &right_row } else { &left_row };
            let key = row.as_ref().map(|row| row.0.clone()).unwrap_or_default();
            first.get_or_insert(Difference { table, key, how, rows: 0 }).rows += 1;
        }
        if order != Ordering::Greater {
            left_row = wrong.next().transpose()?;
        }
        if order != Ordering::Less {
            right_row = right.next().transpose()?;
        }
    }
}

fn value(row: &Option<StoredRow>) -> Option<&[u8]> {
    row.as_ref().map(|row| row.1.as_ref())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rocksdb::{DB, Options};

    type Rows<'a> = &'a [(&'a [u8], &'a str)];

    fn ledger(dir: &Path, name: &str, rows: Rows<'_>) -> LedgerStore {
        let path = dir.join(name);
        drop(LedgerStore::open(&path, 1 << 20).unwrap());
        let options = Options::default();
        let db = DB::open_cf(&options, &path, DB::list_cf(&options, &path).unwrap()).unwrap();
        let state = db.cf_handle(Table::State.name()).unwrap();
        rows.iter().for_each(|(key, value)| db.put_cf(state, key, value).unwrap());
        drop(db);
        LedgerStore::open_read_only(&path).unwrap()
    }

    fn compare(wrong: Rows<'_>, right: Rows<'_>) -> Option<(Vec<u8>, How, u64)> {
        let dir = tempfile::tempdir().unwrap();
        let (wrong, right) = (ledger(dir.path(), "wrong", wrong), ledger(dir.path(), "right", right));
        let found = first_difference(&wrong, &right, Table::State).unwrap();
        assert_eq!(first_difference(&wrong, &right, Table::Tree).unwrap(), None);
        found.map(|d| (d.key.to_vec(), d.how, d.rows))
    }

    #[test]
    fn the_first_row_that_differs_is_found() {
        let rows: Rows<'_> = &[(b"\x01a", "1"), (b"\x03b", "2"), (b"\x06c", "3")];
        assert_eq!(compare(rows, rows), None);
        assert_eq!(compare(&[], &[]), None);
        assert_eq!(compare(&[], rows), Some((b"\x01a".to_vec(), How::Absent, 3)));
        assert_eq!(compare(rows, &[]), Some((b"\x01a".to_vec(), How::Surplus, 3)));
        let without = &[rows[0], rows[2]];
        assert_eq!(compare(without, rows), Some((b"\x03b".to_vec(), How::Absent, 1)));
        assert_eq!(compare(rows, without), Some((b"\x03b".to_vec(), How::Surplus, 1)));
        let other = &[rows[0], (&b"\x03b"[..], "x"), (b"\x06d", "3")];
        assert_eq!(compare(other, rows), Some((b"\x03b".to_vec(), How::Value, 3)));
        let longer = &[rows[0], rows[1], rows[2], (&b"\x06d"[..], "4")];
        assert_eq!(compare(longer, rows), Some((b"\x06d".to_vec(), How::Surplus, 1)));
    }

    #[test]
    fn reports_name_keys_in_words_and_no_values() {
        let hash = |byte| HeaderHash::from_bytes([byte; 32]);
        let difference = Difference { table: Table::State, key: keys::member("a.b").into(), how: How::Value, rows: 2 };
        let report = Report {
            first_block: Some((Height(7), hash(1), hash(2))),
            compared: (Height(9), Height(9)),
            difference: Some(difference),
        };
        let text = report.to_string();
        for part in [
            "was 7 (here 0101",
            "certified 0202",
            "after block 9: ",
            "key 01612e62 (member a.b) had another value",
            "2 rows",
            "after 7 may",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = Report { first_block: None, difference: None, compared: (Height(9), Height(4)) }.to_string();
        assert!(text.contains("no block up to 9") && text.contains("4 of the right one: no row differed"), "{text}");
    }
}
