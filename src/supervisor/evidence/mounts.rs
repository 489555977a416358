//! Who serves a file: whether the kernel alone can read it, or has to ask somebody, who may be frozen
//! with the container or never answer.

use std::collections::BTreeMap;
use std::path::Path;

use crate::oci::mountinfo::{self, Mount};
use crate::sys::statx::Stat;

/// Served by a process: perhaps by one of this very container.
const BY_A_PROCESS: [&str; 3] = ["fuse", "fuseblk", "virtiofs"];
/// Served by another machine. The kernel asks it when a link of /proc/PID is followed.
const BY_A_MACHINE: [&str; 9] = [
    "9p", "afs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "smb3",
];

/// The mounts of one mount namespace, as far as its processes see them: one that has called chroot(2)
/// sees few.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    by_id: BTreeMap<u64, Mount>,
    /// Device of what lies at `/`.
    root: Option<String>,
    /// Lines of the largest table, whose mount points count.
    most: usize,
}

/// What this process knows of file systems by itself.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Type by device, of its own mounts: engines made them.
    mounted: BTreeMap<String, String>,
    /// Device of the kernel's own file system in memory, where memfds are.
    memory: Option<(u32, u32)>,
}

impl Known {
    /// From its own mountinfo, and a memfd of its own.
    pub(super) fn new(mountinfo: &[u8], memfd: Option<&Stat>) -> Known {
        let mounts = parse(mountinfo).into_iter();
        Known {
            mounted: mounts.map(|mount| (mount.device, mount.fstype)).collect(),
            memory: memfd.map(|stat| stat.device),
        }
    }

    /// Whether it is memory that never had a name.
    pub(super) fn is_memfd(&self, stat: &Stat) -> bool {
        self.memory == Some(stat.device)
    }

    /// Why the file is not opened, where it is not.
    pub(super) fn unread(&self, mounts: &Mounts, stat: &Stat) -> Option<&'static str> {
        if self.is_memfd(stat) {
            return None;
        }
        let (major, minor) = stat.device;
        let own = format!("{major}:{minor}");
        // A mount that nobody sees any more, of a file system that is also mounted elsewhere.
        let (device, kind) = match mounts.of(stat) {
            Some(mount) => (&mount.device, &mount.fstype),
            None => match self.mounted.get(&own).or_else(|| mounts.kind(&own)) {
                Some(kind) => (&own, kind),
                None => return Some("nobody knows who serves its file system"),
            },
        };
        let kind = kind.split_once('.').map_or(kind.as_str(), |(kind, _)| kind);
        if BY_A_PROCESS.contains(&kind) {
            return Some("a process serves its file system and may never answer");
        }
        // What an engine put together is at `/`, or known here; another overlay may be made of
        // anything.
        let engines = mounts.root.as_ref() == Some(device) || self.mounted.contains_key(device);
        (kind == "overlay" && !engines)
            .then_some("it lies in an overlay that no engine has mounted")
    }
}

impl Mounts {
    /// Adds what one process's mountinfo shows; whether that could be understood.
    pub(super) fn add(&mut self, mountinfo: &[u8]) -> bool {
        let found = parse(mountinfo);
        let understood = !found.is_empty() || mountinfo.is_empty();
        let larger = found.len() > self.most;
        if larger {
            self.most = found.len();
            let root = found.iter().rfind(|mount| is_root(mount));
            self.root = root.map(|mount| mount.device.clone());
        }
        for mount in found {
            if larger {
                self.by_id.insert(mount.id, mount);
            } else {
                self.by_id.entry(mount.id).or_insert(mount);
            }
        }
        understood
    }

    /// The mount that a file was found through.
    pub(super) fn of(&self, stat: &Stat) -> Option<&Mount> {
        self.by_id.get(&stat.mount?)
    }

    fn kind(&self, device: &str) -> Option<&String> {
        let mut mounts = self.by_id.values();
        let found = mounts.find(|mount| mount.device == device)?;
        Some(&found.fstype)
    }

    /// Whether to look at a file of mount `id` may mean to wait for another machine. True of what is
    /// in none of these.
    pub(super) fn asks_a_machine(&self, id: u64) -> bool {
        let mount = self.by_id.get(&id);
        mount.is_none_or(|mount| BY_A_MACHINE.contains(&mount.fstype.as_str()))
    }

    /// Whether the container can have put the file there: its mount is not the one at `/`, which also
    /// holds what the image shipped, and not read-only.
    pub(super) fn is_writable(&self, stat: &Stat) -> bool {
        let mount = self.of(stat);
        mount.is_some_and(|mount| !mount.read_only && !is_root(mount))
    }
}

fn is_root(mount: &Mount) -> bool {
    mount.point == Path::new("/")
}

/// Every line but a last one that was cut; none where one has another form.
fn parse(text: &[u8]) -> Vec<Mount> {
    let text = String::from_utf8_lossy(text);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    mountinfo::read(whole).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const TABLE: &[u8] = b"\
21 1 0:50 / / rw - overlay overlay rw
22 21 8:2 / /data rw - ext4 /dev/sdb rw
23 21 8:2 / /config ro - ext4 /dev/sdb rw
24 21 0:60 / /fuse rw - fuse.sshfs x rw
25 21 0:61 / /nfs rw - nfs4 x rw
26 21 0:62 / /merged rw - overlay overlay rw
27 21 0:50 /a /bound rw - overlay overlay rw
28 21 0:64 / /volume ro - overlay overlay rw
29 21 0:63 / /cu";
    const OWN: &[u8] = b"7 1 8:3 / / rw - ext4 x rw\n8 7 0:64 / /run/x rw - overlay overlay rw\n";

    fn file(mount: u64, device: (u32, u32)) -> Stat {
        Stat {
            mode: libc::S_IFREG,
            links: 1,
            uid: 0,
            device,
            inode: 1,
            size: 1,
            changed: UNIX_EPOCH,
            mount: Some(mount),
        }
    }

    fn tables() -> (Known, Mounts) {
        let mut mounts = Mounts::default();
        assert!(mounts.add(TABLE));
        (Known::new(OWN, Some(&file(99, (0, 1)))), mounts)
    }

    #[test]
    fn only_what_the_kernel_can_answer_for_is_read() {
        let (known, mounts) = tables();
        let read = |id, device| known.unread(&mounts, &file(id, device)).is_none();
        for id in [21, 22, 23, 25, 27, 28] {
            assert!(read(id, (9, 9)), "{id}");
        }
        for id in [24, 26, 29] {
            assert!(!read(id, (9, 9)), "{id}");
        }
        // In no mount that anybody sees: by the device.
        assert!(read(90, (0, 50)) && read(90, (8, 3)) && read(90, (0, 1)));
        assert!(!read(90, (0, 60)) && !read(90, (0, 62)) && !read(90, (0, 99)));
        assert!(mounts.asks_a_machine(25) && mounts.asks_a_machine(90));
        assert!(!mounts.asks_a_machine(24) && !mounts.asks_a_machine(21));
    }

    #[test]
    fn the_images_own_mount_does_not_count_as_writable() {
        let (_, mounts) = tables();
        let writable = |id| mounts.is_writable(&file(id, (8, 2)));
        assert!(!writable(21) && !writable(23) && !writable(90));
        assert!(writable(22) && writable(27));
    }

    #[test]
    fn a_process_in_a_chroot_hides_nothing_of_the_others() {
        let (_, mut mounts) = tables();
        // It sees /data as its root.
        assert!(mounts.add(b"22 21 8:2 / / rw - ext4 /dev/sdb rw\n"));
        assert!(mounts.is_writable(&file(22, (8, 2))));
        let mut late = Mounts::default();
        assert!(late.add(b"22 21 8:2 / / rw - ext4 /dev/sdb rw\n"));
        assert!(!late.is_writable(&file(22, (8, 2))));
        assert!(late.add(TABLE));
        assert!(late.is_writable(&file(22, (8, 2))));
        assert_eq!(late.root.as_deref(), Some("0:50"));
    }

    #[test]
    fn what_is_no_table_adds_nothing() {
        let mut mounts = Mounts::default();
        assert!(mounts.add(b""));
        assert!(!mounts.add(b"\xff\nx\n"));
        assert!(mounts.by_id.is_empty());
    }
}
