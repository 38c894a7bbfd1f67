//! The command `barman` as a library: the thin binary hands its arguments to [`run`] and ends with the exit code.
//!
//! Everything that users see is made here: the grammar ([`args`]), messages, results and progress ([`output`]), the
//! texts of sizes and times ([`format`]), the log ([`logging`]). What the commands do lives in `barman_core`.
//!
//! ```
//! let early = barman_cli::args::parse(["barman", "--version"].map(Into::into)).unwrap_err();
//! assert!(early.text.starts_with("3.20.1 Barman by EnterpriseDB"));
//! assert_eq!(early.exit_code, 0);
//! ```

pub mod args;
mod environment;
pub mod format;
pub mod logging;
pub mod output;
pub mod redact;
pub mod signals;
pub mod user;
