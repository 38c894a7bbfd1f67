//! The codecs of WAL by themselves, beside the tools whose format they write.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::Program;

use super::super::row::{Contest, OURS, Row, Side, rate_of};
use super::super::world::World;
use super::super::{data, measure, peers};
use super::not_yet;

/// A compression: its name in Barman's configuration and of its tool, and the number of Barman's level `medium`.
struct Codec {
    name: &'static str,
    level: &'static str,
    /// What makes the tool use one thread.
    single: &'static str,
}

const CODECS: [Codec; 6] = [
    codec("gzip", "6", ""),
    // With all processors on both sides: that is what it is for.
    codec("pigz", "6", ""),
    codec("zstd", "4", "--single-thread"),
    codec("xz", "3", "-T1"),
    codec("bzip2", "5", ""),
    codec("lz4", "1", ""),
];

const fn codec(name: &'static str, level: &'static str, single: &'static str) -> Codec {
    Codec { name, level, single }
}

pub fn rows() -> Vec<Row> {
    CODECS
        .iter()
        .map(|codec| {
            Row::new(
                format!("codec/{}", codec.name),
                format!(
                    "{} of 80 MiB of WAL at level {}, beside the tool of that name; nothing is synced",
                    codec.name, codec.level
                ),
                [rate_of(codec.name, 0.85)],
                move |world| contest(world, codec),
            )
        })
        .collect()
}

/// The number of Barman's level `medium`; 0 without compression.
pub fn medium(compression: &str) -> &'static str {
    CODECS
        .iter()
        .find(|codec| codec.name == compression)
        .map_or("0", |codec| codec.level)
}

/// A run of the example `codec`, which is our codec and nothing else.
pub struct Alone<'a> {
    pub direction: &'a str,
    pub algorithm: &'a str,
    pub threads: usize,
    /// Whether one sync ends it.
    pub sync: bool,
    pub to: &'a Path,
    pub files: &'a [PathBuf],
}

impl Alone<'_> {
    /// The arguments of the example.
    pub fn args(&self) -> Vec<OsString> {
        let sync = if self.sync { "sync" } else { "nosync" };
        let threads = self.threads.to_string();
        let words = [
            self.direction,
            self.algorithm,
            medium(self.algorithm),
            &threads,
            sync,
        ];
        let mut args: Vec<OsString> = words.map(OsString::from).into();
        args.push(self.to.into());
        args.extend(self.files.iter().map(|file| file.clone().into_os_string()));
        args
    }
}

fn contest(world: &mut World, codec: &'static Codec) -> Result<Contest> {
    let input = world.scratch("codec")?.join("wal");
    // From all over: neither only bulk load nor only transactions.
    let segments = data::segments(world.sized(100, 10))?;
    let mut file = fs::File::create(&input)?;
    for segment in segments.iter().step_by(segments.len().div_ceil(5).max(1)) {
        std::io::copy(&mut fs::File::open(segment)?, &mut file)?;
    }
    let (to, to_peer) = (
        world.scratch("codec-ours")?,
        world.scratch("codec-peer")?.join("wal"),
    );
    let program = world.ours("codec");
    let args = Alone {
        direction: "compress",
        algorithm: codec.name,
        threads: 1,
        sync: false,
        to: &to,
        files: std::slice::from_ref(&input),
    }
    .args();
    let attempt = program.run(&args)?;
    let mut contest = Contest::of(Side::new(OURS, move || {
        Ok(measure::run(&program, args.clone())?.0)
    }));
    if attempt.code != Some(0) {
        contest.awaits = not_yet(&attempt.stderr);
        ensure!(contest.awaits.is_some(), "{attempt}");
        return Ok(contest);
    }
    match tool(codec) {
        Ok(program) => {
            program.ok([&input, &to_peer])?;
            // Quick and wrong does not count.
            let back = peers::shell(&format!("{} -dc < \"$1\" | cmp - \"$2\"", codec.name))?;
            let ours = to.join("wal");
            back.ok([&ours, &input])
                .with_context(|| format!("{} does not get back what ours has compressed", codec.name))?;
            contest = contest.note(sizes(&input, &to.join("wal"), &to_peer)?);
            Ok(contest.against(Side::new(codec.name, move || {
                Ok(measure::run(&program, [input.clone(), to_peer.clone()])?.0)
            })))
        }
        Err(error) => Ok(contest.against_or_missing(codec.name, Err(error))),
    }
}

fn tool(codec: &Codec) -> Result<Program> {
    peers::system(codec.name)?;
    let Codec { name, level, single } = codec;
    peers::shell(&format!("exec {name} {single} -{level} -c \"$1\" > \"$2\""))
}

/// The other half of the target: our output may be larger than the tool's by 2 %.
fn sizes(plain: &Path, ours: &Path, tool: &Path) -> Result<String> {
    let mib = |path: &Path| -> Result<f64> { Ok(fs::metadata(path)?.len() as f64 / f64::from(1 << 20)) };
    let (plain, ours, tool) = (mib(plain)?, mib(ours)?, mib(tool)?);
    Ok(format!(
        "{plain:.0} MiB become {ours:.2} MiB, with the tool {tool:.2} MiB: {:+.1} %, target: +2 % at most: {}",
        (ours / tool - 1.0) * 100.0,
        if ours <= tool * 1.02 { "met" } else { "MISSED" }
    ))
}
