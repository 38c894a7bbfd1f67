//! The one place of this crate that reads the environment of the process.

/// The value of an environment variable, if it is set, not empty, and UTF-8.
#[must_use]
#[allow(clippy::disallowed_methods)] // The single reading point; callers replace it through `ConnectOptions`.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
