//! What operations need from the host: running commands, hook scripts, background children, signals to processes.

pub mod command;
pub mod environment;
pub mod filter;
pub mod hooks;
pub mod process;
