//! The effect itself: a tilt equaliser. One one-pole filter splits each channel at 700 Hz; what is below is turned down by
//! as much as what is above is turned up. It knows nothing about licenses, and works sample by sample, so its output does
//! not depend on the host's block size.

/// Where the spectrum is split.
const PIVOT_HZ: f64 = 700.0;
/// How fast a turned knob is followed.
const GLIDE_SECONDS: f64 = 0.02;

/// The effect on any number of channels up to [`Tilt::CHANNELS`].
#[derive(Clone, Debug)]
pub(crate) struct Tilt {
    /// How much of a new sample the filter takes in.
    split: f32,
    /// How far a gain moves in one sample.
    glide: f32,
    low: [f32; Self::CHANNELS],
    gains: Gains,
    wanted: Gains,
}

/// Factors of the two halves of the spectrum.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Gains {
    low: f32,
    high: f32,
}

fn from_decibels(decibels: f32) -> f32 {
    10f32.powf(decibels / 20.0)
}

impl Tilt {
    /// Most channels.
    pub(crate) const CHANNELS: usize = 2;

    /// At rest, for a sample rate.
    #[expect(clippy::cast_possible_truncation, reason = "samples are 32-bit")]
    pub(crate) fn new(rate: f64) -> Self {
        let split = 1.0 - (-std::f64::consts::TAU * PIVOT_HZ / rate).exp();
        let glide = 1.0 - (-1.0 / (GLIDE_SECONDS * rate)).exp();
        let flat = Gains { low: 1.0, high: 1.0 };
        Self { split: split as f32, glide: glide as f32, low: [0.0; 2], gains: flat, wanted: flat }
    }

    /// Where to go from here, in decibels.
    pub(crate) fn set(&mut self, tilt: f32, gain: f32) {
        self.wanted = Gains { low: from_decibels(gain - tilt), high: from_decibels(gain + tilt) };
    }

    /// Arrives at what was set without gliding: for the first block.
    pub(crate) fn settle(&mut self) {
        self.gains = self.wanted;
    }

    /// Moves on by one sample; call before the channels of it.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.gains.low += self.glide * (self.wanted.low - self.gains.low);
        self.gains.high += self.glide * (self.wanted.high - self.gains.high);
    }

    /// One sample of one channel.
    #[inline]
    pub(crate) fn sample(&mut self, channel: usize, input: f32) -> f32 {
        let low = &mut self.low[channel];
        *low += self.split * (input - *low);
        *low * self.gains.low + (input - *low) * self.gains.high
    }

    /// Forgets what was heard.
    pub(crate) fn reset(&mut self) {
        self.low = [0.0; 2];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "samples are 32-bit")]
    fn tilts_around_the_pivot() {
        let level = |tilt: f32, step: f64| {
            let mut effect = Tilt::new(48_000.0);
            effect.set(tilt, 0.0);
            effect.settle();
            let heard = (0..48_000).map(|n| {
                effect.advance();
                effect.sample(0, (f64::from(n) * step).sin() as f32).abs()
            });
            heard.skip(24_000).fold(0.0, f32::max)
        };
        let (bass, treble) =
            (std::f64::consts::TAU * 40.0 / 48_000.0, std::f64::consts::TAU * 12_000.0 / 48_000.0);
        assert!((level(0.0, bass) - 1.0).abs() < 1e-3 && (level(0.0, treble) - 1.0).abs() < 1e-3);
        assert!(level(6.0, bass) < 0.6 && level(6.0, treble) > 1.7);
        assert!(level(-6.0, bass) > 1.7 && level(-6.0, treble) < 0.6);
    }

    #[test]
    fn does_not_click_when_turned() {
        let mut effect = Tilt::new(48_000.0);
        let mut last = 0.0;
        let mut step: f32 = 0.0;
        for n in 0..4_800 {
            if n == 2_400 {
                effect.set(6.0, 12.0);
            }
            effect.advance();
            let now = effect.sample(0, 0.5);
            if n > 2_000 {
                step = step.max((now - last).abs());
            }
            last = now;
        }
        assert!(step < 0.01, "{step}");
    }
}
