//! When an epoch ends.

use crate::view::{StateReader, View};

use crate::in_force::BlockEnd;

/// Whether a block ends its epoch: its time has come, it has as many blocks as
/// an epoch may have, or a seat must not stay as it is.
pub(super) fn is_due<R: StateReader>(view: &View<'_, R>, block: &BlockEnd<'_>) -> bool {
    let epoch = block.epoch;
    let ends_ms = epoch.state.start_ms.saturating_add(epoch.parameters.epoch_ms);
    let blocks = (block.height.0 + 1).saturating_sub(epoch.state.first_height);
    block.time.0 >= ends_ms || blocks >= epoch.parameters.epoch_blocks || view.epoch_end_requested()
}
