//! Named groups of the host's paths for `process.refuse`. Like the system call groups they belong to
//! a data version, and a version never changes.

use super::groups;

/// `(name, patterns)`, version 2026.1. Every pattern is a real path: `/var/run` is `/run`.
const V2026_1: [(&str, &[&str]); 5] = [
    // The whole tree. What holds a path of another group is refused by that group.
    ("host-root", &["/"]),
    // Whoever reaches one of these has the node: they start containers, or control those that run.
    (
        "runtime-sockets",
        &[
            "/run/containerd/containerd.sock",
            "/run/containerd/containerd.sock.ttrpc",
            // The shims' own.
            "/run/containerd/s/**",
            "/run/nri/**",
            "/run/docker.sock",
            "/run/docker/**",
            "/run/dockershim.sock",
            "/run/cri-dockerd.sock",
            "/run/crio/**",
            "/run/podman/**",
            "/run/buildkit/**",
            "/run/k3s/containerd/containerd.sock",
            "/run/k3s/containerd/s/**",
            "/run/k0s/containerd.sock",
            "/var/snap/microk8s/common/run/containerd.sock",
            "/run/user/*/docker.sock",
            "/run/user/*/podman/**",
            "/run/user/*/containerd/**",
            // mantlet's own sessions and records.
            "/run/mantlet/**",
        ],
    ),
    // Other pods' volumes and tokens, the kubelet's keys, device plugins, static pods. A pod's own
    // volumes lie here too, and are never refused.
    (
        "kubelet",
        &[
            "/var/lib/kubelet/**",
            "/var/lib/k0s/kubelet/**",
            "/var/snap/microk8s/common/var/lib/kubelet/**",
            "/etc/kubernetes/**",
            "/etc/rancher/**",
            "/var/lib/rancher/k3s/server/**",
            "/var/lib/rancher/k3s/agent/*.key",
            "/var/lib/rancher/k3s/agent/*.kubeconfig",
            "/var/lib/rancher/rke2/server/**",
        ],
    ),
    // The kernel's own trees.
    ("kernel", &["/proc/**", "/sys/**", "/dev"]),
    // What the host is made of, and starts with.
    (
        "system",
        &[
            "/bin/**",
            "/boot/**",
            "/etc/**",
            "/lib*/**",
            "/root/**",
            "/sbin/**",
            "/usr/**",
            "/var/lib/containerd/**",
            "/var/lib/docker/**",
            "/var/lib/containers/**",
            "/var/lib/etcd/**",
            "/var/spool/cron/**",
        ],
    ),
];

/// Where kubelets keep the pods' own files.
pub const KUBELETS: [&str; 3] = [
    "/var/lib/kubelet",
    "/var/lib/k0s/kubelet",
    "/var/snap/microk8s/common/var/lib/kubelet",
];

/// Names of the groups of the newest version.
pub fn names() -> impl Iterator<Item = &'static str> {
    V2026_1.iter().map(|(name, _)| *name)
}

/// Patterns of group `name`, without its `@`, in a data version.
#[must_use]
pub fn members(version: &str, name: &str) -> Option<&'static [&'static str]> {
    let groups = groups::VERSIONS.contains(&version).then_some(&V2026_1)?;
    let group = groups.iter().find(|(own, _)| *own == name)?;
    Some(group.1)
}
