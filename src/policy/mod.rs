//! Profile × Spec × Host → [`Plan`]: pure, no I/O. `create`, `explain` and the golden tests run
//! this very code.

use oci_spec::runtime::Spec;

use crate::config::Config;
use crate::host::Host;
use crate::oci::patch::Edit;
use crate::profile::Profile;
use crate::seal;
use crate::state::{ExecRules, Tripwire};

/// What a plan is made from. The command line's own parts (descriptor numbers, argv[0]) are the
/// front door's business and not here.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The profile, resolved (`extends` folded in).
    pub profile: &'a Profile,
    /// Typed view of config.json as the engine wrote it.
    pub spec: &'a Spec,
    /// The node.
    pub host: &'a Host,
    /// The admin's own settings (`proc_mounts`, `start_container_hooks`).
    pub config: &'a Config,
    /// `run` was called, which never parks the container (DESIGN §5).
    pub run: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Changes to config.json, args and descriptors excepted.
    pub edits: Vec<Edit>,
    /// What init applies.
    pub policy: seal::Policy,
    /// What the supervisor answers.
    pub tripwires: Vec<Tripwire>,
    /// What exec sessions are held to.
    pub exec: ExecRules,
    /// The effective policy for people: plain JSON, stable keys.
    pub effective: serde_json::Value,
    /// What the kernel cannot do and the profile allows to go without.
    pub degraded: Vec<String>,
}

// pub fn plan(input: Input<'_>) -> Result<Plan, Refusal>
// pub fn plan_pause(input: Input<'_>) -> Result<Plan, Refusal>   the built-in pause profile
// pub fn plan_exec(process: &oci_spec::runtime::Process, rules: &ExecRules) -> Result<ExecPlan, Refusal>
// pub struct ExecPlan { edits (pointers relative to the process object), rlimits: Vec<seal::Rlimit> }
