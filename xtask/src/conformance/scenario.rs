//! A scenario as data: a state, commands, what is compared, the section of the specification.

use std::path::Path;

use anyhow::{Result, ensure};

use super::compare::{Compare, Look, Place, Words};
use super::execute::Stage;
use super::listed::{Allowed, Effect};
use super::normalise::Rule;
use super::state::State;

/// One step of a scenario.
#[derive(Debug, Clone)]
pub enum Step {
    /// A `barman` command line behind `-c FILE`: words with blanks between them, `'…'` around one with blanks or an empty one. `{root}` stands for
    /// the directory of the run, `{id 1}` for the id of its oldest backup, `{only DIR}` for the path of the
    /// only file in that directory of it.
    Barman(&'static str),
    /// The same, ended by this signal once the condition holds.
    Interrupted(&'static str, i32, fn(&Stage) -> Result<bool>),
    /// Something that happens around the programs, the same on both sides.
    Then(fn(&Stage) -> Result<()>),
}

/// A scenario. Made by [`scenario`] and the methods below.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Unique; words with `-` between them, the command first.
    pub name: &'static str,
    /// Document and section.
    pub spec: &'static str,
    /// What both sides begin with.
    pub state: State,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What is compared.
    pub compare: Compare,
    /// What is made equal.
    pub rules: Vec<Rule>,
    /// Environment variables of both programs, besides the usual ones.
    pub env: Vec<(&'static str, &'static str)>,
    /// Differences that are listed in `docs/differences.md`.
    pub allowed: Vec<Allowed>,
    /// The command is not there yet: ours has to refuse it by name, and is not compared.
    pub awaits: Option<&'static str>,
    /// Part of the short selection.
    pub short: bool,
}

/// A scenario with this name, of this section.
pub fn scenario(name: &'static str, spec: &'static str, state: State) -> Scenario {
    Scenario {
        name,
        spec,
        state,
        steps: Vec::new(),
        compare: Compare {
            stdout: Words::Exact,
            stderr: Words::Exact,
            files: Vec::new(),
        },
        rules: Vec::new(),
        env: Vec::new(),
        allowed: Vec::new(),
        awaits: None,
        short: false,
    }
}

impl Scenario {
    /// Runs this command.
    pub fn run(mut self, words: &'static str) -> Self {
        self.steps.push(Step::Barman(words));
        self
    }

    /// Runs this command and ends it with a signal once the condition holds.
    pub fn interrupted(mut self, words: &'static str, signal: i32, when: fn(&Stage) -> Result<bool>) -> Self {
        self.steps.push(Step::Interrupted(words, signal, when));
        self
    }

    /// Does something in between.
    pub fn then(mut self, what: fn(&Stage) -> Result<()>) -> Self {
        self.steps.push(Step::Then(what));
        self
    }

    /// Makes these equal.
    pub fn rules(mut self, rules: &[Rule]) -> Self {
        self.rules.extend(rules);
        self
    }

    /// Sets an environment variable for both programs.
    pub fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    /// The specification gives only the meaning of what is on standard error.
    pub fn prose(mut self) -> Self {
        self.compare.stderr = Words::Prose;
        self
    }

    /// The specification gives only the meaning of what is on standard output.
    pub fn prose_on_stdout(mut self) -> Self {
        self.compare.stdout = Words::Prose;
        self
    }

    /// How files of this pattern are compared; the first pattern that fits counts.
    pub fn files(mut self, pattern: &'static str, look: Look) -> Self {
        self.compare.files.push((pattern, look));
        self
    }

    /// Part of the short selection.
    pub fn short(mut self) -> Self {
        self.short = true;
        self
    }

    /// The command does not exist in our program yet.
    pub fn awaits(mut self, command: &'static str) -> Self {
        self.awaits = Some(command);
        self
    }

    /// Why nothing would come of it: no command, or a pattern by which all files are left out.
    pub fn compares_too_little(&self) -> Option<String> {
        if self.steps.iter().all(|step| matches!(step, Step::Then(_))) {
            return Some("it runs no command".to_owned());
        }
        let all = |pattern: &str| {
            let parts: Vec<&str> = pattern.trim_end_matches('*').split('/').collect();
            // Below the directory of a run (`home`) or of a server in it (`home/main`) everything.
            parts.len() <= 3 && parts.last().is_none_or(|part| part.is_empty())
        };
        let hides = |(pattern, look): &&(&'static str, Look)| *look == Look::Nothing && all(pattern);
        let found = self.compare.files.iter().find(hides)?;
        Some(format!("`{}` leaves out all files of a directory", found.0))
    }

    fn allow(mut self, id: &'static str, effect: Effect) -> Self {
        self.allowed.push(Allowed {
            id,
            effect,
            many: false,
        });
        self
    }

    /// Our program adds a line (`all-3`) to command `step` (from 0) that fits the pattern, which begins with `HINT: `.
    pub fn hint(self, step: usize, pattern: &'static str) -> Self {
        self.stderr(step, "all-3", pattern, "")
    }

    /// The same line for several commands.
    pub fn hints(self, steps: std::ops::Range<usize>, pattern: &'static str) -> Self {
        steps.fold(self, |scenario, step| scenario.hint(step, pattern))
    }

    /// Lines of standard error of command `step` (from 0) differ as the row `id` says: patterns for ours and the oracle's, empty for none.
    pub fn stderr(self, step: usize, id: &'static str, ours: &'static str, oracle: &'static str) -> Self {
        self.allow(id, Effect::Line(Place::Stderr(step), ours, oracle))
    }

    /// What command `step` says of the disabled server beyond Barman: its second mistake, and where to mend both.
    pub fn disabled(self, step: usize) -> Self {
        self.stderr(
            step,
            "config-9",
            "ERROR: Streaming connection: Missing 'streaming_conninfo' parameter for server 'dis'",
            "",
        )
        .stderr(
            step,
            "config-18",
            "HINT: conninfo is not set in section [dis]; streaming_conninfo is not set in section [dis]",
            "",
        )
    }

    /// Lines of standard output, in the same way.
    pub fn stdout(self, step: usize, id: &'static str, ours: &'static str, oracle: &'static str) -> Self {
        self.allow(id, Effect::Line(Place::Stdout(step), ours, oracle))
    }

    /// Barman's standard output of command `step` has these lines and ours has not, in the same way.
    pub fn only_barman_says(self, step: usize, id: &'static str, lines: &[&'static str]) -> Self {
        lines
            .iter()
            .fold(self, |scenario, line| scenario.stdout(step, id, "", line))
    }

    /// A value in the JSON of command `step`, in the same way.
    pub fn json(
        self,
        step: usize,
        id: &'static str,
        path: &'static str,
        ours: &'static str,
        oracle: &'static str,
    ) -> Self {
        self.allow(id, Effect::Json(step, path, ours, oracle))
    }

    /// Exit codes of command `step`.
    pub fn exit_code(self, step: usize, id: &'static str, ours: i32, oracle: i32) -> Self {
        self.allow(id, Effect::ExitCode(step, ours, oracle))
    }

    /// A file as a whole, in the same way.
    pub fn file(
        self,
        id: &'static str,
        path: &'static str,
        ours: &'static str,
        oracle: &'static str,
    ) -> Self {
        self.allow(id, Effect::File(path, ours, oracle))
    }

    /// Lines of a text file, in the same way.
    pub fn line(self, id: &'static str, path: &str, ours: &'static str, oracle: &'static str) -> Self {
        self.allow(id, Effect::Line(Place::File(path.to_owned()), ours, oracle))
    }

    /// The last allowed difference may occur more than once.
    pub fn each(mut self) -> Self {
        if let Some(last) = self.allowed.last_mut() {
            last.many = true;
        }
        self
    }
}

/// The words of a command line.
///
/// # Errors
/// It names a backup that the state does not have: both programs would refuse it, and nothing be compared but that.
pub fn words(line: &str, root: &Path, ids: &[String]) -> Result<Vec<String>> {
    let mut line = line.replace("{root}", &root.display().to_string());
    for (n, id) in ids.iter().enumerate() {
        line = line.replace(&format!("{{id {}}}", n + 1), id);
    }
    while let Some((before, rest)) = line.split_once("{only ")
        && let Some((directory, after)) = rest.split_once('}')
    {
        let directory = root.join(directory);
        let only = std::fs::read_dir(&directory)
            .ok()
            .and_then(|mut found| found.next()?.ok());
        let path = only.map_or(directory, |entry| entry.path());
        line = format!("{before}{}{after}", path.display());
    }
    ensure!(
        !line.contains("{id ") && !line.contains("{root"),
        "`{line}` names what the state does not have: it has {} backups",
        ids.len()
    );
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_compares_something() {
        let base = || scenario("x", "cli.md 1", crate::conformance::state::PLAIN);
        let with = |pattern, look| base().run("cron").files(pattern, look);
        for (scenario, good) in [
            (base(), false),
            (base().then(|_| Ok(())), false),
            (base().run("cron"), true),
            (with("*", Look::Nothing), false),
            (with("home/*", Look::Nothing), false),
            (with("home/main/*", Look::Nothing), false),
            (with("home/main/incoming/*", Look::Nothing), true),
            (with("out/x*", Look::Nothing), true),
            (with("home/*", Look::Presence), true),
        ] {
            let found = scenario.compares_too_little();
            assert_eq!(found.is_none(), good, "{:?}: {found:?}", scenario.compare.files);
        }
        let all = crate::conformance::scenarios::all();
        let idle = all
            .iter()
            .filter_map(|one| Some((one.name, one.compares_too_little()?)));
        assert_eq!(idle.collect::<Vec<_>>(), []);
    }

    #[test]
    fn words_are_quoted_and_filled_in() {
        let root = Path::new("/r");
        let ids = ["20240101T000000".to_owned(), "20240102T000000".to_owned()];
        let cases: [(&str, &[&str]); 4] = [
            ("", &[]),
            ("check  main", &["check", "main"]),
            ("delete main ''", &["delete", "main", ""]),
            (
                "restore --target-time '2024-01-01 10:00:00' main {id 2} {root}/out",
                &[
                    "restore",
                    "--target-time",
                    "2024-01-01 10:00:00",
                    "main",
                    "20240102T000000",
                    "/r/out",
                ],
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line, root, &ids).unwrap(), expected);
        }
        for line in ["delete main {id 3}", "restore main {id 1} {root }/out"] {
            assert!(words(line, root, &ids).is_err(), "{line}");
        }
    }
}
