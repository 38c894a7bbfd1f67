//! Directories that two purposes would share, of one server or of two.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// How many symbolic links one path may pass through.
const MAX_LINKS: u32 = 40;

/// What the directories of all servers are used for, by their real paths.
#[derive(Debug, Default)]
pub(super) struct PathOwners {
    owners: HashMap<PathBuf, (String, &'static str)>,
    resolver: Resolver,
}

/// The outcome of claiming a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Free,
    /// The same server uses it already: a message for that server.
    SameServer(String),
    /// Another server uses it: an error for everybody.
    OtherServer(String),
}

impl PathOwners {
    /// Claims `path` as the directory `label` of `server`.
    pub fn claim(&mut self, server: &str, label: &'static str, path: &str) -> Claim {
        let real = self.resolver.resolve(Path::new(path));
        let link = if real == Path::new(path) {
            String::new()
        } else {
            format!(" (symlink to: {})", real.display())
        };
        match self.owners.entry(real) {
            Entry::Vacant(free) => {
                free.insert((server.to_owned(), label));
                Claim::Free
            }
            Entry::Occupied(taken) => {
                let (owner, other) = taken.get();
                let start = format!("Conflicting path: {label}={path}{link}");
                let end = format!("conflicts with '{other}' for server '{owner}'");
                if owner == server {
                    Claim::SameServer(format!("{start} {end}"))
                } else {
                    Claim::OtherServer(format!("{start} for server '{server}' {end}"))
                }
            }
        }
    }

    /// Directories inside a directory of another server, as texts for a warning.
    pub fn nested(&self) -> Vec<String> {
        let mut all: Vec<_> = self.owners.iter().collect();
        all.sort();
        let mut found = Vec::new();
        let mut above: Vec<(&PathBuf, &str, &str)> = Vec::new();
        for (path, (server, label)) in all {
            while above.last().is_some_and(|(outer, ..)| !path.starts_with(outer)) {
                above.pop();
            }
            if let Some((outer, owner, other)) =
                above.iter().rev().find(|(_, owner, _)| *owner != server.as_str())
            {
                found.push(format!(
                    "{label}={} of server '{server}' lies inside {other}={} of server '{owner}'",
                    path.display(),
                    outer.display()
                ));
            }
            above.push((path, server, label));
        }
        found
    }
}

/// `realpath` that allows the end of a path to be missing, and asks the kernel once for each directory.
#[derive(Debug, Default)]
struct Resolver {
    known: HashMap<PathBuf, Resolved>,
}

#[derive(Debug, Clone)]
struct Resolved {
    real: PathBuf,
    exists: bool,
}

impl Resolver {
    fn resolve(&mut self, path: &Path) -> PathBuf {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.walk(&absolute, 0).real
    }

    fn walk(&mut self, path: &Path, links: u32) -> Resolved {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let resolved = self.look(path, links);
        self.known.insert(path.to_owned(), resolved.clone());
        resolved
    }

    fn look(&mut self, path: &Path, links: u32) -> Resolved {
        let mut components = path.components();
        let last = components.next_back();
        let parent = components.as_path();
        let name: OsString = match last {
            None | Some(Component::RootDir | Component::Prefix(_)) => {
                return Resolved {
                    real: path.to_owned(),
                    exists: true,
                };
            }
            Some(Component::CurDir) => return self.walk(parent, links),
            Some(Component::ParentDir) => {
                let mut resolved = self.walk(parent, links);
                resolved.real.pop();
                return resolved;
            }
            Some(Component::Normal(name)) => name.to_owned(),
        };
        let parent = self.walk(parent, links);
        let real = parent.real.join(name);
        if !parent.exists {
            return Resolved { real, exists: false };
        }
        match std::fs::symlink_metadata(&real) {
            Ok(meta) if meta.is_symlink() && links < MAX_LINKS => match std::fs::read_link(&real) {
                Ok(target) => self.walk(&parent.real.join(target), links + 1),
                Err(_) => Resolved { real, exists: true },
            },
            Ok(_) => Resolved { real, exists: true },
            Err(_) => Resolved { real, exists: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_missing_tails_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        let mut resolver = Resolver::default();
        for (path, expected) in [
            ("link/a/b", "real/a/b"),
            ("link/../x", "x"),
            ("./link", "real"),
            ("real//a/", "real/a"),
            ("none/../none", "none"),
        ] {
            assert_eq!(resolver.resolve(&root.join(path)), root.join(expected), "{path}");
        }
        let _ = resolver.resolve(&root.join("loop/x"));
    }

    #[test]
    fn the_first_user_owns_a_directory() {
        let mut owners = PathOwners::default();
        assert_eq!(
            owners.claim("a", "wals_directory", "/nowhere/a/wals"),
            Claim::Free
        );
        assert_eq!(
            owners.claim("a", "incoming_wals_directory", "/nowhere/a/wals"),
            Claim::SameServer(
                "Conflicting path: incoming_wals_directory=/nowhere/a/wals conflicts with 'wals_directory' \
                 for server 'a'"
                    .into()
            )
        );
        assert_eq!(
            owners.claim("b", "wals_directory", "/nowhere/a/wals"),
            Claim::OtherServer(
                "Conflicting path: wals_directory=/nowhere/a/wals for server 'b' conflicts with 'wals_directory' \
                 for server 'a'"
                    .into()
            )
        );
        assert_eq!(owners.nested(), Vec::<String>::new());
        owners.claim("c", "backup_directory", "/nowhere/a/wals/c");
        owners.claim("c", "wals_directory", "/nowhere/a/wals/c/wals");
        assert_eq!(owners.nested().len(), 2);
    }
}
