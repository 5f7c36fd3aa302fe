//! A member's CA bundle. It may be replaced only by one that shares a CA with
//! it, so that identities can be renewed before their CA goes; after a
//! compromise it may be replaced altogether. Either way no identity that was
//! enrolled under a CA that left acts any more.

use bytes::Bytes;
use consilium_proto::names::MemberId;
use consilium_proto::pb::Outcome;

use crate::authorities;

use super::{Change, Unfit, fits, present_member};
use crate::view::{StateReader, View};

pub(super) fn rotate<R: StateReader>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    id: &MemberId,
    bundle: &[Bytes],
    without_overlap: bool,
) -> Result<(), Unfit> {
    let mut member = present_member(view, id.as_str())?;
    let refuse = Outcome::ProposalRefused;
    fits(change.identities.check_bundle(id, bundle), refuse, || format!("the CA bundle does not name {id}"))?;
    fits(member.ca_bundle != bundle, refuse, || format!("{id} has this CA bundle"))?;
    let overlaps = without_overlap || authorities::overlap(change.identities, &member.ca_bundle, bundle);
    fits(overlaps, refuse, || {
        format!(
            "the new CA bundle holds none of the present CAs of {id}: all of its identities would have to enrol again"
        )
    })?;
    let dead = authorities::holds_revoked(view, change.identities, &member, bundle)?;
    fits(!dead, refuse, || format!("the new CA bundle of {id} holds a CA that another one of its CAs has revoked"))?;
    authorities::change_bundle(view, change.identities, &mut member, bundle)?;
    view.put_member(&member);
    Ok(())
}
