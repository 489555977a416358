//! Capabilities, no_new_privs and resource limits, alike for a container's process object and an
//! exec session's.

use std::collections::BTreeSet;

use oci_spec::runtime::{Capabilities, PosixRlimitType, Process};
use serde_json::json;

use crate::oci::patch::Edit;
use crate::profile::Profile;
use crate::seal::Rlimit;

/// Edits to a process object at `base` (a JSON pointer, empty for a bare object), and the limits
/// that init lowers instead of the runtime. `bounds` are the profile's, as [`bounds`] tells.
#[must_use]
pub fn edits(
    process: &Process,
    base: &str,
    allowed: &[String],
    bounds: &[Rlimit],
) -> (Vec<Edit>, Vec<Rlimit>) {
    let mut edits = capabilities(process, base, allowed);
    edits.push(Edit::Set {
        // The exact filter needs it, and Landlock without CAP_SYS_ADMIN does too.
        pointer: format!("{base}/noNewPrivileges"),
        value: json!(true),
    });
    let mut moved = Vec::new();
    for (at, limit) in process.rlimits().iter().flatten().enumerate() {
        let least = least(limit.typ());
        let engine = Rlimit {
            resource: number(limit.typ()),
            soft: limit.soft(),
            hard: limit.hard(),
        };
        let limit = lowest(engine, bounds);
        if limit.soft < least || limit.hard < least {
            moved.push((at, limit));
            continue;
        }
        for (key, old, new) in [
            ("soft", engine.soft, limit.soft),
            ("hard", engine.hard, limit.hard),
        ] {
            if new != old {
                edits.push(Edit::Set {
                    pointer: format!("{base}/rlimits/{at}/{key}"),
                    value: json!(new),
                });
            }
        }
    }
    // From the end, so that earlier positions stay true.
    for (at, _) in moved.iter().rev() {
        edits.push(Edit::Remove {
            pointer: format!("{base}/rlimits/{at}"),
        });
    }
    (edits, moved.into_iter().map(|(_, limit)| limit).collect())
}

/// `limit` under every bound of its resource. The bounds also go to init, which lowers by them what
/// the engine leaves out: only there is it known what the process inherits.
fn lowest(limit: Rlimit, bounds: &[Rlimit]) -> Rlimit {
    let own = bounds.iter().filter(|own| own.resource == limit.resource);
    own.fold(limit, |limit, own| {
        let hard = limit.hard.min(own.hard);
        Rlimit {
            soft: limit.soft.min(own.soft).min(hard),
            hard,
            ..limit
        }
    })
}

/// The profile's `rlimits`, in the kernel's numbers.
#[must_use]
pub fn bounds(profile: &Profile) -> Vec<Rlimit> {
    let all = profile.rlimits.iter().map(|(resource, bound)| Rlimit {
        resource: resource.number(),
        soft: bound.soft,
        hard: bound.hard,
    });
    all.collect()
}

/// All five sets, each the intersection of the engine's and `allowed`, in the engine's order. Sets
/// that the engine leaves out become empty: youki keeps what it has where nothing is said. One edit
/// a set, because a field beside them that nobody knows yet has to survive.
fn capabilities(process: &Process, base: &str, allowed: &[String]) -> Vec<Edit> {
    let held = sets(Some(process));
    let [_, _, inheritable, permitted, _] = &held;
    // The kernel raises an ambient capability only where both of these hold it (capabilities(7)).
    let may_be_ambient = |name: &String| inheritable.contains(name) && permitted.contains(name);
    let kept = SETS.into_iter().zip(&held).map(|(set, names)| {
        let kept = names.iter().filter(|name| allowed.contains(name));
        let kept = kept.filter(|name| set != "ambient" || may_be_ambient(name));
        Edit::Set {
            pointer: format!("{base}/capabilities/{set}"),
            value: json!(kept.collect::<Vec<_>>()),
        }
    });
    kept.collect()
}

const SETS: [&str; 5] = [
    "bounding",
    "effective",
    "inheritable",
    "permitted",
    "ambient",
];

/// The engine's sets in the order of [`SETS`], `CAP_` names, sorted.
fn sets(process: Option<&Process>) -> [Vec<String>; 5] {
    let held = process.and_then(|process| process.capabilities().as_ref());
    let names = |set: Option<&Capabilities>| {
        let all = set.into_iter().flatten();
        let mut names: Vec<String> = all.map(|name| prefixed(&name.to_string())).collect();
        names.sort();
        names
    };
    [
        names(held.and_then(|c| c.bounding().as_ref())),
        names(held.and_then(|c| c.effective().as_ref())),
        names(held.and_then(|c| c.inheritable().as_ref())),
        names(held.and_then(|c| c.permitted().as_ref())),
        names(held.and_then(|c| c.ambient().as_ref())),
    ]
}

/// Every capability in any of the engine's sets, sorted.
#[must_use]
pub fn held(process: Option<&Process>) -> BTreeSet<String> {
    sets(process).into_iter().flatten().collect()
}

fn prefixed(name: &str) -> String {
    if name.starts_with("CAP_") {
        name.to_owned()
    } else {
        format!("CAP_{name}")
    }
}

/// Below this, a limit is lowered by init as its last act instead of by the runtime, which has to
/// live under it first: runc is a Go program (threads, an address space in gigabytes, tens of
/// descriptors), and init needs a few descriptors and pages of its own.
fn least(typ: PosixRlimitType) -> u64 {
    const MIB: u64 = 1 << 20;
    match typ {
        PosixRlimitType::RlimitNofile => 64,
        PosixRlimitType::RlimitNproc => 64,
        PosixRlimitType::RlimitAs => 4096 * MIB,
        PosixRlimitType::RlimitData => 256 * MIB,
        PosixRlimitType::RlimitStack => MIB,
        // A memfd counts as a file.
        PosixRlimitType::RlimitFsize => 16 * MIB,
        PosixRlimitType::RlimitCpu => 10,
        // Pages locked, messages, priorities: nothing before the workload uses them.
        _ => 0,
    }
}

/// `RLIMIT_*` (asm-generic/resource.h, which x86_64 and aarch64 share).
fn number(typ: PosixRlimitType) -> u32 {
    match typ {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    }
}
