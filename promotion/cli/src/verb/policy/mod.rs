//! `civ policy`: preparing trust policies.

mod document;
pub(super) mod pin;
