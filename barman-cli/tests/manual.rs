//! `docs/man/barman.1` is made of the grammar: `UPDATE_EXPECT=1 cargo test -p barman-cli --test manual` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

use clap_mangen::Man;
use expect_test::expect_file;

/// What one of the renderers writes.
fn rendered(render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut page = Vec::new();
    render(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// The text with what roff would take for a request or an escape made harmless.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    text.lines()
        .map(|line| match line.chars().next() {
            Some('.' | '\'') => format!("\\&{line}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

/// Groups of options below a command: bold lines instead of sections.
fn lower_headings(options: &str) -> String {
    options
        .lines()
        .map(|line| match line.strip_prefix(".SH ") {
            Some("OPTIONS") => String::new(),
            Some(heading) => {
                let heading = heading.trim_matches('"').to_lowercase();
                format!(".PP\n\\fIOptions: {}\\fR\n", plain(&heading).trim_end())
            }
            None => format!("{line}\n"),
        })
        .collect()
}

/// Paragraphs are filled, those with indented lines are left as they are.
fn paragraphs(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| {
            if paragraph.contains("\n  ") {
                format!(".PP\n.nf\n{}.fi\n", plain(paragraph))
            } else {
                format!(".PP\n{}", plain(paragraph))
            }
        })
        .collect()
}

fn manual() -> String {
    let mut grammar = barman_cli::args::grammar();
    grammar.build();
    let about = grammar.get_after_help().map(ToString::to_string);
    let man = Man::new(grammar.clone().after_help(""))
        .title("BARMAN")
        .section("1")
        .source("barman-rs")
        .date("");
    let mut page = rendered(|mut out| man.render_title(&mut out));
    page.push_str(&rendered(|mut out| man.render_name_section(&mut out)));
    page.push_str(&rendered(|mut out| man.render_synopsis_section(&mut out)));
    page.push_str(&rendered(|mut out| man.render_options_section(&mut out)));
    page.push_str(".SH COMMANDS\n");
    for command in grammar.get_subcommands_mut() {
        let names: Vec<&str> = std::iter::once(command.get_name())
            .chain(command.get_visible_aliases())
            .collect();
        page.push_str(&format!(".SS {}\n", plain(&names.join(", "))));
        page.push_str(&plain(
            &command.get_about().map(ToString::to_string).unwrap_or_default(),
        ));
        let usage = command.render_usage().to_string();
        page.push_str(&format!(
            ".PP\n\\fB{}\\fR\n",
            plain(usage.trim_start_matches("Usage: ")).trim_end()
        ));
        let examples = command.get_after_help().map(ToString::to_string);
        let options = rendered(|mut out| Man::new(command.clone()).render_options_section(&mut out));
        page.push_str(&lower_headings(&options));
        if let Some(examples) = examples {
            page.push_str(&paragraphs(&examples));
        }
    }
    page.push_str(".SH EXAMPLES\n");
    page.push_str(&paragraphs(&about.unwrap_or_default()));
    page
}

#[test]
fn the_manual_is_that_of_the_grammar() {
    let manual = manual();
    for command in barman_cli::args::grammar().get_subcommands() {
        let heading = format!(".SS {}", command.get_name().replace('-', "\\-"));
        assert!(manual.contains(&heading), "{heading}");
    }
    expect_file!["../../docs/man/barman.1"].assert_eq(&manual);
}
