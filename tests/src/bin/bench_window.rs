//! The manager window: start to first frame, memory with 500 products listed, processor time of an idle minute, frames while
//! 5,000 products scroll by.
//!
//! `bench_window [--idle SECONDS]`; prints JSON lines. The window is the release program, drawn by the software renderer onto an X
//! server in memory, at its default size, without a screen reader; a daemon's socket lists the products. Frames are timed by the
//! window itself (`--measure`), from the moment that it is to draw until it has drawn and handed the picture over. The floor, a
//! picture of the same size given to the same X server, is measured in the same run.

use std::time::{Duration, Instant};

use claviger_tests::Machine;
use claviger_tests::bench::{Row, median};
use claviger_tests::process::{PATIENCE, Running};
use claviger_tests::screen::{Screen, Setting, Window, window};
use claviger_tests::stage::{Stage, license, vendor};
use serde_json::{Value, json};

const STARTS: usize = 11;
const STEPS: usize = 400;
const SIZE: (u16, u16) = (1120, 760);

fn main() {
    let mut idle = 60;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--idle" {
            idle = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(idle);
        }
    }
    let mut screen = Screen::without_reader();
    let floor = median((0..STARTS).map(|_| ms(screen.time_of_a_picture(SIZE.0, SIZE.1))));
    let setting = Setting::default().with(&["--measure"]);

    let shop = Shop::open(500);
    starting(&mut screen, &shop, &setting, floor);
    resting(&mut screen, &shop, &setting, idle);
    drop(shop);
    scrolling(&mut screen, &Shop::open(5_000), &setting, floor);
}

/// A machine with products.
struct Shop {
    _folder: tempfile::TempDir,
    machine: Machine,
    _stage: Stage,
}

impl Shop {
    fn open(products: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("cb").tempdir().expect("a temporary folder");
        let machine = Machine::this(&folder.path().join("m"));
        let sellers: Vec<Value> =
            (0..5).map(|n| vendor(&format!("com.vendor{n}"), &format!("Vendor {n}"), "VEN")).collect();
        // As large as real ones.
        let certificate = json!({ "certificate": "A".repeat(900) });
        let licenses: Vec<Value> = (0..products)
            .map(|n| {
                license(
                    &sellers[n % 5],
                    &format!("com.vendor.p{n}"),
                    &format!("Product {n}"),
                    1_000 + n,
                    &certificate,
                )
            })
            .collect();
        let stage = Stage::open(&machine, &sellers, &licenses);
        Self { _folder: folder, machine, _stage: stage }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// From the start of the process to the first frame, as the one who has started it sees it.
fn starting(screen: &mut Screen, shop: &Shop, setting: &Setting, floor: f64) {
    let figure = median((0..STARTS).map(|_| {
        let begun = Instant::now();
        let process = Running::start(&mut window::command(screen, &shop.machine, setting));
        assert!(process.wait_output(PATIENCE, |said| said.contains("first_frame")), "{}", process.output());
        let took = begun.elapsed();
        assert!(Window::find(screen, process).close().success());
        ms(took)
    }));
    Row {
        what: "window: start to first frame, 500 products",
        figure,
        unit: "ms",
        floor,
        floor_what: "a picture of that size to the X server",
        goal: "< 300 ms",
        met: figure < 300.0,
        baseline: "",
    }
    .print();
}

/// Memory and processor time of a window that nobody touches.
fn resting(screen: &mut Screen, shop: &Shop, setting: &Setting, idle: u64) {
    let mut window = Window::open(screen, &shop.machine, setting);
    let shown = window.picture();
    assert!(shown.colours() > 50, "nothing is shown: {}", window.process.output());
    let resident = resident_mib(&window.process);
    Row {
        what: "window: resident with 500 products listed",
        figure: resident,
        unit: "MiB",
        floor: 0.0,
        floor_what: "",
        goal: "< 50 MB",
        met: resident * 1.048_576 < 50.0,
        baseline: "",
    }
    .print();
    let before = ticks(&window.process);
    let begun = Instant::now();
    // The measurement itself: a minute in which nothing is done, ended early only by the window's own end.
    let ended = window.process.wait_output(Duration::from_secs(idle), |_| false);
    assert!(!ended && window.process.is_running());
    let used = ticks(&window.process) - before;
    let figure = 100.0 * used / begun.elapsed().as_secs_f64();
    Row {
        what: "window: processor use while idle",
        figure,
        unit: "%",
        floor: 0.0,
        floor_what: "",
        goal: "0.0 %",
        met: figure < 0.05,
        baseline: "",
    }
    .print();
    assert!(window.close().success());
}

/// A turn of the wheel a frame, through 5,000 products.
fn scrolling(screen: &mut Screen, shop: &Shop, setting: &Setting, floor: f64) {
    let mut window = Window::open(screen, &shop.machine, setting);
    let _drawn = window.picture();
    let mut times = Vec::new();
    for _ in 0..STEPS {
        let before = frames(&window.process.output()).len();
        window.screen.wheel(600, 500);
        let drawn = |said: &str| frames(said).len() > before;
        assert!(window.process.wait_output(PATIENCE, drawn), "no frame: {}", window.process.output());
        times.extend(frames(&window.process.output()).drain(before..));
    }
    times.sort_by(f64::total_cmp);
    let worst = times.last().copied().unwrap_or(f64::NAN);
    let over = times.iter().filter(|time| **time > 16.0).count();
    for (what, figure, goal, met) in [
        ("window: slowest frame while 5,000 products scroll", worst, "≤ 16 ms", worst <= 16.0),
        ("window: median frame of that", median(times.iter().copied()), "none", true),
    ] {
        Row {
            what,
            figure,
            unit: "ms",
            floor,
            floor_what: "a picture of that size to the X server",
            goal,
            met,
            baseline: "",
        }
        .print();
    }
    say(&format!("{} frames, {over} of them over 16 ms", times.len()));
    assert!(window.close().success());
}

/// Beside the rows, for whoever reads along.
#[expect(clippy::print_stderr, reason = "a remark beside the rows")]
fn say(text: &str) {
    eprintln!("  {text}");
}

/// How long each frame took, in milliseconds.
fn frames(said: &str) -> Vec<f64> {
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == "frame").filter_map(|line| line["ms"].as_f64()).collect()
}

fn resident_mib(process: &Running) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("the window runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// Processor time of all its threads so far, in seconds.
fn ticks(process: &Running) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).expect("the window runs");
    let behind = text.rsplit(')').next().expect("a line of numbers");
    let numbers: Vec<f64> =
        behind.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    // Linux counts in hundredths of a second wherever it tells them to programs.
    numbers.iter().sum::<f64>() / 100.0
}
