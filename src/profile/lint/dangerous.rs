//! M1xx: what opens the way to other containers or to the host. Each needs its author's reason.

use super::super::diagnose::Finding;
use super::super::entry::{FileEntry, Place, Symbol};
use super::super::groups;
use super::{Subject, finding};
use crate::access::calls::NAMESPACES;

/// Capabilities, and what whoever has them can do.
const CAPABILITIES: [(&str, &str); 16] = [
    ("CAP_SYS_ADMIN", "it is root in all but name"),
    (
        "CAP_SYS_PTRACE",
        "it reads and changes the memory of other users' processes",
    ),
    ("CAP_SYS_MODULE", "it loads code into the kernel"),
    (
        "CAP_SYS_RAWIO",
        "it reaches memory and ports of the machine",
    ),
    (
        "CAP_SYS_BOOT",
        "it restarts the machine, or loads another kernel",
    ),
    ("CAP_SYS_TIME", "it sets the clock of every container"),
    (
        "CAP_DAC_READ_SEARCH",
        "it opens files by handle, out of the container's root",
    ),
    (
        "CAP_NET_ADMIN",
        "it reconfigures interfaces, routes and firewalls",
    ),
    ("CAP_BPF", "it loads programs into the kernel"),
    ("CAP_PERFMON", "it watches what the whole machine does"),
    ("CAP_SYSLOG", "it reads the kernel's log and addresses"),
    (
        "CAP_MAC_ADMIN",
        "it changes the rules of SELinux, AppArmor or Smack",
    ),
    ("CAP_MAC_OVERRIDE", "it is not held to the rules of Smack"),
    (
        "CAP_CHECKPOINT_RESTORE",
        "it takes other processes' place and reads their maps",
    ),
    ("CAP_AUDIT_CONTROL", "it turns the kernel's audit off"),
    (
        "CAP_LINUX_IMMUTABLE",
        "it makes files that nobody can remove",
    ),
];

/// Calls, and what they are used for in attacks.
const CALLS: [(&str, &str); 22] = [
    ("ptrace", "it takes over other processes of the container"),
    ("process_vm_readv", "it reads other processes' memory"),
    ("process_vm_writev", "it changes other processes' memory"),
    ("pidfd_getfd", "it takes open files from other processes"),
    ("kcmp", "it tells addresses of the kernel's objects"),
    (
        "perf_event_open",
        "its code in the kernel has been the way to many escapes",
    ),
    ("bpf", "it loads programs into the kernel"),
    ("io_uring_setup", "its requests pass every seccomp filter"),
    ("io_uring_enter", "its requests pass every seccomp filter"),
    (
        "io_uring_register",
        "its requests pass every seccomp filter",
    ),
    ("userfaultfd", "it makes races in the kernel winnable"),
    ("keyctl", "keyrings are not namespaced"),
    ("add_key", "keyrings are not namespaced"),
    ("request_key", "keyrings are not namespaced"),
    (
        "open_by_handle_at",
        "it opens files out of the container's root",
    ),
    (
        "unshare",
        "a user namespace hands out all capabilities over itself",
    ),
    ("setns", "it enters other namespaces"),
    ("init_module", "it loads code into the kernel"),
    ("finit_module", "it loads code into the kernel"),
    ("kexec_load", "it loads another kernel"),
    ("kexec_file_load", "it loads another kernel"),
    ("personality", "it turns address randomisation off"),
];

const GIVE: &str = "remove it, or give the reason: write it as a mapping with `why`";

pub(super) fn look(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    for capability in &subject.own.capabilities {
        let known = CAPABILITIES
            .iter()
            .find(|(name, _)| *name == capability.name);
        if let Some((name, why)) = known.filter(|_| capability.origin.why().is_none()) {
            let message = format!("{} without a reason: {why}", &name["CAP_".len()..]);
            all.push(finding("M101", &capability.origin, message, GIVE));
        }
    }
    calls(subject, all);
    files(subject, all);
}

fn calls(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let Some(lists) = &subject.own.syscalls else {
        return;
    };
    for call in &lists.allow {
        // A call under conditions is what the author has thought about.
        if call.origin.why().is_some() || !call.args.is_empty() {
            continue;
        }
        let names = match call.name.strip_prefix('@') {
            Some(group) => groups::members(&lists.groups.value, group).unwrap_or_default(),
            None => vec![call.name.as_str()],
        };
        let carved = |name: &str| {
            let denied = lists.tripwire.iter().chain(&lists.deny);
            denied
                .into_iter()
                .any(|denied| denied.0.name == name && !denied.0.args.is_empty())
        };
        let mut found = CALLS
            .iter()
            .filter(|(name, _)| names.contains(name) && !carved(name));
        let Some((name, why)) = found.next() else {
            continue;
        };
        let more = found.count();
        let message = match (call.name.starts_with('@'), more) {
            (false, _) => format!("{name} without a reason: {why}"),
            (true, 0) => format!("{} without a reason: of its {name}, {why}", call.name),
            (true, _) => format!(
                "{} without a reason: of its {name}, {why}; and {more} more",
                call.name
            ),
        };
        all.push(finding("M102", &call.origin, message, GIVE));
    }
    if names_clone(subject) {
        let clone = lists
            .allow
            .iter()
            .find(|call| call.name == "clone" && call.args.is_empty());
        if let Some(call) = clone.filter(|call| call.origin.why().is_none()) {
            let message =
                "clone with any flags, without a reason: it makes namespaces as unshare does";
            let help = format!(
                "add `{{name: clone, args: [{{index: 0, op: masked-ne, mask: {NAMESPACES:#x}, value: 0}}]}}` to `tripwire`"
            );
            all.push(finding("M102", &call.origin, message.into(), &help));
        }
    }
}

/// Whether clone is allowed and none of its flags are denied.
fn names_clone(subject: &Subject<'_>) -> bool {
    let calls = &subject.whole.syscalls;
    let mut denied = calls.tripwire.iter().chain(&calls.deny);
    !denied.any(|rule| rule.name == "clone" && !rule.args.is_empty())
}

/// Places that only an attack writes to, and what is there.
const NEVER_WRITTEN: [(&str, &str); 6] = [
    ("/", "all of the image is"),
    ("/etc", "accounts and the loader's configuration are"),
    ("/proc", "the kernel's settings are"),
    ("/sys", "the kernel's settings are"),
    ("/usr", "the image's programs are"),
    ("/bin", "the image's programs are"),
];

fn files(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let Some(lists) = &subject.own.files else {
        return;
    };
    let unexplained = |entry: &&FileEntry| entry.origin.why().is_none();
    for entry in lists.read_write_execute.iter().filter(unexplained) {
        let message = format!(
            "`{}` writable and executable, without a reason: what is written there can be run",
            name(entry)
        );
        all.push(finding(
            "M103",
            &entry.origin,
            message,
            "grant `read_write` or `read_execute`, or give the reason: `{path, why}`",
        ));
    }
    for entry in lists
        .execute
        .iter()
        .chain(&lists.read_execute)
        .filter(unexplained)
    {
        let writable = lists.read_write.iter().find(|other| overlaps(entry, other));
        if let Some(other) = writable {
            let message = format!(
                "`{}` executable and `{}` writable, without a reason: what is written there can be run",
                name(entry),
                name(other)
            );
            all.push(finding(
                "M103",
                &entry.origin,
                message,
                "execute where nothing is written, or give the reason: `{path, why}`",
            ));
        }
    }
    for entry in lists
        .read_write
        .iter()
        .chain(&lists.read_write_execute)
        .filter(unexplained)
    {
        let Place::Path(path) = &entry.place else {
            continue;
        };
        if let Some((_, what)) = NEVER_WRITTEN.iter().find(|(place, _)| place == path) {
            let message = format!("`{path}` writable, without a reason: {what} there");
            all.push(finding(
                "M104",
                &entry.origin,
                message,
                "name what has to be written, or give the reason: `{path, why}`",
            ));
        }
    }
    for entry in lists.make_device.iter().filter(unexplained) {
        let message = format!(
            "device files in `{}`, without a reason: one leads to the host's disks",
            name(entry)
        );
        all.push(finding("M105", &entry.origin, message, GIVE));
    }
}

/// Whether what is writable by `written` can be executed by `run`. `@image` has no writable place.
fn overlaps(run: &FileEntry, written: &FileEntry) -> bool {
    match (&run.place, &written.place) {
        (Place::Symbol(Symbol::Image), _) => false,
        (Place::Path(run), Place::Path(written)) => {
            std::path::Path::new(written).starts_with(run)
                || std::path::Path::new(run).starts_with(written)
        }
        (Place::Symbol(run), Place::Symbol(written)) => run == written,
        // `/` holds every volume; of other paths only a container can tell.
        (Place::Path(run), Place::Symbol(Symbol::Volumes | Symbol::Tmpfs)) => run == "/",
        _ => false,
    }
}

pub(super) fn name(entry: &FileEntry) -> String {
    match &entry.place {
        Place::Path(path) => path.clone(),
        Place::Symbol(Symbol::Image) => "@image".into(),
        Place::Symbol(Symbol::Volumes) => "@volumes".into(),
        Place::Symbol(Symbol::Tmpfs) => "@tmpfs".into(),
        Place::Symbol(Symbol::Devices) => "@devices".into(),
    }
}
