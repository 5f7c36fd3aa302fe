//! Everything that clients may call, with what is to be known of a call before any of it is read:
//! who may make it at all, how many messages it has, and whether something may come of it when its
//! answer does not come. The table is held against the descriptors of the services by a test: what is
//! not here is not served.
//!
//! Roles are named only where a role alone may never make a call. What a caller sees of an answer is for
//! `access` to say (docs/roles.md is the whole table).

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::limits::REQUEST_BYTES_MAX;
use consilium_proto::names::Role;

/// Bytes of a message that carries no transaction.
pub(crate) const SMALL_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Whether a caller, and the node, send one message or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One, answered by one.
    Unary,
    /// One, answered by many.
    Answers,
    /// Many, answered by one.
    Requests,
    /// Many, answered by many.
    Both,
}

/// A call that can be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rpc {
    /// As in HTTP: `/package.Service/Method`.
    pub(crate) path: &'static str,
    pub(crate) shape: Shape,
    /// Who may make it.
    pub(crate) who: &'static [Role],
    /// What the others are told.
    pub(crate) why: &'static str,
    /// Whether a transaction may be executed though its answer does not come.
    pub(crate) executes: bool,
    /// Bytes of a message.
    pub(crate) message_bytes_max: usize,
}

impl Rpc {
    const fn new(path: &'static str) -> Self {
        let (shape, executes, message_bytes_max) = (Shape::Unary, false, SMALL_MESSAGE_BYTES_MAX);
        Self { path, shape, who: &Role::ALL, why: "", executes, message_bytes_max }
    }

    const fn shaped(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    const fn large(self) -> Self {
        Self { message_bytes_max: REQUEST_BYTES_MAX, ..self }
    }

    const fn executes(self) -> Self {
        Self { executes: true, ..self }
    }

    const fn only(self, who: &'static [Role], why: &'static str) -> Self {
        Self { who, why, ..self }
    }

    /// The service, with its package.
    pub(crate) fn service(&self) -> &'static str {
        self.path.trim_start_matches('/').split('/').next().unwrap_or_default()
    }
}

/// What clients may call.
const RPCS: [Rpc; 44] = [
    Rpc::new("/consilium.v1.LedgerService/Submit").large().executes(),
    Rpc::new("/consilium.v1.LedgerService/SubmitStream").large().executes().shaped(Shape::Both),
    Rpc::new("/consilium.v1.LedgerService/GetTransaction").large(),
    Rpc::new("/consilium.v1.LedgerService/GetReceipt").large(),
    Rpc::new("/consilium.v1.LedgerService/GetHead").large(),
    Rpc::new("/consilium.v1.LedgerService/ListBlocks").large().shaped(Shape::Answers),
    Rpc::new("/consilium.v1.LedgerService/Watch").large().shaped(Shape::Answers),
    Rpc::new("/consilium.v1.LedgerService/GetConsistencyProof").large(),
    Rpc::new("/consilium.v1.LedgerService/GetState").large(),
    Rpc::new("/consilium.v1.LedgerService/GetGenesis").large(),
    Rpc::new("/consilium.v1.RecordsService/ReadRecords").executes(),
    Rpc::new("/consilium.v1.RecordsService/GetRecord"),
    Rpc::new("/consilium.v1.RecordsService/QueryRecords").only(
        &[Role::Service, Role::Auditor, Role::Device],
        "only systems and auditors look for records so; others ask for those of a patient (ReadRecords, a query)",
    ),
    Rpc::new("/consilium.v1.RecordsService/GetRecordHistory"),
    Rpc::new("/consilium.v1.IdentityService/Enroll").large().executes(),
    Rpc::new("/consilium.v1.IdentityService/GetIdentity").large(),
    Rpc::new("/consilium.v1.AccessService/GetAccessLog"),
    Rpc::new("/consilium.v1.AccessService/GetDecision"),
    Rpc::new("/consilium.v1.AccessService/GetPatient"),
    Rpc::new("/consilium.v1.AccessService/ListPatientRecords"),
    Rpc::new("/consilium.v1.AccessService/ListWrapRequests")
        .only(&[Role::Service], "what is in custody is for the custodian, or for its deputy what has an emergency"),
    Rpc::new("/consilium.v1.AccessService/GetEmergencyText"),
    Rpc::new("/consilium.v1.AccessService/WatchNotices").shaped(Shape::Answers),
    Rpc::new("/consilium.v1.AccessService/ListChanges"),
    Rpc::new("/consilium.v1.AccessService/ListPetitions"),
    Rpc::new("/consilium.v1.AccessService/ListDisclosures"),
    Rpc::new("/consilium.v1.AccessService/ListHeldVersions"),
    Rpc::new("/consilium.v1.PatientsService/ResolvePatients").only(
        &[Role::Service, Role::Clinician, Role::Device],
        "only services, clinicians and devices may find patients by identifiers",
    ),
    Rpc::new("/consilium.v1.ValidatorsService/GetEpoch"),
    Rpc::new("/consilium.v1.ValidatorsService/ListCandidates"),
    Rpc::new("/consilium.v1.ValidatorsService/GetStake"),
    Rpc::new("/consilium.v1.ValidatorsService/ListSetChanges").shaped(Shape::Answers),
    Rpc::new("/consilium.v1.ValidatorsService/ListPenalties"),
    Rpc::new("/consilium.v1.GovernanceService/GetProposal").large(),
    Rpc::new("/consilium.v1.GovernanceService/ListProposals").large(),
    Rpc::new("/consilium.v1.GovernanceService/PreviewProposal").large(),
    Rpc::new("/consilium.v1.GovernanceService/ListMembers").large(),
    Rpc::new("/consilium.v1.GovernanceService/GetRules").large(),
    Rpc::new("/consilium.v1.OperatorService/GetStatus"),
    Rpc::new("/consilium.v1.OperatorService/TransferLeadership")
        .only(&[Role::Admin], "only an administrator of this node's member may do this"),
    Rpc::new("/grpc.health.v1.Health/Check"),
    Rpc::new("/grpc.health.v1.Health/Watch").shaped(Shape::Answers),
    Rpc::new("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").shaped(Shape::Both),
    Rpc::new("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo").shaped(Shape::Both),
];

/// What the other nodes may call. Who they are is judged by `Callers`, before anything is read, too.
const PEER_RPCS: [Rpc; 6] = [
    Rpc::new("/consilium.v1.PeerService/Exchange").shaped(Shape::Requests),
    Rpc::new("/consilium.v1.PeerService/Forward"),
    Rpc::new("/consilium.v1.PeerService/RequestTimeBlock"),
    Rpc::new("/consilium.v1.PeerService/FetchBlocks").shaped(Shape::Answers),
    Rpc::new("/consilium.v1.PeerService/FetchAttachments"),
    Rpc::new("/consilium.v1.PeerService/GetCertifiedHead"),
];

/// By path.
pub(crate) type Table = BTreeMap<&'static str, Rpc>;

/// What clients may call.
pub(crate) fn of_clients() -> Table {
    RPCS.into_iter().map(|rpc| (rpc.path, rpc)).collect()
}

/// What the other nodes may call.
pub(crate) fn of_peers() -> Table {
    let message_bytes_max = crate::transport::PEER_MESSAGE_BYTES_MAX;
    PEER_RPCS.into_iter().map(|rpc| (rpc.path, Rpc { message_bytes_max, ..rpc })).collect()
}

/// The services that clients may call, with their packages.
pub(crate) fn services() -> BTreeSet<&'static str> {
    RPCS.iter().map(Rpc::service).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::pb;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Every call of a set of descriptors, with its shape.
    fn described(set: &[u8]) -> Vec<(String, Shape)> {
        let mut calls = Vec::new();
        for file in FileDescriptorSet::decode(set).unwrap().file {
            for service in &file.service {
                calls.extend(service.method.iter().map(|method| {
                    let shape = match (method.client_streaming(), method.server_streaming()) {
                        (false, false) => Shape::Unary,
                        (false, true) => Shape::Answers,
                        (true, false) => Shape::Requests,
                        (true, true) => Shape::Both,
                    };
                    (format!("/{}.{}/{}", file.package(), service.name(), method.name()), shape)
                }));
            }
        }
        calls.sort_by(|(one, _), (other, _)| one.cmp(other));
        calls
    }

    fn written(table: &Table) -> Vec<(String, Shape)> {
        table.values().map(|rpc| (rpc.path.to_owned(), rpc.shape)).collect()
    }

    #[test]
    fn what_is_described_is_what_can_be_called() {
        let (peers, mut clients): (Vec<_>, Vec<_>) = described(pb::FILE_DESCRIPTOR_SET)
            .into_iter()
            .partition(|(path, _)| path.starts_with("/consilium.v1.PeerService/"));
        clients.extend(described(tonic_health::pb::FILE_DESCRIPTOR_SET));
        clients.extend(described(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET));
        clients.extend(described(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET));
        clients.sort_by(|(one, _), (other, _)| one.cmp(other));
        assert_eq!(written(&of_clients()), clients);
        assert_eq!(written(&of_peers()), peers);
        assert_eq!((of_clients().len(), of_peers().len()), (RPCS.len(), PEER_RPCS.len()), "none is there twice");
    }

    #[test]
    fn whoever_may_not_call_is_told_why() {
        for rpc in of_clients().values() {
            assert_eq!(rpc.why.is_empty(), rpc.who.len() == Role::ALL.len(), "{}", rpc.path);
        }
    }

    #[test]
    fn what_can_be_called_stands_in_the_table_of_roles() {
        let page = include_str!("../../../docs/roles.md");
        for rpc in of_clients().values() {
            let (package_and_service, method) = rpc.path.trim_start_matches('/').split_once('/').unwrap();
            let service = package_and_service.rsplit('.').next().unwrap();
            let rows: Vec<_> =
                page.lines().filter(|line| line.starts_with(&format!("| `{service}/{method}`"))).collect();
            assert!(!rows.is_empty(), "{} is not in docs/roles.md", rpc.path);
            let judged = rows.iter().any(|row| row.contains("PD*"));
            assert_eq!(judged, rpc.who.len() < Role::ALL.len(), "{}", rpc.path);
        }
    }

    #[test]
    fn what_can_be_called_is_a_list_of_services() {
        let services = services();
        assert!(services.contains("consilium.v1.AccessService") && services.contains("grpc.health.v1.Health"));
        assert!(!services.contains("consilium.v1.PeerService"));
    }
}
