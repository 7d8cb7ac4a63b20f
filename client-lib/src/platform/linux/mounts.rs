//! Tells a local disk from one that may hang, without touching the disk in question.
//!
//! A read that hangs in a stalled network or user-space file system cannot be interrupted, and neither `O_NONBLOCK` nor
//! `statfs` helps: both ask the file system. So the path of a store is walked down component by component, following
//! links, with `statx(AT_STATX_DONT_SYNC)`, which answers from what the kernel knows and says where a mount begins. Only
//! there the mount table is asked what it is: reading `/proc/self/mountinfo` costs about a hundred microseconds in a fresh
//! process, a step of the walk less than one. The file system of `/` is taken as it is: the program runs from it.

use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::super::Locality;

/// File systems of the kernel that keep their data on this computer.
const LOCAL: &[&str] = &[
    "bcachefs", "btrfs", "devtmpfs", "ecryptfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660",
    "jfs", "msdos", "nilfs2", "ntfs", "ntfs3", "overlay", "ramfs", "reiserfs", "rootfs", "squashfs", "tmpfs",
    "udf", "vfat", "xfs", "zfs",
];

/// Most links that are followed on the way to a store, as in the kernel.
const MAX_LINKS: usize = 40;

/// Whether reading below `path` may hang. Where that cannot be told: yes.
pub(crate) fn locality(path: &Path) -> Locality {
    let table = || super::files::read_table(Path::new("/proc/self/mountinfo"), 4 * 1024 * 1024).ok();
    walk(path, &|| table().map(|table| Mounts::parse(&table)), false).unwrap_or(Locality::MayHang)
}

/// Mount points and whether they are local, in the order of mounting: a later one covers an earlier one.
struct Mounts(Vec<(PathBuf, Locality)>);

impl Mounts {
    /// Reads the lines of `/proc/self/mountinfo` (proc(5)): field 5 is the mount point, the one behind ` - ` the type.
    fn parse(table: &[u8]) -> Self {
        Self(
            table
                .split(|b| *b == b'\n')
                .filter_map(|line| {
                    let mut fields = line.split(|b| *b == b' ');
                    let point = unescape(fields.nth(4)?);
                    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
                    let local = LOCAL.iter().any(|name| name.as_bytes() == kind);
                    Some((point, if local { Locality::Local } else { Locality::MayHang }))
                })
                .collect(),
        )
    }

    /// The file system that `path`, which has no links in it, is on.
    fn of(&self, path: &Path) -> Locality {
        let mut best: Option<(usize, Locality)> = None;
        for (point, locality) in &self.0 {
            let length = point.as_os_str().len();
            if path.starts_with(point) && best.is_none_or(|(longest, _)| length >= longest) {
                best = Some((length, *locality));
            }
        }
        best.map_or(Locality::MayHang, |(_, locality)| locality)
    }
}

/// The table writes space, tab, line feed and backslash as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\')
            .then(|| tail.get(..3).and_then(|d| std::str::from_utf8(d).ok()))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// Walks down `path`. `load` reads the mount table; it is asked for where a mount begins, or at `every_step`. `None` when
/// it cannot be read.
fn walk(path: &Path, load: &dyn Fn() -> Option<Mounts>, every_step: bool) -> Option<Locality> {
    let steps =
        |path: &Path| path.components().rev().map(|c| PathBuf::from(c.as_os_str())).collect::<Vec<_>>();
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let mut mounts: Option<Mounts> = None;
    let mut todo = steps(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = todo.pop() {
        match step.components().next() {
            Some(Component::RootDir) => {
                at = PathBuf::from("/");
                continue;
            }
            Some(Component::ParentDir) => {
                at.pop();
                continue;
            }
            Some(Component::Normal(_)) => {}
            _ => continue,
        }
        // `at` is on a local disk, so looking the next name up in it cannot hang; what it leads into may.
        let next = at.join(&step);
        let facts = match rustix::fs::statx(CWD, &next, flags, StatxFlags::TYPE) {
            Ok(facts) => facts,
            // A kernel or a sandbox without this call.
            Err(Errno::NOSYS | Errno::PERM) => return None,
            // Not there, or not for us: reading finds the same, at once.
            Err(_) => return Some(Locality::Local),
        };
        let mount = StatxAttributes::MOUNT_ROOT;
        let told = facts.stx_attributes_mask.contains(mount);
        if every_step || !told || facts.stx_attributes.contains(mount) {
            if mounts.is_none() {
                mounts = Some(load()?);
            }
            if mounts.as_ref().is_some_and(|mounts| mounts.of(&next) == Locality::MayHang) {
                return Some(Locality::MayHang);
            }
        }
        if !FileType::from_raw_mode(facts.stx_mode.into()).is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        let Ok(target) = rustix::fs::readlink(&next, Vec::new()) else { return Some(Locality::Local) };
        if links > MAX_LINKS {
            return Some(Locality::Local); // The kernel answers ELOOP at once.
        }
        todo.extend(steps(&PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()))));
    }
    Some(Locality::Local)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        30 21 0:40 / /home rw shared:2 master:1 - nfs4 host:/home rw\n\
        31 21 0:41 / /mnt/a\\040b rw - fuse.stall stall rw\n\
        32 31 0:42 / /mnt/a\\040b/in rw - tmpfs tmpfs rw\n";

    #[test]
    fn longest_and_latest_mount_point_decides() {
        let mounts = Mounts::parse(TABLE);
        assert_eq!(mounts.of(Path::new("/var/lib/x")), Locality::Local);
        assert_eq!(mounts.of(Path::new("/home/u")), Locality::MayHang);
        assert_eq!(mounts.of(Path::new("/homes")), Locality::Local);
        assert_eq!(mounts.of(Path::new("/mnt/a b/x")), Locality::MayHang);
        assert_eq!(mounts.of(Path::new("/mnt/a b/in/x")), Locality::Local);
    }

    #[test]
    fn a_link_into_a_slow_mount_is_seen_before_it_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/home/u", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
        let walk = |path: PathBuf| walk(&path, &|| Some(Mounts::parse(TABLE)), true);
        assert_eq!(walk(dir.path().join("link/certs")), Some(Locality::MayHang));
        assert_eq!(walk(dir.path().join("loop/certs")), Some(Locality::Local));
        assert_eq!(walk(dir.path().join("absent/certs")), Some(Locality::Local));
        assert_eq!(walk(dir.path().to_owned()), Some(Locality::Local));
    }

    #[test]
    fn this_machine_has_a_mount_table() {
        assert_eq!(locality(Path::new("/proc/self")), Locality::MayHang);
        assert_eq!(unescape(b"a\\134b\\9"), PathBuf::from("a\\b\\9"));
    }
}
