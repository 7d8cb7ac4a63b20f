//! What an unlicensed copy does: once a minute of audio it fades out, rests, and fades in again. Nothing else differs from a
//! licensed copy, so that a person can judge the effect, and a project opens the same on a computer without the license.
//!
//! Documented and exact: a minute begins with 58.5 s of full sound, then 0.5 s fade out, 0.5 s rest, 0.5 s fade in. Fades
//! are raised cosines, which do not click. The license is asked for at the start of a fade only: a license that arrives
//! in the middle of one lets it end as it began.

const MINUTE_SECONDS: f64 = 60.0;
const FADE_SECONDS: f64 = 0.5;
const REST_SECONDS: f64 = 0.5;

/// Counts the samples of a minute.
#[derive(Clone, Debug)]
pub(crate) struct Demo {
    minute: u32,
    fade: u32,
    rest: u32,
    at: u32,
    fading: bool,
}

impl Demo {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a minute has few samples")]
    pub(crate) fn new(rate: f64) -> Self {
        let samples = |seconds: f64| (seconds * rate).round().max(1.0) as u32;
        let (minute, fade, rest) = (samples(MINUTE_SECONDS), samples(FADE_SECONDS), samples(REST_SECONDS));
        Self { minute, fade, rest, at: 0, fading: false }
    }

    /// The factor of the next sample. `licensed` is asked once a minute, and is one atomic load.
    #[inline]
    pub(crate) fn next(&mut self, licensed: impl FnOnce() -> bool) -> f32 {
        let at = self.at;
        self.at = if at + 1 == self.minute { 0 } else { at + 1 };
        let begin = self.minute.saturating_sub(2 * self.fade + self.rest);
        if at == begin {
            self.fading = !licensed();
        } else if at == 0 {
            self.fading = false;
        }
        if !self.fading { 1.0 } else { self.faded(at - begin) }
    }

    #[cold]
    fn faded(&self, since: u32) -> f32 {
        let part = |n: u32| f64::from(n) / f64::from(self.fade);
        let level = if since < self.fade {
            part(since + 1)
        } else if since < self.fade + self.rest {
            1.0
        } else {
            1.0 - part(since - self.fade - self.rest + 1).min(1.0)
        };
        #[expect(clippy::cast_possible_truncation, reason = "samples are 32-bit")]
        let factor = (0.5 + 0.5 * (std::f64::consts::PI * level).cos()) as f32;
        factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gentle_fade_a_minute() {
        let mut demo = Demo::new(1000.0);
        let heard: Vec<f32> = (0..180_000).map(|_| demo.next(|| false)).collect();
        for minute in heard.chunks(60_000) {
            assert!(minute[..58_500].iter().all(|f| *f == 1.0));
            assert!(minute[59_000..59_500].iter().all(|f| *f == 0.0));
            assert!(*minute.last().unwrap() == 1.0);
        }
        let steps = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        assert!(steps.fold(0.0, f32::max) < 0.004, "a click");
    }

    #[test]
    fn a_license_is_asked_for_once_a_minute_and_ends_no_fade() {
        let mut demo = Demo::new(1000.0);
        let mut asked = 0;
        for n in 0..120_000 {
            let factor = demo.next(|| {
                asked += 1;
                n > 60_000
            });
            assert!(n < 60_000 || factor == 1.0);
        }
        assert_eq!(asked, 2);
    }
}
