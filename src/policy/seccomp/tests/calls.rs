//! Calls to ask both filters about: the boundaries of the very conditions that they hold.

use std::collections::BTreeSet;

use libseccomp::ScmpArch;
use oci_spec::runtime::LinuxSeccomp;

use super::bpf;
use super::exact::Exact;
use super::generate::Random;
use super::installed;
use super::interpreter::Call;
use super::verdict::{Action, Decision};

/// AUDIT_ARCH_I386 and AUDIT_ARCH_AARCH64 (linux/audit.h).
pub const I386: u32 = 0x4000_0003;
pub const AARCH64: u32 = 0xc000_00b7;
const X32: u32 = 0x4000_0000;

/// Every value next to which a condition on `name` changes its mind, for each argument.
pub fn boundaries(filter: Option<&LinuxSeccomp>, exact: &Exact, name: &str) -> [Vec<u64>; 6] {
    let mut found: [BTreeSet<u64>; 6] = Default::default();
    let mut around = |index: usize, value: u64, mask: u64| {
        let lowest = mask & mask.wrapping_neg();
        let highest = mask.checked_ilog2().map_or(0, |bit| 1 << bit);
        let outside = !mask & (!mask).wrapping_neg();
        found[index].extend([
            value,
            value.wrapping_sub(1),
            value.wrapping_add(1),
            value ^ 1 << 32,
            value | 0xffff_ffff << 32,
            value & 0xffff_ffff,
            value ^ lowest,
            value ^ highest,
            value ^ outside,
            value | !mask,
            mask,
            !mask,
            0,
            u64::MAX,
        ]);
    };
    let rules = filter.iter().flat_map(|f| f.syscalls().iter().flatten());
    for rule in rules.filter(|rule| rule.names().iter().any(|n| n == name)) {
        for arg in rule.args().iter().flatten().filter(|arg| arg.index() < 6) {
            let mask = arg.value_two().map_or(u64::MAX, |_| arg.value());
            around(arg.index(), arg.value(), u64::MAX);
            around(arg.index(), arg.value_two().unwrap_or(0) & mask, mask);
        }
    }
    if let Some((_, decision)) = exact.calls.get(name) {
        for condition in decision.all().flat_map(|(conditions, _)| conditions) {
            let index = usize::from(condition.index);
            around(index, condition.value, condition.mask);
        }
    }
    found.map(|set| set.into_iter().collect())
}

/// Arguments: each boundary once, the other arguments at boundaries of their own by chance; at most
/// `most` of them, by chance too.
pub fn arguments(boundaries: &[Vec<u64>; 6], most: usize, random: &mut Random) -> Vec<[u64; 6]> {
    let any = |random: &mut Random| -> [u64; 6] {
        std::array::from_fn(|at| match boundaries[at].as_slice() {
            [] => 0,
            some => *random.pick(some),
        })
    };
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    for (at, values) in boundaries.iter().enumerate() {
        for value in values {
            let mut args = any(random);
            args[at] = *value;
            all.push(args);
        }
    }
    while all.len() > most {
        let at = random.below(all.len() as u64) as usize;
        all.swap_remove(at);
    }
    all
}

/// Where the call may be made: its number natively, as x32, in 32 bits, and on a machine that no
/// filter here lists.
pub fn numbers(name: &str, native: u32) -> Vec<(u32, u32)> {
    let mut all = vec![
        (native, bpf::NATIVE),
        (native | X32, bpf::NATIVE),
        (native, 0x1234),
    ];
    let more = [
        (ScmpArch::X32, bpf::NATIVE),
        (ScmpArch::X86, I386),
        (ScmpArch::Aarch64, AARCH64),
    ];
    for (arch, audit) in more {
        all.extend(installed::number(name, arch).map(|number| (number, audit)));
    }
    all
}

/// Calls without a name: numbers that nobody has, or that a filter is too old for.
pub fn nameless() -> Vec<Call> {
    let numbers = [700, 9999, X32 - 1, X32 | 9999, 0x7fff_ffff, u32::MAX];
    let archs = [bpf::NATIVE, I386, AARCH64, 0];
    let each = |number| {
        archs.map(|arch| Call {
            number,
            arch,
            args: [0; 6],
        })
    };
    numbers.into_iter().flat_map(each).collect()
}

/// What the profile alone says, `name` being known to it or not.
pub fn own(exact: &Exact, name: Option<&str>, call: &Call) -> Action {
    if call.arch != bpf::NATIVE || (call.number >= X32 && call.number != u32::MAX) {
        return Action::KillProcess;
    }
    let unknown = Decision::always(super::exact::UNKNOWN);
    let found = name.and_then(|name| exact.calls.get(name));
    found
        .map_or(&unknown, |(_, decision)| decision)
        .verdict(&call.args)
}
