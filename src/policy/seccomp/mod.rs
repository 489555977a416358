//! Two filters: the runtime's in config.json, and the workload-exact one that init installs
//! (DESIGN §6). The kernel takes the stricter verdict, so each only ever narrows the other.

pub mod bpf;
pub mod engine;
pub mod exact;
mod observe;
pub mod runtime;
pub mod tcp;
pub mod verdict;

#[cfg(test)]
pub(super) mod interpreter;
#[cfg(test)]
mod layer_tests;
#[cfg(test)]
mod tcp_tests;
#[cfg(test)]
pub(super) mod tests;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag};

use self::exact::Exact;
use super::Layers;
use crate::oci::patch::Edit;
use crate::seal;
use crate::state::Tripwire;

/// SECCOMP_FILTER_FLAG_LOG.
const FLAG_LOG: u32 = 1 << 1;
/// SECCOMP_FILTER_FLAG_SPEC_ALLOW.
const FLAG_SPEC_ALLOW: u32 = 1 << 2;

/// Both filters, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Filters {
    /// Changes to `linux.seccomp`.
    pub edits: Vec<Edit>,
    /// For init.
    pub filter: seal::Filter,
    /// For the supervisor.
    pub tripwires: Vec<Tripwire>,
    /// What the exact filter decides, for people.
    pub exact: Exact,
    /// What looking costs a container that is looked at, for people.
    pub lacks: Vec<&'static str>,
}

/// Where [`Exact::close_foreign`] had to.
const FOREIGN_KILLED: &str = "system calls of other architectures are killed: the engine's seccomp \
    filter denies something that mantlet-init needs, and what is added to it for init is taken back \
    for this machine's own architecture alone";
/// Where the engine has calls logged.
const LOGS: &str = "what the engine's seccomp filter would put into the kernel's log (SCMP_ACT_LOG) \
    does not get there where the call is looked at: the journal has what an audited layer would deny, \
    and all of it where a layer learns";

/// Plans both filters. `notify`: the kernel can notify, so tripwires report.
///
/// # Errors
///
/// [`bpf::TooLarge`].
pub fn plan(
    layers: Layers<'_>,
    engine: Option<&LinuxSeccomp>,
    notify: bool,
) -> Result<Filters, bpf::TooLarge> {
    let mut exact = Exact::new(layers, notify)?;
    let mut lacks = Vec::new();
    let edits = match engine {
        Some(filter) => {
            let added = runtime::missing_needs(filter);
            if layers.observe() {
                exact.respect(filter);
            }
            exact.take_back(filter, &added);
            if !added.is_empty() && exact.close_foreign(filter) {
                lacks.push(FOREIGN_KILLED);
            }
            if exact.observes() && engine::logs(filter) {
                lacks.push(LOGS);
            }
            // What is notified for those that look alone stays the engine's to deny.
            let enforced = match layers.observe() {
                true => Some(Exact::enforced(layers, notify)?),
                false => None,
            };
            runtime::edits(filter, &added, &exact, enforced.as_ref().unwrap_or(&exact))
        }
        // Nobody asks for a filter.
        None if exact.unlisted.permits() => Vec::new(),
        None => vec![Edit::Set {
            pointer: "/linux/seccomp".into(),
            value: runtime::generated(&exact),
        }],
    };
    let program = bpf::compile(&exact.by_number(), exact.unlisted, exact.foreign)?;
    let filter = seal::Filter {
        program: bpf::bytes(&program),
        flags: flags(engine),
        listener: exact.notifies(),
    };
    let tripwires = exact
        .tripwires()
        .flat_map(|name| {
            let each = layers.enforcing();
            each.filter_map(|profile| exact::tripwire(profile, name))
        })
        .collect();
    Ok(Filters {
        edits,
        filter,
        tripwires,
        exact,
        lacks,
    })
}

/// Flags that the author of the engine's filter chose are kept: a filter without SPEC_ALLOW turns
/// on a mitigation that costs 15 to 85 % (moby #41389). Where the engine gave no filter it wanted
/// no mitigation either.
fn flags(engine: Option<&LinuxSeccomp>) -> u32 {
    let Some(filter) = engine else {
        return FLAG_SPEC_ALLOW;
    };
    filter
        .flags()
        .iter()
        .flatten()
        .fold(0, |flags, flag| match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => flags | FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => flags | FLAG_SPEC_ALLOW,
            // TSYNC has no meaning for init's single thread; WAIT_KILLABLE_RECV is init's own choice.
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync
            | LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => flags,
        })
}
