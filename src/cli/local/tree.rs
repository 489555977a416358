//! The root filesystem of a run: a layer in memory over this machine's tree, a folder, or a bundle's.
//!
//! An overlay, as engines make one over an image: the program may write wherever it could in a container, and
//! none of it reaches what lies beneath. It is mounted in a mount namespace that this process makes for
//! itself, so the machine does not see it and it cannot outlive the run.
//!
//! Of this machine's tree, /proc, /sys, /dev, /run and /tmp are not shown: a container has its own. Other
//! file systems that lie on disks or in memory (a /home of its own) get a layer each; network and virtual
//! ones are left out, and so are the folders of engines.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::place::Place;
use super::{LocalError, Tree};
use crate::oci::document::{Document, Kind};
use crate::oci::mountinfo;

/// What a container has of its own.
pub const OWN: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/// Where engines keep other containers' trees.
const ENGINES: [&str; 5] = [
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
    "/var/lib/rancher",
];

/// Types of file systems that are shown, each in a layer of its own.
const SHOWN: [&str; 12] = [
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "squashfs", "tmpfs",
    "xfs", "zfs",
];

/// What was laid.
#[derive(Debug)]
pub struct Root {
    /// The root filesystem.
    pub path: PathBuf,
    /// config.json of the bundle, where it was one.
    pub spec: Option<Document>,
}

/// Enters a mount namespace and lays the tree in it.
///
/// # Errors
/// There is no such tree, or the kernel refuses.
pub fn lay(place: &Place, tree: &Tree) -> Result<Root, LocalError> {
    let (lower, spec) = lower(tree)?;
    let more = match tree {
        Tree::Machine => shown()?,
        Tree::Folder(_) | Tree::Bundle(_) => Vec::new(),
    };
    let top = place.tree();
    enter(&top)?;
    let path = top.join("root");
    overlay(&top, 0, &lower, &path)?;
    for (number, point) in (1..).zip(&more) {
        let target = path.join(point.strip_prefix("/").unwrap_or(point));
        // Seen as the folder that it is mounted on, where it takes no layer.
        let _ = overlay(&top, number, point, &target);
    }
    Ok(Root { path, spec })
}

/// The folder that lies beneath, absolute and without links.
fn lower(tree: &Tree) -> Result<(PathBuf, Option<Document>), LocalError> {
    let folder = |path: &Path| {
        let found = fs::canonicalize(path);
        let found = found.and_then(|found| match found.is_dir() {
            true => Ok(found),
            false => Err(io::ErrorKind::NotADirectory.into()),
        });
        found.map_err(|cause| LocalError::NoTree {
            path: path.to_owned(),
            cause,
        })
    };
    match tree {
        Tree::Machine => Ok(("/".into(), None)),
        Tree::Folder(path) => Ok((folder(path)?, None)),
        Tree::Bundle(path) => {
            let bundle = folder(path)?;
            let wrong = |cause: String| LocalError::Bundle { cause };
            let document = Document::load(&bundle.join("config.json"), Kind::Config)
                .map_err(|error| wrong(error.to_string()))?;
            let root = document.value().pointer("/root/path");
            let root = root.and_then(|root| root.as_str()).ok_or_else(|| {
                wrong(format!("{}/config.json has no root.path", bundle.display()))
            })?;
            Ok((folder(&bundle.join(root))?, Some(document)))
        }
    }
}

/// Mount points of this machine that are shown, outer ones first.
fn shown() -> Result<Vec<PathBuf>, LocalError> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(LocalError::system("read", table))?;
    let mounts = mountinfo::read(&text).map_err(|line| LocalError::System {
        operation: "understand",
        object: format!("line {line} of {}", table.display()),
        cause: io::ErrorKind::InvalidData.into(),
    })?;
    Ok(shown_of(&mounts))
}

fn shown_of(mounts: &[mountinfo::Mount]) -> Vec<PathBuf> {
    let hidden = |point: &Path| {
        let mut tops = OWN.iter().chain(&ENGINES);
        point == Path::new("/") || tops.any(|top| point.starts_with(top))
    };
    let wanted = mounts
        .iter()
        .filter(|mount| !hidden(&mount.point) && SHOWN.contains(&mount.fstype.as_str()));
    let mut points: Vec<PathBuf> = wanted.map(|mount| mount.point.clone()).collect();
    points.sort();
    points.dedup();
    points
}

/// A mount namespace of this process's own, out of which nothing spreads, with memory at `top`.
fn enter(top: &Path) -> Result<(), LocalError> {
    let failed = |operation, object: &str, errno: Errno| LocalError::System {
        operation,
        object: object.to_owned(),
        cause: errno.into(),
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| failed("make", "a mount namespace", errno))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| failed("make private", "the mounts of this process", errno))?;
    mount(
        Some("mantlet"),
        top,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )
    .map_err(|errno| failed("mount", &top.display().to_string(), errno))
}

/// A layer in memory over `lower`, at `target`. A file is shown as it is, read-only.
fn overlay(top: &Path, number: usize, lower: &Path, target: &Path) -> Result<(), LocalError> {
    let fail = |cause: io::Error| LocalError::Overlay {
        path: lower.to_owned(),
        cause,
    };
    let meta = fs::metadata(lower).map_err(fail)?;
    if !meta.is_dir() {
        return show(lower, target).map_err(|errno| fail(errno.into()));
    }
    let part = |name: &str| top.join(format!("{name}-{number}"));
    let (upper, work) = (part("upper"), part("work"));
    let folder = |path: &Path| DirBuilder::new().mode(0o755).recursive(true).create(path);
    for path in [&upper, &work] {
        folder(path).map_err(fail)?;
    }
    // The top folder of an overlay is as its upper one is.
    std::os::unix::fs::chown(&upper, Some(meta.uid()), Some(meta.gid())).map_err(fail)?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(meta.mode() & 0o7777)).map_err(fail)?;
    folder(target).map_err(fail)?;
    let option = |name: &str, path: &Path| {
        let mut option = name.to_owned();
        for c in path.to_string_lossy().chars() {
            if matches!(c, ':' | ',' | '\\') {
                option.push('\\');
            }
            option.push(c);
        }
        option
    };
    let options = [
        option("lowerdir=", lower),
        option("upperdir=", &upper),
        option("workdir=", &work),
    ];
    let options = options.join(",");
    mount(
        Some("mantlet"),
        target,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .map_err(|errno| fail(errno.into()))
}

/// `lower` itself at `target`, read-only.
fn show(lower: &Path, target: &Path) -> Result<(), Errno> {
    let none: Option<&str> = None;
    mount(Some(lower), target, none, MsFlags::MS_BIND, none)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, target, none, flags, none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_shown_and_engines_and_what_containers_have_of_their_own_are_not() {
        let text = "22 27 0:21 / /proc rw - proc proc rw\n\
            25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw\n\
            27 1 254:0 / / rw - ext4 /dev/vda rw\n\
            31 27 254:1 / /home rw - xfs /dev/vdb rw\n\
            30 27 254:2 / /home/a/disk rw - btrfs /dev/vdc rw\n\
            32 27 0:40 / /mnt/far rw - nfs4 far:/x rw\n\
            33 27 0:41 / /var/lib/docker/x rw - tmpfs tmpfs rw\n\
            34 27 0:42 / /temporary rw - tmpfs tmpfs rw\n";
        let found = shown_of(&mountinfo::read(text).unwrap());
        assert_eq!(
            found,
            ["/home", "/home/a/disk", "/temporary"].map(PathBuf::from)
        );
    }
}
