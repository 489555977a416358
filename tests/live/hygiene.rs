//! What mantlet leaves in a container: nothing. Each fact is compared with the plain runtime's
//! container of the same bundle. And what the engine passes keeps its place.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use crate::harness::{Bundle, HANDLERS, World, eventually};

fn worlds() -> [&'static World; 2] {
    [World::runc(), World::crun()]
}

/// The same bundle by the plain runtime and by each handler.
fn compared(ask: impl Fn(&Bundle) -> String) {
    for world in worlds() {
        let plain = ask(&Bundle::new(world, world.runtime()).up());
        for handler in HANDLERS {
            let ours = ask(&Bundle::new(world, handler).up());
            assert_eq!(ours, plain, "{handler} over {}", world.runtime());
        }
    }
}

/// Descriptors of a process, standard streams left out: number and kind of target.
fn descriptors(world: &World, pid: i32) -> String {
    let folder = world.proc(pid).join("fd");
    let mut lines = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("it runs").flatten() {
        let number: i32 = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        let target = fs::read_link(entry.path()).unwrap_or_default();
        if number > 2 {
            lines.insert(format!("{number} {}", target.display()));
        }
    }
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

/// Lines of mountinfo without ids and the overlay's folders: root, point, options, type.
fn mounts(text: &str) -> String {
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').skip(3).collect();
        words.pop();
        let words: Vec<&str> = words
            .into_iter()
            .filter(|word| !word.contains(':'))
            .collect();
        words.join(" ").replace(char::is_numeric, "")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The workload has begun: init is not the program any more.
fn workload(bundle: &Bundle) -> i32 {
    let pid = bundle.pid().expect("it runs");
    eventually("the workload runs", || {
        bundle.output().contains("staying").then_some(())
    });
    pid
}

#[test]
fn no_descriptor_stays_in_the_workload() {
    compared(|bundle| descriptors(bundle.world(), workload(bundle)));
}

#[test]
fn no_descriptor_stays_in_a_session() {
    compared(|bundle| {
        let plain = bundle.exec(["harmless", "fds"]).ok().stdout;
        let (_, output, _) = bundle.exec_detached(&[], &["harmless", "fds"]);
        let detached = eventually("it has listed them", || {
            let text = fs::read_to_string(&output).ok()?;
            text.contains("2 ").then_some(text)
        });
        // Streams are the test's own pipes and files.
        let above = |text: String| -> Vec<String> {
            let lines = text
                .lines()
                .filter(|line| !line.starts_with(['0', '1', '2']));
            lines.map(str::to_owned).collect()
        };
        format!("{:?} {:?}", above(plain), above(detached))
    });
}

#[test]
fn no_mount_stays() {
    compared(|bundle| {
        let pid = workload(bundle);
        let text = fs::read_to_string(bundle.world().proc(pid).join("mountinfo"));
        mounts(&text.expect("it runs"))
    });
}

#[test]
fn no_process_stays() {
    compared(|bundle| {
        let pid = workload(bundle);
        let world = bundle.world();
        let space = |pid: i32| fs::read_link(world.proc(pid).join("ns/pid")).ok();
        let inside = fs::read_dir(world.inside("/proc"))
            .expect("procfs")
            .flatten();
        let inside = inside.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let names = inside.filter(|other| space(*other).is_some() && space(*other) == space(pid));
        let names =
            names.filter_map(|other| fs::read_to_string(world.proc(other).join("comm")).ok());
        names.collect()
    });
}

/// argv, environment, working directory, signals, limits and cgroup are what config.json says.
#[test]
fn the_process_itself_is_as_the_plain_runtime_makes_it() {
    for question in ["argv", "env", "cwd", "signals", "limits"] {
        compared(|bundle| bundle.exec(["harmless", question]).ok().stdout);
        for world in worlds() {
            let ask = |runtime: &str| {
                let bundle = Bundle::new(world, runtime);
                let script = format!("exec /bin/harmless {question}");
                let bundle = bundle.args(["sh", "-c", &script]).up();
                eventually("it answered", || {
                    (bundle.state()?["status"] == "stopped").then(|| bundle.output())
                })
            };
            let plain = ask(world.runtime());
            for handler in HANDLERS {
                assert_eq!(
                    ask(handler),
                    plain,
                    "{question}: {handler} over {}",
                    world.runtime()
                );
            }
        }
    }
}

/// Three files as descriptors 3, 4 and 5.
const THREE: &str = "exec 3<one 4<two 5<three";

fn three_files(bundle: &Bundle) {
    for name in ["one", "two", "three"] {
        fs::write(bundle.path.join(name), name).expect("a folder of our own");
    }
}

/// Reads the descriptors from 3 on, as far as there are any.
const READ: &str = "for n in 3 4 5 6 7 8 9; do \
                    [ -e /proc/self/fd/$n ] && eval \"read line <&$n\"; echo $n $line; line=; done";

#[test]
fn the_engines_preserved_descriptors_keep_their_numbers() {
    for world in worlds() {
        for runtime in [world.runtime(), "mantlet-baseline"] {
            let bundle = Bundle::new(world, runtime).args(["harmless", "fds"]);
            bundle.write();
            three_files(&bundle);
            let call = bundle.call_after(THREE);
            assert_eq!(
                bundle.create_with(call, &["--preserve-fds", "3"]),
                0,
                "{:?}",
                bundle.errors()
            );
            bundle.start().ok();
            let listed = eventually("it has listed them", || {
                let text = bundle.output();
                text.contains("5 ").then_some(text)
            });
            assert_files(runtime, &listed);

            let up = Bundle::new(world, runtime).up();
            three_files(&up);
            let call = up.call_after(THREE).args(["exec", "--preserve-fds", "3"]);
            let done = call.arg(&up.id).args(["harmless", "fds"]).run().ok();
            assert_files(runtime, &done.stdout);
        }
    }
}

/// 3, 4 and 5 are the engine's, and there is nothing above.
#[track_caller]
fn assert_files(runtime: &str, listed: &str) {
    let above: Vec<&str> = listed
        .lines()
        .filter(|line| !line.starts_with(['0', '1', '2']))
        .collect();
    assert_eq!(above.len(), 3, "{runtime}: {listed}");
    for (line, (number, name)) in above.iter().zip([(3, "one"), (4, "two"), (5, "three")]) {
        assert!(
            line.starts_with(&format!("{number} ")),
            "{runtime}: {listed}"
        );
        assert!(line.ends_with(&format!("/{name}")), "{runtime}: {listed}");
    }
}

/// One descriptor of socket activation and two preserved ones: the first is number 3, and the
/// workload learns of it as with the plain runtime.
#[test]
fn socket_activation_keeps_its_numbers_and_its_variables() {
    for world in worlds() {
        let ask = |runtime: &str| {
            let bundle = Bundle::new(world, runtime);
            let bundle =
                bundle.args(["sh", "-c", "harmless fds; harmless env; exec harmless stay"]);
            bundle.write();
            three_files(&bundle);
            let prelude = format!("{THREE} && export LISTEN_FDS=1 LISTEN_PID=$$");
            let call = bundle.call_after(&prelude);
            assert_eq!(
                bundle.create_with(call, &["--preserve-fds", "2"]),
                0,
                "{:?}",
                bundle.errors()
            );
            bundle.start().ok();
            eventually("it has answered", || {
                let text = bundle.output();
                text.contains("staying").then_some(text)
            })
        };
        let split = |text: String| -> (Vec<String>, Vec<String>) {
            let lines = text
                .lines()
                .filter(|line| !line.starts_with(['0', '1', '2']));
            let lines = lines.map(|line| line.replace(char::is_numeric, "#"));
            lines.partition(|line| line.contains("bundle"))
        };
        let plain = ask(world.runtime());
        // crun 1.8 tells the pid alone.
        assert!(plain.contains("LISTEN_PID=1"), "{plain}");
        let ours = ask("mantlet-baseline");
        for (number, name) in [(3, "one"), (4, "two"), (5, "three")] {
            let there = |text: &str| {
                text.lines().any(|line| {
                    line.starts_with(&format!("{number} ")) && line.ends_with(&format!("/{name}"))
                })
            };
            assert!(there(&plain) && there(&ours), "{plain}\n---\n{ours}");
        }
        assert_eq!(split(ours), split(plain), "{}", world.runtime());
    }
}

/// LISTEN_* meant for another process is not the container's, whatever crun thinks of it.
#[test]
fn socket_activation_of_another_process_is_not_passed_on() {
    for world in worlds() {
        let bundle = Bundle::new(world, "mantlet-baseline").args(["harmless", "fds"]);
        bundle.write();
        three_files(&bundle);
        let call = bundle.call_after("exec 3<one && export LISTEN_FDS=1 LISTEN_PID=999999");
        assert_eq!(bundle.create_with(call, &[]), 0, "{:?}", bundle.errors());
        bundle.start().ok();
        let listed = eventually("it has listed them", || {
            let text = bundle.output();
            text.contains("2 ").then_some(text)
        });
        assert!(
            !listed
                .lines()
                .any(|line| !line.starts_with(['0', '1', '2'])),
            "{listed}"
        );
    }
}

/// A shim waits for the end of its pipes: nobody of ours may hold them.
#[test]
fn nobody_of_ours_holds_the_engines_pipes() {
    for world in worlds() {
        for handler in HANDLERS {
            let bundle = Bundle::new(world, handler).edit(|config| {
                config["process"]["args"] = json!(["harmless", "stay"]);
            });
            let bundle = bundle.up();
            let done = bundle.exec(["harmless", "echo", "x"]).ok();
            assert!(!done.held_open, "{handler} over {}", world.runtime());
            let start = bundle.call().arg("state").arg(&bundle.id).run().ok();
            assert!(!start.held_open);
            for pid in bundle.supervisors() {
                let held = descriptors(world, pid);
                assert!(
                    !held.contains("pipe:") && !held.contains("/output"),
                    "{held}"
                );
                assert_eq!(
                    fs::read_link(world.proc(pid).join("cwd")).expect("it runs"),
                    std::path::Path::new("/")
                );
                for stream in ["fd/0", "fd/1", "fd/2"] {
                    let target = fs::read_link(world.proc(pid).join(stream));
                    assert!(target.map_or(true, |t| t == std::path::Path::new("/dev/null")));
                }
            }
        }
    }
}
