//! Enough stack for Cedar, whichever thread calls. Cedar compares what is left of the stack
//! with 100 KiB and gives up below, so how much there is must not depend on the caller.

/// Bytes that must be left where a policy is evaluated. The limits on a policy keep what that
/// takes far below; a test measures it.
pub(crate) const LEFT_BYTES_MIN: usize = 1024 * 1024;
/// Bytes of a stack of our own.
const OWN_BYTES: usize = 16 * 1024 * 1024;

/// Runs where there is enough stack: here, or on a stack of our own.
pub(crate) fn enough<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEFT_BYTES_MIN, OWN_BYTES, run)
}

/// Runs on a stack of our own, the same wherever it is called. For parsing and validation:
/// Cedar's validator does not tell when it gave up.
pub(crate) fn own<T>(run: impl FnOnce() -> T) -> T {
    stacker::grow(OWN_BYTES, run)
}
