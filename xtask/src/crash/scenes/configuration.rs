//! `barman config-update` of two files, and `barman config-switch`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use testkit::{Finished, Mode, Program, Sandbox};

use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

const FILES: &str = "every configuration file is the old or the new one";
const QUEUE: &str = "the queue of changes can be read";
const CHOICE: &str = "the active model is the old or the new one";

const OLD: &str = "# of the third\n[third]\nactive = off\ndescription = old\n\n[one]\nmodel = on\ncluster = main\n\n[two]\nmodel = on\ncluster = main\ndescription = through two\n";
const NEW: &str = "# of the third\n[third]\nactive = off\ndescription = new\n\n[one]\nmodel = on\ncluster = main\n\n[two]\nmodel = on\ncluster = main\ndescription = through two\n";
const AUTO: &str = "[third]\nslot_name = s\n[fourth]\nactive = off\n";

const CHANGES: &str = r#"[{"scope":"server","server_name":"third","description":"new","slot_name":"s"},{"scope":"server","server_name":"fourth","active":"off"}]"#;

fn sandbox(program: &Path) -> Result<Sandbox> {
    // Everything that a run may change has to be below `home`.
    let sandbox = Sandbox::builder("main")
        .mode(Mode::Archiver)
        .program(program)
        .build()?;
    let inside = sandbox.dir().join("home/conf.d");
    fs::create_dir_all(&inside)?;
    fs::create_dir_all(sandbox.server_dir())?;
    fs::write(inside.join("third.conf"), OLD)?;
    let conf = sandbox.dir().join("barman.conf");
    let text = fs::read_to_string(&conf)?;
    let outside = sandbox.dir().join("conf.d");
    // The section of `main` stays where it is: in the directory that is now read by a link.
    for entry in fs::read_dir(&outside)? {
        let entry = entry?;
        fs::copy(entry.path(), inside.join(entry.file_name()))?;
    }
    let moved = text.replace(&outside.display().to_string(), &inside.display().to_string());
    ensure!(
        moved != text,
        "the configuration names no directory of further files"
    );
    fs::write(conf, moved)?;
    Ok(sandbox)
}

/// Two options of a server, one in a file of its own and one in the file of changes, and a new server.
pub fn update(program: &Path) -> Result<Box<dyn Scene>> {
    Ok(Box::new(Updating {
        sandbox: sandbox(program)?,
    }))
}

/// From one model to another.
pub fn switch(program: &Path) -> Result<Box<dyn Scene>> {
    let sandbox = sandbox(program)?;
    fs::write(sandbox.server_dir().join(".active-model.auto"), "one")?;
    Ok(Box::new(Switching { sandbox }))
}

fn home(sandbox: &Sandbox) -> PathBuf {
    sandbox.dir().join("home")
}

fn content(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_one_of(path: &Path, allowed: &[Option<&str>]) -> Result<()> {
    let found = content(path)?;
    ensure!(
        allowed.contains(&found.as_deref()),
        "{}: {found:?}",
        path.display()
    );
    Ok(())
}

struct Updating {
    sandbox: Sandbox,
}

impl Updating {
    fn third(&self) -> PathBuf {
        home(&self.sandbox).join("conf.d/third.conf")
    }

    fn auto(&self) -> PathBuf {
        home(&self.sandbox).join(".barman.auto.conf")
    }

    fn queue(&self) -> PathBuf {
        home(&self.sandbox).join("cfg_changes.queue")
    }

    fn files(&self) -> Result<()> {
        is_one_of(&self.third(), &[Some(OLD), Some(NEW)])?;
        is_one_of(&self.auto(), &[None, Some(AUTO)])
    }

    fn waiting(&self) -> Result<()> {
        if let Some(text) = content(&self.queue())? {
            serde_json::from_str::<Vec<serde_json::Value>>(&text)?;
        }
        Ok(())
    }
}

impl Scene for Updating {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        program.run(["config-update", CHANGES])
    }

    fn invariants(&self) -> Vec<Held> {
        vec![(FILES, self.files()), (QUEUE, self.waiting())]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        program.ok(["config-update", CHANGES])?;
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        let mut state = BTreeMap::new();
        for path in [self.third(), self.auto(), self.queue()] {
            if let Some(text) = content(&path)? {
                state.insert(path.display().to_string(), text);
            }
        }
        Ok(state)
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let damage = |what, seen_by, path, edit| Damage {
            what,
            seen_by,
            path,
            edit,
        };
        Ok(vec![
            damage("a configuration file is half", FILES, self.third(), Edit::Halve),
            damage(
                "the file of changes is empty",
                FILES,
                self.auto(),
                Edit::Write(Vec::new()),
            ),
            damage(
                "the queue is half",
                QUEUE,
                self.queue(),
                Edit::Write(b"[{".to_vec()),
            ),
        ])
    }
}

struct Switching {
    sandbox: Sandbox,
}

impl Switching {
    fn choice(&self) -> PathBuf {
        self.sandbox.server_dir().join(".active-model.auto")
    }
}

impl Scene for Switching {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        program.run(["config-switch", "main", "two"])
    }

    fn invariants(&self) -> Vec<Held> {
        vec![(CHOICE, is_one_of(&self.choice(), &[Some("one"), Some("two")]))]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        program.ok(["config-switch", "main", "two"])?;
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        let found = content(&self.choice())?.unwrap_or_default();
        Ok(BTreeMap::from([("choice".to_owned(), found)]))
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        Ok(vec![
            Damage {
                what: "the active model is half a name",
                seen_by: CHOICE,
                path: self.choice(),
                edit: Edit::Halve,
            },
            Damage {
                what: "the active model is gone",
                seen_by: CHOICE,
                path: self.choice(),
                edit: Edit::Remove,
            },
        ])
    }
}
