//! An engine's filter and a profile, both made from the bytes: DESIGN §6's invariant over the compiled
//! programs. It is the property test of `src/policy/seccomp/tests.rs`, led by coverage.

use mantlet::oci::patch;
use mantlet::policy::Layers;
use mantlet::policy::seccomp::{bpf, engine, exact, plan, runtime, verdict};
use mantlet::profile::Profile;
use mantlet::profile::table::{Lookup, lookup};

use super::interpreter;

#[path = "../../../src/policy/seccomp/tests/calls.rs"]
mod calls;
#[path = "../../../src/policy/seccomp/tests/generate.rs"]
mod generate;
#[path = "../../../src/policy/seccomp/tests/installed.rs"]
mod installed;
#[path = "../../../src/policy/seccomp/tests/invariant.rs"]
mod invariant;

pub fn check(data: &[u8]) {
    let mut random = generate::Random::chosen(data);
    let filter = generate::random_engine(&mut random);
    let profile = generate::random_profile(&mut random);
    let names = generate::NAMES.map(|name| match lookup(name) {
        Lookup::Number(number) => (name, number),
        other => panic!("{name}: {other:?}"),
    });
    let layer = &profile;
    invariant::check(Some(&filter), Layers::from(&layer), &names, 12, &mut random);
}
