//! The LV2 build in Ardour 7: its Lua session driver with the dummy backend makes a session, puts the plug-in on a track and
//! bounces it offline, while its engine runs on in real time. What is in the bounced files is compared sample by sample.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_client::host::{Catalogue, chain_of, recognise};
use claviger_tests::jalv::{Spoken, lv2_path};
use claviger_tests::tilt::{self, Home};

const SECONDS: usize = 62;

/// Ardour with a session that has the plug-in on its track.
struct Ardour {
    host: Spoken,
    session: PathBuf,
    bounced: usize,
}

impl Ardour {
    fn start(home: &Home) -> Self {
        let scripts = tilt::source().join("tests/native/ardour");
        let settings = home.path().join("user/.config/ardour7/scripts");
        std::fs::create_dir_all(&settings).unwrap();
        std::fs::copy(scripts.join("noise.lua"), settings.join("noise.lua")).unwrap();
        let session = home.path().join("session");
        let mut command = Command::new("xvfb-run");
        command
            .args(["-a", "stdbuf", "-oL", "ardour7-lua"])
            .arg(scripts.join("bounce.lua"))
            .env("HOME", home.path().join("user"))
            .env_remove("XDG_CONFIG_HOME")
            .env("CLAVIGER_HOME", home.path())
            .env("LV2_PATH", lv2_path())
            .env("CT_SESSION", &session)
            .env("CT_SECONDS", SECONDS.to_string());
        let mut host = Spoken::start(&mut command);
        host.wait_for("ct ready");
        Self { host, session, bounced: 0 }
    }

    /// Its process: what was started is a shell that starts it under Xvfb.
    fn process(&self) -> u32 {
        let ours = format!("CT_SESSION={}", self.session.display());
        let is_it = |id: &u32| {
            let exe = std::fs::read_link(format!("/proc/{id}/exe"));
            let env = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            exe.is_ok_and(|exe| exe.ends_with("luasession")) && String::from_utf8_lossy(&env).contains(&ours)
        };
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes.filter_map(|e| e.file_name().to_str()?.parse().ok()).find(is_it).expect("Ardour runs")
    }

    /// Bounces the track, and gives what is in the files.
    fn bounce(&mut self) -> Vec<[f32; 2]> {
        self.host.say("bounce");
        self.host.wait_for("ct bounced");
        let folder = self.session.join("interchange/session/audiofiles");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort_by_key(|file| std::fs::metadata(file).unwrap().modified().unwrap());
        assert_eq!(files.len(), self.bounced + 2, "{files:?}");
        let new = &files[self.bounced..];
        self.bounced = files.len();
        let channel = |end: &str| {
            let file = new.iter().find(|file| file.to_str().unwrap().ends_with(end)).unwrap();
            wave(file)
        };
        channel("L.wav").into_iter().zip(channel("R.wav")).map(|(left, right)| [left, right]).collect()
    }

    fn end(mut self) {
        self.host.say("end");
        self.host.wait_for("ct closed");
        self.host.wait_end();
    }
}

/// The samples of a mono file of 32-bit floats.
fn wave(file: &Path) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 12;
    loop {
        let length = number(at + 4);
        let content = &bytes[at + 8..at + 8 + length];
        match &bytes[at..at + 4] {
            b"fmt " => assert_eq!(content[..4], [3, 0, 1, 0], "floats, one channel"),
            b"data" => {
                return content.chunks_exact(4).map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect();
            }
            _ => {}
        }
        at += 8 + length + length % 2;
    }
}

/// Which sample of the noise a recording begins with; its generator began some seconds before.
fn first_sample(recording: &[[f32; 2]]) -> u64 {
    let fits = |first: &u64| {
        let begin = recording[..8].iter().zip(*first..);
        begin.into_iter().all(|(frame, sample)| (frame[0] - tilt::input(sample, 0)).abs() < 1e-5)
    };
    (0..3600 * 48_000).find(fits).expect("the recording is the noise")
}

#[test]
fn bounces_the_same_with_and_without_a_license_but_for_a_fade_a_minute() {
    let bounced = |home: &Home| {
        let mut ardour = Ardour::start(home);
        let recording = ardour.bounce();
        ardour.end();
        assert_eq!(recording.len(), SECONDS * 48_000);
        recording
    };
    let licensed = bounced(&Home::licensed());
    tilt::assert_heard(&licensed, first_sample(&licensed), None);
    let unlicensed = bounced(&Home::new());
    // It may begin inside a fade: the rest tells where the minute is, the noise is found behind it.
    let (start, length) = (tilt::phase(&unlicensed), 3 * 24_000);
    let skipped = if start >= 60 * 48_000 - length as u64 { length } else { 0 };
    let first = first_sample(&unlicensed[skipped..]) - skipped as u64;
    tilt::assert_heard(&unlicensed, first, Some(start));
}

#[test]
fn a_license_lost_between_two_bounces_changes_nothing() {
    let home = Home::licensed();
    let mut ardour = Ardour::start(&home);
    let processes = chain_of(ardour.process());
    let found = recognise(&Catalogue::own(), &processes, None);
    assert_eq!((found.daw.id(), found.version.as_deref()), ("ardour", Some("7")), "{processes:?}");
    let before = ardour.bounce();
    std::fs::remove_dir_all(home.path().join("certs")).unwrap();
    let after = ardour.bounce();
    ardour.end();
    for recording in [before, after] {
        tilt::assert_heard(&recording, first_sample(&recording), None);
    }
}
