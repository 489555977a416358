//! M503 and M504: what a kernel of the Landlock ABI that is asked about cannot do of what the profile says.
//! A test holds it against what a container would be refused for, and told to go without.

use super::super::diagnose::Finding;
use super::super::model::Degrade;
use super::super::origin::Origin;
use super::promises::{narrows, uses, word};
use super::{Subject, finding};

pub(super) fn look(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let Some(abi) = subject.abi else {
        return;
    };
    let requires = &subject.whole.requires;
    let anything = requires.degrade.contains(&Degrade::Landlock);
    let refused = match anything {
        true => Vec::new(),
        false => refusals(subject, abi),
    };
    if !refused.is_empty() {
        return all.extend(refused);
    }
    if abi == 0 {
        let message = "without Landlock files, TCP ports and scopes are not restricted, and `degrade` lets that go";
        let help = "remove `landlock` from `degrade`: such a node then refuses the container";
        let origin = subject.place("requires.landlock");
        return all.push(finding("M503", &origin, message.into(), help));
    }
    for (control, used, least) in uses(subject) {
        if used && abi < least {
            let message = format!(
                "on Landlock ABI {abi} {}: that needs ABI {least}, and `degrade` lets it go",
                free(control)
            );
            let help = "remove the word from `degrade`: such a node then refuses the container";
            all.push(finding("M503", &said(subject, control), message, help));
        }
    }
    quiet(subject, abi, all);
}

/// Why a container with this profile is refused there.
fn refusals(subject: &Subject<'_>, abi: u32) -> Vec<Finding> {
    let requires = &subject.whole.requires;
    let mut all = Vec::new();
    if abi < requires.landlock {
        let message = format!(
            "Landlock ABI {abi} is refused: `requires.landlock` is {}",
            requires.landlock
        );
        let help = "use a later kernel, or a lower number and what is left out in `degrade`";
        let origin = subject.place("requires.landlock");
        all.push(finding("M504", &origin, message, help));
    }
    for (control, used, least) in uses(subject) {
        if used && abi < least && !requires.degrade.contains(&control) {
            let word = word(control);
            let message = format!("Landlock ABI {abi} is refused: `{word}` needs ABI {least}");
            let help = format!("use a later kernel, or list `{word}` in `requires.degrade`");
            all.push(finding("M504", &said(subject, control), message, &help));
        }
    }
    all
}

/// What no word of `degrade` is about, and no container refused for.
fn quiet(subject: &Subject<'_>, abi: u32, all: &mut Vec<Finding>) {
    let origin = said(subject, Degrade::Truncate);
    if abi < 2 {
        let message = format!(
            "on Landlock ABI {abi} files cannot be moved between directories, whatever the profile allows"
        );
        let help = "write `requires: {landlock: 2}` where the program moves files so";
        all.push(finding("M503", &origin, message, help));
    }
    let files = subject.whole.files.as_ref();
    let sockets = files.is_some_and(|f| {
        narrows(
            f,
            [
                &f.read,
                &f.read_execute,
                &f.read_write,
                &f.read_write_execute,
            ],
        )
    });
    if sockets && abi < 9 {
        let message = format!(
            "on Landlock ABI {abi} connecting to UNIX sockets by path is not restricted: that needs ABI 9"
        );
        let help = "write `requires: {landlock: 9}` where the profile relies on it";
        all.push(finding("M503", &origin, message, help));
    }
}

/// What an older kernel leaves free.
fn free(control: Degrade) -> &'static str {
    match control {
        Degrade::Truncate => "truncate(2) is free",
        Degrade::Network => "TCP is free",
        Degrade::DeviceIoctl => "ioctl(2) on devices is free",
        _ => "signals and abstract sockets are free",
    }
}

/// Where the file asks for a control; its name where only a parent does.
fn said(subject: &Subject<'_>, control: Degrade) -> Origin {
    let own = subject.own;
    let found = match control {
        Degrade::Network => own.network.as_ref().and_then(|ports| {
            let lists = [&ports.bind_tcp, &ports.connect_tcp];
            lists.into_iter().flatten().next().map(|list| &list.origin)
        }),
        Degrade::Scope => own.scope.iter().flatten().next().map(|word| &word.origin),
        _ => own.files.as_ref().and_then(|files| {
            let lists = [
                &files.read,
                &files.read_execute,
                &files.read_write,
                &files.read_write_execute,
                &files.execute,
            ];
            lists
                .into_iter()
                .flatten()
                .next()
                .map(|entry| &entry.origin)
        }),
    };
    found.unwrap_or(&own.name.origin).clone()
}
