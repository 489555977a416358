//! M303 and M304 of plain lists, M501, M502, M901 and M902: what is promised, and by whom.

use super::super::diagnose::Finding;
use super::super::entry::{FileEntry, Place};
use super::super::model::{Degrade, Files, Mode};
use super::super::origin::Origin;
use super::{Subject, finding};

pub(super) fn look(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    degrade(subject, all);
    least(subject, all);
    if let Some(mode) = &subject.own.mode
        && mode.value != Mode::Enforce
    {
        let message = "the profile denies nothing: it only reports what it would deny";
        let help = "write `mode: enforce` once it is tried";
        all.push(finding("M902", &mode.origin, message.into(), help));
    }
    let looks = subject
        .own
        .mode
        .as_ref()
        .is_some_and(|mode| mode.value != Mode::Enforce);
    if subject.own.tests.is_empty() && !looks {
        let message = "nothing says what is expected of it: a later change may break it unseen";
        let help = "write `tests:`, which `mantlet test` tries; `mantlet learn` writes them too";
        all.push(finding(
            "M901",
            &subject.own.name.origin,
            message.into(),
            help,
        ));
    }
    inherited(subject, all);
    repeated(subject, all);
}

/// Whether an entry grants all of the file system.
fn everywhere(list: &[FileEntry]) -> bool {
    let whole = |entry: &FileEntry| entry.place == Place::Path("/".into());
    list.iter().any(whole)
}

/// Whether the lists that carry a right leave anything out.
pub(super) fn narrows<const N: usize>(files: &Files, lists: [&Vec<FileEntry>; N]) -> bool {
    !(lists.iter().any(|list| everywhere(list)) && files.except.is_empty())
}

/// What of Landlock the whole profile uses: the word, and the least ABI.
pub(super) fn uses(subject: &Subject<'_>) -> [(Degrade, bool, u32); 4] {
    let whole = subject.whole;
    let files = whole.files.as_ref();
    let truncate = files.is_some_and(|f| narrows(f, [&f.read_write, &f.read_write_execute]));
    let ioctl = files.is_some_and(|f| narrows(f, [&f.device_ioctl]));
    let network = whole
        .network
        .as_ref()
        .is_some_and(|network| network.restricts());
    [
        (Degrade::Truncate, truncate, 3),
        (Degrade::Network, network, 4),
        (Degrade::DeviceIoctl, ioctl, 5),
        (Degrade::Scope, !whole.scope.is_empty(), 6),
    ]
}

/// As `degrade` spells it.
pub(super) fn word(of: Degrade) -> &'static str {
    match of {
        Degrade::Landlock => "landlock",
        Degrade::Tripwires => "tripwires",
        Degrade::Truncate => "truncate",
        Degrade::DeviceIoctl => "device-ioctl",
        Degrade::Network => "network",
        Degrade::Scope => "scope",
        Degrade::ExecCapture => "exec-capture",
    }
}

fn degrade(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let Some(needs) = &subject.own.requires else {
        return;
    };
    let uses = uses(subject);
    let least = subject.whole.requires.landlock;
    for listed in &needs.degrade {
        let control = uses.iter().find(|(word, ..)| *word == listed.value);
        let (used, what) = match (control, listed.value) {
            (Some((_, used, abi)), _) if *used => (
                *abi > least,
                format!("`requires.landlock: {least}` has it anyway"),
            ),
            (Some(_), _) => (false, "the profile asks for no such thing".to_owned()),
            (None, Degrade::Tripwires) => (
                !subject.whole.syscalls.tripwire.is_empty(),
                "the profile has no tripwire".to_owned(),
            ),
            (None, _) => (true, String::new()),
        };
        if !used {
            let message = format!("`{}` lets go of nothing: {what}", word(listed.value));
            all.push(finding("M501", &listed.origin, message, "remove it"));
        }
    }
}

fn least(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let requires = &subject.whole.requires;
    if requires.degrade.contains(&Degrade::Landlock) {
        return;
    }
    let kept = uses(subject).into_iter();
    let mut kept = kept.filter(|(word, used, _)| *used && !requires.degrade.contains(word));
    let needed = kept.by_ref().max_by_key(|(_, _, abi)| *abi);
    if let Some((control, _, abi)) = needed.filter(|(_, _, abi)| *abi > requires.landlock) {
        let origin = subject.place("requires.landlock");
        let message = format!(
            "`landlock: {}` is too low: `{}` needs ABI {abi}, and an older node refuses the container",
            requires.landlock,
            word(control)
        );
        let help = format!(
            "write `requires: {{landlock: {abi}}}`, or list `{}` in `degrade`",
            word(control)
        );
        all.push(finding("M502", &origin, message, &help));
    }
}

fn inherited(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    for parent in subject.parents {
        for capability in &subject.own.capabilities {
            if parent.capabilities.contains(capability.name) {
                let message = format!("{} is granted by {} already", capability.name, parent.name);
                all.push(finding("M303", &capability.origin, message, "remove it"));
            }
        }
        let (Some(own), Some(granted)) = (&subject.own.network, &parent.network) else {
            continue;
        };
        for (own, granted) in [
            (&own.bind_tcp, &granted.bind_tcp),
            (&own.connect_tcp, &granted.connect_tcp),
        ] {
            for port in own.iter().flat_map(|list| &list.value) {
                if granted
                    .as_ref()
                    .is_some_and(|ports| ports.contains(&port.port))
                {
                    let message =
                        format!("port {} is granted by {} already", port.port, parent.name);
                    all.push(finding("M303", &port.origin, message, "remove it"));
                }
            }
        }
    }
}

/// What plain lists say twice. Where calls, files and permitted commands do, their own rules tell.
fn repeated(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let own = subject.own;
    let capabilities = own.capabilities.iter();
    again(
        capabilities.map(|one| (one.name.to_owned(), &one.origin)),
        all,
    );
    let ports = own
        .network
        .iter()
        .flat_map(|ports| [&ports.bind_tcp, &ports.connect_tcp]);
    for list in ports.flatten() {
        let list = list.value.iter();
        again(
            list.map(|one| (format!("port {}", one.port), &one.origin)),
            all,
        );
    }
    for list in [&own.masked_paths, &own.readonly_paths] {
        again(list.iter().map(|one| (one.path.clone(), &one.origin)), all);
    }
    let except = own.files.iter().flat_map(|files| &files.except);
    again(except.map(|one| (one.path.clone(), &one.origin)), all);
    let scope = own.scope.iter().flatten();
    again(
        scope.map(|one| (format!("{:?}", one.value).to_lowercase(), &one.origin)),
        all,
    );
    let parents = own.extends.iter();
    again(parents.map(|one| (one.value.clone(), &one.origin)), all);
    let degrade = own.requires.iter().flat_map(|needs| &needs.degrade);
    again(
        degrade.map(|one| (word(one.value).to_owned(), &one.origin)),
        all,
    );
}

fn again<'a>(list: impl Iterator<Item = (String, &'a Origin)>, all: &mut Vec<Finding>) {
    let mut seen: Vec<(String, &Origin)> = Vec::new();
    for (what, origin) in list {
        match seen.iter().find(|(other, _)| *other == what) {
            Some((_, first)) => {
                let message = format!("{what} is listed twice, first on line {}", first.line());
                all.push(finding("M304", origin, message, "remove it"));
            }
            None => seen.push((what, origin)),
        }
    }
}
