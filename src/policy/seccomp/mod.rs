//! Two filters: the runtime's in config.json, and the workload-exact one that init installs
//! (DESIGN §6). The kernel takes the stricter verdict, so each only ever narrows the other.

pub mod bpf;
pub mod engine;
pub mod exact;
mod observe;
pub mod runtime;
mod tcp;
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
}

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
    let edits = match engine {
        Some(filter) => {
            let added = runtime::missing_needs(filter);
            exact.respect(filter);
            exact.take_back(filter, &added);
            runtime::edits(filter, &added, &exact)
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
