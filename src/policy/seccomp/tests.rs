//! The invariant of DESIGN §6: at each moment, for every call outside init's own needs, the
//! verdict is at least as strict as the engine's, and with the exact filter on as the profile's.
//!
//! `MANTLET_ROUNDS` asks the properties for more rounds than fit into every run.

use oci_spec::runtime::{LinuxSeccomp, Spec};

use super::{Filters, Layers, bpf, engine, exact, interpreter, plan, runtime, verdict};
use crate::oci::patch;
use crate::profile::Profile;
use crate::profile::table::{Lookup, lookup};

pub mod calls;
mod cases;
mod decisions;
pub mod generate;
pub mod installed;
mod invariant;
mod kernel;
mod looking;

use generate::{NAMES, Random, random_engine, random_profile};
use invariant::{Counts, check};

/// Rounds that a property makes: `usual` of them unless more are asked for.
pub fn rounds(usual: u32) -> u32 {
    let asked = std::env::var("MANTLET_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn number(name: &str) -> u32 {
    match lookup(name) {
        Lookup::Number(number) => number,
        other => panic!("{name}: {other:?}"),
    }
}

/// The default filters that engines wrote into config.json (testdata/README.md).
pub fn fixtures() -> [(&'static str, LinuxSeccomp); 3] {
    let read = |text| serde_json::from_str(text).expect("a fixture is a filter");
    let spec: Spec =
        serde_json::from_str(include_str!("../testdata/ctr-seccomp.json")).expect("a config.json");
    let containerd = spec.linux().clone().unwrap().seccomp().clone().unwrap();
    [
        ("containerd", containerd),
        (
            "docker",
            read(include_str!("../testdata/docker-seccomp.json")),
        ),
        (
            "podman",
            read(include_str!("../testdata/podman-seccomp.json")),
        ),
    ]
}

/// Every name of the data version that has a number here.
pub fn known() -> Vec<(&'static str, u32)> {
    let known = crate::profile::groups::members("2026.1", "known").unwrap();
    let numbered = known.into_iter().filter_map(|name| match lookup(name) {
        Lookup::Number(number) => Some((name, number)),
        _ => None,
    });
    numbered.collect()
}

#[test]
fn no_pair_of_engine_and_profile_is_ever_weaker_than_either() {
    let names = NAMES.map(|name| (name, number(name)));
    let mut random = Random::new(1);
    let mut counts = Counts::default();
    for _ in 0..rounds(200) {
        let filter = random_engine(&mut random);
        let (one, other) = (random_profile(&mut random), random_profile(&mut random));
        let profiles = [&one, &other];
        let layers = Layers::new(&profiles[..1 + random.below(2) as usize]).unwrap();
        counts += check(Some(&filter), layers, &names, 16, &mut random);
    }
    assert!(
        counts.miscompiled < counts.asked / 50,
        "libseccomp's own: {counts:?}"
    );
    assert!(counts.both > 300, "the generator says nothing: {counts:?}");
}

#[test]
fn the_shipped_profiles_over_the_engines_own_defaults_are_never_weaker() {
    let names = known();
    for name in ["baseline", "restricted", "watched", "pause"] {
        let profile = Profile::builtin(name).unwrap();
        let layer = &profile;
        let layers = Layers::from(&layer);
        for (engine, filter) in fixtures() {
            let counts = check(Some(&filter), layers, &names, 24, &mut Random::new(7));
            assert_eq!(counts.miscompiled, 0, "{engine}");
            assert!(counts.both > 100, "{engine}, {name}: {counts:?}");
        }
        check(None, layers, &names, 24, &mut Random::new(8));
    }
}

#[test]
fn random_profiles_over_the_engines_own_defaults_are_never_weaker() {
    let names = NAMES.map(|name| (name, number(name)));
    let mut random = Random::new(9);
    let engines = fixtures();
    let mut both = 0;
    for _ in 0..rounds(30) {
        let (_, filter) = random.pick(&engines);
        let profile = random_profile(&mut random);
        let layer = &profile;
        let layers = Layers::from(&layer);
        both += check(Some(filter), layers, &names, 16, &mut random).both;
    }
    assert!(both > 100, "{both}");
}
