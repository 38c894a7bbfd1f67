//! Names of resource managers and of their record types, as `pg_waldump` of each major writes them (PostgreSQL,
//! `rmgrlist.h` and the `identify` functions of `rmgrdesc/`).

use std::borrow::Cow;

/// The upper four bits of `xl_info` are the resource manager's (`XLR_RMGR_INFO_MASK`).
pub(super) const RMGR_INFO_MASK: u8 = 0xF0;
/// Resource managers of extensions have this id or a higher one, since 15 (`RM_MIN_CUSTOM_ID`).
const MIN_CUSTOM_ID: u8 = 128;

/// Which part of the server wrote a record and replays it (`RmgrId`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceManager(u8);

/// In the order of their ids, the same in 10 to 18.
const NAMES: [&str; 22] = [
    "XLOG",
    "Transaction",
    "Storage",
    "CLOG",
    "Database",
    "Tablespace",
    "MultiXact",
    "RelMap",
    "Standby",
    "Heap2",
    "Heap",
    "Btree",
    "Hash",
    "Gin",
    "Gist",
    "Sequence",
    "SPGist",
    "BRIN",
    "CommitTs",
    "ReplicationOrigin",
    "Generic",
    "LogicalMessage",
];

impl ResourceManager {
    /// Checkpoints, switches, restore points.
    pub const XLOG: Self = Self(0);
    /// Commits and aborts.
    pub const TRANSACTION: Self = Self(1);
    /// Running transactions, locks.
    pub const STANDBY: Self = Self(8);

    /// The one with this id in PostgreSQL `major`, if there can be one: extensions may have theirs since 15.
    #[must_use]
    #[inline]
    pub const fn new(id: u8, major: u32) -> Option<Self> {
        if (id as usize) < NAMES.len() || (id >= MIN_CUSTOM_ID && major >= 15) {
            Some(Self(id))
        } else {
            None
        }
    }

    /// The one of a record whose header was checked.
    #[inline]
    pub(super) const fn checked(id: u8) -> Self {
        Self(id)
    }

    /// `xl_rmid`.
    #[must_use]
    #[inline]
    pub const fn id(self) -> u8 {
        self.0
    }

    /// `Heap`; `custom128` for one of an extension.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("custom{:03}", self.0)),
        }
    }

    /// The name of the type of a record with this `xl_info` in PostgreSQL `major`; `None` when its descriptors have
    /// none.
    #[must_use]
    pub fn record_type(self, info: u8, major: u32) -> Option<&'static str> {
        // Those that use the bits for flags, and the one that does not look at them.
        let info = match self.0 {
            1 => info & 0x70,
            20 => 0,
            _ => info & RMGR_INFO_MASK,
        };
        TYPES
            .iter()
            .find(|row| row.0 == self.0 && row.1 == info && row.2.0 <= major && major <= row.2.1)
            .map(|row| row.3)
    }
}

type Majors = (u32, u32);
const ALL: Majors = (0, u32::MAX);
const fn since(major: u32) -> Majors {
    (major, u32::MAX)
}
const fn until(major: u32) -> Majors {
    (0, major)
}

/// Resource manager, bits of `xl_info`, first and last major, name.
#[rustfmt::skip]
const TYPES: &[(u8, u8, Majors, &str)] = &[
    (0, 0x00, ALL, "CHECKPOINT_SHUTDOWN"), (0, 0x10, ALL, "CHECKPOINT_ONLINE"), (0, 0x20, ALL, "NOOP"),
    (0, 0x30, ALL, "NEXTOID"), (0, 0x40, ALL, "SWITCH"), (0, 0x50, ALL, "BACKUP_END"),
    (0, 0x60, ALL, "PARAMETER_CHANGE"), (0, 0x70, ALL, "RESTORE_POINT"), (0, 0x80, ALL, "FPW_CHANGE"),
    (0, 0x90, ALL, "END_OF_RECOVERY"), (0, 0xA0, ALL, "FPI_FOR_HINT"), (0, 0xB0, ALL, "FPI"),
    (0, 0xC0, until(11), "FPI_MULTI"), (0, 0xD0, ALL, "OVERWRITE_CONTRECORD"), (0, 0xE0, since(17), "CHECKPOINT_REDO"),

    (1, 0x00, ALL, "COMMIT"), (1, 0x10, ALL, "PREPARE"), (1, 0x20, ALL, "ABORT"),
    (1, 0x30, ALL, "COMMIT_PREPARED"), (1, 0x40, ALL, "ABORT_PREPARED"), (1, 0x50, ALL, "ASSIGNMENT"),
    (1, 0x60, since(14), "INVALIDATION"),

    (2, 0x10, ALL, "CREATE"), (2, 0x20, ALL, "TRUNCATE"),

    (3, 0x00, ALL, "ZEROPAGE"), (3, 0x10, ALL, "TRUNCATE"),

    (4, 0x00, until(14), "CREATE"), (4, 0x10, until(14), "DROP"),
    (4, 0x00, since(15), "CREATE_FILE_COPY"), (4, 0x10, since(15), "CREATE_WAL_LOG"), (4, 0x20, since(15), "DROP"),

    (5, 0x00, ALL, "CREATE"), (5, 0x10, ALL, "DROP"),

    (6, 0x00, ALL, "ZERO_OFF_PAGE"), (6, 0x10, ALL, "ZERO_MEM_PAGE"), (6, 0x20, ALL, "CREATE_ID"),
    (6, 0x30, ALL, "TRUNCATE_ID"),

    (7, 0x00, ALL, "UPDATE"),

    (8, 0x00, ALL, "LOCK"), (8, 0x10, ALL, "RUNNING_XACTS"), (8, 0x20, ALL, "INVALIDATIONS"),

    (9, 0x00, ALL, "REWRITE"),
    (9, 0x10, until(13), "CLEAN"), (9, 0x20, until(13), "FREEZE_PAGE"), (9, 0x30, until(13), "CLEANUP_INFO"),
    (9, 0x10, (14, 16), "PRUNE"), (9, 0x20, (14, 16), "VACUUM"), (9, 0x30, (14, 16), "FREEZE_PAGE"),
    (9, 0x10, since(17), "PRUNE_ON_ACCESS"), (9, 0x20, since(17), "PRUNE_VACUUM_SCAN"),
    (9, 0x30, since(17), "PRUNE_VACUUM_CLEANUP"),
    (9, 0x40, ALL, "VISIBLE"), (9, 0x50, ALL, "MULTI_INSERT"), (9, 0xD0, ALL, "MULTI_INSERT+INIT"),
    (9, 0x60, ALL, "LOCK_UPDATED"), (9, 0x70, ALL, "NEW_CID"),

    (10, 0x00, ALL, "INSERT"), (10, 0x80, ALL, "INSERT+INIT"), (10, 0x10, ALL, "DELETE"),
    (10, 0x20, ALL, "UPDATE"), (10, 0xA0, ALL, "UPDATE+INIT"), (10, 0x30, since(11), "TRUNCATE"),
    (10, 0x40, ALL, "HOT_UPDATE"), (10, 0xC0, ALL, "HOT_UPDATE+INIT"), (10, 0x50, ALL, "HEAP_CONFIRM"),
    (10, 0x60, ALL, "LOCK"), (10, 0x70, ALL, "INPLACE"),

    (11, 0x00, ALL, "INSERT_LEAF"), (11, 0x10, ALL, "INSERT_UPPER"), (11, 0x20, ALL, "INSERT_META"),
    (11, 0x30, ALL, "SPLIT_L"), (11, 0x40, ALL, "SPLIT_R"),
    (11, 0x50, until(10), "SPLIT_L_ROOT"), (11, 0x60, until(10), "SPLIT_R_ROOT"),
    (11, 0x50, (11, 11), "SPLIT_L_HIGHKEY"), (11, 0x60, (11, 11), "SPLIT_R_HIGHKEY"),
    (11, 0x50, since(13), "INSERT_POST"), (11, 0x60, since(13), "DEDUP"),
    (11, 0x70, ALL, "DELETE"), (11, 0x80, ALL, "UNLINK_PAGE"), (11, 0x90, ALL, "UNLINK_PAGE_META"),
    (11, 0xA0, ALL, "NEWROOT"), (11, 0xB0, ALL, "MARK_PAGE_HALFDEAD"), (11, 0xC0, ALL, "VACUUM"),
    (11, 0xD0, ALL, "REUSE_PAGE"), (11, 0xE0, since(11), "META_CLEANUP"),

    (12, 0x00, ALL, "INIT_META_PAGE"), (12, 0x10, ALL, "INIT_BITMAP_PAGE"), (12, 0x20, ALL, "INSERT"),
    (12, 0x30, ALL, "ADD_OVFL_PAGE"), (12, 0x40, ALL, "SPLIT_ALLOCATE_PAGE"), (12, 0x50, ALL, "SPLIT_PAGE"),
    (12, 0x60, ALL, "SPLIT_COMPLETE"), (12, 0x70, ALL, "MOVE_PAGE_CONTENTS"), (12, 0x80, ALL, "SQUEEZE_PAGE"),
    (12, 0x90, ALL, "DELETE"), (12, 0xA0, ALL, "SPLIT_CLEANUP"), (12, 0xB0, ALL, "UPDATE_META_PAGE"),
    (12, 0xC0, ALL, "VACUUM_ONE_PAGE"),

    (13, 0x00, until(11), "CREATE_INDEX"), (13, 0x10, ALL, "CREATE_PTREE"), (13, 0x20, ALL, "INSERT"),
    (13, 0x30, ALL, "SPLIT"), (13, 0x40, ALL, "VACUUM_PAGE"), (13, 0x50, ALL, "DELETE_PAGE"),
    (13, 0x60, ALL, "UPDATE_META_PAGE"), (13, 0x70, ALL, "INSERT_LISTPAGE"), (13, 0x80, ALL, "DELETE_LISTPAGE"),
    (13, 0x90, ALL, "VACUUM_DATA_LEAF_PAGE"),

    (14, 0x00, ALL, "PAGE_UPDATE"), (14, 0x10, since(12), "DELETE"), (14, 0x20, since(12), "PAGE_REUSE"),
    (14, 0x30, ALL, "PAGE_SPLIT"), (14, 0x50, until(11), "CREATE_INDEX"), (14, 0x60, since(12), "PAGE_DELETE"),
    (14, 0x70, since(13), "ASSIGN_LSN"),

    (15, 0x00, ALL, "LOG"),

    (16, 0x00, until(11), "CREATE_INDEX"), (16, 0x10, ALL, "ADD_LEAF"), (16, 0x20, ALL, "MOVE_LEAFS"),
    (16, 0x30, ALL, "ADD_NODE"), (16, 0x40, ALL, "SPLIT_TUPLE"), (16, 0x50, ALL, "PICKSPLIT"),
    (16, 0x60, ALL, "VACUUM_LEAF"), (16, 0x70, ALL, "VACUUM_ROOT"), (16, 0x80, ALL, "VACUUM_REDIRECT"),

    (17, 0x00, ALL, "CREATE_INDEX"), (17, 0x10, ALL, "INSERT"), (17, 0x90, ALL, "INSERT+INIT"),
    (17, 0x20, ALL, "UPDATE"), (17, 0xA0, ALL, "UPDATE+INIT"), (17, 0x30, ALL, "SAMEPAGE_UPDATE"),
    (17, 0x40, ALL, "REVMAP_EXTEND"), (17, 0x50, ALL, "DESUMMARIZE"),

    (18, 0x00, ALL, "ZEROPAGE"), (18, 0x10, ALL, "TRUNCATE"), (18, 0x20, until(13), "SETTS"),

    (19, 0x00, ALL, "SET"), (19, 0x10, ALL, "DROP"),

    (20, 0x00, ALL, "Generic"),

    (21, 0x00, ALL, "MESSAGE"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_for_each_major() {
        for major in 10..=18 {
            for id in 0..=21 {
                let manager = ResourceManager::new(id, major).unwrap();
                for info in (0..16).map(|upper| upper << 4) {
                    let found = TYPES
                        .iter()
                        .filter(|row| row.0 == id && row.1 == info && (row.2.0..=row.2.1).contains(&major));
                    assert!(found.count() <= 1, "{id} {info:#X} {major}");
                }
                assert!((0..16).any(|upper| manager.record_type(upper << 4, major).is_some()));
            }
        }
    }

    #[test]
    fn names_of_majors() {
        let name = |id, info, major| ResourceManager::new(id, major).unwrap().record_type(info, major);
        for (id, info, major, expected) in [
            (1, 0x80, 15, Some("COMMIT")),
            (1, 0x60, 13, None),
            (4, 0x10, 14, Some("DROP")),
            (4, 0x10, 15, Some("CREATE_WAL_LOG")),
            (9, 0x20, 13, Some("FREEZE_PAGE")),
            (9, 0x20, 16, Some("VACUUM")),
            (9, 0x20, 17, Some("PRUNE_VACUUM_SCAN")),
            (10, 0x80, 10, Some("INSERT+INIT")),
            (10, 0x90, 18, None),
            (11, 0x50, 12, None),
            (20, 0xF0, 18, Some("Generic")),
            (0, 0xC0, 11, Some("FPI_MULTI")),
            (0, 0xC0, 12, None),
            (0, 0xE0, 16, None),
            (200, 0, 18, None),
        ] {
            assert_eq!(name(id, info, major), expected, "{id} {info:#X} {major}");
        }
        assert_eq!(ResourceManager::new(22, 18), None);
        assert_eq!(ResourceManager::new(128, 14), None);
        assert_eq!(ResourceManager::new(128, 15).unwrap().name(), "custom128");
    }
}
