//! Finds and reads the configuration files and builds servers and models from them.
//!
//! Two steps, because the user may change between them: [`MainFile::read`] reads the main file as the calling user and
//! gives the `[barman]` settings, [`MainFile::complete`] reads the rest as the target user and resolves every section.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Config;
use super::build::{self, CONFLICT_CHECKED, Draft};
use super::error::{ConfigError, ConfigWarning};
use super::files::{Merged, MergedSection};
use super::globals::GlobalConfig;
use super::ini::Ini;
use super::model::{self, ModelConfig, unknown_option};
use super::parse;
use super::paths::{Claim, PathOwners};
use super::registry;
use super::resolve::{self, ParsedSection};
use super::value::Value;

/// File that `config-update` writes to, loaded last.
pub const AUTO_FILE: &str = ".barman.auto.conf";
/// File below `backup_directory` that names the active model.
pub const ACTIVE_MODEL_FILE: &str = ".active-model.auto";
/// Largest configuration file that is read, bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Content of files that counts instead of what the disk has: a change that is tried before it is made. By the path
/// under which a file is loaded.
pub type Overlay = BTreeMap<PathBuf, Vec<u8>>;

/// Where to look for the main file.
#[derive(Debug, Clone, Default)]
pub struct Search<'a> {
    /// `-c`; an empty text counts as not given and hides the environment variable.
    pub option: Option<&'a Path>,
    /// `BARMAN_CONFIG_FILE`.
    pub environment: Option<&'a Path>,
    /// `HOME` of the user that starts Barman.
    pub home: Option<&'a Path>,
}

/// The main file to use: the option, else the environment variable, else the first default place that can be read.
///
/// # Errors
/// [`ConfigError::Missing`], [`ConfigError::NoneFound`].
pub fn locate(search: &Search<'_>) -> Result<PathBuf, ConfigError> {
    let given = search
        .option
        .or(search.environment)
        .filter(|path| !path.as_os_str().is_empty());
    if let Some(path) = given {
        return if path.exists() {
            Ok(path.to_owned())
        } else {
            Err(ConfigError::Missing(path.to_owned()))
        };
    }
    default_paths(search.home)
        .into_iter()
        .find(|path| path.is_file() && std::fs::File::open(path).is_ok())
        .ok_or(ConfigError::NoneFound)
}

/// Where the configuration is looked for unless a path is given, in this order. `home` is the user's home directory.
#[must_use]
pub fn default_paths(home: Option<&Path>) -> Vec<PathBuf> {
    home.map(|home| home.join(".barman.conf"))
        .into_iter()
        .chain(["/etc/barman.conf".into(), "/etc/barman/barman.conf".into()])
        .collect()
}

/// The main file, read, with the settings of `[barman]`.
#[derive(Debug, Clone)]
pub struct MainFile {
    path: PathBuf,
    merged: Merged,
    overlay: Overlay,
    /// The settings of `[barman]`.
    pub globals: GlobalConfig,
}

impl MainFile {
    /// Reads the main file.
    ///
    /// # Errors
    /// It does not exist, is not in the dialect, has no `[barman]`, or a value there is unusable.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_with(path, Overlay::new())
    }

    /// The same, with other content in some files, here and in [`MainFile::complete`].
    ///
    /// # Errors
    /// See [`MainFile::read`].
    pub fn read_with(path: &Path, overlay: Overlay) -> Result<Self, ConfigError> {
        if !path.exists() {
            return Err(ConfigError::Missing(path.to_owned()));
        }
        let (bytes, reason) = match content(path, &overlay) {
            Ok(bytes) => (bytes, String::new()),
            Err(error) => (Vec::new().into(), format!(": {error}")),
        };
        let mut merged = Merged::default();
        merged.add(path, &Ini::parse(&path.display().to_string(), &bytes)?)?;
        let barman = merged.section("barman").ok_or_else(|| ConfigError::NoBarman {
            file: path.to_owned(),
            reason: reason.clone(),
        })?;
        let globals = globals(barman, &merged.files)?;
        Ok(Self {
            path: path.to_owned(),
            merged,
            overlay,
            globals,
        })
    }

    /// Reads the included files and resolves every section. `home` (of the target user) is what `~` stands for in
    /// `configuration_files_directory`.
    ///
    /// # Errors
    /// An included file is not in the dialect or changes `[barman]`; `barman_home` is not set; a section is named `all`.
    pub fn complete(self, home: Option<&Path>) -> Result<Config, ConfigError> {
        let Self {
            path,
            mut merged,
            overlay,
            mut globals,
        } = self;
        let mut warnings = Vec::new();
        let pairs = merged
            .section("barman")
            .map(MergedSection::pairs)
            .unwrap_or_default();
        if let Some(directory) = &mut globals.configuration_files_directory {
            *directory = expand_home(directory, home);
            include_directory(&mut merged, directory, &overlay, &pairs, &mut warnings)?;
        }
        let auto = globals.auto_file();
        if overlay.contains_key(&auto) || auto.symlink_metadata().is_ok() {
            include(&mut merged, &auto, &overlay, &pairs, &mut warnings)?;
        }
        if merged
            .section("barman")
            .and_then(|barman| barman.raw("barman_home"))
            .is_none()
        {
            return Err(ConfigError::MissingHome);
        }
        resolve_all(path, home.map(Path::to_owned), merged, globals, warnings)
    }
}

/// The bytes of a configuration file.
pub(super) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    bounded(std::fs::File::open(path)?)
}

fn bounded(file: std::fs::File) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    if file.take(MAX_FILE + 1).read_to_end(&mut bytes)? as u64 > MAX_FILE {
        return Err(std::io::Error::other(
            "the file is too large for a configuration file",
        ));
    }
    Ok(bytes)
}

fn content<'a>(path: &Path, overlay: &'a Overlay) -> std::io::Result<std::borrow::Cow<'a, [u8]>> {
    match overlay.get(path) {
        Some(bytes) => Ok(bytes.into()),
        None => read_bounded(path).map(Into::into),
    }
}

/// `~` or `~/...` with the home directory put in.
fn expand_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn globals(barman: &MergedSection, files: &[PathBuf]) -> Result<GlobalConfig, ConfigError> {
    let home_text = barman
        .raw("barman_home")
        .map(|raw| resolve::text_of(barman, "", raw))
        .unwrap_or_default();
    let text = |key: &str| {
        barman
            .raw(key)
            .map(|raw| resolve::text_of(barman, &home_text, raw))
            .filter(|text| !text.is_empty())
    };
    let lock_directory_cleanup = match text("lock_directory_cleanup") {
        None => true,
        Some(value) => parse::boolean(&value).ok_or_else(|| ConfigError::BadGlobal {
            key: "lock_directory_cleanup",
            reason: "not a boolean",
            place: barman.place("lock_directory_cleanup", files).unwrap_or_default(),
            value,
        })?,
    };
    let barman_home = PathBuf::from(&home_text);
    Ok(GlobalConfig {
        barman_user: text("barman_user").unwrap_or_else(|| "barman".to_owned()),
        lock_directory: text("barman_lock_directory").map_or_else(|| barman_home.clone(), PathBuf::from),
        lock_directory_cleanup,
        config_changes_queue: text("config_changes_queue").map_or_else(
            || PathBuf::from(format!("{home_text}/cfg_changes.queue")),
            PathBuf::from,
        ),
        configuration_files_directory: text("configuration_files_directory").map(PathBuf::from),
        log_file: text("log_file").map(PathBuf::from),
        log_level: text("log_level"),
        log_format: text("log_format"),
        raw: barman.pairs(),
        barman_home,
    })
}

fn log_warning(text: String) -> ConfigWarning {
    ConfigWarning::log_only("barman.config", text)
}

fn include_directory(
    merged: &mut Merged,
    directory: &Path,
    overlay: &Overlay,
    pairs: &[(String, String)],
    warnings: &mut Vec<ConfigWarning>,
) -> Result<(), ConfigError> {
    if !directory.is_dir() {
        warnings.push(log_warning(format!(
            "Ignoring the \"configuration_files_directory\" option as \"{}\" is not a directory",
            directory.display()
        )));
        return Ok(());
    }
    let mut files = match configuration_files(directory) {
        Ok(files) => files,
        Err(error) => {
            warnings.push(log_warning(format!(
                "Cannot read directory \"{}\": {error}",
                directory.display()
            )));
            if error.kind() != std::io::ErrorKind::PermissionDenied {
                merged.unread.push(directory.to_owned());
            }
            return Ok(());
        }
    };
    files.sort();
    files
        .iter()
        .try_for_each(|file| include(merged, file, overlay, pairs, warnings))
}

/// The files of a directory whose names end in `.conf` and are not hidden.
fn configuration_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".conf") && !name.starts_with('.') {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn include(
    merged: &mut Merged,
    path: &Path,
    overlay: &Overlay,
    pairs: &[(String, String)],
    warnings: &mut Vec<ConfigWarning>,
) -> Result<(), ConfigError> {
    let shown = path.display();
    let made_up = overlay.contains_key(path);
    if !made_up && !path.exists() {
        warnings.push(log_warning(format!(
            "Discarding configuration file: {shown} (not found)"
        )));
        return Ok(());
    }
    if !made_up && !path.is_file() {
        warnings.push(log_warning(format!(
            "Discarding configuration file: {shown} (not a file)"
        )));
        return Ok(());
    }
    let bytes = match content(path, overlay) {
        Ok(bytes) => bytes,
        Err(error) => {
            warnings.push(log_warning(format!(
                "Discarding configuration file: {shown} ({error})"
            )));
            // Who may not read a file never has its settings; any other failure may be gone the next time.
            if error.kind() != std::io::ErrorKind::PermissionDenied {
                merged.unread.push(path.to_owned());
            }
            return Ok(());
        }
    };
    merged.add(path, &Ini::parse(&shown.to_string(), &bytes)?)?;
    let mut now = merged
        .section("barman")
        .map(MergedSection::pairs)
        .unwrap_or_default();
    let mut before = pairs.to_vec();
    now.sort();
    before.sort();
    if now != before {
        return Err(ConfigError::NotEmptyBarman {
            file: path.to_owned(),
        });
    }
    Ok(())
}

fn resolve_all(
    path: PathBuf,
    user_home: Option<PathBuf>,
    merged: Merged,
    globals: GlobalConfig,
    global_warnings: Vec<ConfigWarning>,
) -> Result<Config, ConfigError> {
    let home = globals.barman_home.to_string_lossy().into_owned();
    let mut config = Config {
        path,
        globals,
        servers: Vec::new(),
        models: Vec::new(),
        path_conflicts: Vec::new(),
        global_warnings,
        warnings: Vec::new(),
        merged: Merged::default(),
        user_home,
    };
    let barman = match merged.section("barman") {
        Some(section) => {
            let unknown = section
                .entries
                .iter()
                .filter(|entry| !registry::known_in_barman(&entry.key));
            config
                .global_warnings
                .extend(unknown.map(|entry| unknown_option("barman", entry, &merged.files, "barman")));
            ParsedSection::new(
                section,
                &home,
                &merged.files,
                |option| option.scope.global,
                |_| (),
            )
        }
        None => ParsedSection::empty(),
    };

    let defaults = resolve::fixed_defaults();
    let mut drafts = Vec::new();
    for section in merged.sections.iter().filter(|section| section.name != "barman") {
        if section.name == "all" {
            let file = merged.files.get(section.file).cloned().unwrap_or_default();
            return Err(ConfigError::ReservedName { file });
        }
        match model::classify(section, &merged.files) {
            model::Class::Model => {
                config
                    .models
                    .extend(model::build(section, &home, &merged.files, &mut config.warnings));
            }
            model::Class::Server(problem) => {
                let mut draft = draft(
                    section,
                    &home,
                    &merged.files,
                    &barman,
                    &defaults,
                    &mut config.warnings,
                );
                draft.messages.extend(problem);
                drafts.push(draft);
            }
        }
    }
    drafts.sort_by(|one, other| one.name.cmp(&other.name));
    find_conflicts(&mut drafts, &mut config);
    for draft in &mut drafts {
        apply_active_model(draft, &config.models, &mut config.warnings);
    }
    config.servers = drafts
        .into_iter()
        .map(|draft| {
            let sections = [
                draft.active_model.clone(),
                Some(draft.name.clone()),
                Some("barman".to_owned()),
            ];
            let place = |option: &str| {
                let mut sections = sections.iter().flatten();
                sections.find_map(|name| {
                    let place = merged.section(name)?.place(option, &merged.files)?;
                    Some(format!("{place}, section [{name}]"))
                })
            };
            build::finish(draft, &config.path, &config.globals, &place)
        })
        .collect();
    config.models.sort_by(|one, other| one.name.cmp(&other.name));
    config.merged = merged;
    Ok(config)
}

fn draft(
    section: &MergedSection,
    home: &str,
    files: &[PathBuf],
    barman: &ParsedSection,
    defaults: &[Value],
    warnings: &mut Vec<ConfigWarning>,
) -> Draft {
    let own = ParsedSection::new(
        section,
        home,
        files,
        |option| option.scope.server,
        |entry| warnings.push(unknown_option(&section.name, entry, files, "server")),
    );
    let values = resolve::server_values(&section.name, home, &own, barman, defaults, warnings);
    // A stray % ends every command in Barman; here it is an error of its server.
    let messages = section
        .entries
        .iter()
        .filter_map(|e| e.value.as_ref().err())
        .map(ToString::to_string)
        .collect();
    Draft {
        name: section.name.clone(),
        values,
        messages,
        active_model: None,
        model_disabled: None,
    }
}

fn find_conflicts(drafts: &mut [Draft], config: &mut Config) {
    let mut owners = PathOwners::default();
    for draft in drafts {
        let mut conflicts = Vec::new();
        for label in CONFLICT_CHECKED {
            let values = draft.values();
            let Some(path) = values.get(label).text().filter(|path| !path.contains("://")) else {
                continue;
            };
            match owners.claim(&draft.name, label, path) {
                Claim::Free => {}
                Claim::SameServer(message) => conflicts.push(message),
                Claim::OtherServer(message) => config.path_conflicts.push(message),
            }
        }
        draft.messages.extend(conflicts);
    }
    config
        .warnings
        .extend(owners.nested().into_iter().map(log_warning));
}

/// Reads the name of the active model and puts the model's values over the server's.
fn apply_active_model(draft: &mut Draft, models: &[ModelConfig], warnings: &mut Vec<ConfigWarning>) {
    let Some(directory) = draft.values().text("backup_directory") else {
        return;
    };
    let path = Path::new(&directory).join(ACTIVE_MODEL_FILE);
    // Commands of other servers read it, too: they must not wait for what stands in its place.
    let name = match barman_wal::durable::open_file(&path).and_then(bounded) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            draft.messages.push(format!(
                "Cannot read the name of the active model from '{}': {error}",
                path.display()
            ));
            return;
        }
    };
    if name.is_empty() {
        return;
    }
    let server = &draft.name;
    let Some(model) = models.iter().find(|model| model.name == name) else {
        draft.messages.push(format!(
            "Model '{name}' is set as the active model for the server '{server}' but the model does not exist."
        ));
        return;
    };
    let cluster = draft.values().text("cluster");
    if model.cluster != cluster {
        warnings.push(ConfigWarning::error(format!(
            "Model '{name}' has 'cluster={}', which is not compatible with 'cluster={}' from server '{server}'",
            model.cluster.as_deref().unwrap_or("None"),
            cluster.as_deref().unwrap_or("None"),
        )));
        return;
    }
    for (at, value) in &model.overrides {
        let Some(option) = registry::SERVER_OPTIONS.get(*at) else {
            continue;
        };
        if option.name == "disabled" {
            draft.model_disabled = Some(*value == Value::Bool(true));
        }
        if let Some(slot) = draft.values.get_mut(*at)
            && slot != value
        {
            // Names only: the values may be secrets.
            log::debug!(target: "barman.config", "Updating config option '{}' for server '{server}' through model '{name}'", option.name);
            *slot = value.clone();
        }
    }
    draft.active_model = Some(name);
}
