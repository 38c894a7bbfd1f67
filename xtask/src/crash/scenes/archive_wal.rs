//! `barman archive-wal` on full queues; no server needed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use testkit::{Finished, Mode, Program, Sandbox, Segment};

use crate::crash::disk;
use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

const SEGMENT: u64 = 1 << 20;

const LOST: &str = "every WAL file is whole in a queue or in the archive";
const HALF: &str = "no half file has a final name";
const LISTS: &str = "xlog.db lists each file once, and it is there";
const STRANGE: &str = "what is no WAL file is not thrown away";

/// Without compression.
pub fn plain(program: &Path) -> Result<Box<dyn Scene>> {
    Ok(Box::new(Queues::new(program, "")?))
}

/// With gzip.
pub fn gzip(program: &Path) -> Result<Box<dyn Scene>> {
    Ok(Box::new(Queues::new(program, "gzip")?))
}

/// With zstd.
pub fn zstd(program: &Path) -> Result<Box<dyn Scene>> {
    Ok(Box::new(Queues::new(program, "zstd")?))
}

/// A server with files in both queues, and the only copy of what they hold.
struct Queues {
    sandbox: Sandbox,
    /// What was delivered, by name; must be in a queue or in the archive at any time.
    delivered: BTreeMap<String, Vec<u8>>,
    /// What is wrong and must be put aside, by name in the queue.
    strange: BTreeMap<String, Vec<u8>>,
}

/// A segment whose content depends on its number.
fn segment(number: u64) -> Vec<u8> {
    Segment::small(number).whole(u8::try_from(number & 0xFF).unwrap_or_default())
}

impl Queues {
    fn new(program: &Path, compression: &str) -> Result<Self> {
        let sandbox = Sandbox::builder("main")
            .mode(Mode::Both)
            .option("compression", compression)
            .program(program)
            .build()?;
        let server = sandbox.server_dir();
        for part in [
            "incoming",
            "streaming",
            "errors",
            "wals/0000000100000000",
            "meta",
            "base",
        ] {
            fs::create_dir_all(server.join(part))?;
        }
        let label = b"START WAL LOCATION: 1/28 (file 000000010000000100000000)\n".to_vec();
        let mut scene = Self {
            sandbox,
            delivered: BTreeMap::new(),
            strange: BTreeMap::new(),
        };
        let mut lines = String::new();
        // Archived before; a second time in the queue; once stored by a run that was killed before it was listed.
        for (name, number, lists, again) in [
            ("000000010000000000000FFB", 0xFFB, true, false),
            ("000000010000000000000FFC", 0xFFC, true, true),
            ("000000010000000000000FFD", 0xFFD, false, true),
        ] {
            let path = disk::archived(&server, name);
            fs::write(&path, segment(number))?;
            if lists {
                lines.push_str(&format!("{name}\t{SEGMENT}\t1700000000.0\tNone\tNone\n"));
            }
            if again {
                fs::write(server.join("incoming").join(name), segment(number))?;
            }
            scene.delivered.insert(name.to_owned(), segment(number));
        }
        fs::write(server.join("wals/main-xlog.db"), lines)?;
        for (queue, name, content) in [
            ("incoming", "000000010000000000000FFF", segment(0xFFF)),
            // Another directory.
            ("incoming", "000000010000000100000000", segment(0x1000)),
            ("incoming", "000000010000000100000000.00000028.backup", label),
            ("incoming", "00000002.history", b"1\t1/80\tno reason\n".to_vec()),
            ("streaming", "000000010000000000000FFE", segment(0xFFE)),
            ("streaming", "000000010000000100000001", segment(0x1001)),
            // The older of two partial files belongs to a timeline that has ended.
            ("streaming", "000000010000000100000002.partial", segment(0x1002)),
            ("streaming", "000000020000000100000002.partial", vec![0; 1 << 20]),
        ] {
            fs::write(server.join(queue).join(name), &content)?;
            scene.delivered.insert(name.to_owned(), content);
        }
        // The same name with other content, and what is no WAL file.
        for (name, content) in [
            ("000000010000000000000FFB", segment(0xABC)),
            ("what-is-this", b"?".to_vec()),
        ] {
            fs::write(server.join("incoming").join(name), &content)?;
            scene.strange.insert(name.to_owned(), content);
        }
        Ok(scene)
    }

    fn server(&self) -> PathBuf {
        self.sandbox.server_dir()
    }

    /// Everything delivered is complete in a queue or in the archive.
    fn nothing_lost(&self) -> Result<()> {
        let server = self.server();
        let listed: Vec<String> = disk::listed(&server)?.into_iter().map(|(name, _)| name).collect();
        for (name, content) in &self.delivered {
            let archived = disk::archived(&server, name);
            let queued = ["incoming", "streaming"]
                .into_iter()
                .map(|queue| server.join(queue).join(name))
                .filter(|path| {
                    path.exists()
                        && !(self.strange.contains_key(name)
                            && path.parent() == Some(&server.join("incoming")))
                })
                .find(|path| fs::read(path).is_ok_and(|bytes| bytes == *content));
            if archived.exists() {
                ensure!(
                    disk::plain(&archived)? == *content,
                    "{name} is in the archive with other content"
                );
            }
            if queued.is_none() {
                ensure!(
                    archived.exists(),
                    "{name} is neither in a queue nor in the archive"
                );
                ensure!(
                    listed.contains(name),
                    "{name} has left its queue and is not listed"
                );
            }
        }
        Ok(())
    }

    /// Nothing under a name that readers look at is half.
    fn nothing_half(&self) -> Result<()> {
        let wals = self.server().join("wals");
        for file in disk::files(&wals)? {
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with('.') || name.ends_with("xlog.db") {
                continue;
            }
            let content = self
                .delivered
                .get(name)
                .with_context(|| format!("{name} in the archive"))?;
            ensure!(
                disk::plain(&wals.join(&file))? == *content,
                "{name} is half or changed"
            );
        }
        Ok(())
    }

    /// What was put aside, or still waits for it.
    fn strange_kept(&self) -> Result<()> {
        let server = self.server();
        for (name, content) in &self.strange {
            let waits = fs::read(server.join("incoming").join(name)).is_ok_and(|bytes| bytes == *content);
            let aside = disk::files(&server.join("errors"))?.into_iter().any(|file| {
                file.display().to_string().starts_with(name)
                    && fs::read(server.join("errors").join(&file)).is_ok_and(|bytes| bytes == *content)
            });
            ensure!(waits || aside, "{name} is neither in incoming nor in errors");
        }
        Ok(())
    }
}

impl Scene for Queues {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        program.run(["archive-wal", "main"])
    }

    fn invariants(&self) -> Vec<Held> {
        vec![
            (LOST, self.nothing_lost()),
            (HALF, self.nothing_half()),
            (LISTS, disk::check_listed(&self.server())),
            (STRANGE, self.strange_kept()),
        ]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        program.ok(["archive-wal", "main"]).map(drop)
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        let server = self.server();
        let mut state = BTreeMap::new();
        for file in disk::files(&server)? {
            let mut name = file.display().to_string();
            if name.starts_with("errors/") {
                // Without the time.
                let mut parts: Vec<&str> = name.split('.').collect();
                if parts.len() > 2 {
                    parts.remove(parts.len() - 2);
                }
                name = parts.join(".");
            }
            let text = match fs::metadata(server.join(&file)) {
                Ok(found) if !name.ends_with("xlog.db") => format!("{} bytes", found.len()),
                Ok(_) => String::new(),
                Err(error) => bail!("{name}: {error}"),
            };
            // Two of one name and different times are two.
            let mut other = name.clone();
            for number in 2.. {
                if !state.contains_key(&other) {
                    break;
                }
                other = format!("{name} ({number})");
            }
            state.insert(other, text);
        }
        for (name, size) in disk::listed(&server)? {
            state.insert(format!("line {name}"), size.to_string());
        }
        Ok(state)
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let server = self.server();
        let archived = |name| disk::archived(&server, name);
        let db = server.join("wals/main-xlog.db");
        let aside = disk::files(&server.join("errors"))?;
        let damage = |what, seen_by, path, edit| Damage {
            what,
            seen_by,
            path,
            edit,
        };
        Ok(vec![
            damage(
                "a WAL file is gone",
                LOST,
                archived("000000010000000000000FFF"),
                Edit::Remove,
            ),
            damage(
                "a history file is gone",
                LOST,
                archived("00000002.history"),
                Edit::Remove,
            ),
            damage("the list of WAL files is gone", LOST, db.clone(), Edit::Remove),
            damage(
                "a WAL file is half",
                HALF,
                archived("000000010000000100000000"),
                Edit::Halve,
            ),
            damage(
                "a WAL file is another",
                HALF,
                archived("000000010000000000000FFE"),
                Edit::Write(segment(0xFFD)),
            ),
            damage(
                "a listed WAL file has another size",
                LISTS,
                archived("000000010000000000000FFB"),
                Edit::Halve,
            ),
            damage(
                "a line has no file",
                LISTS,
                db.clone(),
                Edit::Append("000000010000000000000AAA\t16\t1700000000.0\tNone\tNone\n".to_owned()),
            ),
            damage(
                "a file has two lines",
                LISTS,
                db,
                Edit::Append(format!(
                    "000000010000000000000FFB\t{SEGMENT}\t1700000000.0\tNone\tNone\n"
                )),
            ),
            damage(
                "what was put aside is gone",
                STRANGE,
                server
                    .join("errors")
                    .join(aside.first().context("nothing was put aside")?),
                Edit::Remove,
            ),
        ])
    }

    fn segment_size(&self) -> u64 {
        SEGMENT
    }
}
