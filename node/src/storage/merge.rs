//! Rows of several sources as one list in the order of their keys.

use std::iter::Peekable;

use super::StorageError;
use super::ledger_reader::StoredRow;
use super::overlay::LayerScan;

/// Rows of the database, and what is in front of it: of two rows with one key the one that is
/// further in front counts, and if it says that the row is dropped, there is none.
pub(super) fn merge<S>(recent: Vec<LayerScan>, stored: S) -> Merge<S>
where
    S: Iterator<Item = Result<StoredRow, StorageError>>,
{
    Merge { recent: recent.into_iter().map(Iterator::peekable).collect(), stored: stored.peekable() }
}

/// See [`merge`].
pub(super) struct Merge<S: Iterator> {
    /// The newest first.
    recent: Vec<Peekable<LayerScan>>,
    stored: Peekable<S>,
}

impl<S: Iterator<Item = Result<StoredRow, StorageError>>> Iterator for Merge<S> {
    type Item = Result<StoredRow, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let first = self.recent.iter_mut().filter_map(|rows| rows.peek()).map(|(key, _)| key).min().cloned();
            let stored = match self.stored.peek() {
                // A failure is the last item.
                Some(Err(_)) => return self.stored.next(),
                Some(Ok((key, _))) => Some(key),
                None => None,
            };
            let Some(key) = first.filter(|first| stored.is_none_or(|stored| first <= stored)) else {
                return self.stored.next();
            };
            self.stored.next_if(|row| matches!(row, Ok((stored, _)) if *stored == key));
            // All layers go on; the first that has the row says what it holds.
            let values = self.recent.iter_mut().filter_map(|rows| rows.next_if(|(other, _)| *other == key));
            let values: Vec<_> = values.collect();
            if let Some((_, Some(value))) = values.into_iter().next() {
                return Some(Ok((key, value)));
            }
        }
    }
}
