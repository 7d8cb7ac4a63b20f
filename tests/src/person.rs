//! A person at a computer who says yes on a terminal and makes music; and, for those who look for traces, one whose
//! computer is full of values that exist nowhere else.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::layout::CLOCK;
use serde_json::{Value, json};

use crate::canaries::Search;
use crate::held::HeldClock;
use crate::machine::Machine;
use crate::random_hex;
use crate::statistics::wait_for;
use crate::terminal::Terminal;
use crate::vendor::Vendor;
use crate::world::{PRODUCT, World};

/// Reads the notice on a terminal and answers `yes`; what stood on the screen.
pub fn agree_on_a_terminal(machine: &Machine) -> String {
    let mut command = machine.command("claviger");
    command.args(["consent", "grant", "--vendor", "com.example"]);
    let mut terminal = Terminal::start(&command);
    terminal.expect("Do you agree? Type yes or no: ");
    terminal.type_in("yes\r");
    terminal.expect("You agreed");
    let seen = terminal.seen.clone();
    assert_eq!(terminal.end(), Some(0), "{seen}");
    seen
}

/// Says yes as the window does.
pub fn agree(machine: &Machine) {
    let shown =
        machine.connect().call("ShowNotice", &json!({ "vendor": "com.example", "language": "en" })).unwrap();
    let challenge = &shown["parameters"]["challenge"];
    let given =
        machine.connect().call("Grant", &json!({ "vendor": "com.example", "challenge": challenge })).unwrap();
    assert_eq!(given["parameters"]["consent"]["counting"], true, "{shown} {given}");
}

/// How often the title was used, as the daemon counts.
#[must_use]
pub fn counted(machine: &Machine) -> u64 {
    let preview = machine.json(&["privacy", "preview"]);
    preview["counted"].as_array().unwrap().iter().map(|cell| cell["uses"].as_u64().unwrap()).sum()
}

/// Moves the clock and waits until the daemon has looked at it and done what is due.
pub fn go_to(machine: &Machine, clock: &HeldClock, moment: Timestamp) {
    clock.go_to(moment);
    wait_for("the daemon to look at the clock", || {
        let text = std::fs::read_to_string(machine.certificates().join(CLOCK)).ok()?;
        let seen: Value = serde_json::from_str(&text).ok()?;
        (seen["high_water"].as_i64()? >= moment.0).then_some(())
    });
    // It has one thread: what was due was begun before this is answered.
    let _answered = machine.connect().call("GetStatus", &json!({})).unwrap();
}

/// Starts a DAW with the title in it, which processes audio, and waits until the use was counted.
pub fn make_music(machine: &Machine, world: &World, daw: &Daw, version: &str) {
    let before = counted(machine);
    let mut running = daw.start(machine, world, version);
    wait_for("a use to be counted", || (counted(machine) > before).then_some(()));
    drop(running.stdin.take());
    assert!(running.wait().unwrap().success());
}

/// A DAW: a program at a place that a catalogue recognises.
#[derive(Debug)]
pub struct Daw {
    program: PathBuf,
    project: PathBuf,
    word: String,
}

impl Daw {
    /// REAPER, installed below this folder, with a project of this name open. It is `env!("CARGO_BIN_EXE_daw")`.
    #[must_use]
    pub fn reaper(ours: &str, folder: &Path, project: &str, word: &str) -> Self {
        let place = folder.join("REAPER");
        std::fs::create_dir_all(&place).unwrap();
        let program = place.join("reaper");
        std::fs::copy(ours, &program).unwrap();
        let project = folder.join(format!("{project}.rpp"));
        std::fs::File::create(&project).unwrap().write_all(project.as_os_str().as_encoded_bytes()).unwrap();
        Self { program, project, word: word.to_owned() }
    }

    /// Starts it; it ends with its input.
    #[must_use]
    pub fn start(&self, machine: &Machine, world: &World, version: &str) -> Child {
        let mut command: Command = machine.start(&self.program);
        command
            .arg(world.profile())
            .args([PRODUCT, version, &self.word])
            .arg(&self.project)
            .current_dir(self.program.parent().unwrap())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// A computer that is full of canaries.
#[derive(Debug)]
pub struct Planted {
    /// The computer.
    pub machine: Machine,
    /// Its DAW.
    pub daw: Daw,
    /// Each canary by its name.
    pub canaries: Vec<(&'static str, Vec<u8>)>,
}

impl Planted {
    /// A computer of this world, in the network namespace that the calling thread is in; its daemon is not started yet.
    /// The DAW is `env!("CARGO_BIN_EXE_daw")`.
    #[must_use]
    pub fn new(world: &World, daw: &str) -> Self {
        let fresh = |name: &str| format!("canary{name}{}", random_hex(6));
        let (user, home, real) = (fresh("user"), fresh("home"), fresh("realname"));
        let (locale, zone, host) = (fresh("locale"), fresh("zone"), fresh("host"));
        let (folder, project, word) = (fresh("daw"), fresh("song"), fresh("word"));
        let (plugin, vendor, serial) = (fresh("plugin"), format!("com.{}", fresh("vendor")), fresh("serial"));
        let id = random_hex(16);
        let mac: Vec<u8> =
            [vec![2], data_encoding::HEXLOWER.decode(random_hex(5).as_bytes()).unwrap()].concat();
        let spelled =
            |between: &str| mac.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(between);

        let place = world.path(&home);
        let mut machine = Machine::with_id(&place, &id);
        for (name, value) in
            [("USER", &user), ("LOGNAME", &user), ("LANG", &locale), ("LC_ALL", &locale), ("TZ", &zone)]
        {
            machine.env.push((name.to_owned(), value.clone()));
        }
        machine.hostname = Some(host.clone());
        let passwd = format!("{user}:x:0:0:{real}:{}:/bin/sh\n", place.display());
        machine.replace_file("/etc/passwd", &passwd);
        for disk in std::fs::read_dir("/sys/block").unwrap().flatten() {
            for file in ["serial", "device/serial"] {
                machine.replace_file(disk.path().join(file).to_str().unwrap(), &serial);
            }
        }
        for file in ["product_serial", "product_uuid", "board_serial", "chassis_serial"] {
            machine.replace_file(&format!("/sys/class/dmi/id/{file}"), &serial);
        }
        for folder in [".vst3", ".clap", ".lv2"] {
            std::fs::create_dir_all(place.join(folder).join(&plugin)).unwrap();
        }
        network_card(&spelled(":"));
        let other = Vendor::new(&vendor, "CNR");
        std::fs::write(place.join("other.clvprofile"), other.profile("http://127.0.0.1:9")).unwrap();

        let daw = Daw::reaper(daw, &world.path(&folder), &project, &word);
        let mut canaries: Vec<(&'static str, Vec<u8>)> = [
            ("user name", user),
            ("real name", real),
            ("home path", home),
            ("locale", locale),
            ("time zone", zone),
            ("host name", host),
            ("DAW path", folder),
            ("project name", project),
            ("the host's word", word),
            ("other plug-in", plugin),
            ("other vendor", vendor),
            ("disk serial", serial),
            ("machine's own id", id),
        ]
        .map(|(name, text)| (name, text.into_bytes()))
        .into();
        canaries.push(("MAC address", spelled(":").into_bytes()));
        canaries.push(("MAC address with hyphens", spelled("-").into_bytes()));
        canaries.push(("MAC address without them", spelled("").into_bytes()));
        canaries.push(("MAC address in bytes", mac));
        Self { machine, daw, canaries }
    }

    /// Makes the other vendor known; the daemon runs.
    pub fn add_other_vendor(&self) {
        self.machine.add_vendor(&self.machine.home.with_file_name("other.clvprofile"));
    }

    /// A search for all canaries but those of these names.
    #[must_use]
    pub fn search(&self, without: &[&str]) -> Search {
        let wanted = self.canaries.iter().filter(|(name, _)| !without.contains(name));
        Search::new(wanted.map(|(name, value)| (*name, value.as_slice())))
    }
}

/// A network card with this address. It is silent: nobody asks through it who its neighbours are.
fn network_card(mac: &str) {
    let script = format!(
        "ip link add card address {mac} type veth peer name wall && \
         for end in card wall; do echo 1 >/proc/sys/net/ipv6/conf/$end/disable_ipv6 && ip link set $end up || exit 1; done && \
         ip addr add 10.77.0.1/24 dev card"
    );
    let _said = crate::process::run(Command::new("sh").args(["-ec", &script]), "").ok();
}
