//! The reviews that are not done, of all emergencies: read once for all streams, and again only
//! after an emergency was declared or reviewed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use consilium_ledger::{Table, keys};
use consilium_proto::ids::{EmergencyId, Height, PatientPseudonym, TimeMs};
use consilium_proto::pb::{EmergencyState, ReviewsDueState};
use consilium_proto::state::StateRow;
use prost::Message;

use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// Soonest due first.
type Reviews = Arc<[Review]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Review {
    due: TimeMs,
    emergency: EmergencyId,
    patient: PatientPseudonym,
}

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
    /// Emergencies, of a patient or of all, whose reviews were due behind one time up to another,
    /// and are not done.
    pub(super) fn overdue(
        &self,
        ledger: &LedgerSnapshot<'_>,
        patient: Option<PatientPseudonym>,
        (from, to): (TimeMs, TimeMs),
    ) -> Result<Vec<EmergencyId>, StorageError> {
        let reviews = self.at(ledger)?;
        let first = reviews.partition_point(|review| review.due <= from);
        let due = reviews.iter().skip(first).take_while(|review| review.due <= to);
        let about = due.filter(|review| patient.is_none_or(|patient| review.patient == patient));
        Ok(about.map(|review| review.emergency).collect())
    }

    fn at(&self, ledger: &LedgerSnapshot<'_>) -> Result<Reviews, StorageError> {
        let height = ledger.tip_header().height;
        // Whoever comes meanwhile waits for what is read here, and does not read it, too.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reviews = match &*known {
            Some(known) if known.height == height => return Ok(Arc::clone(&known.reviews)),
            // A snapshot that was taken earlier.
            Some(known) if known.height > height => return read(ledger, &known.reviews),
            Some(known) if !changed(ledger, known.height)? => Arc::clone(&known.reviews),
            Some(known) => read(ledger, &known.reviews)?,
            None => read(ledger, &[])?,
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

/// Whose emergencies these are is looked up of those alone that are not known yet.
fn read(ledger: &LedgerSnapshot<'_>, known: &[Review]) -> Result<Reviews, StorageError> {
    let known: BTreeMap<_, _> = known.iter().map(|review| (review.emergency, review.patient)).collect();
    let prefix = [StateRow::ReviewsDue as u8];
    let mut open = Vec::new();
    for row in ledger.scan(Table::State, &prefix, &prefix) {
        let due = ReviewsDueState::decode(row?.1.as_ref()).map_err(|e| StorageError::corrupt("state", e))?;
        for review in due.reviews {
            let id = EmergencyId::parse("emergency_id", &review.emergency_id);
            let emergency = id.map_err(|e| StorageError::corrupt("state", e))?;
            let patient = known.get(&emergency).copied().map_or_else(|| patient_of(ledger, &emergency), Ok)?;
            open.push(Review { due: TimeMs(review.due_ms), emergency, patient });
        }
    }
    open.sort_unstable();
    Ok(open.into())
}

fn patient_of(ledger: &LedgerSnapshot<'_>, id: &EmergencyId) -> Result<PatientPseudonym, StorageError> {
    let state: EmergencyState = ledger.state(&keys::emergency(id))?.unwrap_or_default();
    PatientPseudonym::parse("patient", &state.patient).map_err(|e| StorageError::corrupt("emergency", e))
}
