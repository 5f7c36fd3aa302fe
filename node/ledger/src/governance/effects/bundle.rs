//! A member's CA bundle. It may be replaced only by one that shares a CA with
//! it, so that identities can be renewed before their CA goes; after a
//! compromise it may be replaced altogether, and then no identity that enrolled
//! under the CAs that left acts any more.

use bytes::Bytes;
use consilium_proto::names::MemberId;
use consilium_proto::pb::Outcome;

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
    let overlaps = overlaps(&member.ca_bundle, bundle);
    fits(overlaps || without_overlap, refuse, || {
        format!(
            "the new CA bundle holds none of the present CAs of {id}: all of its identities would have to enrol again"
        )
    })?;
    // A list of a CA that has left the bundle no longer verifies and goes.
    member.crls.retain(|crl| change.identities.verify_revocations(crl, bundle).is_some());
    member.ca_bundle = bundle.to_vec();
    if !overlaps {
        member.enrolled_above = change.height.0;
    }
    view.put_member(&member);
    Ok(())
}

/// Whether two bundles share a CA.
fn overlaps(present: &[Bytes], new: &[Bytes]) -> bool {
    present.iter().any(|ca| new.contains(ca))
}
