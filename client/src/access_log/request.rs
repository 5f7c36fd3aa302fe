//! What an event of a log repeats of the request that it is about.

use bytes::Bytes;
use consilium_proto::pb::{
    AccessEvent, Disclose, PatientChange, PatientChangeKind, RequestAccess, SealedBy, VersionRef,
};

/// A request without what its event says otherwise: records in order, and without versions, since
/// an event names the newest where the request did not.
pub(crate) fn plain(request: RequestAccess) -> RequestAccess {
    // All fields by name: what is new in a request, its event must repeat, or it must go here.
    let RequestAccess {
        patient,
        purpose,
        kind,
        records,
        query_sha256,
        emergency_id,
        acting_sha256,
        project,
        sealed_by,
        late_ms,
    } = request;
    let records = without_versions(records);
    // By which disclosure it is sealed, the event does not say; its salt it does.
    let sealed_by = sealed_by.map(|by| SealedBy { disclosure_id: Bytes::new(), ..by });
    RequestAccess {
        patient,
        purpose,
        kind,
        records,
        query_sha256,
        emergency_id,
        acting_sha256,
        project,
        sealed_by,
        late_ms,
    }
}

fn without_versions(records: Vec<VersionRef>) -> Vec<VersionRef> {
    let mut records: Vec<Bytes> = records.into_iter().map(|version| version.record_id).collect();
    records.sort_unstable();
    records.into_iter().map(|record_id| VersionRef { record_id, version: 0 }).collect()
}

/// The same, as an event tells it.
pub(crate) fn told(event: &AccessEvent) -> RequestAccess {
    plain(RequestAccess {
        patient: event.patient.clone(),
        purpose: event.purpose,
        kind: event.kind,
        records: records_of(event),
        query_sha256: event.query_sha256.clone(),
        emergency_id: event.emergency_id.clone(),
        acting_sha256: event.acting_sha256.clone(),
        project: event.project.clone(),
        sealed_by: event
            .legal
            .as_ref()
            .and_then(|legal| legal.seal.as_ref())
            .map(|seal| SealedBy { disclosure_id: Bytes::new(), salt: seal.salt.clone() }),
        late_ms: event.late_ms,
    })
}

fn records_of(event: &AccessEvent) -> Vec<VersionRef> {
    event.decisions.iter().flat_map(|decision| decision.records.iter().cloned()).collect()
}

/// A disclosure as [`plain`] has a request.
pub(crate) fn plain_disclosure(disclosure: Disclose) -> Disclose {
    Disclose { records: without_versions(disclosure.records), ..disclosure }
}

/// The disclosure that an event is of, as it tells it; and who confirmed it.
pub(crate) fn told_disclosure(event: &AccessEvent) -> Option<(Disclose, String)> {
    let legal = event.legal.as_ref()?;
    let terms = legal.disclosure.as_ref()?;
    let code = |code: u32| i32::try_from(code).unwrap_or_default();
    let disclosure = Disclose {
        disclosure_id: terms.disclosure_id.clone(),
        patient: event.patient.clone(),
        basis: code(terms.basis),
        order_sha256: terms.order_sha256.clone(),
        records: records_of(event),
        recipient: code(terms.recipient),
        recipient_sha256: terms.recipient_sha256.clone(),
        seal: legal.seal.clone(),
    };
    Some((plain_disclosure(disclosure), terms.confirmed_by.clone()))
}

/// What was said of a patient, as its event tells it, without what the action does not say: whose a
/// record is, and when an emergency ends.
pub(crate) fn told_change(event: &AccessEvent) -> Option<AccessEvent> {
    let change = event.change.clone()?;
    let (whose, declared) = (change.record_id.is_empty(), change.kind() == PatientChangeKind::EmergencyDeclared);
    Some(AccessEvent {
        patient: if whose { event.patient.clone() } else { Bytes::new() },
        emergency_id: event.emergency_id.clone(),
        acting_sha256: event.acting_sha256.clone(),
        change: Some(PatientChange { to_ms: if declared { 0 } else { change.to_ms }, ..change }),
        purpose: event.purpose,
        kind: event.kind,
        decisions: event.decisions.clone(),
        ..AccessEvent::default()
    })
}
