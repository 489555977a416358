//! What a profile decides about calls, as `linux.seccomp`: for a container that mantlet is not there for.
//!
//! The filter is the exact one, which knows nothing of the runtime: `runtime` adds what runc calls between
//! the filter and the workload, and so allows it to the workload too. Tripwires become refusals, rules of
//! detection are lost.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Map, Value, json};

use super::regions::{self, Rule};
use super::{Error, oci::NATIVE};
use crate::policy::Layers;
use crate::policy::seccomp::exact::{Exact, LAST_NEEDS};
use crate::policy::seccomp::runtime::{INIT_NEEDS, RUNTIME_NEEDS};
use crate::policy::seccomp::verdict::{Action, Compare, Condition, Decision};
use crate::profile::{Mode, Profile};

/// Of what init needs, what runc has no use for.
const INIT_ALONE: [&str; 4] = [
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "seccomp",
];

/// A filter with what got lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Seccomp {
    /// `linux.seccomp`.
    pub filter: Value,
    /// For people.
    pub notes: Vec<String>,
}

impl Seccomp {
    /// As the runtime-spec's own type.
    #[must_use]
    pub fn typed(&self) -> Option<LinuxSeccomp> {
        serde_json::from_value(self.filter.clone()).ok()
    }
}

/// Exports the profile's decisions. `runtime`: allow what the runtime's last steps need.
///
/// # Errors
///
/// [`Error::TooManyRules`], [`Error::TooLarge`].
pub fn export_seccomp(profile: &Profile, runtime: bool) -> Result<Seccomp, Error> {
    // What it would deny, even where it only tells of it.
    let profile = &Profile {
        mode: Mode::Enforce,
        ..profile.clone()
    };
    let mut exact = Exact::new(Layers::from(&profile), false)?;
    let mut notes = losses(profile);
    let missing = if runtime {
        BTreeSet::new()
    } else {
        missing(&exact)
    };
    if !missing.is_empty() {
        let names: Vec<&str> = missing.into_iter().collect();
        notes.push(format!(
            "runc itself may call, before the workload starts, what the profile does not allow (add it with \
             --with-runtime): {}",
            names.join(" ")
        ));
    }
    if runtime {
        notes.push(
            "for containers with no_new_privs (allowPrivilegeEscalation: false): without it runc loads the filter \
             earlier, and changes its user and capabilities under it"
                .into(),
        );
        for name in needs() {
            // What is performed under conditions keeps them: the workload has the same filter.
            if let Some((_, decision)) = exact.calls.get_mut(name)
                && decision.permits_none()
            {
                *decision = Decision::always(Action::Allow);
            }
        }
    }
    let mut rules = Rules::default();
    for (name, (_, decision)) in &exact.calls {
        rules.add(name, decision, &mut notes)?;
    }
    if !exact.unknown.is_empty() {
        notes.push(format!(
            "allowed, but not known to this build: {}",
            exact.unknown.join(" ")
        ));
    }
    let filter = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": [NATIVE],
        "syscalls": rules.write(),
    });
    Ok(Seccomp { filter, notes })
}

fn losses(profile: &Profile) -> Vec<String> {
    let mut notes = Vec::new();
    if !profile.syscalls.tripwire.is_empty() {
        notes.push("tripwires are refused in silence: nobody is told".into());
    }
    let keys = [
        ("files", profile.files.is_some()),
        ("network", profile.network.is_some()),
        ("scope", !profile.scope.is_empty()),
        ("detect", !profile.detect.is_empty()),
        ("process.refuse", !profile.refuse.is_empty()),
        ("exec", profile.exec.is_some()),
    ];
    let lost: Vec<&str> = keys
        .iter()
        .filter(|(_, has)| *has)
        .map(|(key, _)| *key)
        .collect();
    if !lost.is_empty() {
        notes.push(format!("no part of a seccomp filter: {}", lost.join(", ")));
    }
    notes
}

fn needs() -> impl Iterator<Item = &'static str> {
    let all = RUNTIME_NEEDS
        .iter()
        .chain(INIT_NEEDS)
        .chain(&LAST_NEEDS)
        .copied();
    all.filter(|name| !INIT_ALONE.contains(name))
}

fn missing(exact: &Exact) -> BTreeSet<&'static str> {
    let denied = |name: &&str| {
        exact
            .calls
            .get(*name)
            .is_some_and(|(_, decision)| decision.permits_none())
    };
    needs().filter(denied).collect()
}

/// Rules by what they say, so that calls which share one are named together.
#[derive(Default)]
struct Rules {
    allow: BTreeMap<Vec<Rule>, Vec<String>>,
    refuse: BTreeMap<u16, Vec<String>>,
}

impl Rules {
    fn add(
        &mut self,
        name: &str,
        decision: &Decision,
        notes: &mut Vec<String>,
    ) -> Result<(), Error> {
        let too_many = |_| Error::TooManyRules {
            call: name.into(),
            most: regions::MOST,
        };
        let rules = match (regions::permitted(decision), name) {
            (Err(_), "socket") => {
                notes.push(
                    "socket: families from 64 on, which no kernel has, answer EPERM rather than EAFNOSUPPORT: all \
                     others and what `network` implies would be too many rules"
                        .into(),
                );
                regions::permitted(&of_families_there_are(decision)).map_err(too_many)?
            }
            (rules, _) => rules.map_err(too_many)?,
        };
        let answers: BTreeSet<u16> = decision
            .all()
            .filter_map(|(_, action)| errno(action))
            .collect();
        if rules.is_empty() {
            let answer = errno(decision.otherwise).unwrap_or(libc::EPERM as u16);
            self.refuse.entry(answer).or_default().push(name.to_owned());
            if answers.len() > 1 {
                notes.push(format!(
                    "{name}: answers errno {answer} alone, the profile has several"
                ));
            }
            return Ok(());
        }
        // Rules with different actions on one argument are what libseccomp compiles wrongly.
        if answers.iter().any(|errno| i32::from(*errno) != libc::EPERM) {
            notes.push(format!(
                "{name}: what is refused by its arguments answers EPERM"
            ));
        }
        self.allow.entry(rules).or_default().push(name.to_owned());
        Ok(())
    }

    fn write(self) -> Vec<Value> {
        let mut out = Vec::new();
        for (rules, names) in self.allow {
            for rule in rules {
                let mut one = Map::new();
                one.insert("names".into(), json!(names));
                one.insert("action".into(), json!("SCMP_ACT_ALLOW"));
                if !rule.is_empty() {
                    one.insert("args".into(), rule.iter().map(argument).collect());
                }
                out.push(Value::Object(one));
            }
        }
        for (errno, names) in self.refuse {
            if i32::from(errno) != libc::EPERM {
                out.push(json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno}));
            }
        }
        out
    }
}

/// The same, and nothing for address families from 64 on. Whatever is not 43, for `network`, is dozens of
/// rules of 32 bits, and whatever is neither 256 nor 262 as many again for each; of 6 bits it is a handful.
/// AF_MAX is 46 (linux/socket.h), and the kernel refuses what lies beyond.
fn of_families_there_are(decision: &Decision) -> Decision {
    let none = Condition {
        index: 0,
        compare: Compare::Ne,
        value: 0,
        mask: 0xffff_ffc0,
    };
    let mut narrower = decision.clone();
    let refused = Action::Errno(libc::EAFNOSUPPORT as u16);
    narrower.branches.insert(0, (vec![none], refused));
    narrower
}

fn errno(action: Action) -> Option<u16> {
    match action {
        Action::Errno(errno) => Some(errno),
        _ => None,
    }
}

fn argument(condition: &Condition) -> Value {
    let Condition {
        index,
        compare,
        value,
        mask,
    } = *condition;
    if mask != u64::MAX {
        return json!({"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"});
    }
    let op = match compare {
        Compare::Eq => "SCMP_CMP_EQ",
        Compare::Ne => "SCMP_CMP_NE",
        Compare::Lt => "SCMP_CMP_LT",
        Compare::Le => "SCMP_CMP_LE",
        Compare::Gt => "SCMP_CMP_GT",
        Compare::Ge => "SCMP_CMP_GE",
    };
    json!({"index": index, "value": value, "op": op})
}
