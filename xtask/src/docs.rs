//! `cargo xtask docs`: the reference page of the configuration and its manual page, from the registry of options.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use barman_core::config::manual::{CHAPTERS, Chapter};
use barman_core::config::registry::{DefaultValue, GLOBAL_OPTIONS, Kind, OptionDef, SERVER_OPTIONS, Scope};

use crate::run;

/// Options of `docs`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Write nothing; fail if a page is not what it should be
    #[arg(long)]
    check: bool,
}

const INTRODUCTION: &str = "\
Barman reads one main file: the one given with `-c`, else the one that `BARMAN_CONFIG_FILE` names, else the first of `~/.barman.conf`, `/etc/barman.conf` and `/etc/barman/barman.conf` that can be opened. \
Then come the files of `configuration_files_directory`, in the order of their names, and last `.barman.auto.conf` in `barman_home`, which `barman config-update` writes. Of an option that is set several times in one section the last value counts.";

const SECTIONS: &[&str] = &[
    "The section `[barman]` holds what concerns the whole installation, and values that all servers inherit.",
    "Every other section is a server, called by the name of the section.",
    "A section with `model = on` is a model: a set of values that `barman config-switch SERVER MODEL` puts over those of a server with the same `cluster`. A model inherits nothing and has no defaults.",
    "Options of a section `[DEFAULT]` belong to every section of the same file.",
];

const DIALECT: &[&str] = &[
    "An option is `name = value` or `name: value` on a line; its name may be written in upper or lower case.",
    "A line that begins with `#` or `;` is a comment. There are no comments behind values.",
    "A line that is indented further than the option above it continues the value of that option.",
    "One pair of quotes around a value on one line is removed. `None` is the same as an empty value.",
    "`%(option)s` is replaced by that option of the same section and file, `%(barman_home)s` and `%(name)s` work in every section. A `%` itself is written `%%`.",
    "Neither `~` nor environment variables are replaced, but for a `~` in `configuration_files_directory`.",
    "A value that is not valid is warned about, and what would count without it is used: the value of `[barman]`, or the default. An empty value of a text cancels a value of `[barman]`.",
];

const TYPES: &[(&str, &str)] = &[
    (
        "boolean",
        "`true`, `t`, `yes`, `1`, `on`, or `false`, `f`, `no`, `0`, `off`, in upper or lower case",
    ),
    (
        "number",
        "decimal digits, with a sign if need be; `_` may stand between digits",
    ),
    (
        "interval",
        "a number, a blank, and `hours`, `days`, `weeks` (7 days) or `months` (31 days), or one of these in the singular",
    ),
    (
        "size",
        "a number of bytes, or with one of `k`, `M`, `G`, `T` (powers of 1000) or `Ki`, `Mi`, `Gi`, `Ti` (powers of 1024) behind it",
    ),
    ("level", "`low`, `medium`, `high`, or a number"),
];

fn type_of(option: &OptionDef) -> String {
    let words = |words: &[&str]| {
        let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        quoted.join(", ")
    };
    match option.kind {
        Kind::Bool => "boolean".to_owned(),
        Kind::Int { min } if min == i64::MIN => "number".to_owned(),
        Kind::Int { min } => format!("number, at least {min}"),
        Kind::LateInt => "number".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Interval => "interval".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Words(list) | Kind::WordsOrEmpty(list) | Kind::ExactWords(list) => {
            format!("one of {}", words(list))
        }
        Kind::Set(list) => format!("some of {}, separated by commas", words(list)),
        Kind::Directory => "directory".to_owned(),
        Kind::Place => "directory, or URL of object storage".to_owned(),
        Kind::AbsolutePath => "path that begins with `/`".to_owned(),
        Kind::Slot => "name of a replication slot".to_owned(),
        Kind::List => "list, separated by commas".to_owned(),
        Kind::Level => "level".to_owned(),
    }
}

fn default_of(option: &OptionDef) -> String {
    match option.default {
        DefaultValue::Unset if option.name == "barman_home" => "none, it is required".to_owned(),
        DefaultValue::Unset => "none".to_owned(),
        DefaultValue::Fixed("") => "empty".to_owned(),
        DefaultValue::Fixed(text) | DefaultValue::Template(text) => format!("`{text}`"),
    }
}

fn scope_of(option: &OptionDef) -> &'static str {
    let Scope {
        global,
        server,
        model,
    } = option.scope;
    match (global, server, model) {
        (true, true, true) => "`[barman]`, servers, models",
        (true, true, false) => "`[barman]`, servers",
        (false, true, true) if option.name == "disabled" => "models",
        (false, true, true) => "servers, models",
        (false, true, false) => "servers",
        _ => "`[barman]`",
    }
}

fn option(name: &str) -> Result<&'static OptionDef> {
    let mut all = SERVER_OPTIONS.iter().chain(GLOBAL_OPTIONS);
    all.find(|option| option.name == name)
        .with_context(|| format!("there is no option {name}"))
}

/// Each option of a chapter with its sentences.
fn entries(chapter: &Chapter) -> Result<Vec<(&'static OptionDef, String)>> {
    let entry = |(name, more): &(&str, &str)| {
        let option = option(name)?;
        let mut text = option.doc.to_owned();
        if !more.is_empty() {
            text.push(' ');
            text.push_str(more);
        }
        if let Some(instead) = option.deprecated {
            let _ = write!(text, " Deprecated: {instead}.");
        }
        Ok((option, text))
    };
    chapter.options.iter().map(entry).collect()
}

const EXAMPLE: &str = "\
[barman]
barman_home = /var/lib/barman
barman_user = barman
log_file = /var/log/barman/barman.log
configuration_files_directory = /etc/barman.d
compression = zstd
retention_policy = RECOVERY WINDOW OF 4 WEEKS

[main]
description = Main database
conninfo = host=pg.example.org user=barman dbname=postgres
streaming_conninfo = host=pg.example.org user=streaming_barman
backup_method = postgres
streaming_archiver = on
slot_name = barman
create_slot = auto
";

/// `docs/configuration.md`
fn page() -> Result<String> {
    let mut out = String::from(
        "# Configuration\n\n<!-- Written by `cargo xtask docs` from the registry of options. -->\n\n",
    );
    let _ = writeln!(out, "{INTRODUCTION}\n\n```\n{EXAMPLE}```\n\n## Sections\n");
    for line in SECTIONS {
        let _ = writeln!(out, "- {line}");
    }
    out.push_str("\n## How it is written\n\n");
    for line in DIALECT {
        let _ = writeln!(out, "- {line}");
    }
    out.push_str("\n| type | values |\n| --- | --- |\n");
    for (name, values) in TYPES {
        let _ = writeln!(out, "| {name} | {values} |");
    }
    out.push_str("\n`barman show-servers SERVER` shows the value that counts of every option.\n");
    for chapter in CHAPTERS {
        let _ = writeln!(out, "\n## {}\n", chapter.title);
        if !chapter.about.is_empty() {
            let _ = writeln!(out, "{}\n", chapter.about);
        }
        out.push_str("| option | type | default | where | meaning |\n| --- | --- | --- | --- | --- |\n");
        for (option, text) in entries(chapter)? {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} | {text} |",
                option.name,
                type_of(option),
                default_of(option),
                scope_of(option),
            );
        }
    }
    Ok(out)
}

/// A text for `man`: no line may begin with a control character, and backticks become bold.
fn roff(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in text.split('`').enumerate() {
        let escaped = part.replace('\\', "\\e").replace('-', "\\-");
        match at % 2 {
            0 => out.push_str(&escaped),
            _ => {
                let _ = write!(out, "\\fB{escaped}\\fR");
            }
        }
    }
    if out.starts_with(['.', '\'']) {
        out.insert_str(0, "\\&");
    }
    out
}

/// `docs/man/barman.5`
fn manual() -> Result<String> {
    let mut out = String::from(
        ".\\\" Written by `cargo xtask docs` from the registry of options.\n.TH BARMAN 5 \"\" \"barman\" \"Configuration of Barman\"\n.SH NAME\nbarman \\- configuration file of barman(1)\n.SH DESCRIPTION\n",
    );
    let _ = writeln!(out, "{}", roff(INTRODUCTION));
    for line in SECTIONS.iter().chain(DIALECT) {
        let _ = writeln!(out, ".IP \\(bu 2\n{}", roff(line));
    }
    out.push_str(".SH TYPES\n");
    for (name, values) in TYPES {
        let _ = writeln!(out, ".TP\n.B {name}\n{}", roff(values));
    }
    for chapter in CHAPTERS {
        let _ = writeln!(out, ".SH {}", roff(&chapter.title.to_uppercase()));
        if !chapter.about.is_empty() {
            let _ = writeln!(out, "{}", roff(chapter.about));
        }
        for (option, text) in entries(chapter)? {
            let facts = format!(
                "Type: {}. Default: {}. In: {}.",
                type_of(option),
                default_of(option),
                scope_of(option)
            );
            let _ = writeln!(
                out,
                ".TP\n.B {}\n{}\n.br\n{}",
                option.name,
                roff(&text),
                roff(&facts)
            );
        }
    }
    out.push_str(".SH EXAMPLE\n.nf\n");
    for line in EXAMPLE.lines() {
        let _ = writeln!(out, "{}", roff(line));
    }
    out.push_str(".fi\n.SH SEE ALSO\n\\fBbarman\\fR(1)\n");
    Ok(out)
}

fn pages() -> Result<[(PathBuf, String); 2]> {
    let docs = run::root().join("docs");
    Ok([
        (docs.join("configuration.md"), page()?),
        (docs.join("man/barman.5"), manual()?),
    ])
}

/// Writes the pages, or looks at them.
///
/// # Errors
/// A page cannot be written; with `--check`, one is stale.
pub fn run(options: &Options) -> Result<()> {
    for (path, text) in pages()? {
        if options.check {
            check(&path, &text)?;
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn check(path: &Path, text: &str) -> Result<()> {
    let Ok(found) = fs::read_to_string(path) else {
        bail!("{} is not there: cargo xtask docs", path.display());
    };
    ensure!(found == text, "{} is stale: cargo xtask docs", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_pages_are_what_the_registry_says() {
        run(&Options { check: true }).unwrap();
    }

    #[test]
    fn the_manual_page_is_valid_roff() {
        let text = manual().unwrap();
        for line in text.lines().filter(|line| line.starts_with(['.', '\''])) {
            let known = [".\\\"", ".TH ", ".SH ", ".IP ", ".TP", ".B ", ".br", ".nf", ".fi"];
            assert!(known.iter().any(|request| line.starts_with(request)), "{line}");
        }
        assert_eq!(roff(".x `a-b` \\"), "\\&.x \\fBa\\-b\\fR \\e");
    }

    #[test]
    fn the_example_is_a_configuration_without_a_fault() {
        let dir = testkit::TestDir::new().unwrap();
        let path = dir.path().join("barman.conf");
        fs::write(&path, EXAMPLE.replace("configuration_files_directory", "#")).unwrap();
        let config = barman_core::config::Config::load(&path, None).unwrap();
        let main = config.server("main").unwrap();
        assert!(config.warnings.is_empty() && config.global_warnings.is_empty());
        let told = main
            .notices
            .iter()
            .find(|notice| notice.level > barman_core::Level::Debug);
        assert!(main.messages.is_empty() && told.is_none(), "{main:?}");
    }
}
