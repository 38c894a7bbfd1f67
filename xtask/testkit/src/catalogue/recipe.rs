//! What catalogue to make, as one short text: `varied:42`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::blueprint::Blueprint;
use super::generate;

/// Moment at which a blueprint is looked at, unless told otherwise: 2026-11-21 12:00:00 UTC.
pub const DEFAULT_NOW: i64 = 1_795_262_400;

/// How much, and how strange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One server with a few plain backups on one timeline.
    Small,
    /// One server with whatever Barman 3.20.1 itself reads without an error: all statuses, modes, timelines, layouts.
    Varied,
    /// Like [`Profile::Varied`], with damage that stops several of Barman's commands: torn lines, dangling children, missing roots,
    /// unknown fields, interrupted deletions.
    Damaged,
    /// One server with many backups and WAL files on one timeline.
    Huge {
        /// How many backups.
        backups: u32,
        /// How many segments the archive holds.
        wals: u32,
    },
}

/// A seed and a profile: everything that a catalogue depends on, besides the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// How much, and how strange.
    pub profile: Profile,
    /// Which one of its kind.
    pub seed: u64,
}

impl Recipe {
    /// A catalogue of [`Profile::Small`].
    #[must_use]
    pub fn small(seed: u64) -> Self {
        Self {
            profile: Profile::Small,
            seed,
        }
    }

    /// A catalogue of [`Profile::Varied`].
    #[must_use]
    pub fn varied(seed: u64) -> Self {
        Self {
            profile: Profile::Varied,
            seed,
        }
    }

    /// A catalogue of [`Profile::Damaged`].
    #[must_use]
    pub fn damaged(seed: u64) -> Self {
        Self {
            profile: Profile::Damaged,
            seed,
        }
    }

    /// A catalogue of [`Profile::Huge`].
    #[must_use]
    pub fn huge(backups: u32, wals: u32) -> Self {
        Self {
            profile: Profile::Huge { backups, wals },
            seed: 0,
        }
    }

    /// The catalogue as it is at [`DEFAULT_NOW`].
    #[must_use]
    pub fn blueprint(self) -> Blueprint {
        self.blueprint_at(DEFAULT_NOW)
    }

    /// The catalogue as it is at `now` (seconds since the epoch): another clock moves all times, nothing else. For what depends on
    /// the real clock, as recovery windows do.
    #[must_use]
    pub fn blueprint_at(self, now: i64) -> Blueprint {
        generate::blueprint(self, now)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.profile {
            Profile::Small => write!(f, "small:{}", self.seed),
            Profile::Varied => write!(f, "varied:{}", self.seed),
            Profile::Damaged => write!(f, "damaged:{}", self.seed),
            Profile::Huge { backups, wals } if self.seed == 0 => write!(f, "huge:{backups},{wals}"),
            Profile::Huge { backups, wals } => write!(f, "huge:{backups},{wals},{}", self.seed),
        }
    }
}

impl FromStr for Recipe {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            format!(
                "{text:?} is no recipe: small:SEED, varied:SEED, damaged:SEED or huge:BACKUPS,WALS[,SEED]"
            )
        };
        let (profile, numbers) = text.split_once(':').with_context(wrong)?;
        let numbers: Vec<u64> = numbers
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(wrong)?;
        let count = |n: u64| u32::try_from(n).with_context(wrong);
        Ok(match (profile, numbers.as_slice()) {
            ("small", [seed]) => Self::small(*seed),
            ("varied", [seed]) => Self::varied(*seed),
            ("damaged", [seed]) => Self::damaged(*seed),
            ("huge", [backups, wals]) => Self::huge(count(*backups)?, count(*wals)?),
            ("huge", [backups, wals, seed]) => Self {
                seed: *seed,
                ..Self::huge(count(*backups)?, count(*wals)?)
            },
            _ => bail!(wrong()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_its_text() {
        for text in [
            "small:0",
            "varied:42",
            "damaged:7",
            "huge:1000,1000000",
            "huge:1,2,3",
        ] {
            assert_eq!(text.parse::<Recipe>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "small",
            "small:",
            "small:1,2",
            "huge:1",
            "huge:-1,2",
            "odd:1",
            "huge:5000000000,1",
        ] {
            assert!(text.parse::<Recipe>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_same_recipe_gives_the_same_blueprint() {
        for recipe in [
            Recipe::small(1),
            Recipe::varied(2),
            Recipe::damaged(3),
            Recipe::huge(10, 100),
        ] {
            assert_eq!(recipe.blueprint(), recipe.blueprint(), "{recipe}");
        }
        assert_ne!(Recipe::varied(2).blueprint(), Recipe::varied(3).blueprint());
    }
}
