//! Measurements for benchmarks (`--measure`): when the first frame stood, and how long each further one took.

use std::cell::Cell;
use std::io::Write as _;
use std::rc::Rc;
use std::time::Instant;

/// Counts frames.
pub(crate) struct Meter {
    begun: Instant,
    first: Rc<Cell<bool>>,
}

impl Meter {
    /// Counts from `begun`.
    pub(crate) fn new(begun: Instant) -> Self {
        Self { begun, first: Rc::new(Cell::new(true)) }
    }

    /// A frame is about to be drawn: what is posted now runs when it stands.
    pub(crate) fn frame(&self) {
        let (begun, drawing) = (self.begun, Instant::now());
        let first = self.first.replace(false);
        let _ended = slint::invoke_from_event_loop(move || {
            let (event, since) = if first { ("first_frame", begun) } else { ("frame", drawing) };
            let ms = since.elapsed().as_secs_f64() * 1000.0;
            let _closed = writeln!(std::io::stderr(), "{{\"event\":\"{event}\",\"ms\":{ms:.3}}}");
        });
    }
}
