//! The table of every option. Under construction.
use super::value::Value;

/// One option.
pub struct OptionDef {
    /// Its name.
    pub name: &'static str,
}
/// Every server option, sorted by name.
pub static SERVER_OPTIONS: &[OptionDef] = &[];
/// Index of an option in [`SERVER_OPTIONS`].
#[must_use]
pub fn position(name: &str) -> Option<usize> {
    SERVER_OPTIONS.binary_search_by(|option| option.name.cmp(name)).ok()
}
const _: Option<Value> = None;
