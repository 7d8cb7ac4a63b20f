//! Where the programs under test are: in the folder that `cargo xtask test` names, else beside the test program, where
//! cargo puts what the whole workspace builds.

use std::path::{Path, PathBuf};

/// How to build what is missing.
const HOW: &str = "cargo build -p claviger-server -p claviger-daemon -p claviger-cli \
                   --features claviger-server/fault-points,claviger-daemon/fault-points && \
                   cargo build -p claviger-desktop";

/// The path of a program under test.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let folder = std::env::var_os("CLAVIGER_TEST_PROGRAMS").map_or_else(beside_us, PathBuf::from);
    let path = folder.join(crate::platform::file_name(name));
    assert!(
        path.is_file(),
        "{} is not there: build it with\n  {HOW}\nor run `cargo xtask test`",
        path.display()
    );
    path
}

/// `target/debug`, from `target/debug/deps/test-0123`.
fn beside_us() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let deps = me.parent().unwrap();
    if deps.ends_with("deps") { deps.parent().unwrap().to_owned() } else { deps.to_owned() }
}

/// The named points at which a program built for tests can be killed.
#[must_use]
pub fn fault_points(name: &str) -> Vec<String> {
    let done = crate::platform::command(&path(name)).arg("--list-fault-points").output().unwrap();
    let listed = String::from_utf8_lossy(&done.stdout);
    let points: Vec<String> =
        listed.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    assert!(
        done.status.success() && !points.is_empty(),
        "{name} was built without fault points: build it with\n  {HOW}\nor run `cargo xtask test`"
    );
    points
}

/// Copies a program to where any user may run it.
#[must_use]
pub fn copy_for_everyone(name: &str, folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let copy = folder.join(name);
    std::fs::copy(path(name), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy
}
