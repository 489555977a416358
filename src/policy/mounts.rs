//! The container's mounts as the policy sees them: destinations made normal, hostile ones refused,
//! and sorted into the engine's own, the pod's volumes, and tmpfs.

use std::path::{Component, Path};

use oci_spec::runtime::{Mount, Spec};

use super::refuse::Refusal;

/// What a mount is to the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bind or any filesystem that the pod asked for.
    Volume,
    /// tmpfs.
    Tmpfs,
    /// procfs, sysfs, cgroups, devpts, /dev itself, and the files about the host's name and
    /// resolver.
    Engine,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Destination, absolute and normal.
    pub destination: String,
    /// What it is.
    pub kind: Kind,
    /// Not mounted read-only.
    pub writable: bool,
}

impl Place {
    /// Whether files of anybody's lie there: binds and what the pod mounts, the files that engines bind
    /// included, since a pod may mount a volume there. Not /dev, whose devices are mapped (/dev/zero), and
    /// not the kernel's own filesystems.
    #[must_use]
    pub fn holds_files(&self) -> bool {
        self.kind != Kind::Engine || ENGINE_FILES.contains(&self.destination.as_str())
    }
}

/// Files that every engine mounts so that the pod's name and resolver are right. Writable to the
/// container, yet no volume.
const ENGINE_FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
const ENGINE_TYPES: [&str; 6] = ["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2"];

/// Reads the mounts of `spec`.
///
/// # Errors
///
/// A destination that is relative, climbs with `..`, or covers the whole root.
pub fn read(spec: &Spec) -> Result<Vec<Place>, Refusal> {
    spec.mounts().iter().flatten().map(place).collect()
}

fn place(mount: &Mount) -> Result<Place, Refusal> {
    let destination = normal(mount.destination())?;
    let bind = is_bind(mount);
    let typ = mount.typ().as_deref().unwrap_or_default();
    let kind = if ENGINE_FILES.contains(&destination.as_str())
        || destination == "/dev"
        || beneath(&destination, "/proc")
        || beneath(&destination, "/sys")
        || (!bind && is_kernels(mount))
    {
        Kind::Engine
    } else if !bind && typ == "tmpfs" {
        Kind::Tmpfs
    } else {
        Kind::Volume
    };
    Ok(Place {
        destination,
        kind,
        writable: is_writable(mount),
    })
}

/// Whether it is a bind mount, whatever its type says: runtimes go by the option.
#[must_use]
pub fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind")
        || mount
            .options()
            .iter()
            .flatten()
            .any(|option| option == "bind" || option == "rbind")
}

/// Whether its type is one of the kernel's own filesystems, which hold no program of anybody's.
#[must_use]
pub fn is_kernels(mount: &Mount) -> bool {
    let typ = mount.typ().as_deref().unwrap_or_default();
    ENGINE_TYPES.contains(&typ)
}

fn is_writable(mount: &Mount) -> bool {
    // The last word counts, as with mount(8). `rro` is recursive `ro`.
    let last = mount
        .options()
        .iter()
        .flatten()
        .rfind(|o| matches!(o.as_str(), "ro" | "rw" | "rro" | "rrw"));
    !matches!(last.map(String::as_str), Some("ro" | "rro"))
}

/// Whether `path` is `top` or lies beneath it; both normal.
#[must_use]
pub fn beneath(path: &str, top: &str) -> bool {
    top == "/"
        || path
            .strip_prefix(top)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A destination without doubled slashes, `.` and trailing slashes.
///
/// # Errors
///
/// [`Refusal::Destination`]: the runtimes themselves resolve `..` and relative destinations, each
/// in its own way and after following the image's links, so what they reach cannot be known here.
pub fn normal(destination: &Path) -> Result<String, Refusal> {
    let hostile = |why| Refusal::Destination {
        destination: destination.display().to_string(),
        why,
    };
    if !destination.is_absolute() {
        return Err(hostile("is not absolute"));
    }
    let mut out = String::new();
    for component in destination.components() {
        match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => return Err(hostile("climbs with `..`")),
            Component::Normal(name) => {
                let name = name.to_str().ok_or_else(|| hostile("is not UTF-8"))?;
                if name.contains('\0') {
                    return Err(hostile("holds a NUL byte"));
                }
                out.push('/');
                out.push_str(name);
            }
        }
    }
    if out.is_empty() {
        return Err(hostile("covers the whole root filesystem"));
    }
    Ok(out)
}
