//! Finds the functions of the product that read a format, in its sources.
//!
//! A function counts when others can call it (`pub` of any reach, or a method of `FromStr` and `TryFrom`) and
//!
//! - it takes bytes (`[u8]`, `Vec<u8>`, `Bytes`, `impl Read`, `impl BufRead`) and returns something made of them, or
//! - it takes text (`str`, `String`, `OsStr`, `OsString`) and its name or its result says that it reads it: `parse`,
//!   `from_*`, `decode`..., `Result<Self, _>`, `Option<Self>`, or
//! - it takes a path or an open file and its name says that it reads what is in it (`read`, `load`, `detect`...).
//!
//! Each must be in [`crate::Parser::covers`] or in [`EXEMPT`].

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use syn::{FnArg, ImplItem, Item, ReturnType, Signature, Visibility};

use crate::{PARSERS, corpus};

/// The crates that are searched.
pub const CRATES: [&str; 6] = [
    "barman-wal",
    "barman-pg",
    "barman-catalog",
    "barman-core",
    "barman-cli",
    "patroni-barman",
];

/// First words of the names of functions that read.
const READING: [&str; 18] = [
    "parse", "parsed", "read", "reader", "decode", "decoder", "from", "load", "detect", "inspect", "scan",
    "unquote", "unescape", "expand", "resolve", "locate", "redact", "looks",
];

/// Functions that look like parsers and have no row of their own, and why.
#[rustfmt::skip]
pub const EXEMPT: &[(&str, &str)] = &[
    ("barman_catalog::annotations::write", "writes; gives back an error at most"),
    ("barman_catalog::catalog::Catalog::from_backups", "takes what was read already"),
    ("barman_catalog::export::tree::entry", "describes a file for an export, reads none"),
    ("barman_catalog::manifest::index::Index::read", "keeps what manifest::read reads (backup_manifest)"),
    ("barman_catalog::manifest::verify::control_content", "ControlFile::parse (pg_control)"),
    ("barman_catalog::tarball::write::Entry::made_up", "describes a file for an export, reads none"),
    ("barman_core::config::Config::read_file", "bytes as they are, for edit::set (edited_file)"),
    ("barman_core::config::load::read_bounded", "bytes as they are, for Ini::parse (ini_file)"),
    ("barman_core::host::filter::Filter::start", "bytes go to a program and come from it; nothing is made of them"),
    ("barman_core::ops::archive::segment_check::judge", "judges what PageHeader::parse and check_segment_header say (wal_page)"),
    ("barman_core::ops::backup::sequence::Taking::register", "takes a name that was checked already"),
    ("barman_core::ops::config_update::document::parse", "an argument of the command line, read by serde_json"),
    ("barman_core::ops::config_update::queue::keep_malformed", "writes; gives back where"),
    ("barman_core::ops::diagnose::system::SystemInfo::by_ssh", "four lines of a program, kept as they are"),
    ("barman_core::ops::receive_wal::start::scan", "names of a directory, read by WalFileName (names)"),
    ("barman_core::ops::restore::archived::reader", "Algorithm::detect and decoder for a file (archived_file)"),
    ("barman_core::ops::restore::conf_files::write_new", "writes; gives back an error at most"),
    ("barman_core::ops::wal_codec::WalCodec::detect", "Algorithm::detect (archived_file)"),
    ("barman_core::ops::wal_codec::WalCodec::reader", "Algorithm::detect and decoder for a file (archived_file)"),
    ("barman_core::ops::wal_codec::looks_plain", "PageHeader::parse (wal_page), or the first bytes of a text"),
    ("barman_pg::auth::scram::Scram::new", "takes a password of ours"),
    ("barman_pg::auth::scram::ScramFailure::from", "keeps the text as it is"),
    ("barman_pg::connect::channel::Channel::read", "bytes as they come; nothing is made of them"),
    ("barman_pg::replication::resume::ReplicationClient::connect_again", "compares the system identifier that identify_system reads (replication_answers)"),
    ("barman_pg::secret::Secret::from", "keeps the text as it is"),
    ("barman_pg::sql::stream::Established::new", "hands messages to the driver as startup read them; sql_session begins here"),
    ("barman_pg::tls::absent::TlsSession::read", "stands for TLS in a build without it"),
    ("barman_pg::tls::session::TlsSession::read", "bytes as OpenSSL decrypts them; nothing is made of them"),
    ("barman_pg::tls::settings::TlsVersion::parse", "one of four words"),
    ("barman_wal::codec::gzip::pack", "compresses"),
    ("barman_wal::codec::pool::Pool::new", "begins threads; takes their name"),
    ("barman_wal::durable::atomic::write_atomic", "writes; gives back an error at most"),
];

/// A function that reads something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The path of its definition.
    pub path: String,
    /// Whether it looks like a parser; the others are known so that a `covers` that names nothing is noticed.
    pub reads: bool,
}

/// Every function of the product.
///
/// # Errors
/// A source file cannot be read or is no Rust.
pub fn product() -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for name in CRATES {
        let source = corpus::root().join(name).join("src");
        directory(&source, &name.replace('-', "_"), &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn directory(place: &Path, module: &str, found: &mut Vec<Found>) -> Result<()> {
    let entries = fs::read_dir(place).with_context(|| format!("list {}", place.display()))?;
    for entry in entries {
        let path = entry?.path();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let inner = format!("{module}::{stem}");
        if stem == "tests" || stem == "bin" {
            continue;
        }
        if path.is_dir() {
            directory(&path, &inner, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let module = if matches!(stem.as_str(), "lib" | "main" | "mod") {
                module
            } else {
                &inner
            };
            found.extend(source(&text, module).with_context(|| format!("parse {}", path.display()))?);
        }
    }
    Ok(())
}

/// The functions of one source file, which is the module of this path.
///
/// # Errors
/// It is no Rust.
pub fn source(text: &str, module: &str) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    items(&syn::parse_file(text)?.items, module, &mut found);
    Ok(found)
}

fn items(items: &[Item], module: &str, found: &mut Vec<Found>) {
    for item in items {
        match item {
            Item::Fn(function) if !is_test(&function.attrs) => {
                let reads = is_visible(&function.vis) && is_reader(&function.sig);
                found.push(Found {
                    path: format!("{module}::{}", function.sig.ident),
                    reads,
                });
            }
            Item::Mod(inner) if !is_test(&inner.attrs) => {
                if let Some((_, content)) = &inner.content {
                    self::items(content, &format!("{module}::{}", inner.ident), found);
                }
            }
            Item::Impl(block) if !is_test(&block.attrs) => {
                // What is made of the input of an error is its text.
                let Some(name) = type_name(&block.self_ty).filter(|name| !name.ends_with("Error")) else {
                    continue;
                };
                let of = block
                    .trait_
                    .as_ref()
                    .and_then(|(_, path, _)| path.segments.last());
                let of = of.map(|segment| segment.ident.to_string());
                for inner in &block.items {
                    let ImplItem::Fn(method) = inner else { continue };
                    let reads = match of.as_deref() {
                        None => is_visible(&method.vis) && is_reader(&method.sig),
                        Some("FromStr") => true,
                        Some("TryFrom" | "From") => is_reader(&method.sig),
                        Some(_) => false,
                    };
                    found.push(Found {
                        path: format!("{module}::{name}::{}", method.sig.ident),
                        reads,
                    });
                }
            }
            _ => {}
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg") && list.is_ok_and(|list| list.tokens.to_string() == "test"))
    })
}

fn is_visible(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

fn type_name(of: &syn::Type) -> Option<String> {
    match of {
        syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

/// Identifiers in a piece of syntax, and `[u8]` for a slice or an array of bytes.
#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn has(&self, words: &[&str]) -> bool {
        self.0.iter().any(|word| words.contains(&word.as_str()))
    }

    fn of_type(&mut self, of: &syn::Type) {
        match of {
            syn::Type::Reference(inner) => self.of_type(&inner.elem),
            syn::Type::Slice(inner) => self.of_elements(&inner.elem),
            syn::Type::Array(inner) => self.of_elements(&inner.elem),
            syn::Type::Paren(inner) => self.of_type(&inner.elem),
            syn::Type::Tuple(inner) => inner.elems.iter().for_each(|inner| self.of_type(inner)),
            syn::Type::ImplTrait(inner) => self.of_bounds(&inner.bounds),
            syn::Type::TraitObject(inner) => self.of_bounds(&inner.bounds),
            syn::Type::Path(path) => self.of_path(&path.path),
            _ => {}
        }
    }

    fn of_elements(&mut self, of: &syn::Type) {
        if type_name(of).as_deref() == Some("u8") {
            self.0.push("[u8]".to_owned());
        }
        self.of_type(of);
    }

    fn of_path(&mut self, path: &syn::Path) {
        for segment in &path.segments {
            self.0.push(segment.ident.to_string());
            if let syn::PathArguments::AngleBracketed(arguments) = &segment.arguments {
                for argument in &arguments.args {
                    match argument {
                        syn::GenericArgument::Type(inner) => self.of_type(inner),
                        syn::GenericArgument::AssocType(inner) => self.of_type(&inner.ty),
                        _ => {}
                    }
                }
            }
        }
        // A vector of bytes is bytes.
        if self.0.ends_with(&["Vec".to_owned(), "u8".to_owned()]) {
            self.0.push("[u8]".to_owned());
        }
    }

    fn of_bounds<'a>(&mut self, bounds: impl IntoIterator<Item = &'a syn::TypeParamBound>) {
        for bound in bounds {
            if let syn::TypeParamBound::Trait(bound) = bound {
                self.of_path(&bound.path);
            }
        }
    }
}

fn is_reader(signature: &Signature) -> bool {
    let mut takes = Words::default();
    for input in &signature.inputs {
        if let FnArg::Typed(argument) = input {
            takes.of_type(&argument.ty);
        }
    }
    for parameter in signature.generics.type_params() {
        if takes.has(&[&parameter.ident.to_string()]) {
            takes.of_bounds(&parameter.bounds);
        }
    }
    for clause in signature
        .generics
        .where_clause
        .iter()
        .flat_map(|clause| &clause.predicates)
    {
        if let syn::WherePredicate::Type(clause) = clause {
            takes.of_bounds(&clause.bounds);
        }
    }
    let mut gives = Words::default();
    if let ReturnType::Type(_, of) = &signature.output {
        gives.of_type(of);
    }
    // What only says how it went has kept nothing of what it read.
    let made = gives
        .0
        .iter()
        .any(|word| !["Result", "Option", "io", "Error", "usize"].contains(&word.as_str()));
    let name = signature.ident.to_string();
    let first = name.split('_').next().unwrap_or_default();
    let named = READING.contains(&first) || name.contains("parse");
    let bytes = takes.has(&["[u8]", "Read", "BufRead", "Bytes"]);
    let text = takes.has(&["str", "String", "OsStr", "OsString"]);
    let file = takes.has(&["Path", "File", "Layout"]);
    let is_method = signature.receiver().is_some();
    let new_self = gives.has(&["Self"]) && gives.has(&["Result", "Option"]) && !is_method;
    let reads_bytes = bytes && (named || !is_method);
    let reads_text = text && (named || new_self);
    let reads_file = file && named && first != "from";
    made && (reads_bytes || reads_text || reads_file)
}

/// What is wrong: a function without parser, a `covers` or exemption that names nothing.
#[must_use]
pub fn faults(found: &[Found]) -> Vec<String> {
    let known: BTreeMap<&str, bool> = found
        .iter()
        .map(|found| (found.path.as_str(), found.reads))
        .collect();
    let mut faults = Vec::new();
    let covered = |path: &str| PARSERS.iter().any(|parser| parser.covers.contains(&path));
    let exempt = |path: &str| EXEMPT.iter().any(|(name, _)| *name == path);
    for (path, reads) in &known {
        match (*reads, covered(path), exempt(path)) {
            (true, false, false) => faults.push(format!(
                "{path} reads something and no parser covers it: add it to a row of xtask/parsers/src/table.rs"
            )),
            (_, true, true) => faults.push(format!("{path} is covered and exempt")),
            _ => {}
        }
    }
    for parser in PARSERS {
        for path in parser.covers.iter().filter(|path| !known.contains_key(*path)) {
            faults.push(format!(
                "parser {} covers {path}, which does not exist",
                parser.name
            ));
        }
    }
    for (path, _) in EXEMPT.iter().filter(|(path, _)| known.get(path) != Some(&true)) {
        faults.push(format!(
            "{path} needs no exemption: it does not exist or does not look like a parser"
        ));
    }
    faults
}

/// Fails with everything that is wrong.
///
/// # Errors
/// See [`faults`]; a source file cannot be read.
pub fn check() -> Result<()> {
    let faults = faults(&product()?);
    if faults.is_empty() {
        return Ok(());
    }
    bail!(
        "{} fault(s) in the list of parsers\n{}",
        faults.len(),
        faults.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(code: &str) -> Vec<String> {
        let found = source(code, "m").unwrap();
        found
            .into_iter()
            .filter(|found| found.reads)
            .map(|found| found.path)
            .collect()
    }

    #[test]
    fn what_reads_is_found() {
        for (code, path) in [
            ("pub fn parse_x(bytes: &[u8]) -> X {}", "m::parse_x"),
            ("pub fn header(bytes: [u8; 4]) -> u32 {}", "m::header"),
            ("pub(crate) fn parse_x(text: &str) -> Option<X> {}", "m::parse_x"),
            (
                "pub fn read_all(input: impl Read) -> io::Result<Vec<u8>> {}",
                "m::read_all",
            ),
            (
                "pub fn walk<R: std::io::BufRead>(input: R) -> Vec<X> {}",
                "m::walk",
            ),
            ("pub fn walk<R>(input: R) -> Vec<X> where R: Read {}", "m::walk"),
            ("pub fn load(path: &Path) -> Result<X, E> {}", "m::load"),
            (
                "impl FromStr for X { fn from_str(s: &str) -> Result<Self, E> {} }",
                "m::X::from_str",
            ),
            (
                "impl TryFrom<&[u8]> for X { fn try_from(b: &[u8]) -> Result<Self, E> {} }",
                "m::X::try_from",
            ),
            (
                "impl X { pub fn new(text: &str) -> Option<Self> {} }",
                "m::X::new",
            ),
            (
                "pub mod deep { pub fn parse(words: Vec<OsString>) -> X {} }",
                "m::deep::parse",
            ),
            ("pub fn unpack(data: Vec<u8>) -> Option<X> {}", "m::unpack"),
        ] {
            assert_eq!(reads(code), [path], "{code}");
        }
    }

    #[test]
    fn what_does_not_read_is_not() {
        for code in [
            "fn parse_x(bytes: &[u8]) -> X {}",
            "pub fn write(bytes: &[u8]) -> io::Result<()> {}",
            "pub fn name(text: &str) -> String {}",
            "impl X { pub fn update(&mut self, bytes: &[u8]) {} }",
            "impl X { pub fn as_str(&self) -> &str {} }",
            "impl X { pub fn get(&self, key: &str) -> Option<&str> {} }",
            "impl Read for X { fn read(&mut self, b: &mut [u8]) -> io::Result<usize> {} }",
            "#[cfg(test)] mod tests { pub fn parse(bytes: &[u8]) -> X {} }",
            "pub fn open(path: &Path) -> io::Result<File> {}",
        ] {
            assert_eq!(reads(code), [""; 0], "{code}");
        }
    }

    #[test]
    fn a_new_parser_without_a_row_is_a_fault() {
        let mut found = product().unwrap();
        assert_eq!(faults(&found), [""; 0]);
        found.extend(source("pub fn parse_x(bytes: &[u8]) -> X {}", "barman_wal::x").unwrap());
        let faults = faults(&found);
        assert!(
            faults.len() == 1 && faults[0].starts_with("barman_wal::x::parse_x "),
            "{faults:?}"
        );
    }
}
