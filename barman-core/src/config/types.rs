//! The enumerations and sets that option values are made of. Their `Display` is the text that Barman shows.

use std::fmt;

pub use barman_catalog::retention::{RetentionPolicy, WindowUnit};

/// Declares an enumeration whose words are fixed texts of the configuration.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every word, in the order of the documentation.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The value that a word of the configuration (lower case) stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// The word of the configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// `backup_method`.
    BackupMethod {
        /// rsync over SSH.
        Rsync = "rsync",
        /// Streaming base backup.
        Postgres = "postgres",
        /// rsync on the same host.
        LocalRsync = "local-rsync",
        /// Snapshots of cloud disks.
        Snapshot = "snapshot",
        /// From local disk to object storage.
        LocalToCloud = "local-to-cloud",
    }
}

words! {
    /// `reuse_backup`.
    ReuseBackup {
        /// Copy what has not changed from the previous backup.
        Copy = "copy",
        /// Hard-link what has not changed.
        Link = "link",
        /// Copy everything.
        Off = "off",
    }
}

words! {
    /// `backup_compression`.
    BackupCompression {
        /// gzip.
        Gzip = "gzip",
        /// lz4 frames.
        Lz4 = "lz4",
        /// zstd.
        Zstd = "zstd",
        /// A tar file, not compressed.
        None = "none",
    }
}

words! {
    /// `backup_compression_format`.
    CompressionFormat {
        /// Files as in the data directory.
        Plain = "plain",
        /// Tar files.
        Tar = "tar",
    }
}

words! {
    /// `backup_compression_location`.
    CompressionLocation {
        /// On the backup host.
        Client = "client",
        /// On the PostgreSQL host.
        Server = "server",
    }
}

words! {
    /// `encryption`.
    Encryption {
        /// GnuPG.
        Gpg = "gpg",
    }
}

words! {
    /// `create_slot`.
    CreateSlot {
        /// The user creates the slot.
        Manual = "manual",
        /// `receive-wal` creates a missing slot.
        Auto = "auto",
    }
}

words! {
    /// `compression` of WAL files.
    WalCompression {
        /// gzip.
        Gzip = "gzip",
        /// bzip2.
        Bzip2 = "bzip2",
        /// Deprecated name of gzip.
        Pygzip = "pygzip",
        /// Deprecated name of bzip2.
        Pybzip2 = "pybzip2",
        /// gzip, parallel.
        Pigz = "pigz",
        /// xz.
        Xz = "xz",
        /// zstd.
        Zstd = "zstd",
        /// lz4 frames.
        Lz4 = "lz4",
        /// snappy frames.
        Snappy = "snappy",
        /// `custom_compression_filter` (deprecated).
        Custom = "custom",
    }
}

words! {
    /// `staging_location`.
    StagingLocation {
        /// On the backup host.
        Local = "local",
        /// On the destination host.
        Remote = "remote",
    }
}

words! {
    /// `combine_mode`.
    CombineMode {
        /// Copy bytes.
        Copy = "copy",
        /// Hard links.
        Link = "link",
        /// Reflinks.
        Clone = "clone",
        /// `copy_file_range`.
        CopyFileRange = "copy-file-range",
    }
}

/// `backup_options`, a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// `concurrent_backup`.
    pub concurrent_backup: bool,
    /// `exclusive_backup` (deprecated).
    pub exclusive_backup: bool,
    /// `external_configuration`: no warning about configuration files outside the data directory.
    pub external_configuration: bool,
}

/// `recovery_options`, a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecoveryOptions {
    /// `get-wal`.
    pub get_wal: bool,
    /// `delta-restore`.
    pub delta_restore: bool,
}

/// `compression_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionLevel {
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// A number in the algorithm's own scale, not clamped yet.
    Number(i32),
}

impl CompressionLevel {
    /// The level in the scale of `algorithm`, clamped into its range; `None` if it has no levels.
    #[must_use]
    pub fn resolve(self, algorithm: WalCompression) -> Option<i32> {
        let (min, max, low, medium, high) = match algorithm {
            WalCompression::Gzip | WalCompression::Pygzip | WalCompression::Pigz => (1, 9, 1, 6, 9),
            WalCompression::Bzip2 | WalCompression::Pybzip2 => (1, 9, 1, 5, 9),
            WalCompression::Xz => (1, 9, 1, 3, 5),
            WalCompression::Zstd => (-22, 22, 1, 4, 9),
            WalCompression::Lz4 => (0, 16, 0, 6, 10),
            WalCompression::Snappy | WalCompression::Custom => return None,
        };
        Some(match self {
            Self::Low => low,
            Self::Medium => medium,
            Self::High => high,
            Self::Number(level) => level.clamp(min, max),
        })
    }
}

impl fmt::Display for CompressionLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Low => f.write_str("low"),
            Self::Medium => f.write_str("medium"),
            Self::High => f.write_str("high"),
            Self::Number(level) => write!(f, "{level}"),
        }
    }
}

/// Parses `retention_policy`: `REDUNDANCY <n>` or `RECOVERY WINDOW OF <n> DAYS|WEEKS|MONTHS` (singular too, any case).
#[must_use]
pub fn parse_retention_policy(text: &str) -> Option<RetentionPolicy> {
    let words: Vec<String> = text.split_whitespace().map(str::to_uppercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    match words.as_slice() {
        ["REDUNDANCY", count] => number(count).map(RetentionPolicy::Redundancy),
        ["RECOVERY", "WINDOW", "OF", count, unit] => {
            let unit = match *unit {
                "DAY" | "DAYS" => WindowUnit::Days,
                "WEEK" | "WEEKS" => WindowUnit::Weeks,
                "MONTH" | "MONTHS" => WindowUnit::Months,
                _ => return None,
            };
            number(count).map(|count| RetentionPolicy::RecoveryWindow { count, unit })
        }
        _ => None,
    }
}
