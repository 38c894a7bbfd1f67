//! To be filled.
use crate::conformance::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    Vec::new()
}
