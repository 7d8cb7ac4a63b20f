//! The parameters: two knobs, a switch that asks for an activation, and two that only show.

use std::ffi::CStr;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use clack_extensions::params::{
    ParamDisplayWriter, ParamInfo, ParamInfoFlags, ParamInfoWriter, PluginAudioProcessorParams,
    PluginMainThreadParams,
};
use clack_plugin::events::spaces::CoreEventSpace;
use clack_plugin::prelude::*;
use clack_plugin::utils::Cookie;

use crate::{Audio, Main, Shared};

pub(crate) const TILT: u32 = 0;
pub(crate) const GAIN: u32 = 1;
const ACTIVATE: u32 = 2;
const LICENSE: u32 = 3;
const ACTIVATION: u32 = 4;

/// A value that the main thread and the audio thread share.
#[derive(Debug, Default)]
pub(crate) struct Knob(AtomicU32);

impl Knob {
    pub(crate) fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, value: f32) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl Shared<'_> {
    /// A value set by the host, from any thread.
    #[expect(clippy::cast_possible_truncation, reason = "knobs are 32-bit")]
    pub(crate) fn take(&self, param: u32, value: f64) {
        match param {
            TILT => self.tilt.set(value.clamp(-6.0, 6.0) as f32),
            GAIN => self.gain.set(value.clamp(-24.0, 24.0) as f32),
            // The host's main thread does the rest: nothing of it belongs on an audio thread.
            ACTIVATE if value >= 0.5 && self.licensing.want_activation() => self.host.request_callback(),
            _ => {}
        }
    }

    pub(crate) fn take_events(&self, events: &InputEvents) {
        for event in events {
            if let Some(CoreEventSpace::ParamValue(event)) = event.as_core_event()
                && let Some(param) = event.param_id()
            {
                self.take(param.get(), event.value());
            }
        }
    }
}

impl PluginAudioProcessorParams for Audio<'_> {
    fn flush(&mut self, input: &InputEvents, _output: &mut OutputEvents) {
        self.shared.take_events(input);
    }
}

impl PluginMainThreadParams for Main<'_> {
    fn count(&self) -> u32 {
        5
    }

    fn get_info(&self, index: u32, info: &mut ParamInfoWriter) {
        let knob = ParamInfoFlags::IS_AUTOMATABLE;
        let shown = ParamInfoFlags::IS_READONLY | ParamInfoFlags::IS_STEPPED;
        let (name, flags, min_value, max_value): (&[u8], _, _, _) = match index {
            TILT => (b"Tilt", knob, -6.0, 6.0),
            GAIN => (b"Gain", knob, -24.0, 24.0),
            ACTIVATE => (b"Activate", ParamInfoFlags::IS_STEPPED, 0.0, 1.0),
            LICENSE => (b"License", shown, 0.0, 63.0),
            ACTIVATION => (b"Activation", shown, 0.0, 3.0),
            _ => return,
        };
        info.set(&ParamInfo {
            id: ClapId::new(index),
            flags,
            cookie: Cookie::empty(),
            name,
            module: b"",
            min_value,
            max_value,
            default_value: 0.0,
        });
    }

    fn get_value(&self, param: ClapId) -> Option<f64> {
        match param.get() {
            TILT => Some(self.shared.tilt.get().into()),
            GAIN => Some(self.shared.gain.get().into()),
            ACTIVATE => Some(0.0),
            LICENSE => Some(self.shared.licensing.status().number().into()),
            ACTIVATION => Some(self.shared.licensing.activation().into()),
            _ => None,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small numbers that are shown"
    )]
    fn value_to_text(&self, param: ClapId, value: f64, to: &mut ParamDisplayWriter) -> std::fmt::Result {
        match param.get() {
            TILT | GAIN => write!(to, "{value:.1} dB"),
            ACTIVATE => to.write_str(if value >= 0.5 { "ask" } else { "-" }),
            LICENSE if value as u32 == self.shared.licensing.status().number() => {
                to.write_str(&self.shared.licensing.reason())
            }
            LICENSE => write!(to, "{value:.0}"),
            ACTIVATION => to.write_str(match value as u32 {
                0 => "-",
                1 => "asking the daemon",
                2 => "done",
                _ => "failed: see claviger doctor",
            }),
            _ => Err(std::fmt::Error),
        }
    }

    fn text_to_value(&self, _param: ClapId, text: &CStr) -> Option<f64> {
        text.to_str().ok()?.trim().trim_end_matches("dB").trim().parse().ok()
    }

    fn flush(&self, input: &InputEvents, _output: &mut OutputEvents) {
        self.shared.take_events(input);
    }
}
