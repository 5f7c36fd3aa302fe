//! What must hold after every step, one file for each invariant. Their numbers, and
//! those that other tests cover, are in `docs/simulator.md`; the guarantees that
//! they serve (G1 to G3, G10) in `docs/guarantees.md`.

pub mod i01_chain;
pub mod i02_one_certificate;
pub mod i03_certificate;
pub mod i05_state_root;
pub mod i06_replay;
pub mod i07_durable;
pub mod i09_vote_guard;
pub mod i11_watermark;
pub mod i12_raft_safety;
pub mod i13_voters;
pub mod i14_progress;
pub mod i16_raft_ids;
pub mod i18_once;
pub mod i19_time;
pub mod i20_progress_resumes;
pub mod i21_linearizable;
pub mod i22_bounded;
pub mod i23_meaning;
pub mod i25_heard;
pub mod i26_counted;
pub mod i27_needed;
pub mod i28_attachments;
pub mod i29_rights;
pub mod i30_released;
pub mod i31_logged;
pub mod i32_permitted;
pub mod i33_alike;
pub mod i34_disclosed;
pub mod i35_answered;
pub mod i36_linked;
pub mod i37_labelled;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// What a check answers: the text of a violation.
pub type Check = Result<(), String>;
