//! What an event of a log repeats of the request that it is about.

use bytes::Bytes;
use consilium_proto::pb::{AccessEvent, RequestAccess, VersionRef};

/// A request without what its event says otherwise: records in order, and without versions, since
/// an event names the newest where the request did not.
pub(crate) fn plain(request: RequestAccess) -> RequestAccess {
    // All fields by name: what is new in a request, its event must repeat, or it must go here.
    let RequestAccess { patient, purpose, kind, records, query_sha256, emergency_id, acting_sha256, project } = request;
    let mut records: Vec<Bytes> = records.into_iter().map(|version| version.record_id).collect();
    records.sort_unstable();
    let records = records.into_iter().map(|record_id| VersionRef { record_id, version: 0 }).collect();
    RequestAccess { patient, purpose, kind, records, query_sha256, emergency_id, acting_sha256, project }
}

/// The same, as an event tells it.
pub(crate) fn told(event: &AccessEvent) -> RequestAccess {
    plain(RequestAccess {
        patient: event.patient.clone(),
        purpose: event.purpose,
        kind: event.kind,
        records: event.decisions.iter().flat_map(|decision| decision.records.iter().cloned()).collect(),
        query_sha256: event.query_sha256.clone(),
        emergency_id: event.emergency_id.clone(),
        acting_sha256: event.acting_sha256.clone(),
        project: event.project.clone(),
    })
}
