//! A CRI client, and pods: what the kubelet does with them, over the real gRPC API.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use super::container::Container;
use super::containerd::{Containerd, STATIC};
use super::messages::*;

/// One connection; calls block the test's thread.
pub struct Cri {
    tokio: tokio::runtime::Runtime,
    channel: Channel,
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
    pub(super) containerd: &'a Containerd,
    pub(super) cri: Cri,
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
                    seccomp: Some(SecurityProfile {
                        profile_type: 0,
                        ..Default::default()
                    }),
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

    /// The daemon that runs it.
    pub fn containerd(&self) -> &'a Containerd {
        self.containerd
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
                    seccomp: Some(SecurityProfile {
                        profile_type: 0,
                        ..Default::default()
                    }),
                    namespace_options: Some(NamespaceOption {
                        pid: 1,
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        };
        Container::new(self, config)
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

/// The JSON of a verbose status.
pub(super) fn info_in(info: &HashMap<String, String>) -> Value {
    let text = info.get("info").expect("a verbose answer has `info`");
    serde_json::from_str(text).expect("containerd's own JSON")
}

fn pid_in(info: &HashMap<String, String>) -> i32 {
    i32::try_from(info_in(info)["pid"].as_i64().expect("a pid")).expect("a pid")
}
