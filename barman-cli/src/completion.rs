//! Completion for bash, made of the grammar: commands, options, choices. Servers and backups are asked of the program
//! itself, with the configuration file that the line being typed names.

use clap::{Arg, Command};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The words that select a backup, offered behind the ids (`cli.md` 18).
const SHORTCUTS: &str = "latest last oldest first last-failed latest-full last-full auto";

const HEAD: &str = r#"# Completion of barman for bash. Load it with:  source <(barman completion bash)
_barman() {
    local program=${COMP_WORDS[0]/#\~\//$HOME/} current=${COMP_WORDS[COMP_CWORD]} previous= command= kind word
    local -a words=() config=() given=()
    COMPREPLY=()
    # '--format=json' comes as three words: it is the same as '--format json'.
    [[ $current == = ]] && current=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == = ]] || words+=("$word")
    done
    for word in "${words[@]}"; do
        if [[ -n $previous ]]; then
            if [[ -z $command && ( $previous == -c || $previous == --config ) ]]; then
                config=(-c "${word/#\~\//$HOME/}")
            fi
            previous=
        elif _barman_takes_value "$command" "$word"; then
            previous=$word
        elif [[ -z $command && $word == -c* ]]; then
            config=(-c "${word#-c}")
        elif [[ $word == -* ]]; then
            :
        elif [[ -z $command ]]; then
            command=$word
        else
            given+=("$word")
        fi
    done
    if [[ -n $previous ]]; then
        kind=$(_barman_choices "$command" "$previous")
    elif [[ $current == -* ]]; then
        kind="words $(_barman_options "$command")"
    elif [[ -z $command ]]; then
        kind="words $(_barman_commands)"
    else
        kind=$(_barman_positional "$command" ${#given[@]})
    fi
    case $kind in
        words*) _barman_offer < <(printf '%s\n' ${kind#words}) ;;
        server*) _barman_offer < <(
            "$program" "${config[@]}" list-servers --minimal 2>/dev/null </dev/null
            [[ $kind == servers && ${#given[@]} -eq 0 ]] && echo all) ;;
        backup) _barman_offer < <(
            backups=$("$program" "${config[@]}" list-backups --minimal "${given[0]}" 2>/dev/null </dev/null)
            [[ -n $backups ]] && printf '%s\n' "$backups" {SHORTCUTS}) ;;
        file)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "${current/#\~\//$HOME/}") ;;
    esac
}
# Of the words on its standard input, one a line: those that begin with what was typed and are not there yet.
_barman_offer() {
    local word other quoted
    while IFS= read -r word; do
        [[ -n $word && $word == "$current"* ]] || continue
        for other in "${given[@]}"; do
            [[ $word == "$other" ]] && continue 2
        done
        printf -v quoted %q "$word"
        COMPREPLY+=("$quoted")
    done
}
"#;

/// The script, to be read by bash.
#[must_use]
pub fn bash(grammar: &Command) -> String {
    let mut script = HEAD.replace("{SHORTCUTS}", SHORTCUTS);
    let commands: Vec<&Command> = grammar.get_subcommands().collect();
    let all_names: Vec<&str> = commands.iter().flat_map(|command| names(command)).collect();
    let _ = writeln!(script, "_barman_commands() {{ echo '{}'; }}", all_names.join(" "));
    let pattern = |command: &Command| {
        let names: Vec<&str> = names_of(command, grammar);
        names.join("|")
    };
    let all = || std::iter::once(grammar).chain(commands.iter().copied());

    script.push_str("_barman_options() {\n    case $1 in\n");
    for command in all() {
        let options: Vec<String> = command.get_arguments().flat_map(spellings).collect();
        let _ = writeln!(
            script,
            "        {}) echo '{}' ;;",
            pattern(command),
            options.join(" ")
        );
    }
    script.push_str("    esac\n}\n_barman_takes_value() {\n    case $1:$2 in\n");
    for command in all() {
        for name in names_of(command, grammar) {
            let valued: BTreeSet<String> = with_value(command)
                .flat_map(spellings)
                .map(|option| format!("{}:{option}", unquoted(name)))
                .collect();
            if !valued.is_empty() {
                let list: Vec<String> = valued.into_iter().collect();
                let _ = writeln!(script, "        {}) return 0 ;;", list.join("|"));
            }
        }
    }
    script.push_str("        *) return 1 ;;\n    esac\n}\n_barman_choices() {\n    case $1:$2 in\n");
    for command in all() {
        for name in names_of(command, grammar) {
            for option in with_value(command) {
                let patterns: Vec<String> = spellings(option)
                    .map(|spelling| format!("{}:{spelling}", unquoted(name)))
                    .collect();
                if !patterns.is_empty() {
                    let _ = writeln!(
                        script,
                        "        {}) echo '{}' ;;",
                        patterns.join("|"),
                        values_of(option)
                    );
                }
            }
        }
    }
    script.push_str("    esac\n}\n_barman_positional() {\n    case $1:$2 in\n");
    for command in &commands {
        for name in names(command) {
            for (at, positional) in command.get_positionals().enumerate() {
                let many = positional
                    .get_num_args()
                    .is_some_and(|count| count.max_values() > 1);
                let place = if many { "*".to_owned() } else { at.to_string() };
                let _ = writeln!(
                    script,
                    "        {name}:{place}) echo '{}' ;;",
                    values_of(positional)
                );
            }
        }
    }
    script.push_str("    esac\n}\ncomplete -F _barman barman\n");
    script
}

fn names(command: &Command) -> Vec<&str> {
    std::iter::once(command.get_name())
        .chain(command.get_all_aliases())
        .collect()
}

/// The names of a command; `''` is the program.
fn names_of<'a>(command: &'a Command, grammar: &Command) -> Vec<&'a str> {
    if command.get_name() == grammar.get_name() {
        vec!["''"]
    } else {
        names(command)
    }
}

fn unquoted(name: &str) -> &str {
    name.trim_matches('\'')
}

/// How an option can be written; nothing for positionals and what the help does not show.
fn spellings(arg: &Arg) -> impl Iterator<Item = String> {
    let shown = !arg.is_positional() && !arg.is_hide_set();
    let long = arg.get_long().map(|long| format!("--{long}"));
    let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
    let shorts = shorts.into_iter().map(|short| format!("-{short}"));
    long.into_iter().chain(shorts).filter(move |_| shown)
}

/// Options whose value is the next word; that of `--reuse-backup` need not follow.
fn with_value(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| {
        let optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
        !arg.is_positional() && arg.get_action().takes_values() && !optional
    })
}

/// What can stand there: choices, servers, backups, files, or anything.
fn values_of(arg: &Arg) -> String {
    let choices: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    if !choices.is_empty() {
        return format!("words {}", choices.join(" "));
    }
    let name = arg.get_value_names().and_then(<[_]>::first);
    let many = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
    match name.map(clap::builder::Str::as_str) {
        Some("SERVER") if many => "servers",
        Some("SERVER") => "server",
        Some("BACKUP_ID") => "backup",
        Some(
            "PATH"
            | "DIR"
            | "DESTINATION_DIRECTORY"
            | "OUTPUT_DIRECTORY"
            | "TARBALL"
            | "WAL_PATH"
            | "WAL_DEST",
        ) => "file",
        _ => "",
    }
    .to_owned()
}
