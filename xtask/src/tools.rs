//! What the tests and checks need beside Rust: what is missing, how to get it, and getting it on Debian.

use std::path::PathBuf;
use std::process::Command;

use crate::shell::{self, Failure, Result};

/// A program that some suite starts, and the Debian package that has it.
struct Tool {
    program: &'static str,
    package: &'static str,
    what_for: &'static str,
}

/// Where Debian puts a library on this architecture.
#[cfg(target_arch = "x86_64")]
macro_rules! library {
    ($file:literal) => {
        concat!("/usr/lib/x86_64-linux-gnu/", $file)
    };
}
#[cfg(not(target_arch = "x86_64"))]
macro_rules! library {
    ($file:literal) => {
        concat!("/usr/lib/aarch64-linux-gnu/", $file)
    };
}

const CORE: &[Tool] = &[Tool { program: "cc", package: "gcc", what_for: "SQLite and the C interface" }];

const FULL: &[Tool] = &[
    Tool { program: "unshare", package: "util-linux", what_for: "machines with another machine id" },
    Tool { program: "mount", package: "mount", what_for: "full and read-only disks" },
    Tool { program: "setpriv", package: "util-linux", what_for: "other users" },
    Tool { program: "strace", package: "strace", what_for: "counting system calls" },
    Tool { program: "nsenter", package: "util-linux", what_for: "a computer without a network" },
    Tool { program: "ip", package: "iproute2", what_for: "a network card that a test can name" },
    Tool { program: "hostname", package: "hostname", what_for: "a computer with a name of its own" },
    Tool { program: "zbarimg", package: "zbar-tools", what_for: "a QR decoder that nobody here wrote" },
    Tool { program: "curl", package: "curl", what_for: "the portal from a script" },
    Tool { program: "ansible-playbook", package: "ansible-core", what_for: "the Ansible role" },
    Tool { program: "pkg-config", package: "pkg-config", what_for: "building the C example" },
    Tool { program: "chromium", package: "chromium", what_for: "the portal as people see it" },
    Tool { program: "chromedriver", package: "chromium-driver", what_for: "driving that browser" },
    Tool { program: "c++", package: "g++", what_for: "the C++ wrapper and the LV2 plug-in" },
    Tool { program: "cmake", package: "cmake", what_for: "building as a plug-in developer does" },
    Tool { program: "valgrind", package: "valgrind", what_for: "the C++ wrapper's memory" },
    Tool { program: "lv2_validate", package: "lv2-dev", what_for: "the LV2 plug-in's description" },
    Tool { program: "sord_validate", package: "sordi", what_for: "lv2_validate" },
    Tool { program: "lv2bench", package: "lilv-utils", what_for: "a plug-in host" },
    Tool { program: "jalv", package: "jalv", what_for: "a plug-in host" },
    Tool { program: "jackd", package: "jackd2", what_for: "jalv, without a sound card" },
    // Not a program, but found in the same way.
    Tool {
        program: "/usr/include/jack/jack.h",
        package: "libjack-jackd2-dev",
        what_for: "playing into jalv",
    },
    Tool {
        program: "/usr/include/fontconfig/fontconfig.h",
        package: "libfontconfig-dev",
        what_for: "building the manager window",
    },
    Tool { program: "ardour7-lua", package: "ardour", what_for: "a plug-in host" },
    Tool { program: "xvfb-run", package: "xvfb", what_for: "Ardour, without a screen" },
    Tool { program: "Xvfb", package: "xvfb", what_for: "the manager window, without a screen" },
    Tool { program: "dbus-daemon", package: "dbus-daemon", what_for: "the session that the window is in" },
    Tool {
        program: "/usr/libexec/at-spi-bus-launcher",
        package: "at-spi2-core",
        what_for: "the window as a screen reader knows it",
    },
    // What the window loads where there is an X server.
    Tool { program: library!("libX11-xcb.so.1"), package: "libx11-xcb1", what_for: "the manager window" },
    Tool { program: library!("libXcursor.so.1"), package: "libxcursor1", what_for: "the manager window" },
    Tool { program: library!("libXi.so.6"), package: "libxi6", what_for: "the manager window" },
    Tool { program: library!("libXrandr.so.2"), package: "libxrandr2", what_for: "the manager window" },
    Tool {
        program: library!("libxkbcommon-x11.so.0"),
        package: "libxkbcommon-x11-0",
        what_for: "the manager window",
    },
    Tool { program: "xauth", package: "xauth", what_for: "xvfb-run" },
    Tool { program: "qtractor", package: "qtractor", what_for: "a plug-in host" },
    Tool { program: "python3", package: "python3-venv", what_for: "a Varlink client that nobody here wrote" },
];

/// What a test run needs.
pub(crate) struct Tools {
    /// Python with the `varlink` package, for the full run.
    pub(crate) python: Option<PathBuf>,
}

/// Finds what a run needs. What is missing is installed when `install` says so, otherwise named.
pub(crate) fn ensure(full: bool, install: bool) -> Result<Tools> {
    let wanted = CORE.iter().chain(if full { FULL } else { &[] });
    let missing: Vec<&Tool> = wanted.filter(|tool| !shell::has(tool.program)).collect();
    if !missing.is_empty() {
        let mut packages: Vec<&str> = missing.iter().map(|t| t.package).collect();
        packages.dedup();
        if install && shell::has("apt-get") {
            apt_install(&packages)?;
        } else {
            let what: Vec<String> =
                missing.iter().map(|t| format!("  {} ({})", t.program, t.what_for)).collect();
            return Err(Failure::new(format!(
                "these programs are missing:\n{}\nInstall them with\n  sudo apt-get install -y {}\n\
                 or run the portable part only: cargo xtask test --core",
                what.join("\n"),
                packages.join(" ")
            )));
        }
    }
    Ok(Tools { python: if full { Some(python_with_varlink(install)?) } else { None } })
}

/// Installs packages on Debian.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    let sudo = !shell::is_root();
    let apt = |args: &[&str]| {
        let mut command = Command::new(if sudo { "sudo" } else { "apt-get" });
        if sudo {
            command.arg("apt-get");
        }
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        shell::run(&mut command)
    };
    apt(&["update", "-q"])?;
    apt(&[&["install", "-y", "-q", "--no-install-recommends"], packages].concat())
}

fn python_with_varlink(install: bool) -> Result<PathBuf> {
    let venv = shell::target_dir()?.join("venv");
    let python = venv.join("bin/python3");
    let works = |python: &PathBuf| {
        Command::new(python)
            .args(["-c", "import varlink"])
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if works(&python) {
        return Ok(python);
    }
    let make = format!("python3 -m venv {} && {} -m pip install varlink", venv.display(), python.display());
    if !install {
        return Err(Failure::new(format!(
            "Python's `varlink` package is missing. Install it with\n  {make}\n\
             or run the portable part only: cargo xtask test --core"
        )));
    }
    if shell::run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).is_err() {
        apt_install(&["python3-venv"])?;
        shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    }
    shell::run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "varlink"]))?;
    if works(&python) {
        return Ok(python);
    }
    Err(Failure::new(format!("`{make}` ran, but Python cannot import varlink")))
}
