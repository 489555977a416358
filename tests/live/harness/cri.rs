//! A CRI client: what the kubelet does with a pod, over the real gRPC API.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use super::command::Finished;
use super::containerd::{Containerd, STATIC};
use super::messages::*;
use super::{eventually, stream};

/// One connection; calls block the test's thread.
pub struct Cri {
    tokio: tokio::runtime::Runtime,
    channel: Channel,
}

/// State of a container, as CRI numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    Exited,
    Unknown,
}

impl Cri {
    /// Connects to `socket`.
    pub fn connect(socket: &Path) -> Cri {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("an event loop");
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async {
                tokio::net::UnixStream::connect(socket)
                    .await
                    .map(TokioIo::new)
            }
        });
        let channel = tokio.block_on(async {
            // The name is only for the Host header; the connector knows where to go.
            Endpoint::from_static("http://localhost")
                .connect_with_connector(connector)
                .await
        });
        Cri {
            tokio,
            channel: channel.expect("containerd's socket"),
        }
    }

    /// One call of runtime.v1.RuntimeService. The error is the text people see in Kubernetes.
    pub fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, String>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}")
            .parse()
            .expect("a method name");
        self.tokio.block_on(async {
            let mut client = tonic::client::Grpc::new(self.channel.clone());
            client.ready().await.map_err(|error| error.to_string())?;
            let mut request = tonic::Request::new(request);
            request.set_timeout(Duration::from_secs(120));
            let codec = tonic_prost::ProstCodec::<Q, A>::default();
            let answer = client.unary(request, path, codec).await;
            answer
                .map(tonic::Response::into_inner)
                .map_err(|status| status.message().to_owned())
        })
    }
}

/// A pod. Dropping it stops and removes it with its containers.
pub struct Pod<'a> {
    containerd: &'a Containerd,
    cri: Cri,
    handler: String,
    /// The pod's configuration, for what has no method here; used by [`Pod::run`].
    pub config: PodSandboxConfig,
    /// Empty until it runs.
    pub id: String,
}

impl<'a> Pod<'a> {
    pub(super) fn new(containerd: &'a Containerd, handler: &str) -> Pod<'a> {
        let world = containerd.world();
        let name = world.name("pod");
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                uid: format!("uid-{name}"),
                name: name.clone(),
                namespace: "default".into(),
                attempt: 0,
            }),
            hostname: name.clone(),
            log_directory: world.folder("pods", &name).to_string_lossy().into_owned(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: world.cgroup(),
                security_context: Some(LinuxSandboxSecurityContext {
                    seccomp: Some(SecurityProfile { profile_type: 0 }),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        };
        let cri = containerd.cri();
        Pod {
            containerd,
            cri,
            handler: handler.into(),
            config,
            id: String::new(),
        }
    }

    /// Adds a pod annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Pod<'a> {
        self.config.annotations.insert(key.into(), value.into());
        self
    }

    /// Allows privileged containers.
    pub fn privileged(mut self) -> Pod<'a> {
        self.security().privileged = true;
        self
    }

    /// Sets namespaces: 0 pod, 1 container, 2 node.
    pub fn namespaces(mut self, network: i32, pid: i32, ipc: i32) -> Pod<'a> {
        self.security().namespace_options = Some(NamespaceOption { network, pid, ipc });
        self
    }

    fn security(&mut self) -> &mut LinuxSandboxSecurityContext {
        let linux = self.config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default()
    }

    /// RunPodSandbox; the error is the text that Kubernetes shows.
    pub fn try_run(mut self) -> Result<Pod<'a>, String> {
        let request = RunPodSandboxRequest {
            config: Some(self.config.clone()),
            // The plain runtime is containerd's default handler.
            runtime_handler: if self.handler == "runc" {
                "".into()
            } else {
                self.handler.clone()
            },
        };
        let answer: Created = self.cri.call("RunPodSandbox", request)?;
        self.id = answer.id;
        Ok(self)
    }

    /// RunPodSandbox.
    #[track_caller]
    pub fn run(self) -> Pod<'a> {
        match self.try_run() {
            Ok(pod) => pod,
            Err(error) => panic!("RunPodSandbox: {error}"),
        }
    }

    /// Pid of the pause container, in the world's numbers.
    pub fn pid(&self) -> i32 {
        let request = StatusRequest {
            id: self.id.clone(),
            verbose: true,
        };
        let answer: PodSandboxStatusResponse = self
            .cri
            .call("PodSandboxStatus", request)
            .expect("a running pod");
        pid_in(&answer.info)
    }

    /// PodSandboxStatus: whether it is ready.
    pub fn ready(&self) -> bool {
        let request = StatusRequest {
            id: self.id.clone(),
            verbose: false,
        };
        let answer: Result<PodSandboxStatusResponse, _> =
            self.cri.call("PodSandboxStatus", request);
        answer.is_ok_and(|answer| answer.status.is_some_and(|status| status.state == 0))
    }

    /// A container of the static image, not created yet, with the profile that Kubernetes gives by
    /// default (`RuntimeDefault`).
    pub fn container(&self, name: &str) -> Container<'_> {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.into(),
                attempt: 0,
            }),
            image: Some(ImageSpec {
                image: STATIC.into(),
            }),
            command: vec!["/bin/harmless".into(), "stay".into()],
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig {
                resources: Some(LinuxContainerResources {
                    cpu_shares: 128,
                    ..Default::default()
                }),
                security_context: Some(LinuxContainerSecurityContext {
                    seccomp: Some(SecurityProfile { profile_type: 0 }),
                    namespace_options: Some(NamespaceOption {
                        pid: 1,
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        };
        Container {
            pod: self,
            config,
            id: String::new(),
        }
    }

    /// StopPodSandbox and RemovePodSandbox.
    pub fn remove(&mut self) -> Result<(), String> {
        let id = std::mem::take(&mut self.id);
        if id.is_empty() {
            return Ok(());
        }
        let _: Empty = self.cri.call("StopPodSandbox", ById { id: id.clone() })?;
        let _: Empty = self.cri.call("RemovePodSandbox", ById { id })?;
        Ok(())
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // A test that cares calls `remove` itself; the world's end takes what is left.
        let _ = self.remove();
    }
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

    /// `privileged: true`; the pod must allow it.
    pub fn privileged(mut self) -> Container<'a> {
        let security = self.security();
        security.privileged = true;
        security.seccomp = Some(SecurityProfile { profile_type: 1 });
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
                begin.elapsed() < Duration::from_secs(20),
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

fn info_in(info: &HashMap<String, String>) -> Value {
    let text = info.get("info").expect("a verbose answer has `info`");
    serde_json::from_str(text).expect("containerd's own JSON")
}

fn pid_in(info: &HashMap<String, String>) -> i32 {
    i32::try_from(info_in(info)["pid"].as_i64().expect("a pid")).expect("a pid")
}
