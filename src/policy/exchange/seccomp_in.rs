//! A filter as lists of a profile.
//!
//! Of rules that hold at once the strictest stands, as no compiler may answer less. A profile's order
//! (conditional denials, conditional allowances, then what is unconditional) says just that, so each rule
//! becomes an entry, and only what has no word here is said narrower:
//!
//! | there | here |
//! |---|---|
//! | `SCMP_ACT_ALLOW` | `allow` |
//! | `SCMP_ACT_LOG` | `allow`: performed there, too, and a line of the kernel's log less |
//! | `SCMP_ACT_ERRNO` | `deny` with its errno |
//! | `SCMP_ACT_KILL*` | `tripwire`, and a rule of `detect` that kills the process |
//! | `SCMP_ACT_TRAP`, `NOTIFY` | `tripwire` |
//! | `SCMP_ACT_TRACE` | `tripwire` with ENOSYS, the answer where nobody traces |

use std::collections::BTreeSet;

use oci_spec::runtime::LinuxSeccomp;

use super::oci::{Filter, Scene};
use super::{Error, Imported, yaml};
use crate::policy::refuse::MOUNTING;
use crate::policy::seccomp::engine;
use crate::policy::seccomp::exact::LAST_NEEDS;
use crate::policy::seccomp::verdict::{Action, Compare, Condition};
use crate::profile::table::{self, Lookup};
use crate::profile::{Condition as Written, Op, Profile, errno_name, groups};

/// What becomes of a filter that performs whatever it does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defaults {
    /// It is refused.
    Refuse,
    /// Every call that is known today is allowed, less what it refuses.
    Expand,
}

/// Makes a profile called `name` of a filter; `file` is what errors and comments call the source.
///
/// # Errors
///
/// [`Error`]: what a profile would make wider, or cannot say at all.
pub fn import_seccomp(
    file: &str,
    name: &str,
    filter: &Filter,
    scene: &Scene,
    defaults: Defaults,
) -> Result<Imported, Error> {
    let name = super::name(name)?;
    let resolved = filter.resolve(file, scene)?;
    let mut lists = Lists {
        default: engine::default(&resolved.filter),
        notes: resolved.notes,
        ..Lists::default()
    };
    if lists.default.permits() && defaults == Defaults::Refuse {
        let action = word(lists.default);
        return Err(Error::DenyList {
            file: file.into(),
            action,
        });
    }
    lists.fill(file, &resolved.filter)?;
    lists.complete();
    let text = lists.write(file, name, scene);
    match Profile::parse(name, &text) {
        Ok(_) => Ok(Imported {
            text,
            notes: lists.notes,
        }),
        Err(error) => Err(Error::Broken {
            file: file.into(),
            cause: error.to_string(),
        }),
    }
}

/// The lists of the profile that is made.
struct Lists {
    default: Action,
    /// Names that are allowed whatever their arguments.
    allowed: BTreeSet<String>,
    allow: Vec<Entry>,
    tripwire: Vec<Entry>,
    deny: Vec<Entry>,
    /// Calls whose tripwire kills.
    kills: BTreeSet<String>,
    notes: Vec<String>,
}

impl Default for Lists {
    fn default() -> Lists {
        Lists {
            default: Action::Errno(1),
            allowed: BTreeSet::new(),
            allow: Vec::new(),
            tripwire: Vec::new(),
            deny: Vec::new(),
            kills: BTreeSet::new(),
            notes: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    args: Vec<Written>,
    errno: Option<&'static str>,
}

impl Lists {
    /// One call after the other.
    fn fill(&mut self, file: &str, filter: &LinuxSeccomp) -> Result<(), Error> {
        let rules = filter.syscalls().iter().flatten();
        let mut names: BTreeSet<&str> = rules
            .flat_map(|rule| rule.names())
            .map(String::as_str)
            .collect();
        names.extend(LAST_NEEDS);
        if self.default.permits() {
            names.extend(groups::members(groups::CURRENT, "known").unwrap_or_default());
        }
        let (mut unknown, mut mounting) = (Vec::new(), Vec::new());
        for name in names {
            let rules = engine::rules(filter, name);
            match table::lookup(name) {
                Lookup::Elsewhere => continue,
                Lookup::Unknown => {
                    unknown.push(yaml::plain(name));
                    continue;
                }
                Lookup::Number(_) => {}
            }
            if let Some(call) = LAST_NEEDS.into_iter().find(|need| *need == name) {
                let refused = rules.iter().any(|(_, action)| !action.permits());
                let always = rules
                    .iter()
                    .any(|(conditions, action)| conditions.is_empty() && action.permits());
                if refused || !(always || self.default.permits()) {
                    return Err(Error::Needed {
                        file: file.into(),
                        call,
                    });
                }
            }
            let allowed = |rules: &[(Vec<Condition>, Action)]| {
                rules.iter().any(|(_, action)| action.permits())
            };
            if MOUNTING.contains(&name)
                && (allowed(&rules) || rules.is_empty() && self.default.permits())
            {
                mounting.push(name.to_owned());
                continue;
            }
            self.call(name, &rules);
        }
        if !unknown.is_empty() {
            self.notes.push(format!(
                "calls that this build does not know, so that they answer ENOSYS: {}",
                unknown.join(" ")
            ));
        }
        if !mounting.is_empty() {
            self.notes.push(format!(
                "denied, because every Landlock domain denies them: {}",
                mounting.join(" ")
            ));
        }
        Ok(())
    }

    fn call(&mut self, name: &str, rules: &[(Vec<Condition>, Action)]) {
        // The strictest first; of two alike, the first written.
        let mut rules: Vec<_> = rules.to_vec();
        rules.sort_by_key(|(_, action)| action.rank());
        let mut bare = None;
        let mut refused: Vec<Vec<Written>> = Vec::new();
        let mut allowed = Vec::new();
        for (conditions, action) in rules {
            let Some(args) = self.arguments(name, &conditions, action) else {
                continue;
            };
            if args.is_empty() {
                bare = bare.or(Some(action));
            } else if action.permits() {
                allowed.push(args);
            } else {
                self.refuse(name, args.clone(), action);
                refused.push(args);
            }
        }
        match bare.unwrap_or(self.default) {
            action if action.permits() => drop(self.allowed.insert(name.to_owned())),
            action if bare.is_some() => self.refuse(name, Vec::new(), action),
            _ => {
                // An allowance under the very conditions of a denial would take its place.
                allowed.retain(|args| !refused.contains(args));
                let entries = allowed.into_iter().map(|args| Entry {
                    name: name.to_owned(),
                    args,
                    errno: None,
                });
                self.allow.extend(entries);
            }
        }
    }

    /// The conditions in our words; none where they never all hold.
    fn arguments(
        &mut self,
        name: &str,
        conditions: &[Condition],
        action: Action,
    ) -> Option<Vec<Written>> {
        let mut args = Vec::new();
        for condition in conditions {
            match written(name, condition, action.permits()) {
                Holds::If(one) => {
                    if !args.contains(&one) {
                        args.push(one);
                    }
                }
                Holds::Always => {}
                Holds::Never => {
                    if action.permits() && table::is_int(name, condition.index.into()) {
                        self.notes.push(format!(
                            "{name}: an allowance is left out, because argument {} is an int and never compares so",
                            condition.index
                        ));
                    }
                    return None;
                }
            }
        }
        if args.len() > 12 {
            self.notes.push(format!(
                "{name}: a rule with more than twelve conditions; denied where it allows"
            ));
            return if action.permits() {
                None
            } else {
                Some(Vec::new())
            };
        }
        Some(args)
    }

    fn refuse(&mut self, name: &str, args: Vec<Written>, action: Action) {
        let errno = self.errno(name, action);
        let entry = Entry {
            name: name.to_owned(),
            args,
            errno,
        };
        match action {
            Action::Errno(_) => self.deny.push(entry),
            Action::KillProcess | Action::KillThread => {
                self.kills.insert(name.to_owned());
                self.tripwire.push(entry);
            }
            _ => {
                self.notes.push(format!(
                    "{name}: {} is a tripwire here, refused and reported",
                    word(action)
                ));
                self.tripwire.push(entry);
            }
        }
    }

    /// None for EPERM, which needs no word.
    fn errno(&mut self, name: &str, action: Action) -> Option<&'static str> {
        let number = match action {
            Action::Errno(errno) => i32::from(errno),
            Action::Trace => libc::ENOSYS,
            _ => libc::EPERM,
        };
        if number == libc::EPERM {
            return None;
        }
        let found = errno_name(number);
        if found.is_none() {
            let said = if number == 0 {
                "success without doing anything".to_owned()
            } else {
                format!("errno {number}")
            };
            // In order of names, clone has had its turn.
            let instead = match name {
                "clone3" if !self.allowed.contains("clone") => {
                    "ENOSYS instead, as wherever clone is not allowed whole"
                }
                _ => "EPERM instead",
            };
            self.notes.push(format!(
                "{name}: it answers {said}, for which there is no word here; {instead}"
            ));
        }
        found
    }

    /// What the default says of calls that are known and not listed.
    fn complete(&mut self) {
        if self.default.permits() {
            self.notes.push(format!(
                "`defaultAction` {} performs what it does not list; here that is every call of groups {}, and \
                 calls that are younger answer ENOSYS",
                word(self.default),
                groups::CURRENT
            ));
            return;
        }
        let known = || {
            groups::members(groups::CURRENT, "known")
                .unwrap_or_default()
                .into_iter()
        };
        let default = self.default;
        let errno = self.errno("defaultAction", default);
        let all = |errno| Entry {
            name: "@known".into(),
            args: Vec::new(),
            errno,
        };
        match default {
            Action::Errno(_) if errno.is_none() => {}
            // After the calls that have an errno of their own.
            Action::Errno(_) => self.deny.push(all(errno)),
            _ => {
                // An unconditional tripwire comes before an unconditional denial, which must stay what it is.
                let own: BTreeSet<String> = bare(&self.deny).map(str::to_owned).collect();
                if own.is_empty() {
                    self.tripwire.push(all(errno));
                } else {
                    let rest = known()
                        .filter(|name| !own.contains(*name) && !self.allowed.contains(*name));
                    let entries = rest.map(|name| Entry {
                        name: name.into(),
                        args: Vec::new(),
                        errno,
                    });
                    let entries: Vec<Entry> = entries.collect();
                    self.tripwire.extend(entries);
                }
                let kill = matches!(default, Action::KillProcess | Action::KillThread);
                if kill {
                    let rest = known()
                        .filter(|name| !own.contains(*name) && !self.allowed.contains(*name));
                    let numbered =
                        rest.filter(|name| matches!(table::lookup(name), Lookup::Number(_)));
                    self.kills.extend(numbered.map(str::to_owned));
                }
            }
        }
    }

    fn write(&self, file: &str, name: &str, scene: &Scene) -> String {
        let mut out = yaml::comment(
            0,
            &format!(
                "Made by `mantlet import` from {file}, a seccomp filter for {}.",
                super::oci::NATIVE
            ),
        );
        out += "#\n";
        out += &yaml::comment(
            0,
            "It says which calls are performed, and nothing of files, network and capabilities: add what the \
             workload needs, and see `mantlet lint`.",
        );
        for note in &self.notes {
            out += &yaml::comment(0, &format!("* {note}"));
        }
        let capabilities: Vec<&str> = scene.capabilities.iter().map(|name| &name[4..]).collect();
        out += &format!(
            "version: 1\nname: {}\ndescription: {}\n\ncapabilities: [{}]\n\nsyscalls:\n  groups: {}\n",
            yaml::quoted(name),
            yaml::quoted(&format!("imported from {}", yaml::plain(file))),
            capabilities.join(", "),
            yaml::quoted(groups::CURRENT)
        );
        let mut allow: Vec<String> = grouped(&self.allowed);
        allow.extend(self.allow.iter().map(entry));
        for (key, lines) in [
            ("allow", allow),
            ("tripwire", self.tripwire.iter().map(entry).collect()),
            ("deny", self.deny.iter().map(entry).collect()),
        ] {
            if lines.is_empty() {
                continue;
            }
            out += &format!("  {key}:\n");
            for line in lines {
                out += &format!("    - {line}\n");
            }
        }
        if !self.kills.is_empty() {
            out += "\n# The filter ends who calls these.\ndetect:\n  - name: seccomp-kill\n    on: tripwire\n";
            let whole = self.kills.len() > 40;
            if whole {
                out += "    respond: kill-process\n";
            } else {
                let calls: Vec<&str> = self.kills.iter().map(String::as_str).collect();
                out += &format!(
                    "    calls: [{}]\n    respond: kill-process\n",
                    calls.join(", ")
                );
            }
        }
        out
    }
}

/// Names, with those groups in their place of which every call is among them.
fn grouped(names: &BTreeSet<String>) -> Vec<String> {
    let mut left: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut out = Vec::new();
    for group in groups::names(groups::CURRENT) {
        let members = groups::members(groups::CURRENT, group).unwrap_or_default();
        let whole = members.iter().all(|name| match table::lookup(name) {
            Lookup::Number(_) => names.contains(*name),
            Lookup::Elsewhere => true,
            // A later build would know it, and the source does not.
            Lookup::Unknown => false,
        });
        let has = members.iter().filter(|name| left.contains(**name)).count();
        // Those two are sets of sets: a reader of the profile is told more by the smaller ones.
        if !["known", "system-service"].contains(&group) && whole && has > 1 {
            out.push(format!("\"@{group}\""));
            left.retain(|name| !members.contains(name));
        }
    }
    out.extend(left.into_iter().map(str::to_owned));
    out
}

fn bare(entries: &[Entry]) -> impl Iterator<Item = &str> {
    let bare = entries.iter().filter(|entry| entry.args.is_empty());
    bare.map(|entry| entry.name.as_str())
}

fn entry(entry: &Entry) -> String {
    let name = if entry.name.starts_with('@') {
        yaml::quoted(&entry.name)
    } else {
        entry.name.clone()
    };
    if entry.args.is_empty() && entry.errno.is_none() {
        return name;
    }
    let mut out = format!("{{name: {name}");
    if !entry.args.is_empty() {
        let args: Vec<String> = entry.args.iter().map(Written::to_string).collect();
        out += &format!(", args: [{}]", args.join(", "));
    }
    if let Some(errno) = entry.errno {
        out += &format!(", errno: {errno}");
    }
    out + "}"
}

/// When a condition holds, as far as the kernel can tell values apart.
enum Holds {
    If(Written),
    Always,
    Never,
}

/// A condition in our words. Here an `int` is compared by the half that the kernel reads; there a filter
/// looks at the whole register, whose upper half a caller fills as it likes. So a comparison with what no
/// int can be never lets a call through, and never keeps a refusal from one.
fn written(name: &str, condition: &Condition, permits: bool) -> Holds {
    let int = table::is_int(name, condition.index.into());
    let width = if int { 0xffff_ffff } else { u64::MAX };
    let value = condition.value;
    let sign = value >> 31 == 0x1_ffff_ffff;
    let beyond = int && value > 0xffff_ffff && !(sign && condition.mask == u64::MAX);
    let open = if permits { Holds::Never } else { Holds::Always };
    match condition.compare {
        Compare::Eq if beyond && permits => return Holds::Never,
        Compare::Ne if beyond && !permits => return Holds::Always,
        Compare::Lt | Compare::Le | Compare::Gt | Compare::Ge if int && value > 0xffff_ffff => {
            return open;
        }
        _ => {}
    }
    let mask = condition.mask & width;
    let value = value & mask;
    if mask == 0 {
        return if condition.compare == Compare::Eq {
            Holds::Always
        } else {
            open
        };
    }
    let whole = mask == width;
    let op = match (condition.compare, whole) {
        (Compare::Eq, true) => Op::Eq,
        (Compare::Eq, false) => Op::Masked,
        (Compare::Ne, true) => Op::Ne,
        (Compare::Ne, false) => Op::MaskedNe,
        (Compare::Lt, _) => Op::Lt,
        (Compare::Le, _) => Op::Le,
        (Compare::Gt, _) => Op::Gt,
        (Compare::Ge, _) => Op::Ge,
    };
    Holds::If(Written {
        index: condition.index.into(),
        op,
        value,
        mask: (!whole).then_some(mask),
    })
}

fn word(action: Action) -> &'static str {
    match action {
        Action::KillProcess => "SCMP_ACT_KILL_PROCESS",
        Action::KillThread => "SCMP_ACT_KILL_THREAD",
        Action::Trap => "SCMP_ACT_TRAP",
        Action::Errno(_) => "SCMP_ACT_ERRNO",
        Action::Notify => "SCMP_ACT_NOTIFY",
        Action::Trace => "SCMP_ACT_TRACE",
        // The supervisor's alone: no filter that is read holds it.
        Action::Audit => "SCMP_ACT_NOTIFY",
        Action::Log => "SCMP_ACT_LOG",
        Action::Allow => "SCMP_ACT_ALLOW",
    }
}
