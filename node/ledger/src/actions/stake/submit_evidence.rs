//! Proof of double signing, by anyone who is enrolled: it speaks for itself.

use consilium_proto::vote::Equivocation;

use crate::actions::Context;
use crate::penalty;
use crate::rules::Refusal;
use crate::view::{StateReader, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    evidence: &Equivocation,
) -> Result<(), Refusal> {
    penalty::punish(view, cx.epoch, (cx.ledger_id, cx.height), evidence)
}
