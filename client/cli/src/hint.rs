//! What the person in front of the screen can do about an error.

use consilium_client::{ClientError, pb};

/// What the person in front of the screen can do about it.
pub(crate) fn hint(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::Setting { .. } => Some("set it in the configuration file, or pass the flag of the same name"),
        ClientError::Transport { .. } => Some("check the endpoints, and that this identity's member is in the genesis"),
        ClientError::NoAddress { .. } => Some("look at the spelling of the endpoint, and at this machine's DNS"),
        ClientError::GaveUp { last, .. } => hint(last).or(Some("sending the same transaction again is safe")),
        ClientError::NodeRefused { refusal, .. } if refusal.is_of_time() => {
            Some("compare this machine's clock; if it is right, that node's certificate has to be renewed")
        }
        ClientError::NodeRefused { .. } => {
            Some("use a node of your own member, or name the member in nodes_of (--nodes-of)")
        }
        ClientError::NoOwnNode { .. } => Some("set nodes_of (--nodes-of) to members whose nodes you may use"),
        ClientError::StaleHead { .. } => Some(
            "compare this machine's clock, then ask another node; `consilium status` shows whether blocks are certified",
        ),
        ClientError::ClockBehind { .. } | ClientError::OwnClock { .. } => Some("set this machine's clock"),
        ClientError::RecipientRefused { .. } => Some("leave out this recipient, or have it renewed and enrolled again"),
        ClientError::Verification(_) => Some("do not trust this answer; ask another node, and tell its operator"),
        ClientError::Rejected { outcome, .. } => outcome_hint(*outcome),
        ClientError::Status { reason, .. } if reason == "UNKNOWN_AUTHOR" => {
            Some("run `consilium identity enroll` first")
        }
        // The same for what is not and for what may not be read: a hint must not tell which.
        error if error.is_no_such_record() => Some(
            "it is not there or may not be read, which look alike: look at the id, --pseudonym and --purpose; if they \
             are right, the patient may consent (`consilium consent put`), and in an emergency there is \
             `consilium emergency declare`",
        ),
        ClientError::Field(_)
        | ClientError::File { .. }
        | ClientError::Status { .. }
        | ClientError::Key(_)
        | ClientError::Signing(_)
        | ClientError::Envelope(_)
        | ClientError::Tls(_)
        | ClientError::Usage(_) => None,
    }
}

/// What to do about a refusal of the rules, where that is not plain from its name.
const OUTCOME_HINTS: [(pb::Outcome, &str); 23] = [
    (
        pb::Outcome::RoleNotAllowed,
        "use an identity whose role may do this; governance, stake and revocation lists are for admins",
    ),
    (pb::Outcome::StakeNotAvailable, "see `consilium stake show`; changes under way count, too"),
    (pb::Outcome::NodeNotFound, "see `consilium governance members`"),
    (pb::Outcome::ReleaseTooEarly, "ask again in the next epoch; see `consilium validators epoch`"),
    (pb::Outcome::NotJailed, "see `consilium validators list`; a penalty is lifted by a proposal"),
    (pb::Outcome::ProposalRefused, "the state has moved on; look again and decide anew"),
    (pb::Outcome::ProposalClosed, "see `consilium governance show`"),
    (pb::Outcome::WouldStrandNetwork, "first have validators elected that can take over"),
    (pb::Outcome::NodeExists, "choose another name, or a new vote key: a key serves one node once"),
    (pb::Outcome::TooManyNodes, "retire a node, or use `consilium governance propose add-node`"),
    (pb::Outcome::TooManyProposals, "cancel open proposals first"),
    (pb::Outcome::TooManySigners, "a certificate takes 16 signing keys; renew it and enrol with the new one"),
    (
        pb::Outcome::NotAccepted,
        "a hospital must accept this identity first, with --may-consent: `consilium patient accept`",
    ),
    (pb::Outcome::ConsentConflict, "another version came first: look again with `consilium consent list`"),
    (pb::Outcome::ConsentNotFound, "see `consilium consent list`; only who put a consent may replace it"),
    (pb::Outcome::LinkConflict, "see `consilium patient show`"),
    (pb::Outcome::TimeRefused, "an end must lie ahead, that of care at most a year"),
    (
        pb::Outcome::PetitionNotFound,
        "see `consilium petition list`; the member that was asked answers, once, and a disagreement follows a refusal",
    ),
    (
        pb::Outcome::CustodianMissing,
        "records of registered patients need a custodian: an administrator names one with `consilium custodian set-key`",
    ),
    (pb::Outcome::ActingMissing, "a system says for whom it declares an emergency: --acting with a file that says so"),
    (
        pb::Outcome::EntryNotFound,
        "give the number of a request of that patient's list (`consilium access log`), and ask the hospital that asked, \
         or whose record it was",
    ),
    (pb::Outcome::NotAmended, "amend the record first, then name that version with --amended"),
    (pb::Outcome::EmergencyNotFound, "an auditor of the member that declared it reviews it, once"),
];

fn outcome_hint(outcome: pb::Outcome) -> Option<&'static str> {
    OUTCOME_HINTS.iter().find(|(about, _)| *about == outcome).map(|(_, hint)| *hint)
}
