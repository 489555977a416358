//! Entering the Landlock domains of a policy: all of it or nothing.
//!
//! Which rights are handled was decided by the plan, from the ABI that the node's kernel has; here
//! everything is a hard requirement, so that a kernel that knows less is an error, never a gap.

use std::path::PathBuf;

use landlock::{
    ABI, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Erratum, LandlockStatus, NetPort,
    PathBeneath, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::paths::{self, PathError};
use crate::channel::Domain;
use crate::seal::{Layer, PathRule};

/// Objects that one policy may come to: each pins an inode in the kernel.
pub const MOST_OBJECTS: u32 = 65_536;

/// What was entered, as the kernel took it: counted and copied after the calls that did it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entered {
    /// ABI of the kernel.
    pub abi: u32,
    /// Its fixes, as landlock_create_ruleset(2) tells them.
    pub errata: u32,
    /// Domains, outermost first.
    pub domains: Vec<Domain>,
    /// Optional paths that did not exist.
    pub skipped: Vec<Vec<u8>>,
}

/// Why a domain could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// A path of the policy.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The kernel or the crate.
    #[error("cannot enter a landlock domain: {0}")]
    Ruleset(#[from] landlock::RulesetError),
    /// A right this build does not know.
    #[error(
        "the policy handles landlock right {0:#x}, which this init does not know: init and front door differ in version"
    )]
    Right(u64),
    /// What stands beside exceptions is more than the kernel should hold.
    #[error(
        "the landlock rule for {0:?} comes to more than {MOST_OBJECTS} files and directories beside its exceptions: except whole directories, or grant directories that hold less"
    )]
    Objects(PathBuf),
    /// Something less than everything was enforced.
    #[error("the kernel enforces only a part of the landlock domain")]
    Partial,
}

/// Enters one domain per layer, outermost first.
///
/// # Errors
/// [`DomainError`]; the process may then be in some of the domains and must not go on.
pub fn enter(layers: &[Layer]) -> Result<Entered, DomainError> {
    let mut entered = Entered::default();
    // Built before the first is entered: a domain may well forbid to list what the rules of the next
    // one have to be made from.
    let mut built = Vec::with_capacity(layers.len());
    for layer in layers {
        built.push(build(layer, &mut entered)?);
    }
    for (ruleset, domain) in built {
        restrict(ruleset, &mut entered)?;
        entered.domains.push(domain);
    }
    entered.errata = Erratum::current().bits();
    Ok(entered)
}

fn build(layer: &Layer, entered: &mut Entered) -> Result<(RulesetCreated, Domain), DomainError> {
    let handled_fs = fs(layer.handled_fs)?;
    let handled_net = net(layer.handled_net)?;
    let scoped =
        BitFlags::<Scope>::from_bits(layer.scoped).map_err(|_| DomainError::Right(layer.scoped))?;
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if !handled_fs.is_empty() {
        ruleset = ruleset.handle_access(handled_fs)?;
    }
    if !handled_net.is_empty() {
        ruleset = ruleset.handle_access(handled_net)?;
    }
    if !scoped.is_empty() {
        ruleset = ruleset.scope(scoped)?;
    }
    let mut created = ruleset.create()?;
    let mut domain = Domain {
        handled: layer.into(),
        ..Domain::default()
    };
    let file_rights = AccessFs::from_file(ABI::V10);
    for rule in &layer.paths {
        let access = fs(rule.access)?;
        let mut made = Some(created);
        let there = paths::resolve(rule, &paths::Own, &mut |grant| {
            let access = if grant.directory {
                access
            } else {
                access & file_rights
            };
            let ruleset = made.take().expect("each call puts back what it took");
            made = Some(if access.is_empty() {
                ruleset
            } else {
                if domain.paths == MOST_OBJECTS {
                    return Err(DomainError::too_many(rule));
                }
                domain.paths += 1;
                ruleset.add_rule(PathBeneath::new(grant.fd, access))?
            });
            Ok::<(), DomainError>(())
        })?;
        created = made.expect("an error has returned above");
        if !there {
            entered.skipped.push(rule.path.clone());
        }
    }
    for rule in &layer.ports {
        created = created.add_rule(NetPort::new(rule.port, net(rule.access)?))?;
        domain.ports += 1;
    }
    Ok((created, domain))
}

fn restrict(created: RulesetCreated, entered: &mut Entered) -> Result<(), DomainError> {
    // Denials of the workload are logged too, not only those up to execve: kernel audit is the only
    // witness of a Landlock denial. Kernels before ABI 7 log nothing either way.
    let status = created
        .set_compatibility(CompatLevel::BestEffort)
        .log_new_exec(true)?
        .restrict_self()?;
    entered.abi = abi_of(&status.landlock);
    let whole = status.no_new_privs && status.ruleset != RulesetStatus::NotEnforced;
    if whole {
        Ok(())
    } else {
        Err(DomainError::Partial)
    }
}

impl DomainError {
    /// One object more than [`MOST_OBJECTS`].
    pub fn too_many(rule: &PathRule) -> DomainError {
        DomainError::Objects(rule.place())
    }
}

fn fs(bits: u64) -> Result<BitFlags<AccessFs>, DomainError> {
    BitFlags::from_bits(bits).map_err(|_| DomainError::Right(bits))
}

fn net(bits: u64) -> Result<BitFlags<AccessNet>, DomainError> {
    BitFlags::from_bits(bits).map_err(|_| DomainError::Right(bits))
}

fn abi_of(status: &LandlockStatus) -> u32 {
    match status {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => kernel_abi.unwrap_or(*effective_abi as i32) as u32,
        _ => 0,
    }
}
