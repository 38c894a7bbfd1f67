//! The test kit: real PostgreSQL clusters of every supported major, the oracle (Barman 3.20.1), a throw-away Barman home to run both
//! programs in, ports, temporary directories, polling.
//!
//! Nothing here is ever a mock. Whatever a test starts through the kit is stopped and removed when its handle is dropped, also when the test
//! panics; when the test itself is killed, servers are told by the kernel and left-over directories are swept by the next run.
//! `cargo xtask setup` provides what the kit needs; the kit itself installs nothing.
//!
//! ```no_run
//! use testkit::{Cluster, Sandbox, Mode};
//!
//! # fn main() -> anyhow::Result<()> {
//! let cluster = Cluster::builder(18).conf("wal_keep_size", "64MB").start()?;
//! cluster.sql("CREATE TABLE t (id int)")?;
//!
//! let sandbox = Sandbox::builder("main").cluster(&cluster).mode(Mode::Streaming).build()?;
//! let _receiver = sandbox.barman()?.spawn(["receive-wal", "main"])?;
//! testkit::wait_until("the receiver streams", std::time::Duration::from_secs(10), || {
//!     Ok(cluster.sql_value("SELECT count(*) FROM pg_stat_replication")? == "1")
//! })?;
//! let backup = sandbox.barman()?.run(["backup", "--wait", "main"])?;
//! assert_eq!(backup.code, Some(0), "{backup}");
//!
//! let restored = sandbox.dir().join("restored");
//! sandbox.oracle()?.ok(["restore", "main", "latest", restored.to_str().unwrap_or_default()])?;
//! let server = Cluster::builder(18).open(&restored)?;
//! server.wait_primary(std::time::Duration::from_secs(30))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Faults
//!
//! [`proxy`] stands between a program and a server and stalls, cuts, delays or corrupts what passes; [`SmallFs`] is a file system that is
//! soon full; [`strace`] kills a program at a chosen system call, or makes the call fail. A test that needs TLS, lz4, zstd or a
//! client tool takes a tree by its [`Needs`].
//!
//! ```no_run
//! use testkit::proxy::{Action, Fault, Proxy, What};
//! use testkit::{Cluster, FsKind, FsSize, Mode, Needs, PgTree, Sandbox, SmallFs};
//!
//! # fn main() -> anyhow::Result<()> {
//! let tree = PgTree::lowest_with(Needs { client_tools: true, ..Needs::default() })?;
//! let cluster = Cluster::builder(tree.major()).tree(tree).start()?;
//! let proxy = Proxy::to(&cluster)?;
//! let mut sandbox = Sandbox::builder("main").cluster(&cluster).mode(Mode::Streaming).build()?;
//! sandbox.set_option("streaming_conninfo", &proxy.conninfo(&cluster.tcp_streaming_conninfo()))?;
//! // The connection breaks at the tenth piece of the base backup ...
//! proxy.set([Fault::to_client(What::CopyData(b'd'), 10, Action::Reset)]);
//! assert_eq!(sandbox.barman()?.run(["backup", "main"])?.code, Some(1));
//! // ... and the next one runs out of space.
//! proxy.clear();
//! let full = SmallFs::new(FsKind::Tmpfs, FsSize::mib(16), &sandbox.home())?;
//! assert_eq!(sandbox.barman()?.run(["backup", "main"])?.code, Some(1));
//! # drop(full);
//! # Ok(())
//! # }
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test kit reads its own switches from the environment, renames its own caches, and reports on stderr"
)]

pub mod cache;
pub mod catalogue;
pub mod cluster;
pub mod dirs;
pub mod executed;
mod paused;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod sandbox;
pub mod segment;
pub mod small_fs;
pub mod sshd;
pub mod strace;
pub mod template;
pub mod tree;
pub mod trees;
pub mod user;
mod wait;

pub use cluster::{Cluster, ClusterBuilder, Stop};
pub use dirs::TestDir;
pub use paused::Paused;
pub use process::{Background, Finished, Program};
pub use proxy::Proxy;
pub use sandbox::{Mode, Sandbox, SandboxBuilder};
pub use segment::Segment;
pub use small_fs::{FsKind, FsSize, SmallFs};
pub use sshd::Sshd;
pub use trees::{ALL_MAJORS, Needs, PgTree};
pub use wait::{interrupt_flag, wait_until};

/// Environment variable by which `cargo xtask test --long` tells tests that they may take their time.
pub const LONG_ENV: &str = "BARMAN_RS_LONG";

/// Whether this run is the long one: full sizes, full matrices.
pub fn is_long() -> bool {
    std::env::var_os(LONG_ENV).is_some_and(|value| !value.is_empty())
}
