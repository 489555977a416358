//! A profile in the making: its allowances one by one, each with what a reader should know of it, so
//! that it can be written whole or without one of them.

use std::collections::BTreeMap;

/// Which list of the language an allowance stands in, in the order of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `capabilities`.
    Capabilities,
    /// `syscalls.allow`.
    Calls,
    /// `files.read`.
    Read,
    /// `files.read_execute`.
    ReadExecute,
    /// `files.read_write`.
    ReadWrite,
    /// `files.read_write_execute`.
    ReadWriteExecute,
    /// `files.device_ioctl`.
    DeviceIoctl,
    /// `files.make_device`.
    MakeDevice,
    /// `network.bind_tcp`.
    Bind,
    /// `network.connect_tcp`.
    Connect,
}

impl Section {
    /// The lists of `files`.
    pub const FILES: [Section; 6] = [
        Section::Read,
        Section::ReadExecute,
        Section::ReadWrite,
        Section::ReadWriteExecute,
        Section::DeviceIoctl,
        Section::MakeDevice,
    ];

    /// Its key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Section::Capabilities => "capabilities",
            Section::Calls => "allow",
            Section::Read => "read",
            Section::ReadExecute => "read_execute",
            Section::ReadWrite => "read_write",
            Section::ReadWriteExecute => "read_write_execute",
            Section::DeviceIoctl => "device_ioctl",
            Section::MakeDevice => "make_device",
            Section::Bind => "bind_tcp",
            Section::Connect => "connect_tcp",
        }
    }

    /// Its key with those above it, as people write it.
    #[must_use]
    pub fn path(self) -> String {
        let above = match self {
            Section::Capabilities => "",
            Section::Calls => "syscalls.",
            Section::Bind | Section::Connect => "network.",
            _ => "files.",
        };
        format!("{above}{}", self.key())
    }
}

/// One item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Which list.
    pub section: Section,
    /// The item as YAML.
    pub item: String,
    /// The comment behind it.
    pub note: String,
    /// Comments above it.
    pub above: Vec<String>,
    /// It was seen; else it stands there for a reason that `note` gives.
    pub seen: bool,
}

/// A whole profile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// Comments at its top.
    pub head: Vec<String>,
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// The profile that it adds to, where the recording holds only what that one denied.
    pub extends: Option<String>,
    /// Why it must not deny yet; none: it may.
    pub audit: Option<String>,
    /// Least Landlock ABI.
    pub landlock: u32,
    /// Words of `requires.degrade`.
    pub degrade: Vec<&'static str>,
    /// What is allowed, sorted by list.
    pub allowances: Vec<Allowance>,
    /// Calls that answer ENOSYS, with the reason.
    pub absent: Vec<(String, String)>,
    /// Comments on what a list leaves out.
    pub left_out: BTreeMap<Section, Vec<String>>,
    /// Lists that are not written, so that nothing of theirs is restricted, with the reason.
    pub free: BTreeMap<Section, String>,
    /// Items of `tests`.
    pub tests: Vec<String>,
    /// Comments at its end.
    pub foot: Vec<String>,
}

impl Draft {
    /// The allowances of one list, with their numbers, without that of number `without`.
    pub fn of(&self, section: Section, without: Option<usize>) -> impl Iterator<Item = &Allowance> {
        let all = self.allowances.iter().enumerate();
        all.filter(move |(number, one)| one.section == section && Some(*number) != without)
            .map(|(_, one)| one)
    }
}
