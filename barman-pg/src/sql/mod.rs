//! The standard connection: SQL, with one typed function for each thing that is asked of a server. Every name in a
//! statement is qualified or resolved with an empty `search_path`, so nothing in a database can change its meaning.

mod backup;
mod client;
mod exclusive;
mod guard;
mod parse;
mod position;
mod privileges;
pub(crate) mod quote;
mod replication;
mod settings;
mod status;
mod stream;

pub use backup::{BackupStart, BackupStop};
pub use client::{QueryRow, SqlClient};
pub use exclusive::ExclusivePosition;
pub use parse::version_text;
pub use position::{WalPosition, WalSwitch};
pub use privileges::Privileges;
pub use replication::{ClientType, ReplicationSlot, ReplicationStat};
pub use settings::{ArchiverStats, ConfigurationFiles, Tablespace, parse_synchronous_standby_names};
pub use status::{RemoteStatus, StreamingStatus, streaming_status};
