//! A CLAP host for tests, on `clack-host`: does what it reads on standard input, one command a line, and answers each with one
//! line of JSON. `took_ms` is how long its main thread was in the plug-in.
//!
//! ```text
//! load FILE · open N · stack KIB · process SECONDS [FILE] · set PARAM VALUE · get PARAM · idle · close · unload
//! cycle FILE TIMES · also FILE · deny · fork · exec · facts · mark SECONDS · end
//! ```
#![expect(
    unsafe_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "loads plug-ins, forks, and is driven by a test: a panic is how it reports"
)]

use std::io::{BufRead as _, BufWriter, Write as _};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clack_extensions::params::PluginParams;
use clack_host::events::Pckn;
use clack_host::events::event_types::ParamValueEvent;
use clack_host::prelude::*;
use clack_host::process::StartedPluginAudioProcessor;
use clack_host::utils::ClapId;
use claviger_tests::tilt;
use serde_json::{Value, json};

const RATE: u32 = 48_000;
const BLOCK: usize = 480;

#[derive(Default)]
struct Shared {
    callback: AtomicBool,
    params: OnceLock<Option<PluginParams>>,
}

impl<'a> SharedHandler<'a> for Shared {
    fn initializing(&self, instance: InitializingPluginHandle<'a>) {
        let _first = self.params.set(instance.get_extension());
    }

    fn request_restart(&self) {}

    fn request_process(&self) {}

    fn request_callback(&self) {
        self.callback.store(true, Ordering::Release);
    }
}

struct Handlers;

impl HostHandlers for Handlers {
    type Shared<'a> = Shared;
    type MainThread<'a> = ();
    type AudioProcessor<'a> = ();
}

/// One plug-in instance, processing.
struct Instance {
    plugin: PluginInstance<Handlers>,
    audio: Option<StartedPluginAudioProcessor<Handlers>>,
}

impl Instance {
    fn new(entry: &PluginEntry) -> Self {
        let info =
            HostInfo::new("Claviger test host", "Claviger", "https://claviger.example", "1.2.3").unwrap();
        let factory = entry.get_plugin_factory().expect("the file has plug-ins");
        let descriptor = factory.plugin_descriptors().next().expect("there is one");
        let id = descriptor.id().expect("it has an id");
        let mut plugin =
            PluginInstance::<Handlers>::new(|_| Shared::default(), |_| (), entry, id, &info).unwrap();
        let block = u32::try_from(BLOCK).unwrap();
        let config = PluginAudioConfiguration {
            sample_rate: f64::from(RATE),
            min_frames_count: 1,
            max_frames_count: block,
        };
        let audio = plugin.activate(|_, _| (), config).unwrap().start_processing().unwrap();
        Self { plugin, audio: Some(audio) }
    }

    fn get(&mut self, param: u32) -> Option<f64> {
        let params = self.plugin.access_shared_handler(|shared| *shared.params.get()?)?;
        params.get_value(&self.plugin.plugin_handle(), ClapId::new(param))
    }

    fn idle(&mut self) -> bool {
        let wanted =
            self.plugin.access_shared_handler(|shared| shared.callback.swap(false, Ordering::AcqRel));
        if wanted {
            self.plugin.call_on_main_thread_callback();
        }
        wanted
    }

    fn close(mut self) {
        if let Some(audio) = self.audio.take() {
            self.plugin.deactivate(audio.stop_processing());
        }
    }
}

/// The preloaded guard, where there is one.
#[derive(Clone, Copy)]
struct Guard {
    enter: unsafe extern "C" fn(),
    leave: unsafe extern "C" fn(),
    count: unsafe extern "C" fn() -> std::ffi::c_ulong,
}

impl Guard {
    fn find() -> Option<Self> {
        let this = libloading::os::unix::Library::this();
        // SAFETY: functions of these types in tests/native/guard.c, which stays loaded as long as the process.
        unsafe {
            Some(Self {
                enter: *this.get(b"guard_enter").ok()?,
                leave: *this.get(b"guard_leave").ok()?,
                count: *this.get(b"guard_count").ok()?,
            })
        }
    }
}

#[derive(Default)]
struct Host {
    entry: Option<PluginEntry>,
    instances: Vec<Instance>,
    /// Other plug-ins in the same process.
    beside: Vec<(Instance, PluginEntry)>,
    /// Samples processed since the instances were opened.
    at: u64,
    /// Parameters to hand over with the next block.
    events: Vec<(u32, f64)>,
}

impl Host {
    /// Runs every instance over `frames` of the test's noise, on an audio thread. Gives what the guard counted.
    fn process(&mut self, frames: u64, file: Option<&str>, marked: bool) -> Value {
        let mut file = file.map(|name| BufWriter::new(std::fs::File::create(name).unwrap()));
        let guard = Guard::find();
        let begin = self.at;
        let events: Vec<ParamValueEvent> = self
            .events
            .drain(..)
            .map(|(param, value)| ParamValueEvent::new(0, ClapId::new(param), Pckn::match_all(), value))
            .collect();
        let audio: Vec<_> =
            self.instances.iter_mut().filter_map(|instance| instance.audio.as_mut()).collect();
        let counted = std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let mut audio = audio;
                let none: [ParamValueEvent; 0] = [];
                let (mut ins, mut outs) = ([[0f32; BLOCK]; 2], [[0f32; BLOCK]; 2]);
                let mut in_ports = AudioPorts::with_capacity(2, 1);
                let mut out_ports = AudioPorts::with_capacity(2, 1);
                let mut out_events = EventBuffer::new();
                let mut done = 0;
                while done < frames {
                    let block = usize::try_from(frames - done).unwrap().min(BLOCK);
                    for (channel, buffer) in (0u32..).zip(&mut ins) {
                        for (sample, value) in (begin + done..).zip(&mut buffer[..block]) {
                            *value = tilt::input(sample, channel);
                        }
                    }
                    let first = done == 0;
                    for (number, one) in audio.iter_mut().enumerate() {
                        let mut input = in_ports.with_input_buffers([AudioPortBuffer {
                            latency: 0,
                            channels: AudioPortBufferType::f32_input_only(
                                ins.iter_mut().map(|b| InputChannel::variable(&mut b[..block])),
                            ),
                        }]);
                        let mut output = out_ports.with_output_buffers([AudioPortBuffer {
                            latency: 0,
                            channels: AudioPortBufferType::f32_output_only(
                                outs.iter_mut().map(|b| &mut b[..block]),
                            ),
                        }]);
                        let in_events = if first {
                            InputEvents::from_buffer(&events)
                        } else {
                            InputEvents::from_buffer(&none)
                        };
                        let mut out_events = OutputEvents::from_buffer(&mut out_events);
                        let steady = Some(begin + done);
                        if marked {
                            let _mark = rustix::process::getppid();
                        }
                        if let Some(guard) = guard {
                            // SAFETY: takes and gives nothing.
                            unsafe { (guard.enter)() };
                        }
                        let status =
                            one.process(&input, &mut output, &in_events, &mut out_events, steady, None);
                        if let Some(guard) = guard {
                            // SAFETY: as above.
                            unsafe { (guard.leave)() };
                        }
                        if marked {
                            let _mark = rustix::process::getppid();
                        }
                        status.expect("the plug-in processes");
                        let _unused = &mut input;
                        if number == 0
                            && let Some(file) = &mut file
                        {
                            let [left, right] = &outs;
                            for (left, right) in left.iter().zip(right).take(block) {
                                file.write_all(&left.to_le_bytes()).unwrap();
                                file.write_all(&right.to_le_bytes()).unwrap();
                            }
                        }
                    }
                    done += block as u64;
                }
                if let Some(mut file) = file {
                    file.flush().unwrap();
                }
                // SAFETY: takes nothing, gives a number.
                guard.map(|guard| unsafe { (guard.count)() })
            });
            thread.join().unwrap()
        });
        self.at += frames;
        json!({ "guarded": counted })
    }

    fn open(&mut self, count: usize) {
        let entry = self.entry.as_ref().expect("load comes first");
        for _ in 0..count {
            self.instances.push(Instance::new(entry));
        }
        self.at = 0;
    }

    fn close(&mut self) {
        for instance in self.instances.drain(..) {
            instance.close();
        }
    }

    fn load(&mut self, file: &str) {
        // SAFETY: a CLAP plug-in of ours.
        self.entry = Some(unsafe { PluginEntry::load(Path::new(file)) }.unwrap());
    }

    fn command(&mut self, words: &[&str]) -> Value {
        match words {
            ["load", file] => {
                self.load(file);
                json!({})
            }
            ["open", count] => {
                self.open(count.parse().unwrap());
                json!({})
            }
            ["stack", kib] => {
                let entry = self.entry.as_ref().expect("load comes first");
                on_small_stack(entry, kib.parse().unwrap())
            }
            ["process", seconds] => self.process(frames(seconds), None, false),
            ["process", seconds, file] => self.process(frames(seconds), Some(file), false),
            ["mark", seconds] => self.process(frames(seconds), None, true),
            ["set", param, value] => {
                self.events.push((param.parse().unwrap(), value.parse().unwrap()));
                json!({})
            }
            ["get", param] => {
                let param = param.parse().unwrap();
                let values: Vec<_> = self.instances.iter_mut().map(|instance| instance.get(param)).collect();
                json!({ "values": values })
            }
            ["idle"] => {
                let called = self.instances.iter_mut().filter_map(|i| i.idle().then_some(())).count();
                json!({ "called": called })
            }
            ["close"] => {
                self.close();
                json!({})
            }
            ["unload"] => {
                self.close();
                for (instance, _entry) in self.beside.drain(..) {
                    instance.close();
                }
                self.entry = None;
                json!({})
            }
            ["cycle", file, times] => {
                let mut slowest = 0.0f64;
                for _ in 0..times.parse::<u32>().unwrap() {
                    let begun = Instant::now();
                    self.load(file);
                    self.open(1);
                    slowest = slowest.max(milliseconds(begun));
                    self.process(BLOCK as u64, None, false);
                    self.close();
                    self.entry = None;
                }
                json!({ "slowest_ms": slowest, "mapped": mapped(file) })
            }
            ["also", file] => {
                // SAFETY: a CLAP plug-in of ours.
                let entry = unsafe { PluginEntry::load(Path::new(file)) }.unwrap();
                let mut instance = Instance::new(&entry);
                let value = instance.get(3);
                self.beside.push((instance, entry));
                json!({ "value": value })
            }
            ["deny"] => {
                deny_files();
                json!({})
            }
            ["fork"] => self.fork(),
            ["exec"] => {
                let exec = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
                json!({ "files": String::from_utf8_lossy(&exec.stdout).split_whitespace().count() })
            }
            ["facts"] => facts(),
            _ => panic!("no such command: {words:?}"),
        }
    }

    /// A child that asks and answers.
    fn fork(&mut self) -> Value {
        // SAFETY: the child uses the plug-in and leaves without running what runs at the end of a process.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let status = self.instances.first_mut().and_then(|instance| instance.get(3)).unwrap_or(63.0);
            let entry = self.entry.as_ref().expect("load comes first");
            let again = Instance::new(entry).get(3).unwrap_or(63.0);
            #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
            let code = if (status - again).abs() < 0.5 { status as i32 } else { 99 };
            // SAFETY: ends the child.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        json!({ "child": libc::WEXITSTATUS(status), "ended": libc::WIFEXITED(status) })
    }
}

/// An instance made, asked and closed on a thread with a small stack.
fn on_small_stack(entry: &PluginEntry, kib: usize) -> Value {
    // The file again, because an entry stays on its thread: the loader gives the same code.
    struct Asked(Option<f64>, PluginEntry);
    // SAFETY: the entry is used by one thread at a time: this one waits for the other.
    unsafe impl Send for Asked {}
    let mut asked = Asked(None, entry.clone());
    let thread = std::thread::Builder::new().stack_size(kib * 1024).spawn(move || {
        let asked = &mut asked;
        let mut instance = Instance::new(&asked.1);
        asked.0 = instance.get(3);
        instance.close();
        asked.0
    });
    json!({ "value": thread.unwrap().join().unwrap() })
}

/// From here on the kernel refuses to open or find any file, as a strict sandbox does.
fn deny_files() {
    let load = 0x20; // BPF_LD | BPF_W | BPF_ABS: the number of the call
    let (equal, ret) = (0x15, 0x06); // BPF_JMP | BPF_JEQ | BPF_K; BPF_RET | BPF_K
    let line = |code: u16, jt: u8, k: u32| libc::sock_filter { code, jt, jf: 0, k };
    let calls = [
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlinkat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_access,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink,
    ];
    let mut program = vec![line(load, 0, 0)];
    for (at, call) in calls.iter().enumerate() {
        let to_the_end = u8::try_from(calls.len() - at).unwrap();
        program.push(line(equal, to_the_end, u32::try_from(*call).unwrap()));
    }
    program.push(line(ret, 0, libc::SECCOMP_RET_ALLOW));
    program.push(line(ret, 0, libc::SECCOMP_RET_ERRNO | libc::EACCES.unsigned_abs()));
    let filter =
        libc::sock_fprog { len: u16::try_from(program.len()).unwrap(), filter: program.as_mut_ptr() };
    // SAFETY: the filter lives during the call, which copies it; both calls change this process alone.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0
    };
    assert!(!failed, "the kernel takes no filter: {}", std::io::Error::last_os_error());
    assert!(std::fs::metadata("/").is_err(), "the filter filters nothing");
}

fn frames(seconds: &str) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "minutes at most")]
    let frames = (seconds.parse::<f64>().unwrap() * f64::from(RATE)).round() as u64;
    frames
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn mapped(file: &str) -> bool {
    std::fs::read_to_string("/proc/self/maps").unwrap().contains(file)
}

/// Threads of this process. One that was joined is listed until the kernel has cleared it away: it is marked as leaving.
fn threads() -> usize {
    const LEAVING: u32 = 4;
    let stays = |task: &std::path::PathBuf| {
        let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
        let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse().ok());
        flags.is_some_and(|flags: u32| flags & LEAVING == 0)
    };
    std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path()).filter(stays).count()
}

/// Threads, files and memory of this process.
fn facts() -> Value {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| -> Option<u64> {
        status.lines().find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
    };
    json!({ "threads": threads(), "files": count("/proc/self/fd"), "kib": of("VmRSS:") })
}

fn main() {
    let mut host = Host::default();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split('\t').collect();
        if words == ["end"] {
            break;
        }
        let begun = Instant::now();
        let mut answer = host.command(&words);
        answer["took_ms"] = milliseconds(begun).into();
        println!("{answer}");
    }
    host.close();
}
