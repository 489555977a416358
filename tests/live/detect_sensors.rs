//! The sensors of `detect:` beside executions and drift: tripwires, privileges, reverse shells, tokens,
//! numbers of tasks, memory.

use std::fs;

use serde_json::{Value, json};

use crate::detect::{bind, detected, mounted, of_type, site, to_the_end, worlds};
use crate::harness::{Bundle, Console, World, eventually};

#[test]
fn a_tripwire_rule_is_about_its_calls_alone() {
    let keys = "detect: [{name: keys, on: tripwire, calls: [keyctl]}, {name: any, on: tripwire, unless: [/bin/busybox]}]";
    let script = "hostile keyctl; echo keyctl $?; hostile mount; echo mount $?; exit 0";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        lived.printed(&format!("keyctl {}", libc::EPERM));
        lived.printed(&format!("mount {}", libc::EPERM));
        let event = lived.one("keys");
        assert_eq!(event["why"], "called keyctl, which its profile refuses");
        assert_eq!(event["process"]["exe"], "/bin/hostile");
        assert_eq!(event["ancestors"][0]["comm"], "sh");
        assert_eq!(event["tags"], json!(["T1611"]));
        let all: Vec<&Value> = lived
            .detections("any")
            .iter()
            .map(|event| &event["why"])
            .collect();
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(lived.of_type("tripwire").len(), 2);
    }
}

#[test]
fn a_response_is_due_from_after_times_on_within_its_window() {
    let keys = "detect:
  - {name: slow, on: tripwire, calls: [keyctl], after: 3, within: 1h}
  - {name: quick, on: tripwire, calls: [keyctl], after: 2, within: 1ms}
  - {name: ever, on: tripwire, calls: [keyctl], after: 4}";
    let script = "for n in 1 2 3 4; do hostile keyctl; usleep 20000; done; exit 0";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        let due = |rule| {
            let seen = lived.detections(rule).into_iter();
            seen.map(|event| event["due"] == true).collect::<Vec<_>>()
        };
        assert_eq!(due("slow"), [false, false, true, true]);
        assert_eq!(due("quick"), [false; 4]);
        assert_eq!(due("ever"), [false, false, false, true]);
        let hits = lived
            .detections("slow")
            .into_iter()
            .map(|event| event["hits"].as_u64());
        assert_eq!(
            hits.collect::<Vec<_>>(),
            [Some(1), Some(2), Some(3), Some(3)]
        );
    }
}

#[test]
fn a_setuid_file_is_told_and_an_ordinary_one_is_not() {
    let keys = "detect: [{name: gains, on: privilege-change}, {name: none, on: privilege-change, unless: [hostile-setuid], respond: deny}]";
    let script = "harmless exit 0; hostile setuid-exec; echo setuid $?; exit 0";
    for world in worlds() {
        let lived = to_the_end(site(world, keys).user(1000), script);
        // no_new_privs: it runs, and is nobody else.
        lived.printed(&format!("setuid {}", libc::EPERM));
        let event = lived.one("gains");
        assert_eq!(event["file"]["path"], "/bin/hostile-setuid");
        assert_eq!(event["file"]["mode"], "104755");
        assert_eq!(
            event["why"],
            "executes /bin/hostile-setuid, which has set-user-id"
        );
        assert_eq!(event["process"]["uid"], 1000);
        assert!(lived.detections("none").is_empty());
    }
}

#[test]
fn file_capabilities_and_a_change_of_user_are_privileges() {
    let keys = "syscalls: {groups: \"2026.1\", tripwire: [{name: setuid, args: [{index: 0, op: eq, value: 1000}]}]}
detect: [{name: gains, on: privilege-change, respond: deny}]";
    let capabilities = json!(["CAP_SETFCAP", "CAP_SETUID", "CAP_SETGID"]);
    let with = |bundle: Bundle| {
        bundle.edit(|config| {
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set] = capabilities.clone();
            }
        })
    };
    for world in worlds() {
        // The attack's own change of user is the tripwire: it gets no further.
        let lived = to_the_end(with(site(world, keys)), "hostile file-capability; exit 0");
        let event = lived.one("gains");
        assert_eq!(event["why"], "called setuid");
        assert_eq!(lived.of_type("tripwire")[0]["errno"], "EPERM");
        // Without it, the file is.
        let keys = "detect: [{name: gains, on: privilege-change, respond: deny}]";
        let lived = to_the_end(
            with(site(world, keys)),
            "hostile file-capability; echo code $?; exit 0",
        );
        lived.printed(&format!("code {}", libc::EPERM));
        let event = lived.one("gains");
        assert_eq!(
            event["why"],
            "executes /bin/hostile, which has capabilities"
        );
    }
}

const REVERSE: &str = "detect: [{name: reverse, on: reverse-shell, respond: deny}, {name: listed, on: reverse-shell, programs: [id]}]";

#[test]
fn a_shell_that_a_network_connection_talks_to_is_refused_and_no_other_is() {
    let script = "
        harmless talk tcp /bin/sh -c :; echo tcp $?
        harmless talk unix /bin/sh -c :; echo unix $?
        harmless talk pipe /bin/sh -c :; echo pipe $?
        harmless talk tcp /bin/harmless exit 0; echo server $?
        harmless serve 4000 > /tmp/serve & until grep -q serving /tmp/serve; do usleep 1000; done
        nc 127.0.0.1 4000 -e /bin/id
        kill $!; exit 0";
    for world in worlds() {
        let lived = to_the_end(site(world, REVERSE), script);
        lived.printed(&format!("tcp {}", libc::EPERM));
        lived
            .printed("unix 0")
            .printed("pipe 0")
            .printed("server 0");
        let event = lived.one("reverse");
        assert_eq!(event["file"]["path"], "/bin/sh");
        assert_eq!(
            event["why"],
            "executes /bin/sh with a network socket as standard input"
        );
        assert_eq!(event["tags"], json!(["T1059.004"]));
        let why = "executes /bin/id with a network socket as standard input and standard output";
        let listed = lived.one("listed")["why"].as_str();
        assert!(
            listed.is_some_and(|told| told.starts_with(why)),
            "{listed:?}"
        );
    }
}

#[test]
fn a_session_with_pipes_or_a_terminal_is_no_reverse_shell() {
    for world in worlds() {
        let bundle = site(world, REVERSE).up();
        bundle.exec(["sh", "-c", "exit 4"]).expect(4);
        let console = Console::new(&bundle.path, &world.name("pty"));
        let process = bundle.process_file(|process| {
            process["terminal"] = json!(true);
            process["args"] = json!(["sh", "-c", "exit 0"]);
        });
        let call = bundle.call().args(["exec", "--detach", "--console-socket"]);
        let call = call.arg(&console.path).arg("--process").arg(process);
        call.arg(&bundle.id).run().ok();
        let _terminal = console.terminal();
        bundle
            .exec(["harmless", "talk", "tcp", "/bin/sh", "-c", ":"])
            .expect(libc::EPERM);
        let event = detected(&bundle, "reverse");
        assert_eq!(event["ancestors"], Value::Null, "{event}");
        assert_eq!(of_type(&bundle, "detection").len(), 1);
    }
}

fn with_token(bundle: Bundle) -> Bundle {
    let world = bundle.world();
    let folder = world.folder("tokens", &world.name("token"));
    fs::write(folder.join("token"), "secret\n").expect("our own folder");
    mounted(
        bundle,
        bind(
            &folder,
            "/var/run/secrets/kubernetes.io/serviceaccount",
            "ro",
        ),
    )
}

#[test]
fn a_token_is_the_entrypoint_s_and_refused_to_another_program() {
    let keys = "detect: [{name: token, on: token-access, respond: deny}]";
    let script = "
        cd /var/run/secrets/kubernetes.io/serviceaccount
        read line < token && echo read $line
        harmless read token; echo other $?
        (read line < token && echo child $line)
        /bin/ls; exit 0";
    for world in worlds() {
        let lived = to_the_end(with_token(site(world, keys)), script);
        lived
            .printed("read secret")
            .printed("child secret")
            .printed("other 1")
            .printed("token");
        assert!(
            lived.output.contains("Operation not permitted"),
            "{}",
            lived.output
        );
        let event = lived.one("token");
        let path = "/var/run/secrets/kubernetes.io/serviceaccount/token";
        assert_eq!(event["file"]["path"], path);
        assert_eq!(event["process"]["exe"], "/bin/harmless");
        assert_eq!(event["severity"], "critical");
    }
}

#[test]
fn a_token_opened_by_another_program_is_told_unless_it_is_excepted() {
    let keys = "detect: [{name: token, on: token-access, unless: [/bin/hostile]}, {name: all, on: token-access}]";
    let script = "hostile read-file /var/run/secrets/kubernetes.io/serviceaccount/token; \
                  harmless read /var/run/secrets/kubernetes.io/serviceaccount/token; exit 0";
    let bundle = with_token(site(World::runc(), keys));
    let lived = to_the_end(bundle, script);
    assert_eq!(
        lived.output.matches("secret").count(),
        1,
        "{}",
        lived.output
    );
    assert_eq!(lived.detections("all").len(), 2, "{:#?}", lived.events);
    assert_eq!(lived.detections("token").len(), 1);
}

#[test]
fn more_tasks_than_the_rule_permits_are_told() {
    let keys = "detect: [{name: many, on: process-count, above: 5}]";
    let few = "/bin/sleep 100 & /bin/sleep 100 & harmless exit 0; harmless exit 0; exit 0";
    let many =
        "for n in 1 2 3 4 5 6; do /bin/sleep 1000 & done; harmless exit 0; exec harmless stay";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), few);
        assert!(lived.detections("many").is_empty(), "{:#?}", lived.events);
        let bundle = site(world, keys).args(["sh", "-c", many]).up();
        let event = detected(&bundle, "many");
        let why = event["why"].as_str().unwrap_or_default();
        assert!(why.ends_with("tasks, more than 5"), "{why}");
    }
}

#[test]
fn what_the_limit_refused_is_told_at_the_next_execution() {
    let keys = "process: {max: 24}\ndetect: [{name: refused, on: process-count}]";
    for world in worlds() {
        let bundle = site(world, keys).up();
        bundle.exec(["hostile", "forks", "4"]).ok();
        assert!(of_type(&bundle, "detection").is_empty());
        bundle.exec(["hostile", "forks", "40"]).expect(libc::EAGAIN);
        bundle.exec(["harmless", "exit", "0"]).ok();
        let event = detected(&bundle, "refused");
        let why = event["why"].as_str().unwrap_or_default();
        assert!(why.starts_with("its limit refused a process "), "{why}");
        assert_eq!(event["process"], Value::Null);
    }
}

#[test]
fn memory_that_runs_out_is_told_and_a_program_that_fits_is_not() {
    let keys = "detect: [{name: oom, on: oom-kill}]";
    let limit = json!({"limit": 64 << 20, "swap": 64 << 20});
    for world in worlds() {
        let bundle = site(world, keys).edit(|config| {
            config["linux"]["resources"]["memory"] = limit.clone();
        });
        let bundle = bundle.up();
        let eat = |size: &str| {
            bundle.exec([
                "dd",
                "if=/dev/zero",
                "of=/dev/null",
                &format!("bs={size}"),
                "count=1",
            ])
        };
        eat("1M").ok();
        assert!(of_type(&bundle, "detection").is_empty());
        eat("200M").expect(137);
        let event = detected(&bundle, "oom");
        assert_eq!(
            event["why"],
            "the kernel ended 1 of its processes for want of memory"
        );
        assert_eq!(event["severity"], "notice");
    }
}

#[test]
fn rules_of_two_layers_are_judged_side_by_side() {
    let world = World::runc();
    let bundle = site(
        world,
        "detect: [{name: outer, on: tripwire, calls: [keyctl]}]",
    );
    let inner = "version: 1\nname: inner\nextends: [baseline]\n\
                 detect: [{name: inner, on: exec, programs: [hostile]}, {name: outer, on: exit}]\n";
    fs::write(bundle.path.join("profiles/inner.yaml"), inner).expect("our own folder");
    let bundle = bundle.ruled("{namespace: any, profile: inner}");
    let lived = to_the_end(bundle, "hostile keyctl; exit 0");
    let by = |rule: &str, profile: &str| {
        let seen = lived.detections(rule).into_iter();
        seen.filter(|event| event["profile"] == profile).count()
    };
    assert_eq!(by("outer", "site"), 1, "{:#?}", lived.events);
    assert_eq!(by("inner", "inner"), 1);
    assert!(by("outer", "inner") >= 1);
}
