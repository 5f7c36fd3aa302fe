//! The reviews that are not done, of all emergencies: read once for all streams, and again only
//! after an emergency was declared or reviewed.

use std::sync::{Arc, Mutex, PoisonError};

use consilium_ledger::{Table, keys};
use consilium_proto::ids::{EmergencyId, Height, TimeMs};
use consilium_proto::pb::ReviewsDueState;
use consilium_proto::state::StateRow;
use prost::Message;

use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// By when each is due, soonest first.
type Reviews = Arc<[(TimeMs, EmergencyId)]>;

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenReviews(Arc<Mutex<Option<Known>>>);

#[derive(Debug, Clone)]
struct Known {
    /// They are so at this height.
    height: Height,
    reviews: Reviews,
}

impl OpenReviews {
    /// Emergencies whose reviews were due behind one time up to another, and are not done.
    pub(super) fn overdue(
        &self,
        ledger: &LedgerSnapshot<'_>,
        (from, to): (TimeMs, TimeMs),
    ) -> Result<Vec<EmergencyId>, StorageError> {
        let reviews = self.at(ledger)?;
        let first = reviews.partition_point(|(due, _)| *due <= from);
        let due = reviews.iter().skip(first).take_while(|(due, _)| *due <= to);
        Ok(due.map(|(_, id)| *id).collect())
    }

    fn at(&self, ledger: &LedgerSnapshot<'_>) -> Result<Reviews, StorageError> {
        let height = ledger.tip_header().height;
        // Whoever comes meanwhile waits for what is read here, and does not read it, too.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reviews = match &*known {
            Some(known) if known.height == height => return Ok(Arc::clone(&known.reviews)),
            // A snapshot that was taken earlier.
            Some(known) if known.height > height => return read(ledger),
            Some(known) if !changed(ledger, known.height)? => Arc::clone(&known.reviews),
            Some(_) | None => read(ledger)?,
        };
        *known = Some(Known { height, reviews: Arc::clone(&reviews) });
        Ok(reviews)
    }
}

/// Whether an emergency was declared or reviewed behind a height.
fn changed(ledger: &LedgerSnapshot<'_>, after: Height) -> Result<bool, StorageError> {
    let first = keys::index_emergencies_of(after.next());
    let next = ledger.scan(Table::Index, &keys::index_emergencies(), &first).next();
    Ok(next.transpose()?.is_some())
}

fn read(ledger: &LedgerSnapshot<'_>) -> Result<Reviews, StorageError> {
    let prefix = [StateRow::ReviewsDue as u8];
    let mut open = Vec::new();
    for row in ledger.scan(Table::State, &prefix, &prefix) {
        let due = ReviewsDueState::decode(row?.1.as_ref()).map_err(|e| StorageError::corrupt("state", e))?;
        for review in due.reviews {
            let id = EmergencyId::parse("emergency_id", &review.emergency_id);
            open.push((TimeMs(review.due_ms), id.map_err(|e| StorageError::corrupt("state", e))?));
        }
    }
    open.sort_unstable();
    Ok(open.into())
}
