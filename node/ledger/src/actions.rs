//! One file per action. Each is a function of the view and the transaction's
//! context that either changes the view or refuses; a refusal of one action
//! undoes the whole transaction.

mod access;
mod changes;
mod consents;
mod custody;
mod deputies;
mod disclosures;
mod emergencies;
mod enroll;
mod governance;
mod nodes;
mod patients;
mod petitions;
mod publish_revocations;
mod recipients;
mod retract_record;
mod salts;
mod stake;
mod units;
mod write_record;

use consilium_proto::access::PolicyRules;
use consilium_proto::ids::{Height, LedgerId, TimeMs};
use consilium_proto::limits::SEQUENCES_PER_LEAF;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{MemberState, MemberStatus, Outcome, SignerState};
use consilium_proto::transaction::{Action, Attachment, Transaction};

pub(crate) use recipients::is_newest_key;

use crate::in_force::EpochInForce;
use crate::keys;
use crate::missing::Missing;
use crate::roster::corrupt;
use crate::rules::{IdentityRules, Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// What an action may know beside the state.
pub(crate) struct Context<'a> {
    pub(crate) ledger_id: LedgerId,
    pub(crate) epoch: &'a EpochInForce,
    pub(crate) transaction: &'a Transaction,
    pub(crate) leaf_index: u64,
    pub(crate) height: Height,
    pub(crate) time: TimeMs,
    pub(crate) identities: &'a dyn IdentityRules,
    pub(crate) policy: &'a dyn PolicyRules,
}

/// With what a transaction was signed.
pub(crate) enum Signer {
    /// The key of the certificate that it enrols.
    Certificate,
    /// A key that is enrolled.
    Enrolled(SignerState),
}

/// Who acts.
pub(crate) struct Author {
    pub(crate) id: SpiffeId,
}

impl Author {
    /// Who enrolled. Only verified names are enrolled: another is a damaged row.
    fn of(signer: &SignerState) -> Result<Self, StoreFault> {
        let id = signer.spiffe_id.parse().map_err(|e| corrupt(format!("signer: {e}")))?;
        Ok(Self { id })
    }

    pub(crate) fn member(&self) -> &str {
        self.id.member().as_str()
    }

    /// Only administrators act for their member.
    pub(crate) fn ensure_admin(&self) -> Result<(), Refusal> {
        ensure(self.id.role() == Role::Admin, Outcome::RoleNotAllowed)
    }

    /// Only those who treat patients, and their systems, write records.
    pub(crate) fn ensure_writer(&self) -> Result<(), Refusal> {
        let writes = match self.id.role() {
            Role::Service | Role::Clinician | Role::Device => true,
            Role::Node | Role::Admin | Role::Researcher | Role::Auditor | Role::Patient => false,
        };
        ensure(writes, Outcome::RoleNotAllowed)
    }

    /// Only who meets patients, and the systems of those, say who is who.
    pub(crate) fn ensure_registrar(&self) -> Result<(), Refusal> {
        let registers = match self.id.role() {
            Role::Service | Role::Clinician => true,
            Role::Node | Role::Admin | Role::Researcher | Role::Auditor | Role::Patient | Role::Device => false,
        };
        ensure(registers, Outcome::RoleNotAllowed)
    }
}

/// Executes all actions of a transaction whose signature was checked.
pub(crate) fn run<R: StateReader>(view: &mut View<'_, R>, cx: &Context<'_>, signer: &Signer) -> Result<(), Refusal> {
    let author = match (cx.transaction.enrollment(), signer) {
        (Some(enrollment), _) => return enroll::run(view, cx, enrollment),
        (None, Signer::Enrolled(signer)) => admit(view, cx.time, signer)?,
        (None, Signer::Certificate) => return Err(Refusal::Rejected(Outcome::RoleNotAllowed)),
    };
    store_attachments(view, cx);
    for (index, action) in cx.transaction.actions.iter().enumerate() {
        match action {
            Action::Enroll(_) => return Err(Refusal::Rejected(Outcome::RoleNotAllowed)),
            Action::AssignUnit(assign) => units::assign(view, &author, assign)?,
            Action::PublishRevocations(crl) => publish_revocations::run(view, cx, &author, crl)?,
            Action::SetCustodyKey(key) => custody::set(view, cx, &author, key)?,
            Action::Custody(action) => deputies::run(view, cx, &author, action)?,
            Action::WriteRecord(write) => {
                write_record::run(view, cx, &author, write, sequence(cx, index))?;
            }
            Action::RetractRecord(retract) => retract_record::run(view, cx, &author, *retract)?,
            Action::ConfirmRetraction(confirm) => retract_record::confirm(view, cx, &author, *confirm)?,
            Action::Patient(action) => patients::run(view, cx, &author, action)?,
            Action::Consent(action) => consents::run(view, cx, &author, action)?,
            Action::RequestAccess(request) => access::run(view, cx, &author, request)?,
            Action::AddWraps(add) => custody::add_wraps(view, cx, &author, add)?,
            Action::Emergency(action) => emergencies::run(view, cx, &author, action)?,
            Action::Petition(action) => petitions::run(view, cx, &author, action, sequence(cx, index))?,
            Action::Disclosure(action) => disclosures::run(view, cx, &author, action)?,
            Action::Stake(action) => stake::run(view, cx, &author, action)?,
            Action::Node(action) => nodes::run(view, cx, &author, action)?,
            Action::Governance(action) => governance::run(view, cx, &author, action)?,
        }
    }
    Ok(())
}

/// The place of an action among all that are ever executed.
fn sequence(cx: &Context<'_>, index: usize) -> u64 {
    cx.leaf_index * SEQUENCES_PER_LEAF + index as u64
}

/// Stores all attachments, whatever actions they belong to: before these run,
/// so that what one of them erases stays erased. What a peer's block came without is
/// noted as missing; a later block that erases it takes that back.
fn store_attachments<R: StateReader>(view: &mut View<'_, R>, cx: &Context<'_>) {
    for Attachment { commitment, bytes } in &cx.transaction.attachments {
        if bytes.is_empty() {
            view.put_row(Missing { commitment: *commitment, height: cx.height }.note());
        } else {
            let (table, key) = keys::attachment(&commitment.slot);
            view.put(table, key, bytes.clone());
        }
    }
}

/// Whether the author may act at all, at a block's time.
pub(crate) fn admit<R: StateReader>(view: &View<'_, R>, time: TimeMs, signer: &SignerState) -> Result<Author, Refusal> {
    let author = Author::of(signer)?;
    let now_s = time.0 / 1_000;
    ensure((signer.not_before_s..=signer.not_after_s).contains(&now_s), Outcome::AuthorExpired)?;
    ensure(signer.revoked_ms == 0, Outcome::AuthorRevoked)?;
    let member = active_member(view, author.member())?;
    // The CA that vouched for it does so no longer.
    ensure(!member.withdrawn.contains(&signer.authority), Outcome::AuthorRevoked)?;
    Ok(author)
}

/// The member's state, if it is active.
pub(crate) fn active_member<R: StateReader>(view: &View<'_, R>, id: &str) -> Result<MemberState, Refusal> {
    let member: MemberState =
        view.message(Table::State, &keys::member(id))?.ok_or(Refusal::Rejected(Outcome::MemberNotActive))?;
    ensure(member.status == MemberStatus::Active as i32, Outcome::MemberNotActive)?;
    Ok(member)
}
