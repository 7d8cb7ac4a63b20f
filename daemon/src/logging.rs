//! Logs: structured, to standard error (the journal) and, for a user's daemon, to a file that stays small. No secret is
//! ever logged: `zlink` would write whole calls at its trace level, unlock codes included, so it is always silent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::platform::{self, EventLog, Weight};

/// The file is closed at this size; one closed file is kept.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `CLAVIGER_LOG` sets what is logged, in the syntax of [`Targets`]; `info` by default.
pub fn start(format: Format, folder: Option<&Path>, events: Option<EventLog>) {
    let filter = || {
        let wanted = std::env::var("CLAVIGER_LOG").unwrap_or_default();
        let wanted: Targets = if wanted.is_empty() { "info" } else { &wanted }
            .parse()
            .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
        wanted.and(filter_fn(|metadata| !metadata.target().starts_with("zlink")))
    };
    let plain = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> =
        vec![match (format, platform::boot_log_stream()) {
            (Format::Json, _) => plain.json().with_filter(filter()).boxed(),
            (Format::Text, true) => plain.without_time().with_filter(filter()).boxed(),
            (Format::Text, false) => plain.with_filter(filter()).boxed(),
        }];
    if let Some(file) = folder.and_then(|folder| LogFile::open(folder).ok()) {
        let lines = tracing_subscriber::fmt::layer().with_writer(file).with_ansi(false);
        layers.push(lines.with_filter(filter()).boxed());
    }
    if let Some(events) = events {
        let lines =
            tracing_subscriber::fmt::layer().with_writer(Events(events)).with_ansi(false).without_time();
        layers.push(lines.with_filter(filter()).boxed());
    }
    // A second subscriber (in tests) is no reason to stop.
    let _ = tracing_subscriber::registry().with(layers).try_init();
}

/// A log file that starts anew when it is full.
struct LogFile {
    path: PathBuf,
    open: Mutex<(File, u64)>,
}

impl LogFile {
    fn open(folder: &Path) -> Result<Self, platform::FileError> {
        platform::make_dir(folder, platform::Visibility::Private)?;
        let path = folder.join(claviger_protocol::layout::LOG_FILE);
        let file = platform::append_to(&path)?;
        let size = file.metadata().map(|m| m.len()).unwrap_or(0);
        Ok(Self { path, open: Mutex::new((file, size)) })
    }

    fn write(&self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.1 > MAX_FILE {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *open = (platform::append_to(&self.path).map_err(|e| e.source)?, 0);
        }
        let written = open.0.write(line)?;
        open.1 += written as u64;
        Ok(written)
    }
}

/// A handle for one line.
struct Line<'a>(&'a LogFile);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// The system's log of events.
struct Events(EventLog);

/// One event on its way there.
struct Event<'a>(&'a EventLog, Weight);

impl Write for Event<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (self.0)(self.1, String::from_utf8_lossy(line).trim_end());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Events {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event(&self.0, Weight::Information)
    }

    fn make_writer_for(&'a self, about: &tracing::Metadata<'_>) -> Event<'a> {
        let weight = match *about.level() {
            tracing::Level::ERROR => Weight::Error,
            tracing::Level::WARN => Weight::Warning,
            _ => Weight::Information,
        };
        Event(&self.0, weight)
    }
}
