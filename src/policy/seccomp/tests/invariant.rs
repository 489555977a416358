//! The invariant of DESIGN §6, checked on one engine's filter and the profiles over it.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::json;

use super::calls::{arguments, boundaries, nameless, numbers, own};
use super::exact::{Exact, LAST_NEEDS};
use super::generate::Random;
use super::installed::Installed;
use super::interpreter::{Call, action, parse, run};
use super::verdict::Action;
use super::{Layers, bpf, engine, patch, plan, runtime};

/// What was asked of one pair or of many.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// Calls.
    pub asked: u32,
    /// Both allowed it.
    pub both: u32,
    /// libseccomp's answer was none that a rule gives.
    pub miscompiled: u32,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.asked += more.asked;
        self.both += more.both;
        self.miscompiled += more.miscompiled;
    }
}

/// The engine's filter after `edits`.
pub fn patched(filter: Option<&LinuxSeccomp>, edits: &[patch::Edit]) -> LinuxSeccomp {
    let mut document = json!({"linux": {}});
    if let Some(filter) = filter {
        document["linux"]["seccomp"] = serde_json::to_value(filter).unwrap();
    }
    patch::apply(&mut document, edits).unwrap();
    serde_json::from_value(document["linux"]["seccomp"].clone()).unwrap()
}

/// One engine, the profiles over it, and all programs.
struct Pair<'a> {
    engine: Option<&'a LinuxSeccomp>,
    patched: LinuxSeccomp,
    plain: Option<Installed>,
    outer: Installed,
    inner: Vec<bpf::Instruction>,
    exact: Exact,
}

/// Asks at both moments about `names` and about calls that have none; at most `most` argument lists
/// for each name.
pub fn check(
    engine: Option<&LinuxSeccomp>,
    layers: Layers<'_>,
    names: &[(&str, u32)],
    most: usize,
    random: &mut Random,
) -> Counts {
    let planned = plan(layers, engine, true).unwrap();
    let patched = patched(engine, &planned.edits);
    let pair = Pair {
        engine,
        plain: engine.map(Installed::new),
        outer: Installed::new(&patched),
        patched,
        inner: parse(&planned.filter.program),
        exact: Exact::new(layers, true).unwrap(),
    };
    let mut counts = Counts::default();
    for (name, native) in names {
        let bounds = boundaries(engine, &pair.exact, name);
        for args in arguments(&bounds, most, random) {
            for (number, arch) in numbers(name, *native) {
                pair.judge(Some(name), &Call { number, arch, args }, &mut counts);
            }
        }
    }
    for call in nameless() {
        pair.judge(None, &call, &mut counts);
    }
    counts
}

impl Pair<'_> {
    fn judge(&self, name: Option<&str>, call: &Call, counts: &mut Counts) {
        let first = self.outer.answer(call);
        let second = action(run(&self.inner, call));
        // The kernel keeps the newer filter's answer of two that are alike.
        let together = second.meet(first);
        let engine = self
            .plain
            .as_ref()
            .map_or(Action::Allow, |p| p.answer(call));
        let own = own(&self.exact, name, call);
        let context = || {
            format!(
                "{name:?} {call:x?}: engine {engine:?}, profile {own:?}, runtime {first:?}, exact {second:?}\n{}",
                serde_json::to_string(&self.engine).unwrap()
            )
        };
        counts.asked += 1;
        let native = call.arch == bpf::NATIVE && call.number < 0x4000_0000;
        if self.unsound(name, native, call, (first, engine)) {
            counts.miscompiled += 1;
            return;
        }
        // 1. The runtime's filter alone. TRACE answers ENOSYS without a tracer: an errno.
        let counted = |a: Action| if a == Action::Trace { 3 } else { a.rank() };
        if !name.is_some_and(|name| runtime::INIT_NEEDS.contains(&name)) {
            assert!(
                counted(first) <= counted(engine),
                "runtime alone: {}",
                context()
            );
        }
        if native && name.is_some_and(|name| LAST_NEEDS.contains(&name)) {
            assert_eq!(second, Action::Allow, "{}", context());
            return;
        }
        // 2. Both. USER_NOTIF is answered with an errno by the supervisor, or ENOSYS.
        let answered = |a: Action| if a == Action::Notify { 3 } else { a.rank() };
        assert!(answered(together) <= engine.rank(), "both: {}", context());
        assert!(together.rank() <= own.rank(), "both: {}", context());
        // What init needs is allowed first and taken back by the strict reading of the engine's rules.
        let strict = match (self.engine, name) {
            (Some(filter), Some(name)) if runtime::INIT_NEEDS.contains(&name) => {
                engine::decision(filter, name).verdict(&call.args)
            }
            _ => engine,
        };
        if engine != Action::Trace && strict != Action::Trace {
            assert_ne!(
                together,
                Action::Trace,
                "a tracer would decide: {}",
                context()
            );
        }
        // 3. What both allow works.
        if engine.permits() && strict.permits() && own.permits() {
            assert!(together.permits(), "both allow it: {}", context());
            counts.both += 1;
        }
    }

    /// libseccomp 2.5.4 miscompiles some overlapping rules of several conditions: it answers what no
    /// rule says, and differently when another call's rules change. Nothing can be promised about
    /// those; the caller bounds how many there are.
    fn unsound(
        &self,
        name: Option<&str>,
        native: bool,
        call: &Call,
        (first, engine): (Action, Action),
    ) -> bool {
        let Some(name) = name.filter(|_| native) else {
            return false;
        };
        // What runc answers before libseccomp's program is asked.
        let stub = Action::Errno(libc::ENOSYS as u16);
        let sound = |filter: &LinuxSeccomp, answer: Action| {
            let possible = engine::possible(filter, name, &call.args);
            answer == stub || possible.iter().any(|one| one.rank() == answer.rank())
        };
        !sound(&self.patched, first) || self.engine.is_some_and(|filter| !sound(filter, engine))
    }
}
