//! landlockconfig: Landlock rulesets as JSON or TOML, by the kernel's own words for rights.
//!
//! Read as its own parser reads it: what rules use is handled too, rules on one path add up, `abi.*` stands
//! for the rights of the ABI that `abi` names, and `${NAME}` for each value of a variable. A path, though,
//! has to be absolute: a profile has no current directory.

mod read;
mod write;

use std::collections::BTreeMap;

use landlock::{AccessFs, AccessNet, BitFlags, Scope};

/// Which of its two notations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON, with keys like `pathBeneath`.
    Json,
    /// TOML, with keys like `path_beneath`.
    Toml,
}

/// A ruleset, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is denied unless a rule allows it.
    pub handled_fs: BitFlags<AccessFs>,
    /// The same of TCP.
    pub handled_net: BitFlags<AccessNet>,
    /// What is reached within the domain only.
    pub scoped: BitFlags<Scope>,
    /// Absolute paths with the rights on and beneath them.
    pub paths: BTreeMap<String, BitFlags<AccessFs>>,
    /// Ports.
    pub ports: BTreeMap<u16, BitFlags<AccessNet>>,
}

/// Rights on files by their names.
pub(super) const FILES: [(&str, AccessFs); 16] = [
    ("execute", AccessFs::Execute),
    ("write_file", AccessFs::WriteFile),
    ("read_file", AccessFs::ReadFile),
    ("read_dir", AccessFs::ReadDir),
    ("remove_dir", AccessFs::RemoveDir),
    ("remove_file", AccessFs::RemoveFile),
    ("make_char", AccessFs::MakeChar),
    ("make_dir", AccessFs::MakeDir),
    ("make_reg", AccessFs::MakeReg),
    ("make_sock", AccessFs::MakeSock),
    ("make_fifo", AccessFs::MakeFifo),
    ("make_block", AccessFs::MakeBlock),
    ("make_sym", AccessFs::MakeSym),
    ("refer", AccessFs::Refer),
    ("truncate", AccessFs::Truncate),
    ("ioctl_dev", AccessFs::IoctlDev),
];
const TCP: [(&str, AccessNet); 2] = [
    ("bind_tcp", AccessNet::BindTcp),
    ("connect_tcp", AccessNet::ConnectTcp),
];
const SCOPES: [(&str, Scope); 2] = [
    ("abstract_unix_socket", Scope::AbstractUnixSocket),
    ("signal", Scope::Signal),
];
