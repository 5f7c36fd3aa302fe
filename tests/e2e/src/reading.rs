//! Requests for access by hand, to see statuses and answers as they come; and consents on paper
//! that let others read.

use bytes::Bytes;
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::pb::{self, AccessKind, ConsentBase, PurposeOfUse};
use tonic::{Request, Response, Status};

use crate::node::Node;
use crate::user::User;

/// How long a request may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// A request to read the newest version of a record for treatment.
#[must_use]
pub fn asks_for(patient: PatientPseudonym, record: RecordId) -> pb::RequestAccess {
    pb::RequestAccess {
        patient: Bytes::copy_from_slice(&patient.0),
        purpose: PurposeOfUse::Treat.into(),
        kind: AccessKind::Read.into(),
        records: vec![pb::VersionRef { record_id: Bytes::copy_from_slice(&record.0), version: 0 }],
        ..pb::RequestAccess::default()
    }
}

/// Makes a request for access at one node.
///
/// # Errors
/// If nothing can be signed or asked; the node's refusal is inside.
pub async fn request_access(
    user: &User,
    node: &Node,
    request: pb::RequestAccess,
) -> anyhow::Result<Result<pb::ReadRecordsResponse, Status>> {
    let action = pb::Action { action: Some(pb::action::Action::RequestAccess(request)) };
    let transaction = Some(user.client.sign(vec![action], Vec::new())?);
    let mut request = Request::new(pb::ReadRecordsRequest { transaction, ..pb::ReadRecordsRequest::default() });
    request.set_timeout(PATIENCE);
    let mut service = RecordsServiceClient::new(user.channel(node)?).max_decoding_message_size(16 << 20);
    Ok(service.read_records(request).await.map(Response::into_inner))
}

/// The payload of a record as a node releases it; NOT_FOUND stands for a record that it does not.
///
/// # Errors
/// If nothing can be signed or asked; the node's refusal is inside.
pub async fn read_payload(
    user: &User,
    node: &Node,
    patient: PatientPseudonym,
    record: RecordId,
) -> anyhow::Result<Result<Bytes, Status>> {
    let answer = request_access(user, node, asks_for(patient, record)).await?;
    Ok(answer.and_then(|answer| {
        let released = answer.records.into_iter().next();
        released.map(|released| released.payload).ok_or_else(|| Status::not_found("it was not released"))
    }))
}

/// Puts a consent on paper: whatever the author's member holds of the patient may be read by
/// everybody for treatment.
///
/// # Errors
/// If the ledger refuses it.
pub async fn opens_to_all(registrar: &User, patient: PatientPseudonym) -> anyhow::Result<pb::PutConsent> {
    let put = pb::PutConsent {
        consent_id: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
        version: 1,
        patient: Bytes::copy_from_slice(&patient.0),
        grant: Some(pb::ConsentGrant { base: ConsentBase::AllNormal.into(), ..pb::ConsentGrant::default() }),
        document_sha256: Bytes::from_static(&[7; 32]),
    };
    let action = pb::Action { action: Some(pb::action::Action::PutConsent(put.clone())) };
    let signed = registrar.client.sign(vec![action], Vec::new())?;
    registrar.client.submit(signed, pb::WaitFor::Certified).await?.into_applied()?;
    Ok(put)
}
