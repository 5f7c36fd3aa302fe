//! How large a policy may be. The limits bound what parsing, validating and deciding take in
//! time and stack, for any text. Recursion that brackets do not show, such as `!!a` and
//! `a && b && c`, is bounded by the tokens until the text is parsed, and then measured.

/// Bytes of the text.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;
/// Policies of a text.
pub const POLICIES_MAX: usize = 64;
/// Bytes of one policy, from its first annotation to its semicolon.
pub const POLICY_BYTES_MAX: usize = 4 * 1024;
/// Tokens of one policy.
pub const POLICY_TOKENS_MAX: usize = 500;
/// Brackets within brackets, of all three kinds together.
pub const BRACKETS_MAX: usize = 16;
/// Expressions within expressions of one policy, its clauses counted: a chain of n terms joined
/// by `&&`, `||` or `+` is n deep. Evaluating takes some 4 KiB of stack for each.
pub const POLICY_NESTED_MAX: usize = 64;
/// Characters of the id of a policy.
pub const ID_CHARS_MAX: usize = 64;

const _: () =
    assert!(TEXT_BYTES_MAX <= consilium_proto::limits::POLICY_BYTES_MAX, "what is a policy here fits into a proposal");
