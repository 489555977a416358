//! An OCI bundle and the runtime calls on it, as an engine makes them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::command::{Finished, Run};
use super::world::World;

/// A bundle on a writable overlay of the static image, with one container to be made of it.
/// Dropping it deletes the container and unmounts.
pub struct Bundle {
    world: &'static World,
    /// Container id, unique.
    pub id: String,
    /// The bundle's folder.
    pub path: PathBuf,
    /// What [`Bundle::run`] and [`Bundle::create`] write to config.json.
    pub config: Value,
    /// The runtime that is called: `mantlet-restricted`, `mantlet-baseline`, `runc`, `crun`.
    binary: PathBuf,
    /// mantlet's configuration where it is not the world's.
    configuration: Option<PathBuf>,
    /// Landlock's ABI that its calls see, where it is not the kernel's.
    abi: Option<u32>,
}

impl Bundle {
    /// A bundle for `runtime`: a handler's name, or `runc` or `crun` for the real thing.
    pub fn new(world: &'static World, runtime: &str) -> Bundle {
        Bundle::of(world, runtime, "static-rootfs")
    }

    /// The same on a writable overlay of an image's files.
    pub fn of(world: &'static World, runtime: &str, image: &str) -> Bundle {
        let id = world.name("bundle");
        let path = world.folder("bundles", &id);
        for part in ["rootfs", "upper", "scratch"] {
            fs::create_dir(path.join(part)).expect("a fresh folder");
        }
        let options = format!(
            "lowerdir={},upperdir={1}/upper,workdir={1}/scratch",
            super::containerd::image(image).display(),
            path.display()
        );
        let mount = world
            .command("mount")
            .args(["-t", "overlay", "-o", &options, "overlay"]);
        mount.arg(path.join("rootfs")).run().ok();
        let binary = match runtime {
            "runc" | "crun" => PathBuf::from(runtime),
            ours => world.bin(ours),
        };
        let config = specification(world, &id);
        Bundle {
            world,
            id,
            path,
            config,
            binary,
            configuration: None,
            abi: None,
        }
    }

    /// Calls the program of its handler's name in `folder`, where otherwise it is the world's.
    pub fn programs_in(mut self, folder: &Path) -> Bundle {
        let name = self.binary.file_name().expect("a program has a name");
        self.binary = folder.join(name);
        self
    }

    /// Has every call of the runtime see Landlock's ABI `abi`, and so mantlet and the container.
    pub fn emulating(mut self, abi: u32) -> Bundle {
        self.abi = Some(abi);
        self
    }

    /// Calls mantlet under a configuration of its own: the world's text, changed by `change`.
    pub fn configured(mut self, change: impl FnOnce(String) -> String) -> Bundle {
        let text = fs::read_to_string(self.world.config()).expect("the world has one");
        let path = self.path.join("mantlet.yaml");
        fs::write(&path, change(text)).expect("a folder of our own");
        self.configuration = Some(path);
        self
    }

    /// Puts the handlers under the profile `name`, whose text is given.
    pub fn profile(self, name: &str, text: &str) -> Bundle {
        let folder = self.path.join("profiles");
        fs::create_dir_all(&folder).expect("a folder of our own");
        fs::write(folder.join(format!("{name}.yaml")), text).expect("a folder of our own");
        self.configured(|world| {
            let text = world
                .replace("profile: baseline", &format!("profile: {name}"))
                .replace("profile: restricted", &format!("profile: {name}"));
            format!("{text}profiles_dir: {}\n", folder.display())
        })
    }

    /// Adds rules to its configuration; no engine tells who a bundle is, so each that is given holds.
    pub fn ruled(self, rule: &str) -> Bundle {
        let own = self.configuration.clone().unwrap_or(self.world.config());
        let text = fs::read_to_string(own).expect("our own file");
        self.configured(|_| format!("{text}rules: [{rule}]\n"))
    }

    /// Sets the workload's arguments.
    pub fn args<A: AsRef<str>>(mut self, args: impl IntoIterator<Item = A>) -> Bundle {
        let args: Vec<Value> = args.into_iter().map(|arg| json!(arg.as_ref())).collect();
        self.config["process"]["args"] = Value::Array(args);
        self
    }

    /// Sets user and group of the workload.
    pub fn user(mut self, id: u32) -> Bundle {
        self.config["process"]["user"] = json!({"uid": id, "gid": id});
        self
    }

    /// Binds a folder of its own to `path`, for `owner`; the world sees it as [`Bundle::volume_path`].
    pub fn volume(self, path: &str, owner: u32) -> Bundle {
        let folder = self.volume_path(path);
        fs::create_dir_all(&folder).expect("a folder of our own");
        std::os::unix::fs::chown(&folder, Some(owner), Some(owner)).expect("tests run as root");
        let mount = json!({"destination": path, "type": "bind", "source": folder, "options": ["rbind", "rw"]});
        self.edit(|config| {
            let mounts = config["mounts"].as_array_mut().expect("runc's own JSON");
            mounts.push(mount);
        })
    }

    /// Where the files of a volume lie.
    pub fn volume_path(&self, path: &str) -> PathBuf {
        self.path.join("volumes").join(path.replace('/', "_"))
    }

    /// Changes config.json before it is written.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Bundle {
        change(&mut self.config);
        self
    }

    /// The world it lives in.
    pub fn world(&self) -> &'static World {
        self.world
    }

    /// Folder of the container's files, as seen from outside the world.
    pub fn rootfs(&self) -> PathBuf {
        self.world.inside(self.path.join("rootfs"))
    }

    /// Writes config.json from [`Bundle::config`].
    pub fn write(&self) {
        self.write_raw(serde_json::to_vec_pretty(&self.config).expect("a JSON value"));
    }

    /// Writes any bytes as config.json.
    pub fn write_raw(&self, bytes: impl AsRef<[u8]>) {
        fs::write(self.path.join("config.json"), bytes).expect("a folder of our own");
    }

    /// config.json as it is on disk now.
    pub fn on_disk(&self) -> Vec<u8> {
        fs::read(self.path.join("config.json")).unwrap_or_default()
    }

    /// The runtime's `--root`.
    pub fn root(&self) -> PathBuf {
        self.world.work().join("roots").join(self.world.runtime())
    }

    /// The runtime with the global flags that containerd passes; add a verb.
    pub fn call(&self) -> Run {
        self.call_after("true")
    }

    /// The same after the shell commands `prelude`, in the process that becomes the runtime: for
    /// descriptors and variables. The working directory is the bundle.
    pub fn call_after(&self, prelude: &str) -> Run {
        self.call_of(&self.binary, prelude)
    }

    /// The real runtime, as host root calls it around mantlet.
    pub fn around(&self) -> Run {
        self.call_of(Path::new(self.world.runtime()), "true")
    }

    fn call_of(&self, binary: &Path, prelude: &str) -> Run {
        let script = format!("cd \"$1\" && shift && {prelude} && exec \"$@\"");
        let mut call = self.world.command("sh").args(["-c", &script, "sh"]);
        if let Some(path) = &self.configuration {
            call = call.env("MANTLET_CONFIG", path);
        }
        if let Some(abi) = self.abi {
            call = call.emulating(abi);
        }
        call.arg(&self.path)
            .arg(binary)
            .arg("--root")
            .arg(self.root())
            .arg("--log")
            .arg(self.path.join("log.json"))
            .args(["--log-format", "json"])
    }

    /// `run` in the foreground, to its end. Writes config.json first.
    pub fn run(&self) -> Finished {
        self.write();
        self.call()
            .args(["run", "--bundle"])
            .arg(&self.path)
            .arg(&self.id)
            .run()
    }

    /// `create`, with the container's output going to a file ([`Bundle::output`]). Does not write
    /// config.json: call [`Bundle::write`] first. Answers the exit code.
    pub fn create(&self) -> i32 {
        self.create_with(self.call(), &[])
    }

    /// `create` by a call of your own, with more flags.
    pub fn create_with(&self, call: Run, flags: &[&str]) -> i32 {
        let call = call.args(["create", "--bundle"]).arg(&self.path);
        let call = call.arg("--pid-file").arg(self.path.join("init.pid"));
        call.args(flags)
            .arg(&self.id)
            .run_into(&self.path.join("output"))
    }

    /// What the container and the `create` call have written so far.
    pub fn output(&self) -> String {
        fs::read(self.path.join("output"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// `start`.
    pub fn start(&self) -> Finished {
        self.call().arg("start").arg(&self.id).run()
    }

    /// Writes config.json, creates and starts; panics where either fails.
    pub fn up(self) -> Bundle {
        self.write();
        let code = self.create();
        assert_eq!(code, 0, "create: {}\n{:?}", self.output(), self.errors());
        self.start().ok();
        self
    }

    /// Command-line form of `exec`, in the foreground.
    pub fn exec<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        let args: Vec<String> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        self.call().arg("exec").arg(&self.id).args(args).run()
    }

    /// `exec --process` with the container's own process object changed by `change`.
    pub fn exec_process(&self, change: impl FnOnce(&mut Value)) -> Finished {
        let file = self.process_file(change);
        self.call()
            .args(["exec", "--process"])
            .arg(file)
            .arg(&self.id)
            .run()
    }

    /// `exec --detach`, its output into a file. Answers the exit code, the output's file, and the
    /// session's pid in the world's numbers.
    pub fn exec_detached(&self, flags: &[&str], args: &[&str]) -> (i32, PathBuf, Option<i32>) {
        let name = self.world.name("session");
        let (output, pid_file) = (self.path.join(&name), self.path.join(format!("{name}.pid")));
        let call = self.call().args(["exec", "--detach", "--pid-file"]);
        let call = call.arg(&pid_file).args(flags).arg(&self.id).args(args);
        let code = call.run_into(&output);
        let pid = fs::read_to_string(pid_file).ok();
        (code, output, pid.and_then(|text| text.trim().parse().ok()))
    }

    /// A process object as a file for `exec --process`: the container's own, changed by `change`.
    pub fn process_file(&self, change: impl FnOnce(&mut Value)) -> PathBuf {
        let mut process = self.config["process"].clone();
        change(&mut process);
        let file = self.path.join(self.world.name("process"));
        fs::write(&file, process.to_string()).expect("a folder of our own");
        file
    }

    /// The file of the container's journal.
    pub fn journal_path(&self) -> PathBuf {
        mantlet::state::journal_path(&self.world.log_dir(), &self.root(), &self.id)
    }

    /// The container's journal so far, one event a value. A line whose end is not there yet is none: the
    /// kernel shows a write(2) that crosses a page in pieces.
    pub fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.journal_path()).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).expect("the journal is JSON lines"))
            .collect()
    }

    /// Supervisors of this container, in the world's pids.
    pub fn supervisors(&self) -> Vec<i32> {
        let mut pids = self.world.pids_named("mantlet-supervisor");
        pids.retain(|pid| {
            let line = fs::read(self.world.proc(*pid).join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&self.id)
        });
        pids
    }

    /// `state`, parsed; `None` where the runtime knows no such container.
    pub fn state(&self) -> Option<Value> {
        let answer = self.call().arg("state").arg(&self.id).run();
        (answer.code == 0).then(|| serde_json::from_str(&answer.stdout).expect("runc's own JSON"))
    }

    /// Pid of the container's first process, in the world's numbers.
    pub fn pid(&self) -> Option<i32> {
        let pid = self.state()?.get("pid")?.as_i64()?;
        i32::try_from(pid).ok().filter(|pid| *pid > 0)
    }

    /// `kill`.
    pub fn kill(&self, signal: &str) -> Finished {
        self.call().arg("kill").arg(&self.id).arg(signal).run()
    }

    /// `delete --force`.
    pub fn delete(&self) -> Finished {
        self.call().args(["delete", "--force"]).arg(&self.id).run()
    }

    /// Messages of level `error` in the runtime's log, read as containerd reads it.
    pub fn errors(&self) -> Vec<String> {
        errors_in(&self.path.join("log.json"))
    }
}

/// Messages of level `error` in a runtime's JSON log.
pub fn errors_in(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .map(|line| {
            serde_json::from_str::<Value>(line)
                .unwrap_or_else(|error| panic!("containerd cannot read {line:?}: {error}"))
        })
        .filter(|entry| entry["level"] == "error")
        .map(|entry| entry["msg"].as_str().expect("`msg` is text").to_owned())
        .collect()
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.delete();
        self.world
            .command("umount")
            .arg("-l")
            .arg(self.path.join("rootfs"))
            .run();
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// `runc spec` with what a container under containerd has besides.
fn specification(world: &World, id: &str) -> Value {
    let folder = world.folder("specs", id);
    let spec = world
        .command("runc")
        .args(["spec", "--bundle"])
        .arg(&folder);
    spec.run().ok();
    let text = fs::read(folder.join("config.json")).expect("runc has written it");
    let mut config: Value = serde_json::from_slice(&text).expect("runc's own JSON");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/harmless", "stay"]);
    config["process"]["env"] = json!(["PATH=/bin", "HOME=/root"]);
    config["root"] = json!({"path": "rootfs", "readonly": false});
    config["linux"]["cgroupsPath"] = json!(format!("{}/{id}", world.cgroup()));
    config
}
