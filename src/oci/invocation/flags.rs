//! The flag tables: runc 1.1 to 1.5 (`runc VERB --help` and its sources), with what crun and youki
//! add where they accept the same verb.
//!
//! A flag of one runtime may be listed for all: the runtime that does not know it refuses it
//! itself, and that refusal is the error people know.

/// Whether a flag takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// `--flag`, or `--flag=BOOL` as Go's strconv.ParseBool reads it; never the next word.
    Bool,
    /// `--flag=VALUE`, or the next word, whatever it looks like.
    Value,
}

/// One flag of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flag {
    /// Long name, without dashes.
    pub(super) name: &'static str,
    /// One-letter name.
    pub(super) short: Option<char>,
    /// Whether it takes a value.
    pub(super) takes: Takes,
}

const fn value(name: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        takes: Takes::Value,
    }
}

const fn short_value(name: &'static str, short: char) -> Flag {
    Flag {
        name,
        short: Some(short),
        takes: Takes::Value,
    }
}

const fn switch(name: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        takes: Takes::Bool,
    }
}

const fn short_switch(name: &'static str, short: char) -> Flag {
    Flag {
        name,
        short: Some(short),
        takes: Takes::Bool,
    }
}

/// Before the verb. The letters are youki's; `log-level` and `systemd-log` too.
pub(super) const GLOBAL: &[Flag] = &[
    switch("debug"),
    short_value("log", 'l'),
    value("log-format"),
    value("log-level"),
    short_value("root", 'r'),
    value("criu"),
    short_switch("systemd-cgroup", 's'),
    switch("systemd-log"),
    value("cgroup-manager"),
    value("rootless"),
];

/// `create`. `config` and `no-subreaper` are crun's, the letters `c` and `p` youki's.
pub(super) const CREATE: &[Flag] = &[
    short_value("bundle", 'b'),
    short_value("config", 'f'),
    short_value("console-socket", 'c'),
    value("pidfd-socket"),
    short_value("pid-file", 'p'),
    switch("no-pivot"),
    switch("no-new-keyring"),
    switch("no-subreaper"),
    value("preserve-fds"),
];

/// `run`: as `create`, and what a foreground container needs.
pub(super) const RUN: &[Flag] = &[
    short_value("bundle", 'b'),
    short_value("config", 'f'),
    short_value("console-socket", 'c'),
    value("pidfd-socket"),
    short_value("pid-file", 'p'),
    short_switch("detach", 'd'),
    switch("keep"),
    switch("no-subreaper"),
    switch("no-pivot"),
    switch("no-new-keyring"),
    value("preserve-fds"),
];

/// `exec`.
pub(super) const EXEC: &[Flag] = &[
    value("console-socket"),
    value("pidfd-socket"),
    value("cwd"),
    short_value("env", 'e'),
    short_switch("tty", 't'),
    short_value("user", 'u'),
    short_value("additional-gids", 'g'),
    short_value("process", 'p'),
    short_switch("detach", 'd'),
    value("pid-file"),
    value("process-label"),
    value("apparmor"),
    switch("no-new-privs"),
    short_value("cap", 'c'),
    value("preserve-fds"),
    value("cgroup"),
    switch("ignore-paused"),
];

/// `start`.
pub(super) const START: &[Flag] = &[];

/// `restore`.
pub(super) const RESTORE: &[Flag] = &[
    value("console-socket"),
    value("image-path"),
    value("work-path"),
    switch("tcp-established"),
    switch("tcp-close"),
    switch("ext-unix-sk"),
    switch("shell-job"),
    switch("file-locks"),
    value("manage-cgroups-mode"),
    short_value("bundle", 'b'),
    short_switch("detach", 'd'),
    value("pid-file"),
    switch("no-subreaper"),
    switch("no-pivot"),
    value("empty-ns"),
    switch("auto-dedup"),
    switch("lazy-pages"),
    value("lsm-profile"),
    value("lsm-mount-context"),
];

/// `checkpoint`: only the flags with a value matter, to find the id.
pub(super) const CHECKPOINT: &[Flag] = &[
    value("image-path"),
    value("work-path"),
    value("parent-path"),
    value("status-fd"),
    value("page-server"),
    value("manage-cgroups-mode"),
    value("empty-ns"),
    value("network-lock"),
];

/// All verbs that are forwarded: only the flags with a value matter, to find the id.
pub(super) const FORWARDED: &[Flag] = &[
    short_value("resources", 'r'),
    short_value("format", 'f'),
    short_value("bundle", 'b'),
    value("interval"),
    value("blkio-weight"),
    value("cpu-period"),
    value("cpu-quota"),
    value("cpu-burst"),
    value("cpu-share"),
    value("cpu-idle"),
    value("cpu-rt-period"),
    value("cpu-rt-runtime"),
    value("cpuset-cpus"),
    value("cpuset-mems"),
    value("kernel-memory"),
    value("kernel-memory-tcp"),
    value("memory"),
    value("memory-reservation"),
    value("memory-swap"),
    value("pids-limit"),
    value("l3-cache-schema"),
    value("mem-bw-schema"),
];

/// Verbs that start processes, which are ours to change or refuse.
pub(super) const OURS: &[&str] = &["create", "run", "exec", "start", "restore", "checkpoint"];

/// Verbs of runc, crun or youki that are forwarded untouched.
pub(super) const OTHERS: &[&str] = &[
    "delete",
    "events",
    "features",
    "h",
    "help",
    "info",
    "init",
    "kill",
    "list",
    "mounts",
    "pause",
    "ps",
    "resume",
    "spec",
    "state",
    "update",
    "completion",
];

/// Finds `name` (no dashes) in `table`, by its long or its short form: Go's flag package reads
/// `-bundle`, `--bundle`, `-b` and `--b` alike.
pub(super) fn find(table: &'static [Flag], name: &str) -> Option<&'static Flag> {
    table
        .iter()
        .find(|flag| flag.name == name || flag.short.is_some_and(|short| name.chars().eq([short])))
}

/// The flag that `name` abbreviates: getopt_long(3), which crun uses, accepts any unambiguous
/// beginning of a long name.
pub(super) fn abbreviated(table: &'static [Flag], name: &str) -> Option<&'static Flag> {
    table.iter().find(|flag| flag.name.starts_with(name))
}
