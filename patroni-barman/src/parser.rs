//! A small option parser with the rules of the classic Python one, which Patroni's calls rely on: unknown arguments
//! are passed over (Patroni adds its own), long options may be abbreviated, the last occurrence counts.

use std::collections::BTreeMap;

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its spellings; the first one is the key of its value.
    pub names: &'static [&'static str],
    /// How its value is called in texts; flags have none.
    pub value: Option<&'static str>,
    /// What values are accepted.
    pub check: Check,
    /// Whether leaving it out is an error.
    pub required: bool,
    /// How strictly it is taken.
    pub origin: Origin,
    /// One line of help.
    pub help: &'static str,
}

/// Where an option comes from. What the original does not know must not change what its command lines mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The original has it; it may be abbreviated.
    Classic,
    /// We have added it; only its whole name is known.
    Ours,
    /// The original passes over it in this place: so do we if its value is missing or wrong.
    Late,
}

/// One positional argument.
#[derive(Debug, Clone, Copy)]
pub struct PositionalSpec {
    /// Its name.
    pub name: &'static str,
    /// What is accepted.
    pub check: Check,
    /// One line of help.
    pub help: &'static str,
}

/// What is accepted as a value.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// Any text.
    Text,
    /// An integer.
    Integer,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// The grammar of the program or of a sub-command.
#[derive(Debug, Clone, Copy)]
pub struct Grammar {
    /// The words that usage errors start with.
    pub program: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Options.
    pub options: &'static [OptionSpec],
    /// Positionals, in order.
    pub positionals: &'static [PositionalSpec],
    /// Whether the last positional takes the words behind it for itself.
    pub has_commands: bool,
    /// A pair of options of which exactly one has to be given.
    pub exactly_one: Option<(&'static str, &'static str)>,
    /// Text behind the lists of the help.
    pub epilogue: &'static str,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Matches {
    /// Values of options by first spelling; flags have an empty one.
    pub options: BTreeMap<&'static str, String>,
    /// Positionals, as many as were given.
    pub positionals: Vec<String>,
    /// The words behind a sub-command.
    pub rest: Vec<String>,
    /// Help was asked for.
    pub help: bool,
}

enum Word<'a> {
    Argument,
    Option(&'a OptionSpec, Option<String>),
    Unknown,
}

impl Grammar {
    /// Reads words. Missing required options are not an error yet (see [`Grammar::check_required`]).
    pub fn parse(&self, words: &[String]) -> Result<Matches, String> {
        let mut matches = Matches::default();
        let mut only_arguments = false;
        let mut queue = words.iter();
        while let Some(word) = queue.next() {
            if word == "--" && !only_arguments && !self.has_commands {
                only_arguments = true;
                continue;
            }
            let class = if only_arguments {
                Word::Argument
            } else {
                self.classify(word)?
            };
            match class {
                Word::Unknown => {}
                Word::Argument => {
                    let Some(spec) = self.positionals.get(matches.positionals.len()) else {
                        continue;
                    };
                    self.check(spec.name, spec.check, word)?;
                    matches.positionals.push(word.clone());
                    if self.has_commands {
                        matches.rest = queue.cloned().collect();
                        return Ok(matches);
                    }
                }
                Word::Option(spec, attached) => {
                    let Some(key) = spec.names.first().copied() else {
                        continue;
                    };
                    if key == "-h" && attached.is_none() {
                        matches.help = true;
                        return Ok(matches);
                    }
                    let spelling = spec.names.join("/");
                    let value = match (spec.value, attached) {
                        (None, None) => String::new(),
                        (None, Some(value)) => {
                            return Err(self.error(&format!(
                                "argument {spelling}: ignored explicit argument '{value}'"
                            )));
                        }
                        (Some(_), Some(value)) if spec.origin == Origin::Late => {
                            if self.check("", spec.check, &value).is_err() {
                                continue;
                            }
                            value
                        }
                        (Some(_), Some(value)) => value,
                        (Some(_), None) => {
                            let next = queue.as_slice().first().filter(|next| {
                                *next != "--"
                                    && (spec.origin != Origin::Late
                                        || self.check("", spec.check, next).is_ok())
                            });
                            match next {
                                Some(next) if matches!(self.classify(next)?, Word::Argument) => {
                                    let _ = queue.next();
                                    next.clone()
                                }
                                _ if spec.origin == Origin::Late => continue,
                                _ => {
                                    return Err(
                                        self.error(&format!("argument {spelling}: expected one argument"))
                                    );
                                }
                            }
                        }
                    };
                    if spec.value.is_some() {
                        self.check(&spelling, spec.check, &value)?;
                    }
                    if let Some((one, other)) = self.exactly_one {
                        let rival = if key == one { other } else { one };
                        if (key == one || key == other) && matches.options.contains_key(rival) {
                            return Err(self
                                .error(&format!("argument {spelling}: not allowed with argument {rival}")));
                        }
                    }
                    matches.options.insert(key, value);
                }
            }
        }
        Ok(matches)
    }

    /// Refuses what was left out.
    pub fn check_required(&self, matches: &Matches) -> Result<(), String> {
        let options = self.options.iter().filter(|option| option.required);
        let missing = options.filter(|option| {
            option
                .names
                .first()
                .is_none_or(|key| !matches.options.contains_key(key))
        });
        let positionals = self
            .positionals
            .iter()
            .skip(matches.positionals.len())
            .filter(|_| !self.has_commands);
        let names: Vec<String> = positionals
            .map(|positional| positional.name.to_owned())
            .chain(missing.map(|option| option.names.join("/")))
            .collect();
        if !names.is_empty() {
            return Err(self.error(&format!(
                "the following arguments are required: {}",
                names.join(", ")
            )));
        }
        match self.exactly_one {
            Some((one, other))
                if !matches.options.contains_key(one) && !matches.options.contains_key(other) =>
            {
                Err(self.error(&format!("one of the arguments {one} {other} is required")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses values that are not what was written. `undecodable`: some word was not UTF-8.
    pub fn check_text(&self, matches: &Matches, undecodable: bool) -> Result<(), String> {
        let broken = matches
            .options
            .iter()
            .find(|(_, value)| undecodable && value.contains(char::REPLACEMENT_CHARACTER));
        match broken {
            Some((name, _)) => Err(self.error(&format!("argument {name}: the value is not UTF-8"))),
            None => Ok(()),
        }
    }

    fn classify(&self, word: &str) -> Result<Word<'_>, String> {
        if !word.starts_with('-') || word.len() == 1 || (word == "--" && self.has_commands) {
            return Ok(Word::Argument);
        }
        let exact = |name: &str| self.options.iter().find(|option| option.names.contains(&name));
        if let Some(option) = exact(word) {
            return Ok(Word::Option(option, None));
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        if let Some(option) = exact(name) {
            return Ok(Word::Option(option, value));
        }
        if name.starts_with("--") && name.len() > 2 {
            let spellings: Vec<(&str, &OptionSpec)> = self
                .options
                .iter()
                .filter(|option| option.origin == Origin::Classic)
                .flat_map(|option| option.names.iter().map(move |spelling| (*spelling, option)))
                .filter(|(spelling, _)| spelling.starts_with(name))
                .collect();
            match spellings.as_slice() {
                [] => {}
                [(_, option)] => return Ok(Word::Option(option, value)),
                several => {
                    let names: Vec<&str> = several.iter().map(|(spelling, _)| *spelling).collect();
                    return Err(self.error(&format!(
                        "ambiguous option: {word} could match {}",
                        names.join(", ")
                    )));
                }
            }
        }
        let looks_like_number = word.get(1..).is_some_and(is_number);
        Ok(if looks_like_number || word.contains(' ') {
            Word::Argument
        } else {
            Word::Unknown
        })
    }

    fn check(&self, name: &str, check: Check, value: &str) -> Result<(), String> {
        match check {
            Check::Text => Ok(()),
            Check::Integer => integer(value)
                .map(drop)
                .ok_or_else(|| self.error(&format!("argument {name}: invalid int value: '{value}'"))),
            Check::Choice(words) if words.contains(&value) => Ok(()),
            Check::Choice(words) => {
                let list: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
                Err(self.error(&format!(
                    "argument {name}: invalid choice: '{value}' (choose from {})",
                    list.join(", ")
                )))
            }
        }
    }

    /// The text of a usage error.
    pub fn error(&self, reason: &str) -> String {
        format!("{}{}: error: {reason}\n", self.usage(), self.program)
    }

    /// The options that texts mention.
    fn shown(&self) -> impl Iterator<Item = &OptionSpec> {
        self.options.iter().filter(|option| option.origin != Origin::Late)
    }

    fn usage(&self) -> String {
        let mut text = format!("usage: {}", self.program);
        for option in self.shown() {
            let name = option.names.first().copied().unwrap_or_default();
            let words = option
                .value
                .map_or_else(|| name.to_owned(), |value| format!("{name} {value}"));
            text.push_str(&if option.required {
                format!(" {words}")
            } else {
                format!(" [{words}]")
            });
        }
        for positional in self.positionals {
            text.push_str(&match positional.check {
                Check::Choice(words) => format!(" {{{}}}", words.join(",")),
                Check::Text | Check::Integer => format!(" {}", positional.name),
            });
        }
        if self.has_commands {
            text.push_str(" ...");
        }
        text.push('\n');
        text
    }

    /// The text of `--help`.
    pub fn help(&self) -> String {
        let mut text = format!("{}\n{}\n", self.usage(), self.about);
        if !self.positionals.is_empty() {
            text.push_str("\npositional arguments:\n");
            for positional in self.positionals {
                text.push_str(&format!("  {:<36}{}\n", positional.name, positional.help));
            }
        }
        text.push_str("\noptions:\n");
        for option in self.shown() {
            let spellings = option.names.join(", ");
            let words = option
                .value
                .map_or_else(|| spellings.clone(), |value| format!("{spellings} {value}"));
            let gap = if words.len() > 35 {
                format!("\n{:38}", "")
            } else {
                " ".repeat(36 - words.len())
            };
            text.push_str(&format!("  {words}{gap}{}\n", option.help));
        }
        if !self.epilogue.is_empty() {
            text.push_str(&format!("\n{}\n", self.epilogue));
        }
        text
    }
}

fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && !fraction.is_empty() && (!whole.is_empty() || text.starts_with('.'))
}

/// An integer with optional sign, blanks around it and `_` between digits. The original knows no largest one; here the
/// largest stands for all that are larger.
pub fn integer(text: &str) -> Option<i64> {
    let trimmed = text.trim();
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    if !digits
        .split('_')
        .all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return None;
    }
    let plain = digits.replace('_', "");
    // Digits only: nothing can fail but for want of room.
    Some(if negative {
        format!("-{plain}").parse().unwrap_or(i64::MIN)
    } else {
        plain.parse().unwrap_or(i64::MAX)
    })
}
