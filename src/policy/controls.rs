//! What each Landlock ABI adds, and what a profile promises of it.
//!
//! A right that the kernel does not know cannot be denied: whoever holds nothing else may still do
//! it. So each control that came after ABI 1 has a word of its own in `requires.degrade`, and a
//! profile whose words ask for it is refused on an older kernel unless it lists that word.

use super::refuse::Refusal;
use crate::profile::{Degrade, FileEntry, Files, Network, Place, Profile};

/// One control: everything that a later ABI can deny and an earlier one cannot.
struct Control {
    /// First ABI that has it (landlock(7)).
    least: u32,
    /// Its word in `requires.degrade`; none where the kernel without it denies more, or where a
    /// profile promises it only by `requires.landlock`.
    word: Option<(Degrade, &'static str)>,
    /// What a refusal says the profile restricts.
    what: &'static str,
    /// What a kernel without it does.
    lack: &'static str,
    /// Whether the profile's words ask for it.
    asked: fn(&Profile) -> bool,
}

const CONTROLS: [Control; 6] = [
    Control {
        least: 2,
        word: None,
        what: "moving files between directories",
        lack: "files cannot be moved between directories, whatever the profile allows",
        asked: |_| true,
    },
    Control {
        least: 3,
        word: Some((Degrade::Truncate, "truncate")),
        what: "truncate(2)",
        lack: "truncate(2) is not restricted",
        asked: |profile| {
            narrows(profile, |files| {
                [&files.read_write, &files.read_write_execute]
            })
        },
    },
    Control {
        least: 4,
        word: Some((Degrade::Network, "network")),
        what: "TCP ports",
        lack: "TCP ports are not restricted",
        asked: |profile| profile.network.as_ref().is_some_and(Network::restricts),
    },
    Control {
        least: 5,
        word: Some((Degrade::DeviceIoctl, "device-ioctl")),
        what: "ioctl(2) on device files",
        lack: "ioctl(2) on device files is not restricted",
        asked: |profile| narrows(profile, |files| [&files.device_ioctl]),
    },
    Control {
        least: 6,
        word: Some((Degrade::Scope, "scope")),
        what: "signals or abstract UNIX sockets",
        lack: "signals and abstract UNIX sockets are not scoped",
        asked: |profile| !profile.scope.is_empty(),
    },
    Control {
        least: 9,
        word: None,
        what: "connecting to UNIX sockets by path",
        lack: "connecting to UNIX sockets by path is not restricted",
        asked: |profile| {
            narrows(profile, |files| {
                [
                    &files.read,
                    &files.read_execute,
                    &files.read_write,
                    &files.read_write_execute,
                ]
            })
        },
    },
];

/// Whether the lists that carry a right leave anything out; a right that is granted on the whole
/// tree is no promise.
fn narrows<const N: usize>(
    profile: &Profile,
    carrying: fn(&Files) -> [&Vec<FileEntry>; N],
) -> bool {
    profile.files.as_ref().is_some_and(|files| {
        let whole = |entry: &FileEntry| entry.place == Place::Path("/".into());
        let everywhere = carrying(files).into_iter().flatten().any(whole);
        !(everywhere && files.except.is_empty())
    })
}

/// Why a kernel that cannot do what the profile says is refused, whatever `requires.landlock` says: a
/// container must not start with less than its profile's words, unless the profile says that too. Each is
/// [`Refusal::Landlock`] or [`Refusal::Lacks`]; none: it is not.
pub(super) fn refusals(profile: &Profile, found: u32) -> Vec<Refusal> {
    let degrades = |what| profile.requires.degrade.contains(&what);
    if degrades(Degrade::Landlock) {
        return Vec::new();
    }
    let older = (found < profile.requires.landlock).then(|| Refusal::Landlock {
        profile: profile.name.clone(),
        required: profile.requires.landlock,
        found,
    });
    let lacks = CONTROLS.iter().filter_map(|control| {
        let (degrade, word) = control.word?;
        let lacks = found < control.least && !degrades(degrade) && (control.asked)(profile);
        lacks.then(|| Refusal::Lacks {
            profile: profile.name.clone(),
            what: control.what,
            required: control.least,
            found,
            word,
        })
    });
    older.into_iter().chain(lacks).collect()
}

/// What the profile asks for and `abi` cannot do.
pub(super) fn lacking(profile: &Profile, abi: u32) -> Vec<String> {
    if abi == 0 {
        return vec![
            "no Landlock in this kernel: files, TCP ports and scopes are not restricted".into(),
        ];
    }
    CONTROLS
        .iter()
        .filter(|control| abi < control.least && (control.asked)(profile))
        .map(|control| {
            let (least, lack) = (control.least, control.lack);
            format!("Landlock ABI {abi} (below {least}): {lack}")
        })
        .collect()
}
