//! The command line: for desktops, which hand over links, and for tests, which want one screen in one look.

use clap::{Parser, ValueEnum};

use crate::prefs::{Language, Look};
use crate::ui;

/// Shows and manages the licenses of this computer's plug-ins
///
/// Everything that a flag sets holds for this run alone; nothing of it is saved.
#[derive(Debug, Default, Parser)]
#[command(name = "claviger-desktop", version)]
pub(crate) struct Arguments {
    /// A link from a purchase mail, as desktops hand it over: claviger:activate?serial=…
    #[arg(value_name = "LINK")]
    pub(crate) link: Option<String>,
    /// Begin with this screen
    #[arg(long, value_enum)]
    pub(crate) page: Option<PageName>,
    /// Dark or light
    #[arg(long, value_enum)]
    pub(crate) theme: Option<ThemeName>,
    /// en, fr or de
    #[arg(long, value_parser = language)]
    pub(crate) language: Option<Language>,
    /// Nothing glides or turns
    #[arg(long)]
    pub(crate) still: bool,
    /// The window's size in logical pixels, as 1120x760
    #[arg(long, value_parser = size)]
    pub(crate) size: Option<(f32, f32)>,
    /// Print measurements on standard error, a JSON object a line: the first frame's moment, and how long each further frame took
    #[arg(long)]
    pub(crate) measure: bool,
    /// Open a window of one's own, even where one is open already
    #[arg(long)]
    pub(crate) another: bool,
}

/// The screens by their names.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PageName {
    Products,
    Add,
    Several,
    Computers,
    Offline,
    Privacy,
    Settings,
    About,
}

impl PageName {
    /// The screen.
    pub(crate) fn page(self) -> ui::Page {
        match self {
            Self::Products => ui::Page::Products,
            Self::Add | Self::Several => ui::Page::Add,
            Self::Computers => ui::Page::Computers,
            Self::Offline => ui::Page::Offline,
            Self::Privacy => ui::Page::Privacy,
            Self::Settings => ui::Page::Settings,
            Self::About => ui::Page::About,
        }
    }
}

/// The themes by their names.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ThemeName {
    Dark,
    Light,
    System,
}

impl From<ThemeName> for Look {
    fn from(name: ThemeName) -> Self {
        match name {
            ThemeName::Dark => Self::Dark,
            ThemeName::Light => Self::Light,
            ThemeName::System => Self::System,
        }
    }
}

fn language(text: &str) -> Result<Language, String> {
    Language::of(text).ok_or_else(|| "the window speaks en, fr and de".to_owned())
}

fn size(text: &str) -> Result<(f32, f32), String> {
    let read = || {
        let (width, height) = text.split_once(['x', '×'])?;
        let side = |text: &str| text.parse::<f32>().ok().filter(|s| (200.0..=8_000.0).contains(s));
        Some((side(width)?, side(height)?))
    };
    read().ok_or_else(|| "a size is written as 1120x760".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_tests_are_read() {
        let line =
            "claviger-desktop --page several --theme light --language fr --still --size 720x480 --measure";
        let read = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!((read.language, read.size), (Some(Language::French), Some((720.0, 480.0))));
        for bad in ["--size 10x10", "--size wide", "--language nl", "--theme plaid"] {
            assert!(Arguments::try_parse_from(["x"].into_iter().chain(bad.split(' '))).is_err(), "{bad}");
        }
    }
}
