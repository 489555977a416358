//! Landlock by names: what a domain's rules come to for one path and one right, as init makes rules of
//! a policy and as the kernel looks for them, from the file up to the root.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Answer, Written};
use crate::access::Access;
use crate::policy::landlock::Source;
use crate::policy::mounts::beneath;
use crate::seal::{Layer, PathRule, PortRule, aliased, rights};

/// What paths of a policy lead to in a container.
pub trait Places {
    /// The real names that `path` may stand for, links resolved as init does: none where it is not
    /// there, several where that cannot be told. `follow`: any link may be followed, else those of
    /// [`aliased`] only.
    fn real(&self, path: &str, follow: bool) -> Vec<String>;
}

/// Nothing is known of the container's files: a path is what it says, and what [`aliased`] says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsWritten;

impl Places for AsWritten {
    fn real(&self, path: &str, _: bool) -> Vec<String> {
        let other = aliased(Path::new(path)).map(|other| other.to_string_lossy().into_owned());
        [path.to_owned()].into_iter().chain(other).collect()
    }
}

/// A Landlock domain, its paths resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// `LANDLOCK_ACCESS_FS_*` that are denied unless granted.
    pub handled_fs: u64,
    /// `LANDLOCK_ACCESS_NET_*`, likewise.
    pub handled_net: u64,
    /// `LANDLOCK_SCOPE_*`.
    pub scoped: u64,
    /// What is granted.
    pub grants: Vec<Grant>,
    /// Ports.
    pub ports: Vec<PortRule>,
}

/// One rule on files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub access: u64,
    /// Real names of what it is bound to: everything beneath one of them is granted.
    pub places: BTreeSet<String>,
    /// Real names of what is left out.
    pub excepts: Vec<String>,
    /// Mounts beneath are left out.
    pub within_mount: bool,
    /// The list and the entry that it comes from: `files.read: @image`.
    pub written: Option<Written>,
}

impl Grant {
    fn new(rule: &PathRule, written: Option<Written>, places: &dyn Places) -> Grant {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let real = |out: &Vec<u8>| {
            let name = text(out);
            let found = places.real(&name, true);
            // One that is not there names itself.
            if found.is_empty() { vec![name] } else { found }
        };
        Grant {
            access: rule.access,
            places: places
                .real(&text(&rule.path), rule.follow)
                .into_iter()
                .collect(),
            excepts: rule.except.iter().flat_map(real).collect(),
            within_mount: rule.within_mount,
            written,
        }
    }

    fn text(&self) -> &str {
        let written = self.written.as_ref();
        written.map_or("a rule", |written| &written.text)
    }

    /// Whether it reaches `path`, which lies on `mount`.
    fn reach(&self, path: &str, mount: &str) -> Reach<'_> {
        let mut best = Reach::Beside;
        let above = Path::new(path).ancestors().filter_map(Path::to_str);
        for place in above.filter_map(|name| self.places.get(name)) {
            let found = self.reach_from(place, path, mount);
            if matches!(found, Reach::Granted { .. }) {
                return found;
            }
            best = found;
        }
        best
    }

    fn reach_from<'a>(&'a self, place: &'a str, path: &str, mount: &str) -> Reach<'a> {
        // Written by another name than the place, it may hold all of that.
        if let Some(out) = self.excepts.iter().find(|out| beneath(place, out)) {
            return Reach::Excepted(out);
        }
        let mut excepts = self.excepts.iter().filter(|out| beneath(out, place));
        if let Some(out) = excepts.clone().find(|out| beneath(path, out)) {
            return Reach::Excepted(out);
        }
        // init grants what stands beside an exception, so no directory on the way to it.
        if let Some(out) = excepts.clone().find(|out| beneath(out, path)) {
            return Reach::Around(out);
        }
        let other_mount = mount != place && beneath(mount, place);
        if self.within_mount && other_mount {
            return Reach::OtherMount;
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = if folder.is_empty() { "/" } else { folder };
        Reach::Granted {
            place,
            beside: excepts.find(|out| beneath(out, folder)).map(String::as_str),
        }
    }
}

/// How a rule stands to a path.
enum Reach<'a> {
    /// It is about something else.
    Beside,
    /// It is left out with this exception.
    Excepted(&'a str),
    /// It is a directory on the way to this exception.
    Around(&'a str),
    /// It lies on another mount.
    OtherMount,
    /// It is granted; as a name of its own where it stands beside an exception.
    Granted {
        place: &'a str,
        beside: Option<&'a str>,
    },
}

/// What a domain says to one path.
pub(super) struct Found {
    pub answer: Answer,
    pub reason: String,
    pub written: Option<Written>,
    /// The path that a rule leaves out, where that is why.
    pub except: Option<String>,
}

impl Domain {
    /// A domain as sealed.
    #[must_use]
    pub fn new(layer: &Layer, places: &dyn Places) -> Domain {
        let grant = |rule: &PathRule| Grant::new(rule, None, places);
        Domain {
            grants: layer.paths.iter().map(grant).collect(),
            ..Domain::bare(layer)
        }
    }

    /// The same with what its rules were written as.
    #[must_use]
    pub fn written(layer: &Layer, sources: Vec<Source>, places: &dyn Places) -> Domain {
        let grant = |source: &Source| {
            let text = format!("files.{}: {}", source.list, super::shown(&source.entry));
            let written = Written::new(text, Some(&source.entry.origin));
            Grant::new(&source.rule, Some(written), places)
        };
        Domain {
            grants: sources.iter().map(grant).collect(),
            ..Domain::bare(layer)
        }
    }

    /// The same where init's own code has made the rules of the container's files: of each rule of
    /// `layer`, in its order, the real names that it was bound to. Exceptions and mounts are no more
    /// asked about, nor is what was made since.
    #[must_use]
    pub fn settled(layer: &Layer, places: &[BTreeSet<String>]) -> Domain {
        let rules = layer.paths.iter().zip(places);
        let grant = |(rule, places): (&PathRule, &BTreeSet<String>)| Grant {
            access: rule.access,
            places: places.clone(),
            excepts: Vec::new(),
            within_mount: false,
            written: None,
        };
        Domain {
            grants: rules.map(grant).collect(),
            ..Domain::bare(layer)
        }
    }

    /// A domain without rules on files.
    fn bare(layer: &Layer) -> Domain {
        Domain {
            grants: Vec::new(),
            handled_fs: layer.handled_fs,
            handled_net: layer.handled_net,
            scoped: layer.scoped,
            ports: layer.ports.clone(),
        }
    }

    /// `LANDLOCK_ACCESS_FS_*` that are granted at `path` on `mount`; a right that is not handled is.
    #[must_use]
    pub fn granted(&self, path: &str, mount: &str) -> u64 {
        let rules = self.grants.iter();
        let reaching = rules.filter(|g| matches!(g.reach(path, mount), Reach::Granted { .. }));
        let free = !self.handled_fs & !REFER;
        reaching.fold(free, |all, grant| all | grant.access)
    }

    /// Whether `access` to a file is granted.
    #[must_use]
    pub fn allows_file(&self, access: &Access) -> bool {
        self.file(access).answer == Answer::Allowed
    }

    pub(super) fn file(&self, access: &Access) -> Found {
        let found = self.at_its_place(access);
        match (found.answer, self.gains(access)) {
            (Answer::Allowed, gained) if !gained.is_empty() => gaining(access, &gained),
            _ => found,
        }
    }

    /// Rights that what is moved or linked would have in its new directory and has not where it is:
    /// Landlock refuses that with EXDEV, whatever grants `refer` (security/landlock/fs.c,
    /// `no_more_access`). Of what is no directory, those alone that files have.
    #[must_use]
    pub fn gains(&self, access: &Access) -> Vec<&'static str> {
        let Access::File {
            path,
            mount,
            moved: Some(moved),
            ..
        } = access
        else {
            return Vec::new();
        };
        let had = self.granted(&moved.path, mount);
        let kind = if moved.directory {
            u64::MAX
        } else {
            rights::ON_FILES
        };
        rights::files(self.granted(path, mount) & !had & kind)
    }

    /// Whether a port may be bound or connected to.
    pub(super) fn allows_port(&self, right: &str, port: u16) -> bool {
        allows(self.handled_net, &self.ports, right, port)
    }

    fn at_its_place(&self, access: &Access) -> Found {
        let Access::File {
            path, right, mount, ..
        } = access
        else {
            return Found::plain(Answer::Depends, "is no file");
        };
        let Some(bit) = rights::file(right) else {
            return Found::plain(Answer::Denied, format!("Landlock has no right {right}"));
        };
        if self.handled_fs & bit == 0 {
            return free(bit, right);
        }
        let mut why = None;
        for grant in self.grants.iter().filter(|grant| grant.access & bit != 0) {
            match grant.reach(path, mount) {
                Reach::Granted { place, beside } => {
                    return granting(grant, right, place, beside);
                }
                Reach::Beside => {}
                missed => {
                    let by = grant.text();
                    let out = missed.except().map(str::to_owned);
                    why = Some((missed.in_words(by), grant.written.clone(), out));
                }
            }
        }
        let none = || {
            let reason = format!("nothing grants {right} at {path} or above");
            (reason, None, None)
        };
        let (mut reason, written, except) = why.unwrap_or_else(none);
        let held = rights::files(self.granted(path, mount) & self.handled_fs);
        if !held.is_empty() {
            reason += &format!("; granted there: {}", held.join(", "));
        }
        Found {
            answer: Answer::Denied,
            reason,
            written,
            except,
        }
    }
}

/// What is moved would be freer than before.
fn gaining(access: &Access, gained: &[&str]) -> Found {
    let Access::File {
        path,
        moved: Some(moved),
        ..
    } = access
    else {
        return Found::plain(Answer::Depends, "is no move");
    };
    let (from, gained) = (&moved.path, gained.join(", "));
    Found::plain(
        Answer::Denied,
        format!(
            "{path} grants {gained}, which {from} has not: a move or link there would gain it (EXDEV)"
        ),
    )
}

/// Whether a domain lets a port be bound or connected to; a right that it does not handle it does.
#[must_use]
pub fn allows_port(domain: &Layer, right: &str, port: u16) -> bool {
    allows(domain.handled_net, &domain.ports, right, port)
}

fn allows(handled: u64, ports: &[PortRule], right: &str, port: u16) -> bool {
    let Some(bit) = rights::port(right) else {
        return false;
    };
    let listed = |rule: &PortRule| rule.port == port && rule.access & bit != 0;
    handled & bit == 0 || ports.iter().any(listed)
}

fn granting(grant: &Grant, right: &str, place: &str, beside: Option<&str>) -> Found {
    let by = grant.text();
    let mut reason = format!("`{by}` grants {right} beneath {place}");
    if let Some(out) = beside {
        reason += &format!(
            "; it stands beside {out}, which is excepted, so only what was there when the session began"
        );
    }
    Found {
        answer: Answer::Allowed,
        reason,
        written: grant.written.clone(),
        except: None,
    }
}

/// `LANDLOCK_ACCESS_FS_REFER`, which is denied by every domain that does not grant it.
pub(super) const REFER: u64 = 1 << 13;

/// A right that the domain does not handle.
fn free(bit: u64, right: &str) -> Found {
    if bit == REFER {
        let reason = "no domain lets files be moved between directories on a kernel below ABI 2";
        return Found::plain(Answer::Denied, reason);
    }
    let reason = format!(
        "{right} is not restricted: the profile has no `files`, or this kernel's Landlock cannot deny it"
    );
    Found::plain(Answer::Allowed, reason)
}

impl Reach<'_> {
    fn except(&self) -> Option<&str> {
        match self {
            Reach::Excepted(out) | Reach::Around(out) => Some(out),
            Reach::Beside | Reach::OtherMount | Reach::Granted { .. } => None,
        }
    }

    fn in_words(&self, by: &str) -> String {
        match self {
            Reach::Excepted(out) => format!("`{by}` leaves out {out}"),
            Reach::Around(out) => format!(
                "`{by}` leaves out {out} and grants what stands beside it, but no directory on the way there"
            ),
            Reach::OtherMount => {
                format!("`{by}` stays on its own mount, and this lies on another one")
            }
            Reach::Beside | Reach::Granted { .. } => format!("`{by}`"),
        }
    }
}

impl Found {
    fn plain(answer: Answer, reason: impl Into<String>) -> Found {
        Found {
            answer,
            reason: reason.into(),
            written: None,
            except: None,
        }
    }
}
