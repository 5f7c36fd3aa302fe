//! What a transaction may do: one variant per action, or per family of actions that other
//! modules parse. Nothing here looks at state.

use bytes::Bytes;

use super::{
    AddWraps, AssignUnit, ConfirmRetraction, ConsentAction, CustodyAction, DisclosureAction, EmergencyAction, Enroll,
    GovernanceAction, NodeAction, PatientAction, PetitionAction, RequestAccess, RetractRecord, StakeAction,
    WriteRecord,
};
use crate::error::{FieldError, fixed, length_in};
use crate::ids::KeyId;
use crate::limits::CRL_BYTES_MAX;
use crate::pb;

/// A parsed action.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// See `EnrollIdentity`.
    Enroll(Enroll),
    /// See `AssignUnit`.
    AssignUnit(AssignUnit),
    /// See `PublishRevocations`: a DER revocation list.
    PublishRevocations(Bytes),
    /// See `SetCustodyKey`.
    SetCustodyKey(KeyId),
    /// About who acts in a custodian's place.
    Custody(CustodyAction),
    /// See `WriteRecord`.
    WriteRecord(WriteRecord),
    /// See `RetractRecord`.
    RetractRecord(RetractRecord),
    /// See `ConfirmRetraction`.
    ConfirmRetraction(ConfirmRetraction),
    /// About a patient.
    Patient(PatientAction),
    /// About a consent.
    Consent(ConsentAction),
    /// See `RequestAccess`.
    RequestAccess(RequestAccess),
    /// See `AddWraps`.
    AddWraps(AddWraps),
    /// About an emergency.
    Emergency(EmergencyAction),
    /// About a petition of a patient.
    Petition(PetitionAction),
    /// About a disclosure under a legal duty.
    Disclosure(DisclosureAction),
    /// About stake and validators.
    Stake(StakeAction),
    /// About an own node.
    Node(NodeAction),
    /// About a proposal.
    Governance(GovernanceAction),
}

impl Action {
    /// Whether it tells of a patient: that there is one, who cares for it, what is written,
    /// read and consented to.
    #[must_use]
    pub fn tells_of_patients(&self) -> bool {
        match self {
            Self::WriteRecord(_)
            | Self::RetractRecord(_)
            | Self::ConfirmRetraction(_)
            | Self::Patient(_)
            | Self::Consent(_)
            | Self::RequestAccess(_)
            | Self::AddWraps(_)
            | Self::Emergency(_)
            | Self::Petition(_)
            | Self::Disclosure(_) => true,
            Self::Enroll(_)
            | Self::AssignUnit(_)
            | Self::PublishRevocations(_)
            | Self::SetCustodyKey(_)
            | Self::Custody(_)
            | Self::Stake(_)
            | Self::Node(_)
            | Self::Governance(_) => false,
        }
    }

    /// Parses and checks.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(m: pb::Action) -> Result<Self, FieldError> {
        use pb::action::Action as Pb;
        match m.action {
            None => Err(FieldError::missing("action")),
            Some(Pb::EnrollIdentity(e)) => Enroll::parse(e).map(Self::Enroll).map_err(|e| e.within("enroll_identity")),
            Some(Pb::PublishRevocations(p)) => {
                length_in("publish_revocations.crl", p.crl.len(), 1, CRL_BYTES_MAX)?;
                Ok(Self::PublishRevocations(p.crl))
            }
            Some(Pb::SetCustodyKey(m)) => {
                let id = fixed("set_custody_key.encryption_key_id", &m.encryption_key_id)?;
                Ok(Self::SetCustodyKey(KeyId::from_bytes(id)))
            }
            Some(Pb::NameDeputy(m)) => {
                CustodyAction::name_deputy(&m).map(Self::Custody).map_err(|e| e.within("name_deputy"))
            }
            Some(Pb::AcceptCustody(m)) => {
                CustodyAction::accept(&m).map(Self::Custody).map_err(|e| e.within("accept_custody"))
            }
            Some(Pb::AssignUnit(m)) => AssignUnit::parse(&m).map(Self::AssignUnit).map_err(|e| e.within("assign_unit")),
            Some(Pb::WriteRecord(w)) => {
                WriteRecord::parse(&w).map(Self::WriteRecord).map_err(|e| e.within("write_record"))
            }
            Some(Pb::RetractRecord(r)) => {
                RetractRecord::parse(&r).map(Self::RetractRecord).map_err(|e| e.within("retract_record"))
            }
            Some(Pb::ConfirmRetraction(m)) => {
                ConfirmRetraction::parse(&m).map(Self::ConfirmRetraction).map_err(|e| e.within("confirm_retraction"))
            }
            Some(Pb::RegisterPatient(m)) => {
                PatientAction::register(&m).map(Self::Patient).map_err(|e| e.within("register_patient"))
            }
            Some(Pb::AddLookups(m)) => {
                PatientAction::add_lookups(&m).map(Self::Patient).map_err(|e| e.within("add_lookups"))
            }
            Some(Pb::AcceptPatient(m)) => {
                PatientAction::accept(&m).map(Self::Patient).map_err(|e| e.within("accept_patient"))
            }
            Some(Pb::LinkPatients(m)) => {
                PatientAction::link(&m).map(Self::Patient).map_err(|e| e.within("link_patients"))
            }
            Some(Pb::UnlinkPatients(m)) => {
                PatientAction::unlink(&m).map(Self::Patient).map_err(|e| e.within("unlink_patients"))
            }
            Some(Pb::AttestCare(m)) => {
                PatientAction::attest_care(&m).map(Self::Patient).map_err(|e| e.within("attest_care"))
            }
            Some(Pb::AttestDeath(m)) => {
                PatientAction::attest_death(&m).map(Self::Patient).map_err(|e| e.within("attest_death"))
            }
            Some(Pb::PutPatientSalt(m)) => {
                PatientAction::put_salt(&m).map(Self::Patient).map_err(|e| e.within("put_patient_salt"))
            }
            Some(Pb::PutConsent(m)) => ConsentAction::put(&m).map(Self::Consent).map_err(|e| e.within("put_consent")),
            Some(Pb::RevokeConsent(m)) => {
                ConsentAction::revoke(&m).map(Self::Consent).map_err(|e| e.within("revoke_consent"))
            }
            Some(Pb::RequestAccess(m)) => {
                RequestAccess::parse(&m).map(Self::RequestAccess).map_err(|e| e.within("request_access"))
            }
            Some(Pb::AddWraps(m)) => AddWraps::parse(&m).map(Self::AddWraps).map_err(|e| e.within("add_wraps")),
            Some(Pb::DeclareEmergency(m)) => {
                EmergencyAction::declare(&m).map(Self::Emergency).map_err(|e| e.within("declare_emergency"))
            }
            Some(Pb::ReviewEmergency(m)) => {
                EmergencyAction::review(&m).map(Self::Emergency).map_err(|e| e.within("review_emergency"))
            }
            Some(Pb::OpenPetition(m)) => {
                PetitionAction::open(&m).map(Self::Petition).map_err(|e| e.within("open_petition"))
            }
            Some(Pb::AnswerPetition(m)) => {
                PetitionAction::answer(&m).map(Self::Petition).map_err(|e| e.within("answer_petition"))
            }
            Some(Pb::Disclose(m)) => {
                DisclosureAction::disclose(&m).map(Self::Disclosure).map_err(|e| e.within("disclose"))
            }
            Some(Pb::ConfirmDisclosure(m)) => {
                DisclosureAction::confirm(&m).map(Self::Disclosure).map_err(|e| e.within("confirm_disclosure"))
            }
            Some(Pb::Delegate(m)) => StakeAction::delegate(&m).map(Self::Stake).map_err(|e| e.within("delegate")),
            Some(Pb::Redelegate(m)) => StakeAction::redelegate(&m).map(Self::Stake).map_err(|e| e.within("redelegate")),
            Some(Pb::Undelegate(m)) => StakeAction::undelegate(&m).map(Self::Stake).map_err(|e| e.within("undelegate")),
            Some(Pb::ReleaseValidator(m)) => {
                StakeAction::release(&m).map(Self::Stake).map_err(|e| e.within("release_validator"))
            }
            Some(Pb::AnnounceMaintenance(m)) => {
                StakeAction::maintenance(&m).map(Self::Stake).map_err(|e| e.within("announce_maintenance"))
            }
            Some(Pb::SubmitEvidence(m)) => {
                StakeAction::evidence(&m).map(Self::Stake).map_err(|e| e.within("submit_evidence"))
            }
            Some(Pb::RegisterNode(m)) => {
                NodeAction::register(&m).map(Self::Node).map_err(|e| e.within("register_node"))
            }
            Some(Pb::ReplaceNode(m)) => NodeAction::replace(&m).map(Self::Node).map_err(|e| e.within("replace_node")),
            Some(Pb::RetireNode(m)) => NodeAction::retire(&m).map(Self::Node).map_err(|e| e.within("retire_node")),
            Some(Pb::Propose(m)) => GovernanceAction::propose(m).map(Self::Governance).map_err(|e| e.within("propose")),
            Some(Pb::CastBallot(m)) => {
                GovernanceAction::ballot(&m).map(Self::Governance).map_err(|e| e.within("cast_ballot"))
            }
            Some(Pb::CancelProposal(m)) => {
                GovernanceAction::cancel(&m).map(Self::Governance).map_err(|e| e.within("cancel_proposal"))
            }
        }
    }
}
