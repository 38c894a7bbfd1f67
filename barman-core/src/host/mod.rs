//! Things of this host: hook scripts, child processes, external commands.
