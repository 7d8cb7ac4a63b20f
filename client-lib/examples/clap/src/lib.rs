//! Tilt: a small licensed effect as a CLAP plug-in, on the Rust API of the client library. Copy from it what you need; all
//! about licensing is in `licensing.rs`, the demo behaviour of an unlicensed copy in `demo.rs`.
//!
//! The same effect in C++ on `claviger.hpp` is in `../lv2`.

mod demo;
mod effect;
mod licensing;
mod params;

use std::io::{Read as _, Write as _};

use clack_extensions::audio_ports::{
    AudioPortFlags, AudioPortInfo, AudioPortInfoWriter, AudioPortType, PluginAudioPorts, PluginAudioPortsImpl,
};
use clack_extensions::params::PluginParams;
use clack_extensions::state::{PluginState, PluginStateImpl};
use clack_plugin::entry::prelude::*;
use clack_plugin::plugin::features::{AUDIO_EFFECT, EQUALIZER, STEREO};
use clack_plugin::prelude::*;
use clack_plugin::stream::{InputStream, OutputStream};

use demo::Demo;
use effect::Tilt;
use licensing::Licensing;
use params::Knob;

/// The plug-in file. When the host is done with it, what this process knows of its licenses is freed, so that the file can
/// be unloaded without a trace.
struct File(SinglePluginEntry<TiltPlugin>);

impl Entry for File {
    fn new(path: Option<&std::ffi::CStr>) -> Result<Self, EntryLoadError> {
        SinglePluginEntry::new(path).map(Self)
    }

    fn declare_factories<'a>(&'a self, builder: &mut EntryFactories<'a>) {
        self.0.declare_factories(builder);
    }
}

impl Drop for File {
    fn drop(&mut self) {
        claviger_client::Library::forget_process();
    }
}

clack_export_entry!(File);

struct TiltPlugin;

impl Plugin for TiltPlugin {
    type AudioProcessor<'a> = Audio<'a>;
    type Shared<'a> = Shared<'a>;
    type MainThread<'a> = Main<'a>;

    fn declare_extensions(builder: &mut PluginExtensions<Self>, _shared: Option<&Shared<'_>>) {
        builder.register::<PluginAudioPorts>().register::<PluginParams>().register::<PluginState>();
    }
}

impl DefaultPluginFactory for TiltPlugin {
    fn get_descriptor() -> PluginDescriptor {
        PluginDescriptor::new("com.example.tilt", "Tilt")
            .with_vendor("Example Audio")
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_description("A tilt equaliser that shows how a plug-in is licensed")
            .with_features([AUDIO_EFFECT, EQUALIZER, STEREO])
    }

    fn new_shared(host: HostSharedHandle<'_>) -> Result<Shared<'_>, PluginError> {
        let text = |said: Option<&std::ffi::CStr>| {
            said.map_or_else(String::new, |s| s.to_string_lossy().into_owned())
        };
        let licensing = Licensing::open(&text(host.info().name()), &text(host.info().version()));
        Ok(Shared { host, licensing, tilt: Knob::default(), gain: Knob::default() })
    }

    fn new_main_thread<'a>(
        _host: HostMainThreadHandle<'a>,
        shared: &'a Shared<'a>,
    ) -> Result<Main<'a>, PluginError> {
        Ok(Main { shared })
    }
}

/// What all threads of an instance see.
struct Shared<'a> {
    host: HostSharedHandle<'a>,
    licensing: Licensing,
    tilt: Knob,
    gain: Knob,
}

impl<'a> PluginShared<'a> for Shared<'a> {}

/// The main thread's side.
struct Main<'a> {
    shared: &'a Shared<'a>,
}

impl<'a> PluginMainThread<'a, Shared<'a>> for Main<'a> {
    fn on_main_thread(&self) {
        self.shared.licensing.on_main_thread();
    }
}

impl PluginAudioPortsImpl for Main<'_> {
    fn count(&self, _is_input: bool) -> u32 {
        1
    }

    fn get(&self, index: u32, _is_input: bool, writer: &mut AudioPortInfoWriter) {
        if index == 0 {
            writer.set(&AudioPortInfo {
                id: ClapId::new(0),
                name: b"main",
                channel_count: 2,
                flags: AudioPortFlags::IS_MAIN,
                port_type: Some(AudioPortType::STEREO),
                in_place_pair: Some(ClapId::new(0)),
            });
        }
    }
}

impl PluginStateImpl for Main<'_> {
    fn save(&self, output: &mut OutputStream) -> Result<(), PluginError> {
        for knob in [&self.shared.tilt, &self.shared.gain] {
            output.write_all(&knob.get().to_le_bytes())?;
        }
        Ok(())
    }

    fn load(&self, input: &mut InputStream) -> Result<(), PluginError> {
        for param in [params::TILT, params::GAIN] {
            let mut value = [0; 4];
            input.read_exact(&mut value)?;
            self.shared.take(param, f32::from_le_bytes(value).into());
        }
        Ok(())
    }
}

/// The audio thread's side.
struct Audio<'a> {
    shared: &'a Shared<'a>,
    effect: Tilt,
    demo: Demo,
}

impl<'a> PluginAudioProcessor<'a, Shared<'a>, Main<'a>> for Audio<'a> {
    fn activate(
        _host: HostAudioProcessorHandle<'a>,
        _main: &Main<'a>,
        shared: &'a Shared<'a>,
        config: PluginAudioConfiguration,
    ) -> Result<Self, PluginError> {
        let mut effect = Tilt::new(config.sample_rate);
        effect.set(shared.tilt.get(), shared.gain.get());
        effect.settle();
        Ok(Self { shared, effect, demo: Demo::new(config.sample_rate) })
    }

    /// No allocation, no lock, no system call.
    fn process(
        &mut self,
        _process: Process,
        mut audio: clack_plugin::process::Audio,
        events: Events,
    ) -> Result<ProcessStatus, PluginError> {
        self.shared.take_events(events.input);
        self.shared.licensing.begin_use();
        self.effect.set(self.shared.tilt.get(), self.shared.gain.get());
        let frames = audio.frames_count() as usize;
        let Some(mut port) = audio.port_pair(0) else { return Ok(ProcessStatus::Sleep) };
        let Some(mut channels) = port.channels()?.into_f32() else { return Ok(ProcessStatus::Sleep) };
        for at in 0..frames {
            self.effect.advance();
            let factor = self.demo.next(|| {
                let licensed = self.shared.licensing.licensed();
                if !licensed && self.shared.licensing.want_look() {
                    self.shared.host.request_callback();
                }
                licensed
            });
            for channel in 0..channels.channel_pair_count().min(Tilt::CHANNELS) {
                match channels.channel_pair(channel) {
                    Some(ChannelPair::InputOutput(input, output)) => {
                        output[at] = self.effect.sample(channel, input[at]) * factor;
                    }
                    Some(ChannelPair::InPlace(buffer)) => {
                        buffer[at] = self.effect.sample(channel, buffer[at]) * factor;
                    }
                    Some(ChannelPair::OutputOnly(output)) => output[at] = 0.0,
                    Some(ChannelPair::InputOnly(_)) | None => {}
                }
            }
        }
        Ok(ProcessStatus::Continue)
    }

    fn deactivate(self, _main: &Main<'a>) {
        self.shared.licensing.end_use();
    }

    fn reset(&mut self) {
        self.effect.reset();
    }
}
