//! A node and a bundle with something broken, and what must come of it: one clear line in the
//! runtime's log and on standard error, a non-zero exit, no container, the bundle byte for byte as
//! it was, and nothing left running.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Bundle, Finished, World};
use crate::remains;

/// One broken input of `create`.
pub struct Case {
    /// The fact, for messages.
    pub name: &'static str,
    /// What breaks it.
    pub change: fn(&mut Scene),
    /// Words of the message: the object, the cause, the remedy.
    pub says: &'static [&'static str],
}

/// A node and a bundle of one case's own.
pub struct Scene {
    pub bundle: Bundle,
    /// Folder of the node: state, journals, profiles.
    pub node: PathBuf,
    pub profile: String,
    pub runtime: String,
    pub libexec: Option<PathBuf>,
    /// The whole node configuration, where it is not made of the above.
    pub configuration: Option<String>,
    /// `--bundle`, where it is not the bundle's own folder.
    pub elsewhere: Option<PathBuf>,
}

impl Scene {
    pub fn new(program: &str) -> Scene {
        let world = World::runc();
        let bundle = Bundle::new(world, program);
        bundle.write();
        let node = world.folder("nodes", &bundle.id);
        fs::create_dir(node.join("profiles")).expect("our own folder");
        Scene {
            bundle,
            node,
            profile: "restricted".into(),
            runtime: "runc".into(),
            libexec: None,
            configuration: None,
            elsewhere: None,
        }
    }

    pub fn state(&self) -> PathBuf {
        self.node.join("state")
    }

    pub fn config_file(&self) -> PathBuf {
        self.bundle.path.join("config.json")
    }

    /// Changes one value of config.json, by JSON pointer of its parent and key.
    pub fn set(&mut self, parent: &str, key: &str, value: Value) {
        let holder = self.bundle.config.pointer_mut(parent).expect("in the spec");
        holder[key] = value;
        self.bundle.write();
    }

    /// Replaces text in config.json.
    pub fn replace(&self, from: &str, to: &str) {
        let text = String::from_utf8(self.bundle.on_disk()).expect("we wrote it");
        assert!(text.contains(from), "{from} is not in config.json");
        self.bundle.write_raw(text.replacen(from, to, 1));
    }

    /// Writes a profile of the site.
    pub fn site_profile(&mut self, name: &str, text: &str) {
        self.profile = name.into();
        let file = self.node.join("profiles").join(format!("{name}.yaml"));
        fs::write(file, text).expect("our own folder");
    }

    /// A folder of our programs, all but `but`, for `libexec_dir`.
    pub fn programs_but(&mut self, but: &str) -> PathBuf {
        let folder = self.node.join("libexec");
        fs::create_dir(&folder).expect("our own folder");
        for name in ["mantlet-init", "mantlet-supervisor"] {
            if name != but {
                symlink(self.bundle.world().bin(name), folder.join(name)).expect("fresh");
            }
        }
        self.libexec = Some(folder.clone());
        folder.join(but)
    }

    /// Runs a script in the world, its words after `$0`.
    pub fn script(&self, script: &str, word: &Path) {
        let call = self
            .bundle
            .world()
            .command("sh")
            .args(["-euc", script, "sh"]);
        call.arg(word).run().ok();
    }

    pub fn write_configuration(&self) -> PathBuf {
        let file = self.node.join("config.yaml");
        let libexec = self.libexec.as_ref();
        let libexec = libexec.map(|path| format!("libexec_dir: {}\n", path.display()));
        let node = self.node.display();
        let made = format!(
            "version: 1\nstate_dir: {node}/state\nlog_dir: {node}/log\nprofiles_dir: {node}/profiles\n{}\
             handlers:\n  restricted: {{profile: {}, runtime: {}}}\n",
            libexec.unwrap_or_default(),
            self.profile,
            self.runtime
        );
        if !file.is_dir() {
            fs::write(&file, self.configuration.as_ref().unwrap_or(&made)).expect("our own folder");
        }
        file
    }

    pub fn folder(&self) -> &Path {
        self.elsewhere.as_deref().unwrap_or(&self.bundle.path)
    }

    pub fn create(&self) -> Finished {
        let call = self
            .bundle
            .call()
            .env("MANTLET_CONFIG", self.write_configuration());
        let call = call.args(["create", "--bundle"]).arg(self.folder());
        let call = call.arg("--pid-file").arg(self.node.join("pid"));
        call.arg(&self.bundle.id)
            .deadline(Duration::from_secs(30))
            .run()
    }
}

/// One error line in the log and the same on stderr, with `words` in it.
#[track_caller]
pub fn one_clear_line(name: &str, log: &Path, done: &Finished, words: &[&str]) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{name}: one line in the log, not {text:?}");
    let entry: Value = serde_json::from_str(lines[0]).expect(name);
    assert_eq!(entry["level"], "error", "{name}");
    let time = entry["time"].as_str().expect(name);
    humantime::parse_rfc3339(time).unwrap_or_else(|error| panic!("{name}: {time}: {error}"));
    let message = entry["msg"].as_str().expect(name);
    let said = format!(": {message}\n");
    assert!(
        done.stderr.ends_with(&said),
        "{name}: {:?} is not {said:?}",
        done.stderr
    );
    assert_eq!(done.stderr.lines().count(), 1, "{name}: {:?}", done.stderr);
    assert!(
        !message.chars().any(char::is_control),
        "{name}: {message:?}"
    );
    assert!(
        message.len() < 1000,
        "{name}: {} bytes are no line",
        message.len()
    );
    for word in words {
        assert!(
            message.contains(word),
            "{name}: {word:?} is not in {message:?}"
        );
    }
    println!("{name}: {message}");
}

/// Tries all cases, and then fails if one did.
pub fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let tried = std::panic::catch_unwind(|| {
            let mut scene = Scene::new("mantlet-restricted");
            (case.change)(&mut scene);
            refused(case, &scene);
        });
        if tried.is_err() {
            wrong.push(case.name);
        }
    }
    assert!(wrong.is_empty(), "not as it should be: {wrong:#?}");
}

pub fn refused(case: &Case, scene: &Scene) {
    let (name, world) = (case.name, scene.bundle.world());
    let before = remains::snapshot(&world.inside(scene.folder()));
    let done = scene.create();
    assert_eq!(done.code, 1, "{name}: {} {}", done.stdout, done.stderr);
    one_clear_line(name, &scene.bundle.path.join("log.json"), &done, case.says);
    assert!(!done.held_open, "{name}: somebody holds the engine's pipes");
    assert!(
        !remains::runtime_knows(&scene.bundle),
        "{name}: there is a container"
    );
    remains::nothing_runs(world, &scene.bundle.id);
    let homes = remains::homes(world, &scene.state(), &scene.bundle.id);
    assert!(homes.is_empty(), "{name}: {homes:?}");
    let after = remains::snapshot(&world.inside(scene.folder()));
    assert_eq!(before, after, "{name}: the bundle has changed");
}
