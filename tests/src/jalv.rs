//! The LV2 build in jalv, a host that nobody here wrote, on a JACK server that has no sound card: started, fed, listened to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::process::Running;
use crate::tilt;

/// Our shell around the plug-in.
const SHELL: &str = "https://example.com/plugins/shell";
/// Frames a second of the server.
pub const RATE: u64 = 48_000;

/// A program that is told things on its standard input and says things in lines.
#[derive(Debug)]
pub struct Spoken {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Spoken {
    /// Starts it; what it writes to both outputs is heard.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(output);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                    if tell.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
        Self { input: child.stdin.take(), child, lines, heard: Vec::new() }
    }

    /// Says a line.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        let said = input.write_all(format!("{line}\n").as_bytes()).and_then(|()| input.flush());
        assert!(said.is_ok(), "`{line}`: {said:?}\n{}", self.heard.join("\n"));
    }

    /// Waits for a line with `word` in it, and gives it.
    ///
    /// # Panics
    /// When it ends or says nothing of the kind in time.
    pub fn wait_for(&mut self, word: &str) -> String {
        let begun = Instant::now();
        loop {
            let left = crate::process::PATIENCE.saturating_sub(begun.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = line.contains(word);
                    self.heard.push(line.clone());
                    if found {
                        return line;
                    }
                }
                Err(error) => panic!("no “{word}”: {error}\n{}", self.heard.join("\n")),
            }
        }
    }

    /// The next line with `word` in it that was passed over so far, or that is still to come.
    pub fn recall(&mut self, word: &str) -> String {
        match self.heard.iter().position(|line| line.contains(word)) {
            Some(at) => self.heard.remove(at),
            None => {
                let line = self.wait_for(word);
                self.heard.pop();
                line
            }
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGINT and waits for its end, which has to be a good one.
    pub fn end(self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        self.wait_end();
    }

    /// Closes its standard input and waits for its end, which has to be a good one.
    pub fn wait_end(mut self) {
        drop(self.input.take());
        let pid = rustix::process::Pid::from_child(&self.child);
        let begun = Instant::now();
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        crate::process::wait_readable(&fd);
        let status = self.child.wait().unwrap();
        let said = self.heard.join("\n");
        assert!(status.success(), "it ended with {status} after {:?}\n{said}", begun.elapsed());
    }
}

impl Drop for Spoken {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A JACK server with the dummy driver, one at a time.
#[derive(Debug)]
pub struct Jack {
    server: Running,
    name: String,
    _turn: MutexGuard<'static, ()>,
}

impl Default for Jack {
    fn default() -> Self {
        Self::start()
    }
}

impl Jack {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("ct{}", crate::random_hex(4));
        let mut jackd = Command::new("jackd");
        // Synchronous: a period in which a client is late is waited for, and no sample is lost on a busy machine.
        jackd.args(["-r", "-S", "--no-mlock", "-t", "20000", "-n", &name, "-d", "dummy", "-r"]);
        jackd.args([&RATE.to_string(), "-p", "480", "-C", "0", "-P", "0"]);
        jackd.env("JACK_NO_AUDIO_RESERVATION", "1").env_remove("DISPLAY");
        let mut server = Running::start(&mut jackd);
        let begun = Instant::now();
        while !Command::new("jack_lsp")
            .env("JACK_DEFAULT_SERVER", &name)
            .env("JACK_NO_START_SERVER", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
        {
            assert!(server.is_running() && begun.elapsed() < crate::process::PATIENCE, "{}", server.output());
        }
        Self { server, name, _turn: turn }
    }

    /// jalv with the plug-in in it, before it is started: for more environment.
    #[must_use]
    pub fn jalv_command(&self, home: &Path, wrapper: &[&str]) -> Command {
        let words = [wrapper, &["stdbuf", "-oL", "jalv", tilt::URI]].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env("CLAVIGER_HOME", home)
            .env("LV2_PATH", lv2_path())
            .env("JACK_DEFAULT_SERVER", &self.name)
            .env("JACK_NO_START_SERVER", "1");
        command
    }

    /// jalv with the plug-in running in it.
    #[must_use]
    pub fn jalv(&self, home: &Path) -> Jalv {
        self.jalv_as(&mut self.jalv_command(home, &[]))
    }

    /// The same from a command.
    #[must_use]
    pub fn jalv_as(&self, command: &mut Command) -> Jalv {
        let begun = Instant::now();
        let mut host = Spoken::start(command);
        host.wait_for("Update rate");
        let mut jalv = Jalv { host, started_in: Duration::ZERO, server: self.name.clone() };
        // What it is asked it answers when it runs. (Each other program that asks the server is one more client, and those that
        // come and go while this one comes are known to confuse a server.)
        let _running = jalv.shows("license");
        jalv.started_in = begun.elapsed();
        jalv
    }

    /// jalv with the plug-in inside our shell, which does in its process what few hosts do (tests/native/shell.c).
    #[must_use]
    pub fn shell(&self, home: &Path, scene: &str) -> Jalv {
        let bundles = shell();
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "jalv", SHELL])
            .env("CLAVIGER_HOME", home)
            .env("CT_PLUGIN", tilt::lv2().join("tilt.lv2/tilt.so"))
            .env("CT_SCENE", scene)
            .env("LV2_PATH", format!("{}:{}", bundles.display(), lv2_path()))
            .env("JACK_DEFAULT_SERVER", &self.name)
            .env("JACK_NO_START_SERVER", "1");
        self.jalv_as(&mut command)
    }

    /// Ends it.
    pub fn end(mut self) {
        let _status = self.server.terminate();
    }
}

/// The plug-in's folder, and LV2's own.
#[must_use]
pub fn lv2_path() -> String {
    lv2_path_of(&tilt::lv2())
}

/// A folder of bundles, and LV2's own.
#[must_use]
pub fn lv2_path_of(folder: &Path) -> String {
    format!("{}:/usr/lib/lv2:/usr/lib/x86_64-linux-gnu/lv2", folder.display())
}

/// jalv, running.
#[derive(Debug)]
pub struct Jalv {
    /// The program.
    pub host: Spoken,
    /// How long it took from its start to its ports.
    pub started_in: Duration,
    server: String,
}

impl Jalv {
    /// The value of an output port: `license` or `activation`.
    ///
    /// # Panics
    /// When jalv does not tell it.
    pub fn shows(&mut self, port: &str) -> u32 {
        self.host.say("monitors");
        // It tells all, in this order; what is left unread would be taken for the next answer.
        let told = ["license", "activation"].map(|port| (port, self.host.wait_for(&format!("{port} = "))));
        let line = &told.iter().find(|(name, _)| *name == port).expect("it is one of the two").1;
        let value = line.rsplit('=').next().and_then(|value| value.trim().parse::<f32>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
        let value = value.unwrap_or_else(|| panic!("{line}")) as u32;
        value
    }

    /// Waits until an output port shows one of these values.
    pub fn wait_until(&mut self, port: &str, values: &[u32]) -> u32 {
        let begun = Instant::now();
        loop {
            let value = self.shows(port);
            if values.contains(&value) {
                return value;
            }
            assert!(begun.elapsed() < crate::process::PATIENCE, "{port} stays at {value}");
        }
    }

    /// What our shell found out, next.
    pub fn tells(&mut self) -> serde_json::Value {
        let line = self.host.recall("ct {");
        serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// Connects a player to it.
    #[must_use]
    pub fn player(&self) -> Player {
        let mut command = Command::new(player());
        command.args(["in_left", "in_right", "out_left", "out_right"].map(|port| format!("Tilt:{port}")));
        command.env("JACK_DEFAULT_SERVER", &self.server).env("JACK_NO_START_SERVER", "1");
        let mut program = Spoken::start(&mut command);
        program.wait_for("ready");
        Player(program)
    }
}

/// Plays and records.
#[derive(Debug)]
pub struct Player(Spoken);

impl Player {
    /// Plays so many seconds of the tests' noise, from this sample on, and gives what came out.
    pub fn play(&mut self, first: u64, seconds: u64, file: &Path) -> Vec<[f32; 2]> {
        self.0.say(&format!("play {first} {} {}", seconds * RATE, file.display()));
        self.0.wait_for("done");
        tilt::samples(file)
    }
}

impl Drop for Player {
    /// Lets it leave the server by itself: for one that is killed, a synchronous server waits.
    fn drop(&mut self) {
        drop(self.0.input.take());
        let pid = rustix::process::Pid::from_child(&self.0.child);
        if let Ok(end) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            crate::process::wait_readable(&end);
        }
    }
}

fn player() -> PathBuf {
    static PLAYER: OnceLock<PathBuf> = OnceLock::new();
    PLAYER.get_or_init(|| tilt::native("jack_play", &["-ljack"])).clone()
}

/// The folder that holds `shell.lv2`: the plug-in's own description under another name.
fn shell() -> PathBuf {
    static SHELL_BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let library = tilt::native("shell.so", &["-shared", "-fPIC"]);
        let folder = library.with_file_name("lv2-shell");
        let bundle = folder.join("shell.lv2");
        std::fs::create_dir_all(&bundle).unwrap();
        for (file, name) in [("manifest.ttl", "manifest.ttl"), ("tilt.ttl", "shell.ttl")] {
            let text = std::fs::read_to_string(tilt::lv2().join("tilt.lv2").join(file)).unwrap();
            let text = text
                .replace(&format!("<{}>", tilt::URI), &format!("<{SHELL}>"))
                .replace("<tilt.", "<shell.")
                .replace(", work:schedule", "")
                .replace("lv2:extensionData work:interface ;", "");
            std::fs::write(bundle.join(name), text).unwrap();
        }
        std::fs::copy(library, bundle.join("shell.so")).unwrap();
        folder
    };
    SHELL_BUNDLE.get_or_init(make).clone()
}
