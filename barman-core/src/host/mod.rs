//! What operations need from the host: running commands here and on other hosts, hook scripts, background children, signals to processes.

pub mod answer;
pub mod command;
pub mod environment;
pub mod filter;
pub mod hooks;
pub mod process;
pub mod remote;
pub mod shell;
