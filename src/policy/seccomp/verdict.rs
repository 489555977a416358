//! The algebra of filters: what one system call is answered, by conditions on its arguments, and
//! the strictest of two answers.

use serde::{Deserialize, Serialize};

/// What a filter answers, strictest first, in the kernel's order of precedence (seccomp(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// SECCOMP_RET_KILL_PROCESS.
    KillProcess,
    /// SECCOMP_RET_KILL_THREAD.
    KillThread,
    /// SECCOMP_RET_TRAP.
    Trap,
    /// SECCOMP_RET_ERRNO with its errno.
    Errno(u16),
    /// SECCOMP_RET_USER_NOTIF.
    Notify,
    /// SECCOMP_RET_TRACE; without a tracer, ENOSYS.
    Trace,
    /// SECCOMP_RET_USER_NOTIF, where the supervisor only looks, and has the call go on.
    Audit,
    /// SECCOMP_RET_LOG.
    Log,
    /// SECCOMP_RET_ALLOW.
    Allow,
}

impl Action {
    /// The value a filter returns (linux/seccomp.h).
    #[must_use]
    pub fn value(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Notify | Action::Audit => 0x7fc0_0000,
            // 1 is what runc and crun put into SECCOMP_RET_DATA by default.
            Action::Trace => 0x7ff0_0001,
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }

    /// Precedence: a lower one wins. Two errnos are equally strict. The kernel takes USER_NOTIF for
    /// stricter than TRACE, and a call that is looked at goes on: so nothing that another filter traces
    /// may be looked at ([`super::exact::Exact::respect`]).
    #[must_use]
    pub fn rank(self) -> u8 {
        match self {
            Action::KillProcess => 0,
            Action::KillThread => 1,
            Action::Trap => 2,
            Action::Errno(_) => 3,
            Action::Notify => 4,
            Action::Trace => 5,
            Action::Audit => 6,
            Action::Log => 7,
            Action::Allow => 8,
        }
    }

    /// Whether the call is performed.
    #[must_use]
    pub fn permits(self) -> bool {
        matches!(self, Action::Audit | Action::Log | Action::Allow)
    }

    /// Whether somebody else answers: in an engine's filter, its tracer or its listener.
    #[must_use]
    pub fn hands_over(self) -> bool {
        matches!(self, Action::Trace | Action::Notify)
    }

    /// The same where nothing is denied: what is not performed is looked at instead.
    #[must_use]
    pub fn observed(self) -> Action {
        if self.permits() { self } else { Action::Audit }
    }

    /// The stricter of two; `self` where they are alike.
    #[must_use]
    pub fn meet(self, other: Action) -> Action {
        if other.rank() < self.rank() {
            other
        } else {
            self
        }
    }

    /// Two layers at once: the stricter, but of two refusals the one that is reported. The kernel
    /// would prefer the silent one, and a layer added could then blind a tripwire of another.
    #[must_use]
    pub fn layered(self, other: Action) -> Action {
        match (self, other) {
            (Action::Errno(_), Action::Notify) => other,
            (Action::Notify, Action::Errno(_)) => self,
            _ => self.meet(other),
        }
    }

    /// A layer that enforces, and one in mode `audit` beside it: the stricter, but a silent denial is notified
    /// where the other one would deny as well, so that it can tell. The supervisor answers it with its errno.
    #[must_use]
    pub fn beside(self, audited: Action) -> Action {
        match (self, audited) {
            (Action::Errno(_), Action::Audit) => Action::Notify,
            _ => self.layered(audited),
        }
    }
}

/// Comparison, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// `(argument & mask) compare value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Condition {
    /// Which argument, 0..=5.
    pub index: u8,
    /// How.
    pub compare: Compare,
    /// With what.
    pub value: u64,
    /// Which bits.
    pub mask: u64,
}

impl Condition {
    /// What holds just where this one does not.
    #[must_use]
    pub fn opposite(&self) -> Condition {
        let compare = match self.compare {
            Compare::Eq => Compare::Ne,
            Compare::Ne => Compare::Eq,
            Compare::Lt => Compare::Ge,
            Compare::Ge => Compare::Lt,
            Compare::Gt => Compare::Le,
            Compare::Le => Compare::Gt,
        };
        Condition { compare, ..*self }
    }

    /// Whether it holds for these arguments.
    #[must_use]
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        let argument = args[usize::from(self.index)] & self.mask;
        match self.compare {
            Compare::Eq => argument == self.value,
            Compare::Ne => argument != self.value,
            Compare::Lt => argument < self.value,
            Compare::Le => argument <= self.value,
            Compare::Gt => argument > self.value,
            Compare::Ge => argument >= self.value,
        }
    }
}

/// How one call is decided: the first branch whose conditions all hold, else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// Tried in order.
    pub branches: Vec<(Vec<Condition>, Action)>,
    /// Where none holds.
    pub otherwise: Action,
}

impl Decision {
    /// The same answer whatever the arguments.
    #[must_use]
    pub fn always(action: Action) -> Decision {
        Decision {
            branches: Vec::new(),
            otherwise: action,
        }
    }

    /// From rules of which the strictest that holds wins, and `default` where none does.
    #[must_use]
    pub fn strictest(mut rules: Vec<(Vec<Condition>, Action)>, default: Action) -> Decision {
        rules.sort_by_key(|(_, action)| action.rank());
        let end = rules
            .iter()
            .position(|(conditions, _)| conditions.is_empty());
        let otherwise = end.map_or(default, |at| rules[at].1);
        rules.truncate(end.unwrap_or(rules.len()));
        Decision {
            branches: rules,
            otherwise,
        }
    }

    /// The answer for these arguments.
    #[must_use]
    pub fn verdict(&self, args: &[u64; 6]) -> Action {
        let hit = self
            .branches
            .iter()
            .find(|(all, _)| all.iter().all(|c| c.holds(args)));
        hit.map_or(self.otherwise, |(_, action)| *action)
    }

    /// Both at once: for all arguments, the stricter of the two answers.
    #[must_use]
    pub fn meet(&self, other: &Decision) -> Decision {
        self.both(other, Action::meet)
    }

    /// Two layers at once, for all arguments ([`Action::layered`]).
    #[must_use]
    pub fn layered(&self, other: &Decision) -> Decision {
        self.both(other, Action::layered)
    }

    /// [`Action::Allow`] where this one performs what `other` refuses.
    #[must_use]
    pub fn more_than(&self, other: &Decision) -> Decision {
        self.both(other, |own, theirs| {
            match own.permits() && !theirs.permits() {
                true => Action::Allow,
                false => Action::Errno(0),
            }
        })
    }

    /// The same where nothing is denied.
    #[must_use]
    pub fn observed(&self) -> Decision {
        let all = self.branches.iter();
        Decision {
            branches: all
                .map(|(conditions, action)| (conditions.clone(), action.observed()))
                .collect(),
            otherwise: self.otherwise.observed(),
        }
    }

    /// For all arguments, `choose` of the two answers.
    pub(super) fn both(&self, other: &Decision, choose: fn(Action, Action) -> Action) -> Decision {
        let mut branches: Vec<(Vec<Condition>, Action)> = Vec::new();
        for (mine, a) in self.all() {
            for (theirs, b) in other.all() {
                let mut both = mine.to_vec();
                both.extend(theirs.iter().filter(|c| !mine.contains(c)));
                // Where fewer conditions have answered before, or these cannot all hold, nothing
                // gets here: without this, a layer met with itself would grow.
                let answered = |(before, _): &(Vec<Condition>, Action)| {
                    before.iter().all(|c| both.contains(c))
                };
                if !contradict(&both) && !branches.iter().any(answered) {
                    branches.push((both, choose(a, b)));
                }
            }
        }
        // The first answer without conditions is the last one; the pair of both `otherwise` is such.
        let end = branches.iter().position(|(all, _)| all.is_empty());
        let otherwise = end.map_or(choose(self.otherwise, other.otherwise), |at| branches[at].1);
        branches.truncate(end.unwrap_or(branches.len()));
        while branches
            .last()
            .is_some_and(|(_, action)| *action == otherwise)
        {
            branches.pop();
        }
        Decision {
            branches,
            otherwise,
        }
    }

    /// Every answer it can give, with its conditions, in order.
    pub fn all(&self) -> impl Iterator<Item = (&[Condition], Action)> {
        let last: (&[Condition], Action) = (&[], self.otherwise);
        self.branches
            .iter()
            .map(|(c, a)| (c.as_slice(), *a))
            .chain([last])
    }

    /// Whether every call is performed.
    #[must_use]
    pub fn permits_all(&self) -> bool {
        self.all().all(|(_, action)| action.permits())
    }

    /// Whether no call is performed.
    #[must_use]
    pub fn permits_none(&self) -> bool {
        !self.all().any(|(_, action)| action.permits())
    }
}

/// Whether an argument would have to be two things at once.
fn contradict(all: &[Condition]) -> bool {
    let against = |a: &Condition, b: &Condition| {
        (a.index, a.mask) == (b.index, b.mask)
            && match (a.compare, b.compare) {
                (Compare::Eq, Compare::Eq) => a.value != b.value,
                (Compare::Eq, Compare::Ne) | (Compare::Ne, Compare::Eq) => a.value == b.value,
                _ => false,
            }
    };
    all.iter()
        .enumerate()
        .any(|(at, a)| all[at + 1..].iter().any(|b| against(a, b)))
}
