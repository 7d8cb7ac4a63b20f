//! What this person likes: theme, language, size. One small private file, replaced atomically; a damaged one is as good as none.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::platform;

/// Longest file that is read.
const MAX_LEN: u64 = 16 * 1024;
/// The file, below the folder of a person's settings or of `CLAVIGER_HOME`.
const FILE: &str = "window.json";

/// A language that the window speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    English,
    /// French.
    #[serde(rename = "fr")]
    French,
    /// German.
    #[serde(rename = "de")]
    German,
}

impl Language {
    /// The language of a BCP 47 tag or a POSIX locale.
    #[must_use]
    pub(crate) fn of(tag: &str) -> Option<Self> {
        match tag.split(['-', '_', '.', '@']).next()?.to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "fr" => Some(Self::French),
            "de" => Some(Self::German),
            _ => None,
        }
    }

    /// Its tag.
    #[must_use]
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
            Self::German => "de",
        }
    }
}

/// How the window looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Look {
    /// Dark.
    #[default]
    Dark,
    /// Light.
    Light,
    /// As the desktop.
    System,
}

/// The settings of the window itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Prefs {
    /// The theme.
    pub(crate) theme: Look,
    /// The language; none for the desktop's.
    pub(crate) language: Option<Language>,
    /// No movement.
    pub(crate) still: bool,
    /// An icon in the system tray.
    pub(crate) tray: bool,
    /// The window's width in logical pixels.
    pub(crate) width: f32,
    /// Its height.
    pub(crate) height: f32,
}

impl Default for Prefs {
    fn default() -> Self {
        Self { theme: Look::Dark, language: None, still: false, tray: false, width: 1120.0, height: 760.0 }
    }
}

/// Where the settings lie; none where the person has no home.
#[must_use]
pub(crate) fn place() -> Option<PathBuf> {
    if let Some(home) = claviger_client::platform::home_override() {
        return Some(home.join(FILE));
    }
    Some(directories::ProjectDirs::from("", "", "claviger")?.config_dir().join(FILE))
}

impl Prefs {
    /// What was saved; the defaults where nothing can be read.
    #[must_use]
    pub(crate) fn read(file: &Path) -> Self {
        let read = || -> io::Result<Self> {
            let mut text = String::new();
            File::open(file)?.take(MAX_LEN).read_to_string(&mut text)?;
            Ok(serde_json::from_str(&text)?)
        };
        let mut prefs = read().unwrap_or_default();
        let bounded = |value: f32, least: f32, fallback: f32| {
            if value.is_finite() { value.clamp(least, 8_000.0) } else { fallback }
        };
        prefs.width = bounded(prefs.width, 720.0, 1120.0);
        prefs.height = bounded(prefs.height, 480.0, 760.0);
        prefs
    }

    /// Saves them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        let folder = file.parent().ok_or(io::ErrorKind::NotFound)?;
        fs::create_dir_all(folder)?;
        let new = file.with_extension("json.new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        let mut opened = platform::private(&mut options).open(&new)?;
        opened.write_all(&serde_json::to_vec_pretty(self)?)?;
        opened.sync_all()?;
        fs::rename(&new, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_back_and_damage_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/window.json");
        assert_eq!(Prefs::read(&file), Prefs::default());
        let prefs =
            Prefs { theme: Look::Light, language: Some(Language::German), still: true, ..Prefs::default() };
        prefs.write(&file).unwrap();
        assert_eq!(Prefs::read(&file), prefs);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no leftovers");
        for damaged in ["", "{", "[]", r#"{"theme":"plaid"}"#, r#"{"width":"wide"}"#] {
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(Prefs::read(&file), Prefs::default(), "{damaged}");
        }
        std::fs::write(&file, r#"{"width":1e30,"height":-5,"of_a_later_version":1}"#).unwrap();
        let read = Prefs::read(&file);
        assert_eq!((read.width, read.height), (8_000.0, 480.0));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("window.json");
        Prefs::default().write(&file).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn locales_name_languages() {
        assert_eq!(Language::of("de_AT.UTF-8"), Some(Language::German));
        assert_eq!(Language::of("fr-CA"), Some(Language::French));
        assert_eq!(Language::of("C"), None);
    }
}
