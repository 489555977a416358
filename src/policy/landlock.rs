//! Profile × mounts × ABI → one Landlock domain.
//!
//! Every right that the kernel and the landlock crate know is handled: a right that is not handled
//! is allowed. Rules are paths; init resolves them inside the container, leaves directory-only
//! rights off files, and turns `except` into rules for the siblings.

use std::collections::{BTreeMap, BTreeSet};

use landlock::{ABI, Access, AccessFs, AccessNet, BitFlags, Scope as Bits};
use oci_spec::runtime::Spec;

use super::mounts::{Kind, Place, beneath};
use crate::profile::{Device, FileEntry, Files, Place as Where, Profile, Scope, Symbol};
use crate::seal::{Layer, PathRule, PortRule};

/// Device files that programs expect and that give nothing away, beside `/dev/pts`.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/console",
    // The multiplexer /dev/ptmx is a link into it.
    "/dev/pts",
];

/// Never part of `@image`: /dev and /sys are not the image's, and rules below /proc vanish.
const NOT_IMAGE: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Builds one profile's domain, or none on a kernel without Landlock, and says what this ABI cannot
/// enforce of what the profile asks for.
#[must_use]
pub fn plan(
    profile: &Profile,
    spec: &Spec,
    mounts: &[Place],
    abi: u32,
) -> (Option<Layer>, Vec<String>) {
    let mut lacks = super::controls::lacking(profile, abi);
    if abi == 0 {
        return (None, lacks);
    }
    let known = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
    let mut layer = match &profile.files {
        Some(files) => {
            let scene = Scene {
                files,
                spec,
                mounts,
                handled: AccessFs::from_all(known),
                devices: profile.devices.as_deref(),
            };
            let (rules, more) = scene.rules();
            lacks.extend(more);
            Layer {
                handled_fs: scene.handled.bits(),
                paths: rules,
                ..Layer::default()
            }
        }
        None => anchor(known),
    };
    network(profile, known, &mut layer);
    let scopes = Bits::from_all(known);
    for scope in &profile.scope {
        layer.scoped |= (scope_bit(*scope) & scopes).bits();
    }
    (Some(layer), lacks)
}

/// The rules that grant execution, whatever the kernel can do; none where files are unrestricted.
#[must_use]
pub fn runnable(profile: &Profile, spec: &Spec, mounts: &[Place]) -> Option<Vec<PathRule>> {
    let scene = Scene {
        files: profile.files.as_ref()?,
        spec,
        mounts,
        handled: AccessFs::Execute.into(),
        devices: profile.devices.as_deref(),
    };
    Some(scene.rules().0)
}

/// The anchor alone, for a container whose layers all only look.
#[must_use]
pub fn shield(abi: u32) -> Option<Layer> {
    let known = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
    (abi > 0).then(|| anchor(known))
}

/// One entry of a profile's file lists, and a rule that it became in this container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The list's key below `files`.
    pub list: &'static str,
    /// As written.
    pub entry: FileEntry,
    /// What it grants here.
    pub rule: PathRule,
}

/// The rules of [`plan`] before those with one target become one, each with the entry that it comes
/// from; none where files are unrestricted or the kernel has no Landlock.
#[must_use]
pub fn sources(profile: &Profile, spec: &Spec, mounts: &[Place], abi: u32) -> Vec<Source> {
    let Some(files) = profile.files.as_ref().filter(|_| abi > 0) else {
        return Vec::new();
    };
    let scene = Scene {
        files,
        spec,
        mounts,
        handled: AccessFs::from_all(ABI::from(i32::try_from(abi).unwrap_or(i32::MAX))),
        devices: profile.devices.as_deref(),
    };
    scene.sources()
}

/// The smallest domain there is (DESIGN §5): one right and REFER, both allowed everywhere. It keeps
/// processes of the container from reaching into init.
fn anchor(abi: ABI) -> Layer {
    let rights = (AccessFs::Execute | AccessFs::Refer) & AccessFs::from_all(abi);
    let rule = PathRule {
        path: b"/".to_vec(),
        access: rights.bits(),
        except: Vec::new(),
        optional: false,
        follow: false,
        within_mount: false,
    };
    Layer {
        handled_fs: rights.bits(),
        paths: vec![rule],
        ..Layer::default()
    }
}

fn network(profile: &Profile, abi: ABI, layer: &mut Layer) {
    let Some(network) = &profile.network else {
        return;
    };
    let known = AccessNet::from_all(abi);
    let mut ports: BTreeMap<u16, u64> = BTreeMap::new();
    for (list, right) in [
        (&network.bind_tcp, AccessNet::BindTcp),
        (&network.connect_tcp, AccessNet::ConnectTcp),
    ] {
        let Some(list) = list.as_ref().filter(|_| known.contains(right)) else {
            continue;
        };
        let bit = BitFlags::from(right).bits();
        layer.handled_net |= bit;
        for port in list {
            *ports.entry(*port).or_default() |= bit;
        }
    }
    layer.ports = ports
        .into_iter()
        .map(|(port, access)| PortRule { port, access })
        .collect();
}

fn scope_bit(scope: Scope) -> BitFlags<Bits> {
    match scope {
        Scope::Signal => Bits::Signal.into(),
        Scope::AbstractUnixSocket => Bits::AbstractUnixSocket.into(),
    }
}

struct Scene<'a> {
    files: &'a Files,
    spec: &'a Spec,
    mounts: &'a [Place],
    handled: BitFlags<AccessFs>,
    /// What the profile leaves of the pod's devices; none: all.
    devices: Option<&'a [Device]>,
}

/// A rule without its access, so that lists with the same path become one rule.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    path: String,
    except: Vec<String>,
    optional: bool,
    follow: bool,
    within_mount: bool,
}

impl Target {
    fn rule(self, access: BitFlags<AccessFs>) -> PathRule {
        PathRule {
            path: self.path.into_bytes(),
            access: access.bits(),
            except: self.except.into_iter().map(String::into_bytes).collect(),
            optional: self.optional,
            follow: self.follow,
            within_mount: self.within_mount,
        }
    }
}

impl Scene<'_> {
    fn rules(&self) -> (Vec<PathRule>, Vec<String>) {
        let mut rules: BTreeMap<Target, BitFlags<AccessFs>> = BTreeMap::new();
        let mut notes = Vec::new();
        for (_, entries, access) in lists(self.files) {
            for entry in entries {
                for (target, access) in self.targets(entry, access, &mut notes) {
                    *rules.entry(target).or_default() |= access & self.handled;
                }
            }
        }
        let rules = rules
            .into_iter()
            .filter(|(_, access)| !access.is_empty())
            .map(|(target, access)| target.rule(access))
            .collect();
        (rules, notes)
    }

    /// The same before rules of one target become one: each with what it was written as.
    fn sources(&self) -> Vec<Source> {
        let mut notes = Vec::new();
        let mut sources = Vec::new();
        for (list, entries, access) in lists(self.files) {
            for entry in entries {
                let targets = self.targets(entry, access & self.handled, &mut notes);
                let granting = targets.into_iter().filter(|(_, access)| !access.is_empty());
                sources.extend(granting.map(|(target, access)| Source {
                    list,
                    entry: entry.clone(),
                    rule: target.rule(access),
                }));
            }
        }
        sources
    }

    /// Where `entry` leads, each place with its part of `access`.
    fn targets(
        &self,
        entry: &FileEntry,
        access: BitFlags<AccessFs>,
        notes: &mut Vec<String>,
    ) -> Vec<(Target, BitFlags<AccessFs>)> {
        let plain = |path: &str, optional| {
            let target = self.target(path, Vec::new(), entry.optional || optional, entry.follow)?;
            Some((target, access))
        };
        match &entry.place {
            Where::Path(path) => plain(path, false).into_iter().collect(),
            // A mount that config.json lists exists by the time init runs.
            Where::Symbol(Symbol::Volumes) => self
                .writable(Kind::Volume)
                .filter_map(|path| plain(path, false))
                .collect(),
            Where::Symbol(Symbol::Tmpfs) => self
                .writable(Kind::Tmpfs)
                .filter_map(|path| plain(path, false))
                .collect(),
            Where::Symbol(Symbol::Devices) => self
                .devices()
                .iter()
                .filter_map(|path| plain(path, true))
                .collect(),
            Where::Symbol(Symbol::Image) => self.image(entry, access, notes),
        }
    }

    /// `@image`. Its programs are those of the image's own filesystem: a mount is known by the
    /// kernel's list alone, since config.json may name it by a link that leads elsewhere by now,
    /// and a volume that is read-only here may be writable by another mount of the same inodes.
    fn image(
        &self,
        entry: &FileEntry,
        access: BitFlags<AccessFs>,
        notes: &mut Vec<String>,
    ) -> Vec<(Target, BitFlags<AccessFs>)> {
        let granted = self.granted();
        if granted.contains("/") {
            notes.push("@image is empty: the profile makes / itself writable".into());
            return Vec::new();
        }
        let out = |more: BTreeSet<String>| {
            let out = NOT_IMAGE.into_iter().map(str::to_owned);
            out.chain(more).chain(granted.clone()).collect()
        };
        let execute = access & AccessFs::Execute;
        let others = access & !execute;
        let place = |out| self.target("/", out, entry.optional, entry.follow);
        let programs = place(out(BTreeSet::new())).map(|target| Target {
            within_mount: true,
            ..target
        });
        [(programs, execute), (place(out(self.mounted())), others)]
            .into_iter()
            .filter(|(_, access)| !access.is_empty())
            .filter_map(|(target, access)| Some((target?, access)))
            .collect()
    }

    /// Adds the profile's own exceptions; none where the whole path is excepted. All of them: which lie in it
    /// is init's to find, since links may lead there by another name.
    fn target(
        &self,
        path: &str,
        mut except: Vec<String>,
        optional: bool,
        follow: bool,
    ) -> Option<Target> {
        let own = || self.files.except.iter().map(|path| &path.path);
        if own().any(|out| beneath(path, out)) {
            return None;
        }
        except.extend(own().cloned());
        except.sort();
        // Sorted, a directory comes before what lies in it, though not always next to it.
        let mut kept: Vec<String> = Vec::new();
        for out in except {
            if !kept.iter().any(|top| beneath(&out, top)) {
                kept.push(out);
            }
        }
        Some(Target {
            path: path.into(),
            except: kept,
            optional,
            follow,
            within_mount: false,
        })
    }

    fn writable(&self, kind: Kind) -> impl Iterator<Item = &str> {
        let wanted = move |mount: &&Place| mount.kind == kind && mount.writable;
        let paths: BTreeSet<&str> = self
            .mounts
            .iter()
            .filter(wanted)
            .map(|mount| mount.destination.as_str())
            .collect();
        paths.into_iter()
    }

    fn devices(&self) -> BTreeSet<String> {
        // A privileged container's list is the host's whole /dev, disks among it: nothing that the
        // pod chose, and nothing that "devices" in a profile can mean.
        let chosen = super::admission::privileged(self.spec).is_none();
        let linux = self.spec.linux().as_ref().filter(|_| chosen);
        let own = linux
            .and_then(|linux| linux.devices().as_ref())
            .into_iter()
            .flatten();
        let own = own.filter(|device| {
            self.devices
                .is_none_or(|listed| super::devices::is_kept(device, listed))
        });
        let own = own.filter_map(|device| super::mounts::normal(device.path()).ok());
        // Nothing of the pod's may turn "a device" into a rule for some other tree. Engines list
        // the host's multiplexer for privileged containers, where the runtimes put their own link.
        let own = own.filter(|path| beneath(path, "/dev") && path != "/dev");
        let own = own.filter(|path| path != "/dev/ptmx");
        DEVICES
            .iter()
            .map(|path| (*path).to_owned())
            .chain(own)
            .collect()
    }

    /// Paths that the profile makes writable.
    fn granted(&self) -> BTreeSet<String> {
        let granted = [&self.files.read_write, &self.files.read_write_execute]
            .into_iter()
            .flatten();
        let granted = granted.filter_map(|entry| match &entry.place {
            Where::Path(path) => Some(path.clone()),
            Where::Symbol(_) => None,
        });
        granted.collect()
    }

    /// Writable mounts of the pod's.
    fn mounted(&self) -> BTreeSet<String> {
        [Kind::Volume, Kind::Tmpfs]
            .into_iter()
            .flat_map(|kind| self.writable(kind))
            .map(str::to_owned)
            .collect()
    }
}

/// The profile's lists with the rights they stand for.
fn lists(files: &Files) -> [(&'static str, &Vec<FileEntry>, BitFlags<AccessFs>); 7] {
    let [read, read_execute, write, all, execute, ioctl, make] = rights();
    [
        (read.0, &files.read, read.1),
        (read_execute.0, &files.read_execute, read_execute.1),
        (write.0, &files.read_write, write.1),
        (all.0, &files.read_write_execute, all.1),
        (execute.0, &files.execute, execute.1),
        (ioctl.0, &files.device_ioctl, ioctl.1),
        (make.0, &files.make_device, make.1),
    ]
}

/// What each list of `files` stands for. Reading includes connecting to a socket (RESOLVE_UNIX, ABI 9), as it
/// did before the kernel had a right for it.
#[must_use]
pub fn rights() -> [(&'static str, BitFlags<AccessFs>); 7] {
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::ResolveUnix;
    let write = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::MakeFifo
        | AccessFs::MakeSym
        | AccessFs::Refer;
    [
        ("read", read),
        ("read_execute", read | AccessFs::Execute),
        ("read_write", read | write),
        ("read_write_execute", read | write | AccessFs::Execute),
        ("execute", AccessFs::Execute.into()),
        ("device_ioctl", AccessFs::IoctlDev.into()),
        ("make_device", AccessFs::MakeChar | AccessFs::MakeBlock),
    ]
}
