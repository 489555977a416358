//! Why the first program could not be executed, where a layer's Landlock domain is why: of the files that the
//! kernel opens for it (the program, the interpreter of a script, the loader), the first that no rule grants.
//!
//! init knows the errno alone: under its last filter it can ask no more. So this is asked once it has failed, of
//! the record and of the root file system where the bundle has it. What lies on a mount cannot be seen there and
//! is judged by its name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::access::starter::{self, MOST_PROGRAMS, Starter};
use crate::access::{Access, Phase};
use crate::event::{Process, Session, What};
use crate::oci::document::{Document, Kind};
use crate::policy::decide::{self, Domain, Rootfs};
use crate::policy::domains;
use crate::policy::mounts::{self, beneath};
use crate::state::Record;

/// As init words it.
const BEFORE: &str = "exec ";
const DENIED: &str = ": permission denied (";
const LOADER: &str = "its dynamic loader";
/// `LANDLOCK_ACCESS_FS_EXECUTE` and `_READ_FILE`: the kernel reads what it executes, and asks for both.
const NEEDED: [(u64, &str); 2] = [(1, "execute"), (1 << 2, "read-file")];

/// What a layer denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied {
    /// The layer's profile.
    profile: String,
    /// The file.
    path: String,
    /// What it is to the program.
    what: &'static str,
    access: Access,
    fix: String,
}

/// What the layers of `record` denied, by what init said; none where it was something else, or cannot be told.
pub(super) fn denied(record: &Record, message: &str) -> Option<Denied> {
    let (program, _) = message.strip_prefix(BEFORE)?.split_once(DENIED)?;
    let spec = Document::load(&record.original, Kind::Config)
        .ok()?
        .spec()
        .ok()?;
    let mounts: Vec<String> = mounts::read(&spec)
        .ok()?
        .into_iter()
        .map(|place| place.destination)
        .collect();
    let root = record.bundle.join(spec.root().as_ref()?.path());
    let rootfs = Rootfs::open(&root, mounts.clone()).ok()?;
    let folder = spec
        .process()
        .as_ref()
        .map_or(Path::new("/"), |own| own.cwd());
    let first = folder.join(program).to_str()?.to_owned();
    let layers: Vec<(String, Domain)> = domains(&record.effective)
        .into_iter()
        .map(|(name, layer)| (name, Domain::new(&layer, &rootfs)))
        .collect();
    let mut next = Some((first, "the program"));
    for _ in 0..MOST_PROGRAMS {
        let (asked, what) = next.take()?;
        let covered = rootfs.is_covered(&asked);
        let path = match covered {
            true => asked,
            false => rootfs.name(&asked, true)?,
        };
        // A link of the image's may lead below a mount.
        let covered = covered || rootfs.is_covered(&path);
        let holds = mounts.iter().filter(|mount| beneath(&path, mount));
        let mount = holds.max_by_key(|mount| mount.len());
        let mount = mount.map_or("/", String::as_str);
        let lacks = |domain: &Domain| {
            let lacking = domain.handled_fs & !domain.granted(&path, mount);
            let mut needed = NEEDED.into_iter();
            needed.find_map(|(bit, right)| (lacking & bit != 0).then_some(right))
        };
        let mut each = layers.iter();
        let denying = each.find_map(|(profile, domain)| Some((profile, domain, lacks(domain)?)));
        if let Some((profile, domain, right)) = denying {
            let access = Access::File {
                path: path.clone(),
                right: right.into(),
                entry: None,
                mount: mount.into(),
                directory: false,
                moved: None,
            };
            let grants = domain.grants.iter();
            let outs: Vec<&str> = grants
                .flat_map(|grant| grant.excepts.iter().map(String::as_str))
                .collect();
            let out = decide::excepted(&access, Some(domain), &outs);
            return Some(Denied {
                profile: profile.clone(),
                fix: decide::file_fix(&access, Some(domain), out),
                path,
                what,
                access,
            });
        }
        // A loader asks for nothing.
        if covered || what == LOADER {
            return None;
        }
        let opened = rootfs.read(&path).ok()?;
        let starter = starter::of(|from, into| opened.read_at(into, from))?;
        let asked = folder.join(OsStr::from_bytes(starter.path()));
        let what = match starter {
            Starter::Loader(_) => LOADER,
            Starter::Interpreter(_) => "the interpreter that its first line names",
        };
        next = Some((asked.to_str()?.to_owned(), what));
    }
    None
}

impl Denied {
    /// What is told to whoever waits for the program.
    pub(super) fn message(&self, message: &str) -> String {
        let Denied {
            profile,
            path,
            what,
            fix,
            ..
        } = self;
        let end = message.find(DENIED).unwrap_or(message.len());
        format!(
            "{}: permission denied (profile {profile} does not grant execution of {path}, {what}; fix: {fix})",
            &message[..end]
        )
    }

    /// The same in the journal; `process` is what init was.
    pub(super) fn event(self, process: Process) -> What {
        What::Observed {
            process,
            session: Session::Workload,
            phase: Phase::StartUp,
            access: self.access,
            linked: false,
            clipped: false,
            profile: self.profile,
            denied: true,
            fix: self.fix,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::state::tests::{Scratch, record};

    fn layer(granted: &[(&str, &[&str])]) -> Value {
        let rules = granted.iter().map(|(path, access)| {
            json!({"path": path, "access": access, "except": [], "optional": false, "follow": false,
                "within_mount": false})
        });
        let rules: Vec<Value> = rules.collect();
        json!({"profile": "web", "handled": {"files": ["execute", "read-file"], "tcp": []}, "scope": [],
            "paths": rules, "ports": []})
    }

    #[test]
    fn the_first_file_that_is_not_granted_is_named_with_its_line() {
        let scratch = Scratch::new("unstarted");
        let root = scratch.path.join("rootfs");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/tool"), "#!/bin/run -x\n").unwrap();
        std::fs::write(root.join("bin/run"), "\x7fELF").unwrap();
        std::os::unix::fs::symlink("tool", root.join("bin/link")).unwrap();
        let mut config = crate::oci::reference::config();
        config["root"]["path"] = json!("rootfs");
        let original = scratch.path.join("config.json");
        std::fs::write(&original, config.to_string()).unwrap();
        let mut own = record(&scratch.path);
        own.bundle = scratch.path.clone();
        own.original = original;
        let said = "exec /bin/link: permission denied (whatever)";
        let mut ask = |granted: &[(&str, &[&str])], said: &str| {
            own.effective = json!({"landlock": {"layers": [layer(granted)]}});
            denied(&own, said).map(|denied| denied.message(said))
        };
        let both: &[&str] = &["execute", "read-file"];
        assert_eq!(
            ask(&[], said).unwrap(),
            "exec /bin/link: permission denied (profile web does not grant execution of /bin/tool, the program; \
             fix: files: {read_execute: [/bin/tool]})"
        );
        let interpreter = ask(&[("/bin/tool", both)], said).unwrap();
        assert!(
            interpreter.contains(
                "/bin/run, the interpreter that its first line names; fix: files: {read_execute"
            ),
            "{interpreter}"
        );
        // Without reading nothing is executed.
        let unread = ask(&[("/bin", &["execute"])], said).unwrap();
        assert!(
            unread.contains("fix: files: {read: [/bin/tool]}"),
            "{unread}"
        );
        // It is not the layers, or nobody can tell.
        assert_eq!(ask(&[("/bin", both)], said), None);
        assert_eq!(
            ask(&[], "exec /bin/none: permission denied (whatever)"),
            None
        );
        assert_eq!(ask(&[], "exec /bin/link: exec format error"), None);
        // What is left out is granted by no line.
        let mut left_out = layer(&[("/", both)]);
        left_out["paths"][0]["except"] = json!(["/bin/tool"]);
        own.effective = json!({"landlock": {"layers": [left_out]}});
        let fix = denied(&own, said).unwrap().fix;
        assert!(fix.contains("`files.except`"), "{fix}");
    }
}
