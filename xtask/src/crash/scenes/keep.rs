//! `barman keep` of a backup that was kept otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use testkit::{Finished, Program, Sandbox};

use super::small;
use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

const KEPT: &str = "the annotation is the old or the new one";
const OTHERS: &str = "the backups are untouched";

/// From `standalone` to `full`.
pub fn other_target(program: &Path) -> Result<Box<dyn Scene>> {
    let sandbox = small::catalogue(program)?;
    let server = sandbox.server_dir();
    fs::write(server.join(format!("meta/{}-keep", small::id(1))), "standalone")?;
    let backups = backups(&server)?;
    Ok(Box::new(Keeping { sandbox, backups }))
}

struct Keeping {
    sandbox: Sandbox,
    /// Everything of the backups but the annotation.
    backups: BTreeMap<String, String>,
}

fn backups(server: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = small::everything(server)?;
    // The annotation has an invariant of its own, and a file that was not finished means nothing.
    found.retain(|path, _| !path.ends_with("-keep") && !path.contains("/."));
    Ok(found)
}

impl Keeping {
    fn server(&self) -> PathBuf {
        self.sandbox.server_dir()
    }

    fn annotation(&self) -> PathBuf {
        self.server().join(format!("meta/{}-keep", small::id(1)))
    }

    fn kept(&self) -> Result<()> {
        let content = fs::read_to_string(self.annotation())?;
        ensure!(
            ["standalone", "full"].contains(&content.as_str()),
            "it is {content:?}"
        );
        Ok(())
    }
}

impl Scene for Keeping {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        program.run(["keep", "--target", "full", "main", &small::id(1)])
    }

    fn invariants(&self) -> Vec<Held> {
        let untouched = backups(&self.server()).and_then(|found| super::equal(&self.backups, &found));
        vec![(KEPT, self.kept()), (OTHERS, untouched)]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        program.ok(["keep", "--target", "full", "main", &small::id(1)])?;
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        let mut state = small::everything(&self.server())?;
        // What a killed run left under a temporary name is removed by whoever deletes next.
        state.retain(|path, _| !path.contains("/."));
        Ok(state)
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let damage = |what, seen_by, path, edit| Damage {
            what,
            seen_by,
            path,
            edit,
        };
        let info = self.server().join(format!("meta/{}-backup.info", small::id(2)));
        Ok(vec![
            damage(
                "the annotation is empty",
                KEPT,
                self.annotation(),
                Edit::Write(Vec::new()),
            ),
            damage("the annotation is gone", KEPT, self.annotation(), Edit::Remove),
            damage(
                "the metadata of another backup is half",
                OTHERS,
                info,
                Edit::Halve,
            ),
        ])
    }

    fn segment_size(&self) -> u64 {
        1 << 20
    }
}
