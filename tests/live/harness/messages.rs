//! The part of the CRI API, version `runtime.v1`, that tests speak. Field numbers are the API's
//! (k8s.io/cri-api, pkg/apis/runtime/v1/api.proto); what is not listed is neither sent nor read.
//! Written out here so that building the tests needs no protobuf compiler.

use std::collections::HashMap;

use prost::Message;

/// `message NAME { TYPE FIELD = NUMBER; }` in Rust.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Message)]
        pub struct $name { $($(#[$attribute])* pub $field: $type,)* }
    )*};
}

messages! {
    /// A number that can be absent.
    Int64Value { #[prost(int64, tag = "1")] value: i64, }
    /// A count that can be absent.
    UInt64Value { #[prost(uint64, tag = "1")] value: u64, }
    /// An answer without content.
    Empty {}
    /// A request that names one pod or one container.
    ById { #[prost(string, tag = "1")] id: String, }

    /// Who a pod is.
    PodSandboxMetadata {
        #[prost(string, tag = "1")] name: String,
        #[prost(string, tag = "2")] uid: String,
        #[prost(string, tag = "3")] namespace: String,
        #[prost(uint32, tag = "4")] attempt: u32,
    }
    /// 0 pod, 1 container, 2 node.
    NamespaceOption {
        #[prost(int32, tag = "1")] network: i32,
        #[prost(int32, tag = "2")] pid: i32,
        #[prost(int32, tag = "3")] ipc: i32,
    }
    /// 0 RuntimeDefault, 1 Unconfined.
    SecurityProfile {
        #[prost(int32, tag = "1")] profile_type: i32,
        #[prost(string, tag = "2")] localhost_ref: String,
    }
    /// Of the pause container.
    LinuxSandboxSecurityContext {
        #[prost(message, optional, tag = "1")] namespace_options: Option<NamespaceOption>,
        #[prost(bool, tag = "6")] privileged: bool,
        #[prost(message, optional, tag = "9")] seccomp: Option<SecurityProfile>,
    }
    /// Linux part of a pod.
    LinuxPodSandboxConfig {
        #[prost(string, tag = "1")] cgroup_parent: String,
        #[prost(message, optional, tag = "2")] security_context: Option<LinuxSandboxSecurityContext>,
    }
    /// A pod.
    PodSandboxConfig {
        #[prost(message, optional, tag = "1")] metadata: Option<PodSandboxMetadata>,
        #[prost(string, tag = "2")] hostname: String,
        #[prost(string, tag = "3")] log_directory: String,
        #[prost(map = "string, string", tag = "6")] labels: HashMap<String, String>,
        #[prost(map = "string, string", tag = "7")] annotations: HashMap<String, String>,
        #[prost(message, optional, tag = "8")] linux: Option<LinuxPodSandboxConfig>,
    }
    /// RunPodSandbox.
    RunPodSandboxRequest {
        #[prost(message, optional, tag = "1")] config: Option<PodSandboxConfig>,
        #[prost(string, tag = "2")] runtime_handler: String,
    }

    /// Name of a container in its pod.
    ContainerMetadata {
        #[prost(string, tag = "1")] name: String,
        #[prost(uint32, tag = "2")] attempt: u32,
    }
    /// An image by reference.
    ImageSpec { #[prost(string, tag = "1")] image: String, }
    /// One variable.
    KeyValue {
        #[prost(string, tag = "1")] key: String,
        #[prost(string, tag = "2")] value: String,
    }
    /// One volume.
    Mount {
        #[prost(string, tag = "1")] container_path: String,
        #[prost(string, tag = "2")] host_path: String,
        #[prost(bool, tag = "3")] readonly: bool,
    }
    /// A device, as device plugins give it; permissions are letters of `rwm`.
    Device {
        #[prost(string, tag = "1")] container_path: String,
        #[prost(string, tag = "2")] host_path: String,
        #[prost(string, tag = "3")] permissions: String,
    }
    /// Limits; memory in bytes, CPU in microseconds of a period and in shares.
    LinuxContainerResources {
        #[prost(int64, tag = "1")] cpu_period: i64,
        #[prost(int64, tag = "2")] cpu_quota: i64,
        #[prost(int64, tag = "3")] cpu_shares: i64,
        #[prost(int64, tag = "4")] memory_limit_in_bytes: i64,
        #[prost(int64, tag = "5")] oom_score_adj: i64,
    }
    /// Names without `CAP_`.
    Capability {
        #[prost(string, repeated, tag = "1")] add_capabilities: Vec<String>,
        #[prost(string, repeated, tag = "2")] drop_capabilities: Vec<String>,
    }
    /// What Kubernetes calls securityContext.
    LinuxContainerSecurityContext {
        #[prost(message, optional, tag = "1")] capabilities: Option<Capability>,
        #[prost(bool, tag = "2")] privileged: bool,
        #[prost(message, optional, tag = "3")] namespace_options: Option<NamespaceOption>,
        #[prost(message, optional, tag = "5")] run_as_user: Option<Int64Value>,
        #[prost(bool, tag = "7")] readonly_rootfs: bool,
        #[prost(int64, repeated, tag = "8")] supplemental_groups: Vec<i64>,
        #[prost(bool, tag = "11")] no_new_privs: bool,
        #[prost(message, optional, tag = "12")] run_as_group: Option<Int64Value>,
        #[prost(string, repeated, tag = "13")] masked_paths: Vec<String>,
        #[prost(string, repeated, tag = "14")] readonly_paths: Vec<String>,
        #[prost(message, optional, tag = "15")] seccomp: Option<SecurityProfile>,
    }
    /// Linux part of a container.
    LinuxContainerConfig {
        #[prost(message, optional, tag = "1")] resources: Option<LinuxContainerResources>,
        #[prost(message, optional, tag = "2")] security_context: Option<LinuxContainerSecurityContext>,
    }
    /// A container.
    ContainerConfig {
        #[prost(message, optional, tag = "1")] metadata: Option<ContainerMetadata>,
        #[prost(message, optional, tag = "2")] image: Option<ImageSpec>,
        #[prost(string, repeated, tag = "3")] command: Vec<String>,
        #[prost(string, repeated, tag = "4")] args: Vec<String>,
        #[prost(string, tag = "5")] working_dir: String,
        #[prost(message, repeated, tag = "6")] envs: Vec<KeyValue>,
        #[prost(message, repeated, tag = "7")] mounts: Vec<Mount>,
        #[prost(message, repeated, tag = "8")] devices: Vec<Device>,
        #[prost(map = "string, string", tag = "9")] labels: HashMap<String, String>,
        #[prost(map = "string, string", tag = "10")] annotations: HashMap<String, String>,
        #[prost(string, tag = "11")] log_path: String,
        #[prost(bool, tag = "12")] stdin: bool,
        #[prost(bool, tag = "14")] tty: bool,
        #[prost(message, optional, tag = "15")] linux: Option<LinuxContainerConfig>,
    }
    /// CreateContainer.
    CreateContainerRequest {
        #[prost(string, tag = "1")] pod_sandbox_id: String,
        #[prost(message, optional, tag = "2")] config: Option<ContainerConfig>,
        #[prost(message, optional, tag = "3")] sandbox_config: Option<PodSandboxConfig>,
    }
    /// StopContainer; the timeout in seconds.
    StopContainerRequest {
        #[prost(string, tag = "1")] container_id: String,
        #[prost(int64, tag = "2")] timeout: i64,
    }
    /// UpdateContainerResources.
    UpdateContainerResourcesRequest {
        #[prost(string, tag = "1")] container_id: String,
        #[prost(message, optional, tag = "2")] linux: Option<LinuxContainerResources>,
    }
    /// ContainerStatus or PodSandboxStatus.
    StatusRequest {
        #[prost(string, tag = "1")] id: String,
        #[prost(bool, tag = "2")] verbose: bool,
    }
    /// How a container is. Times are nanoseconds since the epoch; `state` is 0 created,
    /// 1 running, 2 exited, 3 unknown.
    ContainerStatus {
        #[prost(string, tag = "1")] id: String,
        #[prost(int32, tag = "3")] state: i32,
        #[prost(int64, tag = "5")] started_at: i64,
        #[prost(int64, tag = "6")] finished_at: i64,
        #[prost(int32, tag = "7")] exit_code: i32,
        #[prost(string, tag = "10")] reason: String,
        #[prost(string, tag = "11")] message: String,
        #[prost(string, tag = "15")] log_path: String,
    }
    /// Answer of ContainerStatus; `info["info"]` is JSON with the pid and the runtime's spec.
    ContainerStatusResponse {
        #[prost(message, optional, tag = "1")] status: Option<ContainerStatus>,
        #[prost(map = "string, string", tag = "2")] info: HashMap<String, String>,
    }
    /// How a pod is: 0 ready, 1 not ready.
    PodSandboxStatus {
        #[prost(string, tag = "1")] id: String,
        #[prost(int32, tag = "3")] state: i32,
        #[prost(string, tag = "9")] runtime_handler: String,
    }
    /// Answer of PodSandboxStatus.
    PodSandboxStatusResponse {
        #[prost(message, optional, tag = "1")] status: Option<PodSandboxStatus>,
        #[prost(map = "string, string", tag = "2")] info: HashMap<String, String>,
    }
    /// CPU time used, in nanoseconds.
    CpuUsage { #[prost(message, optional, tag = "2")] usage_core_nano_seconds: Option<UInt64Value>, }
    /// Memory used, in bytes.
    MemoryUsage { #[prost(message, optional, tag = "2")] working_set_bytes: Option<UInt64Value>, }
    /// What a container uses.
    ContainerStats {
        #[prost(message, optional, tag = "2")] cpu: Option<CpuUsage>,
        #[prost(message, optional, tag = "3")] memory: Option<MemoryUsage>,
    }
    /// Answer of ContainerStats.
    ContainerStatsResponse { #[prost(message, optional, tag = "1")] stats: Option<ContainerStats>, }
    /// ExecSync; the timeout in seconds, 0 for none.
    ExecSyncRequest {
        #[prost(string, tag = "1")] container_id: String,
        #[prost(string, repeated, tag = "2")] cmd: Vec<String>,
        #[prost(int64, tag = "3")] timeout: i64,
    }
    /// Answer of ExecSync.
    ExecSyncResponse {
        #[prost(bytes = "vec", tag = "1")] stdout: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")] stderr: Vec<u8>,
        #[prost(int32, tag = "3")] exit_code: i32,
    }
    /// Exec: a streaming session.
    ExecRequest {
        #[prost(string, tag = "1")] container_id: String,
        #[prost(string, repeated, tag = "2")] cmd: Vec<String>,
        #[prost(bool, tag = "3")] tty: bool,
        #[prost(bool, tag = "4")] stdin: bool,
        #[prost(bool, tag = "5")] stdout: bool,
        #[prost(bool, tag = "6")] stderr: bool,
    }
    /// Where the session waits.
    ExecResponse { #[prost(string, tag = "1")] url: String, }
    /// PodSandboxConfig's id after RunPodSandbox, the container's after CreateContainer.
    Created { #[prost(string, tag = "1")] id: String, }
    /// Version.
    VersionResponse { #[prost(string, tag = "3")] runtime_version: String, }
}
