//! The names of owners and groups, each looked up once.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use nix::unistd::{Gid, Group, Uid, User};

/// Names by number.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

/// The names of an owner and a group; empty where there is none.
pub(super) type Names = (String, String);

impl Owners {
    /// Those of a file.
    pub(super) fn of(&mut self, metadata: &Metadata) -> Names {
        self.names(metadata.uid(), metadata.gid())
    }

    pub(super) fn names(&mut self, uid: u32, gid: u32) -> Names {
        let user = self.users.entry(uid).or_insert_with(|| {
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            user.map(|user| user.name).unwrap_or_default()
        });
        let group = self.groups.entry(gid).or_insert_with(|| {
            let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
            group.map(|group| group.name).unwrap_or_default()
        });
        (user.clone(), group.clone())
    }
}
