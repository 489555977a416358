//! The keys that runtimes know, object by object (runtime-spec 1.0 to 1.3, Linux).
//!
//! Go's encoding/json takes a key in any letter case for a known one, crun and youki do not. These
//! tables say where such a key would be read; elsewhere (annotations, sysctl, unknown fields) any
//! key is plain data.

/// What lies below a known key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Below {
    /// Nothing with keys, or keys that are data.
    Data,
    /// An object.
    One(&'static Shape),
    /// An array of objects.
    Many(&'static Shape),
}

/// The known keys of one kind of object.
#[derive(Debug)]
pub(super) struct Shape(pub(super) &'static [(&'static str, Below)]);

use Below::{Data, Many, One};

macro_rules! keys {
    ($($name:literal $(=> $below:expr)?),* $(,)?) => {
        Shape(&[$(($name, keys!(@ $($below)?))),*])
    };
    (@) => { Data };
    (@ $below:expr) => { $below };
}

/// config.json.
pub(super) static SPEC: Shape = keys![
    "ociVersion",
    "hostname",
    "domainname",
    "annotations",
    "process" => One(&PROCESS),
    "root" => One(&ROOT),
    "mounts" => Many(&MOUNT),
    "hooks" => One(&HOOKS),
    "linux" => One(&LINUX),
    "solaris", "windows", "vm", "zos", "freebsd",
];

/// The `process` object, and the whole of a `--process` file.
pub(super) static PROCESS: Shape = keys![
    "terminal",
    "consoleSize" => One(&CONSOLE_SIZE),
    "user" => One(&USER),
    "args",
    "commandLine",
    "env",
    "cwd",
    "capabilities" => One(&CAPABILITIES),
    "rlimits" => Many(&RLIMIT),
    "noNewPrivileges",
    "apparmorProfile",
    "oomScoreAdj",
    "scheduler" => One(&SCHEDULER),
    "selinuxLabel",
    "ioPriority" => One(&IO_PRIORITY),
    "execCPUAffinity" => One(&CPU_AFFINITY),
];

static CONSOLE_SIZE: Shape = keys!["height", "width"];
static USER: Shape = keys!["uid", "gid", "umask", "additionalGids", "username"];
static CAPABILITIES: Shape = keys![
    "bounding",
    "effective",
    "inheritable",
    "permitted",
    "ambient"
];
static RLIMIT: Shape = keys!["type", "hard", "soft"];
static SCHEDULER: Shape = keys![
    "policy", "nice", "priority", "flags", "runtime", "deadline", "period"
];
static IO_PRIORITY: Shape = keys!["class", "priority"];
static CPU_AFFINITY: Shape = keys!["initial", "final"];
static ROOT: Shape = keys!["path", "readonly"];
static MOUNT: Shape = keys![
    "destination",
    "type",
    "source",
    "options",
    "uidMappings" => Many(&ID_MAPPING),
    "gidMappings" => Many(&ID_MAPPING),
];
static ID_MAPPING: Shape = keys!["containerID", "hostID", "size"];
static HOOKS: Shape = keys![
    "prestart" => Many(&HOOK),
    "createRuntime" => Many(&HOOK),
    "createContainer" => Many(&HOOK),
    "startContainer" => Many(&HOOK),
    "poststart" => Many(&HOOK),
    "poststop" => Many(&HOOK),
];
static HOOK: Shape = keys!["path", "args", "env", "timeout"];

static LINUX: Shape = keys![
    "uidMappings" => Many(&ID_MAPPING),
    "gidMappings" => Many(&ID_MAPPING),
    "sysctl",
    "resources" => One(&RESOURCES),
    "cgroupsPath",
    "namespaces" => Many(&NAMESPACE),
    "devices" => Many(&DEVICE),
    "netDevices",
    "seccomp" => One(&SECCOMP),
    "rootfsPropagation",
    "maskedPaths",
    "readonlyPaths",
    "mountLabel",
    "intelRdt" => One(&INTEL_RDT),
    "personality" => One(&PERSONALITY),
    "memoryPolicy" => One(&MEMORY_POLICY),
    "timeOffsets",
];
static NAMESPACE: Shape = keys!["type", "path"];
static DEVICE: Shape = keys!["path", "type", "major", "minor", "fileMode", "uid", "gid"];
static INTEL_RDT: Shape = keys![
    "closID",
    "schemata",
    "l3CacheSchema",
    "memBwSchema",
    "enableMonitoring",
    "enableCMT",
    "enableMBM",
];
static PERSONALITY: Shape = keys!["domain", "flags"];
static MEMORY_POLICY: Shape = keys!["mode", "nodes", "flags"];

static SECCOMP: Shape = keys![
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls" => Many(&SYSCALL),
];
static SYSCALL: Shape = keys!["names", "action", "errnoRet", "args" => Many(&ARGUMENT)];
static ARGUMENT: Shape = keys!["index", "value", "valueTwo", "op"];

static RESOURCES: Shape = keys![
    "devices" => Many(&DEVICE_RULE),
    "memory" => One(&MEMORY),
    "cpu" => One(&CPU),
    "pids" => One(&PIDS),
    "blockIO" => One(&BLOCK_IO),
    "hugepageLimits" => Many(&HUGEPAGE),
    "network" => One(&NETWORK),
    "rdma",
    "unified",
];
static DEVICE_RULE: Shape = keys!["allow", "type", "major", "minor", "access"];
static MEMORY: Shape = keys![
    "limit",
    "reservation",
    "swap",
    "kernel",
    "kernelTCP",
    "swappiness",
    "disableOOMKiller",
    "useHierarchy",
    "checkBeforeUpdate",
];
static CPU: Shape = keys![
    "shares",
    "quota",
    "burst",
    "period",
    "realtimeRuntime",
    "realtimePeriod",
    "cpus",
    "mems",
    "idle",
];
static PIDS: Shape = keys!["limit"];
static BLOCK_IO: Shape = keys![
    "weight",
    "leafWeight",
    "weightDevice" => Many(&WEIGHT_DEVICE),
    "throttleReadBpsDevice" => Many(&THROTTLE_DEVICE),
    "throttleWriteBpsDevice" => Many(&THROTTLE_DEVICE),
    "throttleReadIOPSDevice" => Many(&THROTTLE_DEVICE),
    "throttleWriteIOPSDevice" => Many(&THROTTLE_DEVICE),
];
static WEIGHT_DEVICE: Shape = keys!["major", "minor", "weight", "leafWeight"];
static THROTTLE_DEVICE: Shape = keys!["major", "minor", "rate"];
static HUGEPAGE: Shape = keys!["pageSize", "limit"];
static NETWORK: Shape = keys!["classID", "priorities" => Many(&PRIORITY)];
static PRIORITY: Shape = keys!["name", "priority"];

impl Shape {
    /// What lies below `key`, which is known by exactly this name.
    pub(super) fn below(&self, key: &str) -> Option<Below> {
        self.0
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, below)| *below)
    }

    /// The known key that Go would take `key` for, though it is another.
    pub(super) fn disguised(&self, key: &str) -> Option<&'static str> {
        let folded = fold(key);
        self.0
            .iter()
            .map(|(name, _)| *name)
            .find(|name| *name != key && fold(name) == folded)
    }
}

/// Letter case as Go folds it: ASCII, and the two letters outside ASCII whose case partner is
/// inside (U+017F long s, U+212A Kelvin sign).
fn fold(key: &str) -> String {
    key.chars()
        .map(|char| match char {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}
