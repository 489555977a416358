//! The properties: what is imported performs nothing that its source refuses, and what is exported performs
//! the same.

use oci_spec::runtime::LinuxSeccomp;

use super::super::{Defaults, Imported, SeccompFile, SeccompScene, export_seccomp, import_seccomp};
use crate::policy::Layers;
use crate::policy::refuse::MOUNTING;
use crate::policy::seccomp::exact::{Exact, LAST_NEEDS};
use crate::policy::seccomp::interpreter::Call;
use crate::policy::seccomp::tests::calls::{arguments, boundaries};
use crate::policy::seccomp::tests::generate::{NAMES, Random, random_engine, random_profile};
use crate::policy::seccomp::tests::installed::Installed;
use crate::policy::seccomp::tests::{fixtures, known, rounds};
use crate::policy::seccomp::verdict::{Action, Decision};
use crate::policy::seccomp::{bpf, engine};
use crate::profile::Profile;
use crate::profile::table::{self, Lookup};

/// The profiles that ship.
const SHIPPED: [&str; 11] = crate::profile::BUILT_IN;

fn imported(filter: &LinuxSeccomp, defaults: Defaults) -> Option<Imported> {
    let text = serde_json::to_string(filter).unwrap();
    let file = SeccompFile::read("source.json", &text).unwrap();
    import_seccomp(
        "source.json",
        "made",
        &file,
        &SeccompScene::default(),
        defaults,
    )
    .ok()
}

fn exact(profile: &Profile) -> Exact {
    Exact::new(Layers::from(&profile), false).unwrap()
}

/// What a correct compiler makes of the filter, at its strictest.
fn strictest(filter: &LinuxSeccomp, name: &str) -> Decision {
    Decision::strictest(engine::rules(filter, name), engine::default(filter))
}

/// The same call as the kernel reads it, with other upper halves of its ints.
fn alike(name: &str, args: &[u64; 6]) -> [[u64; 6]; 3] {
    let ints = |change: fn(u64) -> u64| {
        std::array::from_fn(|at| match table::is_int(name, u32::try_from(at).unwrap()) {
            true => change(args[at]),
            false => args[at],
        })
    };
    let signed = |value: u64| i64::from(value as u32 as i32) as u64;
    [*args, ints(|value| value & 0xffff_ffff), ints(signed)]
}

#[test]
fn what_is_imported_performs_nothing_that_its_source_refuses() {
    let mut random = Random::new(11);
    let (mut made, mut performed) = (0, 0);
    for _ in 0..rounds(600) {
        let filter = random_engine(&mut random);
        let Some(imported) = imported(&filter, Defaults::Expand) else {
            continue;
        };
        made += 1;
        let exact = exact(&Profile::parse("made", &imported.text).unwrap());
        for name in NAMES.iter().filter(|name| !LAST_NEEDS.contains(name)) {
            let source = strictest(&filter, name);
            let ours = &exact.calls[*name].1;
            for args in arguments(&boundaries(Some(&filter), &exact, name), 24, &mut random) {
                if !ours.verdict(&args).permits() {
                    continue;
                }
                performed += 1;
                let alike = alike(name, &args);
                assert!(
                    alike.iter().any(|args| source.verdict(args).permits()),
                    "{name} {args:x?}: the source refuses it\n{}\n{}",
                    serde_json::to_string(&filter).unwrap(),
                    imported.text
                );
            }
        }
    }
    assert!(made > 40 && performed > 1000, "{made} {performed}");
}

/// Calls whose decision is mantlet's own, whatever the source says: see `Exact`.
fn own(name: &str) -> bool {
    LAST_NEEDS.contains(&name) || name == "clone3" || MOUNTING.contains(&name)
}

#[test]
fn the_defaults_of_docker_podman_and_containerd_decide_the_same_here() {
    for (engine, filter) in fixtures() {
        let imported = imported(&filter, Defaults::Refuse).unwrap_or_else(|| panic!("{engine}"));
        let profile = Profile::parse("made", &imported.text).unwrap();
        let exact = exact(&profile);
        let exported = export_seccomp(&profile, false).unwrap().typed().unwrap();
        for (name, _) in known() {
            let source = strictest(&filter, name);
            let ours = &exact.calls[name].1;
            for args in arguments(
                &boundaries(Some(&filter), &exact, name),
                40,
                &mut Random::new(3),
            ) {
                let (theirs, mine) = (source.verdict(&args), ours.verdict(&args));
                if !own(name) && alike(name, &args)[0] == alike(name, &args)[1] {
                    assert_eq!(
                        theirs.permits(),
                        mine.permits(),
                        "{engine} {name} {args:x?}"
                    );
                    assert!(
                        theirs.permits() || theirs == mine,
                        "{engine} {name}: {theirs:?} became {mine:?}"
                    );
                }
                let back = strictest(&exported, name).verdict(&args);
                assert_eq!(mine.permits(), back.permits(), "{engine} {name} {args:x?}");
            }
        }
    }
}

/// Exports, asks the importer and, where `compile` says so, libseccomp's own compiler, and compares every answer
/// with the profile's. (libseccomp takes minutes over some rules of one call, so not for those that chance makes.)
fn round_trip(profile: &Profile, names: &[(&str, u32)], compile: bool, random: &mut Random) -> u32 {
    let exact = exact(profile);
    let Ok(exported) = export_seccomp(profile, false) else {
        return 0;
    };
    let filter = exported.typed().unwrap();
    let compiled = compile.then(|| Installed::new(&filter));
    let again = imported(&filter, Defaults::Refuse);
    let again = again.unwrap_or_else(|| panic!("{}", exported.filter));
    let again = self::exact(&Profile::parse("made", &again.text).unwrap());
    let mut asked = 0;
    for (name, number) in names {
        let ours = &exact.calls[*name].1;
        for args in arguments(&boundaries(Some(&filter), &exact, name), 60, random) {
            asked += 1;
            let mine = ours.verdict(&args);
            let call = Call {
                number: *number,
                arch: bpf::NATIVE,
                args,
            };
            let installed = compiled.as_ref().map(|compiled| compiled.answer(&call));
            assert!(
                installed.is_none_or(|answer| answer.permits() == mine.permits()),
                "{name} {args:x?}: {mine:?}, libseccomp says {installed:?}"
            );
            let written = strictest(&filter, name).verdict(&args);
            assert_eq!(mine.permits(), written.permits(), "{name} {args:x?}");
            let back = again.calls[*name].1.verdict(&args);
            assert_eq!(
                mine.permits(),
                back.permits(),
                "{name} {args:x?}: {mine:?} came back as {back:?}"
            );
            // A call that is never performed keeps its errno.
            if ours.permits_none() && ours.branches.is_empty() {
                assert_eq!(mine, back, "{name}");
                let as_written =
                    installed.is_none_or(|answer| answer == mine || answer == Action::Errno(38));
                assert!(as_written, "{name}: {installed:?}");
            }
        }
    }
    asked
}

#[test]
fn the_shipped_profiles_come_back_as_they_were() {
    for name in SHIPPED {
        let asked = round_trip(
            &Profile::builtin(name).unwrap(),
            &known(),
            true,
            &mut Random::new(5),
        );
        assert!(asked > 700, "{name}: {asked}");
    }
}

#[test]
fn random_profiles_come_back_as_they_were() {
    let numbered = |name: &'static str| match table::lookup(name) {
        Lookup::Number(number) => Some((name, number)),
        _ => None,
    };
    // No profile that is used allows mount; the importer leaves it out.
    let names = NAMES.into_iter().filter(|name| *name != "mount");
    let names: Vec<(&str, u32)> = names.filter_map(numbered).collect();
    let mut random = Random::new(21);
    let mut asked = 0;
    for _ in 0..rounds(30) {
        let profile = random_profile(&mut random);
        asked += round_trip(&profile, &names, false, &mut random);
    }
    assert!(asked > 1000, "{asked}");
}

/// What `network` closes of socket is two protocols and a family, which libseccomp cannot say so shortly.
#[test]
fn a_profile_with_ports_is_exported_and_nothing_of_it_is_wider() {
    for (lines, network) in [
        ("", "{bind_tcp: [80]}"),
        ("", "{bind_tcp: [], connect_tcp: [443]}"),
        (
            ", {name: ioctl, args: [{index: 1, op: eq, value: 1}]}",
            "{connect_tcp: [1]}",
        ),
    ] {
        let text = format!(
            "{{version: 1, name: net, network: {network}, syscalls: {{groups: \"2026.1\", \
             allow: [\"@default\", \"@network-io\"{lines}]}}}}"
        );
        let profile = Profile::parse("net", &text).unwrap();
        let exported = export_seccomp(&profile, false).unwrap();
        let told = |note: &String| note.starts_with("socket: families from 64 on");
        assert!(exported.notes.iter().any(told), "{:?}", exported.notes);
        let filter = exported.typed().unwrap();
        let installed = Installed::new(&filter);
        let Lookup::Number(number) = table::lookup("socket") else {
            panic!("socket has no number");
        };
        let exact = exact(&profile);
        let ours = &exact.calls["socket"].1;
        let dirt = 0xdead_0000_0000_u64;
        for family in [
            0,
            1,
            2,
            10,
            16,
            42,
            43,
            44,
            45,
            63,
            64,
            99,
            0xffff_ffff,
            43 | dirt,
            2 | dirt,
        ] {
            for protocol in [
                0,
                6,
                255,
                256,
                257,
                262,
                263,
                0x300,
                262 | dirt,
                256 | dirt,
                0xffff_ffff,
            ] {
                let args = [family, 1, protocol, 0, 0, 0];
                let call = Call {
                    number,
                    arch: bpf::NATIVE,
                    args,
                };
                let mine = ours.verdict(&args).permits();
                let theirs = installed.answer(&call).permits();
                let there_is = family & 0xffff_ffff < 64;
                assert_eq!(theirs, mine && there_is, "{args:x?}");
            }
        }
    }
}

#[test]
fn what_the_runtime_needs_is_named_or_added() {
    let pause = Profile::builtin("pause").unwrap();
    let alone = export_seccomp(&pause, false).unwrap();
    assert!(
        alone
            .notes
            .iter()
            .any(|note| note.contains("--with-runtime") && note.contains("epoll_ctl"))
    );
    let with = export_seccomp(&pause, true).unwrap().typed().unwrap();
    for name in ["epoll_ctl", "openat2", "futex", "execve"] {
        assert!(strictest(&with, name).permits_all(), "{name}");
    }
    for name in ["mount", "bpf", "socket", "landlock_add_rule"] {
        assert!(strictest(&with, name).permits_none(), "{name}");
    }
    assert!(with.listener_path().is_none());
}
