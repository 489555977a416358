//! A container of a pod: what the kubelet does with it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::command::Finished;
use super::containerd::Containerd;
use super::cri::{Pod, info_in};
use super::messages::*;
use super::{eventually, stream};

/// State of a container, as CRI numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    Exited,
    Unknown,
}

/// A container of a pod; it goes with the pod.
pub struct Container<'a> {
    pod: &'a Pod<'a>,
    /// Its configuration, for what has no method here; used by [`Container::create`].
    pub config: ContainerConfig,
    /// Empty until it is created.
    pub id: String,
}

impl<'a> Container<'a> {
    pub(super) fn new(pod: &'a Pod<'a>, config: ContainerConfig) -> Container<'a> {
        Container {
            pod,
            config,
            id: String::new(),
        }
    }

    /// Another image.
    pub fn image(mut self, image: &str) -> Container<'a> {
        self.config.image = Some(ImageSpec {
            image: image.into(),
        });
        self
    }

    /// What it runs; resolved in the container's PATH.
    pub fn command<A: AsRef<str>>(mut self, command: impl IntoIterator<Item = A>) -> Container<'a> {
        self.config.command = command
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        self
    }

    /// `/bin/sh -c SCRIPT`.
    pub fn shell(self, script: &str) -> Container<'a> {
        self.command(["/bin/sh", "-c", script])
    }

    /// Adds a variable.
    pub fn env(mut self, key: &str, value: &str) -> Container<'a> {
        self.config.envs.push(KeyValue {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// Adds a container annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Container<'a> {
        self.config.annotations.insert(key.into(), value.into());
        self
    }

    /// Runs as this user and group.
    pub fn user(mut self, id: i64) -> Container<'a> {
        let security = self.security();
        security.run_as_user = Some(Int64Value { value: id });
        security.run_as_group = Some(Int64Value { value: id });
        self
    }

    /// `readOnlyRootFilesystem`.
    pub fn read_only(mut self) -> Container<'a> {
        self.security().readonly_rootfs = true;
        self
    }

    /// `allowPrivilegeEscalation: false`.
    pub fn no_new_privs(mut self) -> Container<'a> {
        self.security().no_new_privs = true;
        self
    }

    /// Hides and protects of /proc and /sys what the kubelet does (`procMount: Default`); without
    /// it containerd is asked for none.
    pub fn default_proc(mut self) -> Container<'a> {
        let paths = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let security = self.security();
        security.masked_paths = paths(&[
            "/proc/asound",
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/sys/firmware",
        ]);
        security.readonly_paths = paths(&[
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ]);
        self
    }

    /// `privileged: true`; the pod must allow it.
    pub fn privileged(mut self) -> Container<'a> {
        let security = self.security();
        security.privileged = true;
        security.seccomp = Some(SecurityProfile {
            profile_type: 1,
            ..Default::default()
        });
        self
    }

    /// `seccompProfile: {type: Localhost}`, the file being on the node already.
    pub fn localhost(mut self, profile: &Path) -> Container<'a> {
        self.security().seccomp = Some(SecurityProfile {
            profile_type: 2,
            localhost_ref: profile.to_string_lossy().into_owned(),
        });
        self
    }

    /// Adds capabilities, names without `CAP_`.
    pub fn capabilities(mut self, names: &[&str]) -> Container<'a> {
        let capabilities = self.security().capabilities.get_or_insert_default();
        capabilities
            .add_capabilities
            .extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Gives it a device of the host, as a device plugin does.
    pub fn device(mut self, path: &str) -> Container<'a> {
        self.config.devices.push(Device {
            container_path: path.into(),
            host_path: path.into(),
            permissions: "rw".into(),
        });
        self
    }

    /// Limits memory (bytes) and CPU (microseconds of 100 000); 0 for no limit.
    pub fn limits(mut self, memory: i64, cpu: i64) -> Container<'a> {
        let linux = self.config.linux.get_or_insert_default();
        let resources = linux.resources.get_or_insert_default();
        resources.memory_limit_in_bytes = memory;
        (resources.cpu_period, resources.cpu_quota) = (100_000, cpu);
        self
    }

    /// Gives it a terminal.
    pub fn tty(mut self) -> Container<'a> {
        self.config.tty = true;
        self
    }

    /// Changes namespaces and whatever else the security context holds.
    pub fn security(&mut self) -> &mut LinuxContainerSecurityContext {
        let linux = self.config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default()
    }

    /// Mounts an existing folder or file of the host.
    pub fn mount(mut self, from: &Path, to: &str, readonly: bool) -> Container<'a> {
        self.config.mounts.push(Mount {
            container_path: to.into(),
            host_path: from.to_string_lossy().into_owned(),
            readonly,
        });
        self
    }

    /// Mounts a fresh, empty folder that belongs to `owner`, mode 0777 as an emptyDir has it.
    pub fn volume(self, to: &str, owner: u32) -> Container<'a> {
        let folder = self.volume_path(to);
        fs::create_dir_all(&folder).expect("a folder of our own");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("our own folder");
        chown(&folder, Some(owner), Some(owner)).expect("our own folder");
        self.mount(&folder, to, false)
    }

    /// Where [`Container::volume`] keeps the files, on the host.
    pub fn volume_path(&self, to: &str) -> PathBuf {
        let name = self
            .config
            .metadata
            .as_ref()
            .map_or("", |metadata| metadata.name.as_str());
        Path::new(&self.pod.config.log_directory)
            .join("volumes")
            .join(name)
            .join(to.trim_start_matches('/').replace('/', "-"))
    }

    /// CreateContainer. The runtime is not called yet.
    pub fn try_create(mut self) -> Result<Container<'a>, String> {
        let request = CreateContainerRequest {
            pod_sandbox_id: self.pod.id.clone(),
            config: Some(self.config.clone()),
            sandbox_config: Some(self.pod.config.clone()),
        };
        let answer: Created = self.pod.cri.call("CreateContainer", request)?;
        self.id = answer.id;
        Ok(self)
    }

    /// StartContainer: the runtime's `create` and `start`.
    pub fn try_start(&self) -> Result<(), String> {
        let _: Empty = self.pod.cri.call(
            "StartContainer",
            ById {
                id: self.id.clone(),
            },
        )?;
        Ok(())
    }

    /// CreateContainer and StartContainer.
    #[track_caller]
    pub fn run(self) -> Container<'a> {
        let container = match self.try_create() {
            Ok(container) => container,
            Err(error) => panic!("CreateContainer: {error}"),
        };
        if let Err(error) = container.try_start() {
            panic!("StartContainer: {error}");
        }
        container
    }

    /// ContainerStatus.
    pub fn status(&self) -> ContainerStatus {
        let request = StatusRequest {
            id: self.id.clone(),
            verbose: false,
        };
        let answer: ContainerStatusResponse = self
            .pod
            .cri
            .call("ContainerStatus", request)
            .expect("a created container");
        answer.status.expect("an answer has a status")
    }

    /// State of the container.
    pub fn state(&self) -> State {
        match self.status().state {
            0 => State::Created,
            1 => State::Running,
            2 => State::Exited,
            _ => State::Unknown,
        }
    }

    /// What ContainerStatus tells verbosely: `pid`, `runtimeSpec`, … as JSON.
    pub fn info(&self) -> Value {
        let request = StatusRequest {
            id: self.id.clone(),
            verbose: true,
        };
        let answer: ContainerStatusResponse = self
            .pod
            .cri
            .call("ContainerStatus", request)
            .expect("a created container");
        info_in(&answer.info)
    }

    /// Pid of its first process, in the world's numbers.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.info()["pid"].as_i64().expect("a pid")).expect("a pid")
    }

    /// Waits for its end and answers its exit code.
    pub fn wait(&self) -> i32 {
        eventually("the container ends", || {
            let status = self.status();
            (status.state == 2).then_some(status.exit_code)
        })
    }

    /// ExecSync, as probes do it. An error is one of the runtime's.
    pub fn try_exec<A: AsRef<str>>(
        &self,
        cmd: impl IntoIterator<Item = A>,
    ) -> Result<Finished, String> {
        let cmd: Vec<String> = cmd.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let what = cmd.join(" ");
        let request = ExecSyncRequest {
            container_id: self.id.clone(),
            cmd,
            timeout: 60,
        };
        let answer: ExecSyncResponse = self.pod.cri.call("ExecSync", request)?;
        Ok(Finished {
            code: answer.exit_code,
            stdout: String::from_utf8_lossy(&answer.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&answer.stderr).into_owned(),
            held_open: false,
            what,
        })
    }

    /// ExecSync.
    #[track_caller]
    pub fn exec<A: AsRef<str>>(&self, cmd: impl IntoIterator<Item = A>) -> Finished {
        match self.try_exec(cmd) {
            Ok(finished) => finished,
            Err(error) => panic!("ExecSync: {error}"),
        }
    }

    /// `/bin/sh -c SCRIPT` by ExecSync.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Finished {
        self.exec(["/bin/sh", "-c", script])
    }

    /// A session with a terminal, as `kubectl exec -it` has it: types `input`, reads to the end.
    pub fn exec_tty<A: AsRef<str>>(
        &self,
        cmd: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Result<Finished, String> {
        let cmd: Vec<String> = cmd.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let what = cmd.join(" ");
        let request = ExecRequest {
            container_id: self.id.clone(),
            cmd,
            tty: true,
            stdin: true,
            stdout: true,
            stderr: false,
        };
        let answer: ExecResponse = self.pod.cri.call("Exec", request)?;
        let session = stream::converse(&answer.url, input).map_err(|error| error.to_string())?;
        Ok(Finished {
            code: session.code?,
            stdout: session.output,
            stderr: String::new(),
            held_open: false,
            what,
        })
    }

    /// ContainerStats.
    pub fn stats(&self) -> ContainerStats {
        let answer: ContainerStatsResponse = self
            .pod
            .cri
            .call(
                "ContainerStats",
                ById {
                    id: self.id.clone(),
                },
            )
            .expect("a running container");
        answer.stats.expect("an answer has stats")
    }

    /// UpdateContainerResources.
    pub fn update(&self, resources: LinuxContainerResources) -> Result<(), String> {
        let request = UpdateContainerResourcesRequest {
            container_id: self.id.clone(),
            linux: Some(resources),
        };
        let _: Empty = self.pod.cri.call("UpdateContainerResources", request)?;
        Ok(())
    }

    /// Its log, without the time stamps and stream names of the CRI form.
    pub fn logs(&self) -> String {
        let path = Path::new(&self.pod.config.log_directory).join(&self.config.log_path);
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.splitn(4, ' ').nth(3))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Waits until the log holds `text`.
    #[track_caller]
    pub fn await_log(&self, text: &str) {
        let begin = std::time::Instant::now();
        while !self.logs().contains(text) {
            assert!(
                begin.elapsed() < Duration::from_secs(120),
                "no {text:?} in the log of {:?}:\n{}\n{:?}",
                self.config.command,
                self.logs(),
                self.status()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// StopContainer: SIGTERM, then SIGKILL after `seconds`.
    pub fn stop(&self, seconds: i64) -> Result<(), String> {
        let request = StopContainerRequest {
            container_id: self.id.clone(),
            timeout: seconds,
        };
        let _: Empty = self.pod.cri.call("StopContainer", request)?;
        Ok(())
    }

    /// RemoveContainer.
    pub fn remove(&self) -> Result<(), String> {
        let _: Empty = self.pod.cri.call(
            "RemoveContainer",
            ById {
                id: self.id.clone(),
            },
        )?;
        Ok(())
    }

    /// The daemon that runs it.
    pub fn containerd(&self) -> &Containerd {
        self.pod.containerd
    }
}
