//! The same answers from the kernel: both programs are installed in a thread, calls are made, and what
//! became of each is compared with the interpreter's word.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use oci_spec::runtime::LinuxSeccomp;

use super::calls::{I386, arguments, boundaries, numbers};
use super::exact::Exact;
use super::generate::{NAMES, Random, random_engine, random_profile};
use super::installed::Installed;
use super::interpreter::{Call, action, parse, run};
use super::invariant::patched;
use super::verdict::Action;
use super::{Layers, Profile, bpf, fixtures, known, number, plan, rounds};

/// What became of a call, as kernel.c numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Returned(i64),
    /// The supervisor saw these very registers, and the caller got its answer.
    Notified,
    Trapped,
    ThreadKilled,
    ProcessKilled,
}

/// What kernel.c's supervisor answers.
const ANSWER: i64 = -(libc::ENOANO as i64);

/// kernel.c, built; it has no name any more, so nothing is left of it.
static PROGRAM: LazyLock<File> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy/seccomp/tests/kernel.c");
    let program = std::env::temp_dir().join(format!("mantlet-kernel-{}", std::process::id()));
    let mut compiler = Command::new("cc");
    compiler
        .args(["-O1", "-pthread", "-o"])
        .arg(&program)
        .arg(source);
    let built = compiler
        .status()
        .expect("a C compiler, which Rust links with");
    assert!(built.success());
    let file = File::open(&program).expect("the program that was just built");
    std::fs::remove_file(program).expect("a file of our own");
    file
});

/// Asks the kernel; `older` is installed first, `newer` with a listener where it notifies.
fn ask(older: &[bpf::Instruction], newer: &[bpf::Instruction], calls: &[Call]) -> Vec<Outcome> {
    let notify = Action::Notify.value();
    let listens = newer.iter().any(|i| i.code == bpf::RETURN && i.k == notify);
    let mut input = Vec::new();
    for count in [older.len(), newer.len(), listens.into(), calls.len()] {
        input.extend(u32::try_from(count).unwrap().to_ne_bytes());
    }
    input.extend(bpf::bytes(older));
    input.extend(bpf::bytes(newer));
    for call in calls {
        let entry = u64::from(call.arch == I386);
        for word in [entry, call.number.into()].iter().chain(&call.args) {
            input.extend(word.to_ne_bytes());
        }
    }
    let mut child = Command::new(format!("/proc/self/fd/{}", PROGRAM.as_raw_fd()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program that was just built");
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let word = |bytes: &[u8]| i64::from_ne_bytes(bytes.try_into().unwrap());
    let outcome = |bytes: &[u8]| match (word(&bytes[..8]), word(&bytes[8..])) {
        (0, value) => Outcome::Returned(value),
        (1, ANSWER) => Outcome::Notified,
        (2, _) => Outcome::Trapped,
        (3, _) => Outcome::ThreadKilled,
        (4, signal) if signal == i64::from(libc::SIGSYS) => Outcome::ProcessKilled,
        other => panic!("{other:?}"),
    };
    let found: Vec<Outcome> = output.stdout.chunks_exact(16).map(outcome).collect();
    assert_eq!(found.len(), calls.len());
    found
}

/// Compares; `plain` is what the call does without a filter.
fn agrees(said: Action, found: Outcome, plain: Option<Outcome>) -> bool {
    match (said, found) {
        (Action::KillProcess, Outcome::ProcessKilled)
        | (Action::KillThread, Outcome::ThreadKilled)
        | (Action::Trap, Outcome::Trapped)
        | (Action::Notify, Outcome::Notified) => true,
        (Action::Errno(errno), Outcome::Returned(value)) => value == -i64::from(errno),
        (Action::Trace, Outcome::Returned(value)) => value == -i64::from(libc::ENOSYS),
        (Action::Allow | Action::Log, Outcome::Returned(value)) => match plain {
            // Descriptors and persons differ from call to call, errnos do not.
            Some(Outcome::Returned(free)) => value == free || (value >= 0 && free >= 0),
            _ => false,
        },
        _ => false,
    }
}

/// Calls that change nothing, whatever their arguments; others are made only where they are denied.
const HARMLESS: [&str; 6] = [
    "getuid",
    "personality",
    "socket",
    "landlock_add_rule",
    "process_mrelease",
    "setns",
];

/// Both moments of one pair; answers how many calls were made and how many of them notified.
fn compare(
    engine: Option<&LinuxSeccomp>,
    profile: &Profile,
    names: &[(&str, u32)],
    most: usize,
    random: &mut Random,
) -> (usize, usize) {
    let layers = Layers::from(&profile);
    let planned = plan(layers, engine, true).unwrap();
    let outer = Installed::new(&patched(engine, &planned.edits));
    let inner = parse(&planned.filter.program);
    let exact = Exact::new(layers, true).unwrap();
    let mut calls = Vec::new();
    for (name, native) in names {
        let bounds = boundaries(engine, &exact, name);
        for args in arguments(&bounds, most, random) {
            for (number, arch) in numbers(name, *native) {
                // The other architectures cannot be entered from here.
                if arch == bpf::NATIVE || (arch == I386 && *INT80) {
                    calls.push((*name, Call { number, arch, args }));
                }
            }
        }
    }
    let (mut made, mut notified) = (0, 0);
    for both in [false, true] {
        let verdict = |call: &Call| {
            let first = outer.answer(call);
            if both {
                action(run(&inner, call)).meet(first)
            } else {
                first
            }
        };
        let asked: Vec<Call> = calls
            .iter()
            .filter(|(name, call)| {
                let native = call.arch == bpf::NATIVE && call.number < 0x4000_0000;
                !verdict(call).permits() || (native && HARMLESS.contains(name))
            })
            // int 0x80 cuts registers, so a filter sees what was cut.
            .map(|(_, call)| *call)
            .filter(|call| call.arch == bpf::NATIVE || call.args.iter().all(|a| *a >> 32 == 0))
            .collect();
        let performed = |call: &&Call| verdict(call).permits();
        let free: Vec<Call> = asked.iter().filter(performed).copied().collect();
        let mut plain = ask(&[], &[], &free).into_iter();
        let newer = if both { inner.as_slice() } else { &[] };
        let found = ask(&outer.program, newer, &asked);
        for (call, found) in asked.iter().zip(&found) {
            let said = verdict(call);
            let plain = if said.permits() { plain.next() } else { None };
            assert!(
                agrees(said, *found, plain),
                "{call:x?}: {said:?}, kernel {found:?}, unfiltered {plain:?}, both {both}\n{}\n{:?}",
                serde_json::to_string(&engine).unwrap(),
                profile.syscalls
            );
            notified += usize::from(*found == Outcome::Notified);
        }
        made += asked.len();
    }
    (made, notified)
}

/// Whether this kernel takes calls of 32-bit programs.
static INT80: LazyLock<bool> =
    LazyLock::new(|| std::fs::exists("/proc/sys/abi/vsyscall32").unwrap_or(false));

#[test]
fn the_kernel_answers_random_pairs_as_the_interpreter_does_at_both_moments() {
    let names: Vec<(&str, u32)> = NAMES
        .iter()
        .chain(&HARMLESS)
        .map(|name| (*name, number(name)))
        .collect();
    let mut random = Random::new(11);
    let (mut made, mut notified) = (0, 0);
    for _ in 0..rounds(5) {
        let filter = random_engine(&mut random);
        let profile = random_profile(&mut random);
        let counts = compare(Some(&filter), &profile, &names, 5, &mut random);
        made += counts.0;
        notified += counts.1;
    }
    assert!(
        made > 500 && notified > 0,
        "{made} calls, {notified} notified"
    );
    // The shipped profile over what engines really write.
    let restricted = Profile::builtin("restricted").unwrap();
    let known = known();
    for (_, filter) in fixtures() {
        let counts = compare(Some(&filter), &restricted, &known, 1, &mut random);
        assert!(counts.0 > 200 && counts.1 > 20, "{counts:?}");
    }
}

#[test]
fn the_kernel_answers_as_restricted_says_for_calls_that_people_know() {
    let [(_, filter), ..] = &fixtures();
    let profile = Profile::builtin("restricted").unwrap();
    let layer = &profile;
    // Without notification, tripwires answer their errno by themselves.
    let planned = plan(Layers::from(&layer), Some(filter), false).unwrap();
    use libc::{EAFNOSUPPORT, EBADF, ENOSYS, EPERM};
    let nobody = u64::from(u32::MAX);
    let table: [(u32, &[u64], i32); 15] = [
        (number("getppid"), &[], 0),
        (number("clone3"), &[], ENOSYS),
        (number("keyctl"), &[], EPERM),
        (number("io_uring_setup"), &[1], ENOSYS),
        // AF_ALG.
        (number("socket"), &[38, 5], EAFNOSUPPORT),
        // TIOCSTI, with and without a dirty upper half; TCGETS.
        (number("ioctl"), &[nobody, 0x5412], EPERM),
        (number("ioctl"), &[nobody, 0xdead_0000_5412], EPERM),
        (number("ioctl"), &[nobody, 0x5401], EBADF),
        (number("memfd_create"), &[], EPERM),
        (999, &[], ENOSYS),
        (number("unshare"), &[], EPERM),
        // CLONE_NEWUSER.
        (number("clone"), &[0x1000_0000], EPERM),
        (number("personality"), &[nobody], 0),
        (number("personality"), &[8], EPERM),
        (u32::MAX, &[], ENOSYS),
    ];
    let calls = table.map(|(number, given, _)| {
        let args = std::array::from_fn(|at| given.get(at).copied().unwrap_or(0));
        let arch = bpf::NATIVE;
        Call { number, arch, args }
    });
    let found = ask(&[], &parse(&planned.filter.program), &calls);
    for ((number, args, errno), found) in table.iter().zip(found) {
        let value = match found {
            Outcome::Returned(value) => value.min(0),
            other => panic!("{number} {args:x?}: {other:?}"),
        };
        assert_eq!(value, -i64::from(*errno), "{number} {args:x?}");
    }
}
