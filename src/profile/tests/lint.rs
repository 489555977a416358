//! Each rule of `lint` finds what it is about, and is silent about the same written well.

use super::*;
use crate::profile::Level;
use crate::profile::lint::{CODES, lint};

/// As [`everything`], but for M901, which most of these profiles would have.
fn found(text: &str) -> Vec<String> {
    let mut all = everything(text);
    all.retain(|said| !said.starts_with("M901"));
    all
}

/// `CODE LINE` of each finding about `web`; parents are the built-in ones and `sessions`.
fn everything(text: &str) -> Vec<String> {
    let findings = lint("web", None, &mut |name| {
        Ok(match name {
            "web" => Some(format!("version: 1\nname: web\n{text}")),
            "sessions" => Some(format!(
                "version: 1\nname: sessions\n{CALLS}masked_paths: [/srv/key]\n"
            )),
            _ => None,
        })
    });
    let said = findings.iter().map(|found| {
        assert!(
            !found.message.is_empty() && found.help.is_some(),
            "{found:?}"
        );
        let code = found.code.unwrap();
        assert!(
            CODES
                .iter()
                .any(|known| known.id == code && known.level == found.level)
        );
        format!("{code} {}", found.origin.line())
    });
    said.collect()
}

/// The code, the lines that it is about (from line 4 on, after the calls), and the same without it.
const CASES: &[(&str, &str, &str)] = &[
    (
        "M101",
        "capabilities: [SYS_ADMIN]",
        "capabilities: [{name: SYS_ADMIN, why: it mounts}, CHOWN]",
    ),
    (
        "M103",
        "files: {read_write_execute: [/srv]}",
        "files: {read_write_execute: [{path: /srv, why: a JIT}]}",
    ),
    (
        "M103",
        "files: {read_write: [/srv/a], execute: [/srv]}",
        "files: {read_write: [/srv/a], execute: [/usr]}",
    ),
    (
        "M103",
        "files: {read_write: ['@volumes'], execute: [/]}",
        "files: {read_write: ['@volumes'], execute: ['@image']}",
    ),
    (
        "M104",
        "files: {read_write: [/etc]}",
        "files: {read_write: [/etc/nginx]}",
    ),
    (
        "M105",
        "files: {make_device: [/dev]}",
        "files: {make_device: [{path: /dev, why: udev}]}",
    ),
    (
        "M302",
        "files: {read: [/srv, /srv/a]}",
        "files: {read: [/srv], read_write: [/srv/a]}",
    ),
    (
        "M302",
        "files: {read: [/srv], read_write: [/srv]}",
        "files: {read: [/srv], execute: [/srv]}",
    ),
    (
        "M302",
        "files: {read: [/a, /a]}",
        "files: {read: [/a, /ab]}",
    ),
    (
        "M304",
        "network: {bind_tcp: [80, 80]}",
        "network: {bind_tcp: [80, 81], connect_tcp: [80]}",
    ),
    (
        "M304",
        "capabilities: [CHOWN, CAP_CHOWN]",
        "capabilities: [CHOWN, FOWNER]",
    ),
    (
        "M304",
        "masked_paths: [/srv/a, /srv/a]",
        "{masked_paths: [/srv/a], readonly_paths: [/srv/a]}",
    ),
    (
        "M501",
        "requires: {degrade: [network]}",
        "{requires: {degrade: [network]}, network: {bind_tcp: [80]}}",
    ),
    (
        "M501",
        "requires: {degrade: [tripwires]}",
        "requires: {degrade: [exec-capture]}",
    ),
    (
        "M502",
        "network: {bind_tcp: [80]}",
        "{network: {bind_tcp: [80]}, requires: {landlock: 4}}",
    ),
    (
        "M601",
        "tests: [{exec: /usr/bin/sudo, expect: allowed}]",
        "tests: [{exec: /usr/bin/sudo, expect: denied}]",
    ),
    (
        "M601",
        "files: {execute: [/usr/bin/ping]}",
        "files: {execute: [{path: /usr/bin/ping, why: sockets of its own}, /usr/bin]}",
    ),
    (
        "M606",
        "capabilities: [SETFCAP]",
        "capabilities: [{name: SETFCAP, why: it unpacks images}, CHOWN]",
    ),
    (
        "M602",
        "{scope: [signal], requires: {landlock: 6}}",
        "{scope: [signal], requires: {landlock: 6}, exec: {commands: []}}",
    ),
    (
        "M603",
        "exec: {commands: [/bin/s*]}",
        "exec: {commands: [/usr/bin/pg_isready]}",
    ),
    (
        "M603",
        "exec: {commands: [env]}",
        "exec: {commands: [pg_isready]}",
    ),
    (
        "M604",
        "exec: {profile: sessions}",
        "{exec: {profile: sessions}, masked_paths: [/srv/key]}",
    ),
    (
        "M605",
        "{exec: {commands: [/srv/check]}, files: {read_write: [/srv]}, requires: {landlock: 5}}",
        "{exec: {commands: [/opt/check]}, files: {read_write: [/srv]}, requires: {landlock: 5}}",
    ),
    (
        "M607",
        "exec: {commands: [/opt/*, /opt/check]}",
        "exec: {commands: [/opt/*, /opt/a/check, /srv/check, check]}",
    ),
    (
        "M607",
        "exec: {commands: [/opt/**, '/opt/*/check*']}",
        "exec: {commands: ['/opt/?', '/srv/?a', '/srv/a?', '/srv/b/*']}",
    ),
    (
        "M607",
        "exec: {commands: [pg_isready, pg_isready]}",
        "exec: {commands: [pg_isready, /usr/bin/pg_isready]}",
    ),
    (
        "M703",
        "files: {read: [/srv], except: [/opt/key]}",
        "files: {read: [/srv], except: [/srv/key]}",
    ),
    (
        "M703",
        "files: {read: ['@devices'], except: [/opt/key]}",
        "files: {read: ['@image'], except: [/opt/key]}",
    ),
    (
        "M701",
        "{files: {read_write: [/srv], except: [/srv/key]}, requires: {landlock: 5}}",
        "{files: {read: [/srv], except: [/srv/key]}, requires: {landlock: 5}}",
    ),
    (
        "M702",
        "files: {read: [/var/mail]}",
        "files: {read: [{path: /var/mail, follow: true}]}",
    ),
    (
        "M801",
        "detect: [{on: oom-kill}]",
        "{detect: [{on: oom-kill}], process: {refuse: [host-pid]}}",
    ),
    (
        "M804",
        "detect: [{on: exec}, {on: exec, programs: [nc], severity: info}]",
        "detect: [{on: exec}, {on: exec, programs: [nc]}, {on: exec, programs: [ncat], respond: deny}]",
    ),
    (
        "M804",
        "detect: [{on: process-count, above: 100}, {on: process-count, above: 200}]",
        "detect: [{on: process-count}, {on: process-count, above: 200}]",
    ),
    (
        "M804",
        "detect: [{on: drift, unless: [/a, /b]}, {on: drift, unless: [/a]}]",
        "detect: [{on: drift, unless: [/a]}, {on: drift, unless: [/b]}, {on: reverse-shell}, {on: reverse-shell, programs: [rsh]}]",
    ),
    ("M902", "mode: audit", "mode: enforce"),
    ("M903", "lint: {ignore: [{code: M303, why: x}]}", ""),
];

/// A body in braces stands for several keys.
fn body(written: &str) -> String {
    let Some(inner) = written
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    else {
        return format!("{CALLS}{written}\n");
    };
    let value: serde_json::Map<String, serde_json::Value> =
        serde_saphyr::from_str(&format!("{{{inner}}}")).unwrap();
    let lines = value.iter().map(|(key, part)| format!("{key}: {part}\n"));
    format!("{CALLS}{}", lines.collect::<String>())
}

#[test]
fn each_rule_finds_what_it_is_about_and_nothing_in_the_same_written_well() {
    for (code, wrong, right) in CASES {
        let all = found(&body(wrong));
        assert!(
            all.iter().any(|said| said.starts_with(code)),
            "{code} {wrong}: {all:?}"
        );
        let all = found(&body(right));
        assert!(
            !all.iter().any(|said| said.starts_with(code)),
            "{code} {right}: {all:?}"
        );
    }
}

#[test]
fn rules_on_calls_go_by_the_order_of_decision() {
    let calls = |lists: &str| format!("syscalls: {{groups: '2026.1', {lists}}}\n");
    let flag = "{name: clone, args: [{index: 0, op: masked-ne, mask: 0x7e020000, value: 0}]}";
    let one = "{name: socket, args: [{index: 0, op: eq, value: 1}]}";
    let two = "{name: socket, args: [{index: 0, op: eq, value: 2}]}";
    let masked = |mask: &str| {
        format!("{{name: clone, args: [{{index: 0, op: masked, mask: {mask}, value: 0}}]}}")
    };
    let (no_namespaces, fewer) = (masked("0x7e020000"), masked("0x7e020100"));
    for (code, wrong, right) in [
        (
            "M102",
            "allow: [execve, ptrace]",
            "allow: [execve, {name: ptrace, why: a debugger}]",
        ),
        (
            "M102",
            "allow: ['@default', '@debug']",
            "allow: ['@default', {name: '@debug', why: a debugger}]",
        ),
        (
            "M102",
            "allow: [execve, unshare]",
            "allow: [execve, {name: unshare, args: [{index: 0, op: eq, value: 0}]}]",
        ),
        (
            "M102",
            "allow: [execve, clone]",
            &format!("allow: [execve, clone], tripwire: [{flag}]"),
        ),
        (
            "M201",
            "allow: [execve, mount]",
            "allow: [execve], tripwire: [mount]",
        ),
        ("M201", "allow: ['@known']", "allow: ['@default']"),
        (
            "M210",
            "allow: [execve, umount2]",
            "allow: [execve], tripwire: [umount2]",
        ),
        (
            "M202",
            "allow: [execve, read], tripwire: [read]",
            "allow: [execve], tripwire: ['@debug']",
        ),
        (
            "M202",
            "allow: [execve, '@bpf'], deny: ['@bpf']",
            "allow: [execve, kcmp], deny: ['@debug']",
        ),
        (
            "M203",
            "allow: ['@default', {name: brk, args: [{index: 0, op: eq, value: 0}]}]",
            "allow: [execve, {name: brk, args: [{index: 0, op: eq, value: 0}]}]",
        ),
        (
            "M204",
            "allow: [execve, {name: socket, args: [{index: 0, op: eq, value: 1}, {index: 0, op: eq, value: 2}]}]",
            "allow: [execve, {name: socket, args: [{index: 0, op: ne, value: 1}, {index: 0, op: ne, value: 2}]}]",
        ),
        (
            "M204",
            "allow: [execve, {name: socket, args: [{index: 0, op: eq, value: 0x100000001}]}]",
            "allow: [execve, {name: brk, args: [{index: 0, op: eq, value: 0x100000001}]}]",
        ),
        (
            "M205",
            "allow: [execve], tripwire: [bpf], deny: [bpf]",
            "allow: [execve], tripwire: [bpf], deny: [kcmp]",
        ),
        (
            "M206",
            "allow: [execve, {name: brk, errno: ENOSYS}]",
            "allow: [execve], deny: [{name: brk, errno: ENOSYS}]",
        ),
        (
            "M102",
            "allow: ['@system-service', '@keyring']",
            "allow: ['@system-service']",
        ),
        (
            "M202",
            &format!("allow: [execve, {one}], tripwire: [{one}]"),
            &format!("allow: [execve, {one}], tripwire: [{two}]"),
        ),
        (
            "M207",
            &format!("allow: [execve], tripwire: [{one}], deny: [{one}]"),
            &format!("allow: [execve], tripwire: [{one}], deny: [{two}]"),
        ),
        (
            "M207",
            &format!(
                "allow: [execve], tripwire: [{one}], deny: [{{name: socket, args: [{{index: 0, op: lt, value: 9}}]}}]"
            ),
            &format!(
                "allow: [execve], tripwire: [{one}], deny: [{{name: socket, args: [{{index: 0, op: lt, value: 1}}]}}]"
            ),
        ),
        (
            "M208",
            &format!("allow: [execve, {no_namespaces}, {fewer}]"),
            &format!("allow: [execve, {no_namespaces}, {one}, {two}]"),
        ),
        (
            "M208",
            "allow: [execve, {name: brk, args: [{index: 0, op: le, value: 5}]}, {name: brk, args: [{index: 0, op: lt, value: 9}]}]",
            "allow: [execve, {name: brk, args: [{index: 0, op: le, value: 5}]}, {name: brk, args: [{index: 0, op: gt, value: 5}]}]",
        ),
        (
            "M208",
            &format!(
                "allow: [execve, socket], deny: [{one}, {{name: socket, args: [{{index: 0, op: ne, value: 2}}]}}]"
            ),
            &format!(
                "allow: [execve, socket], deny: [{one}, {{name: socket, errno: EINVAL, args: [{{index: 0, op: ne, value: 2}}]}}]"
            ),
        ),
        (
            "M209",
            "allow: [execve], deny: [ptrace]",
            "allow: [execve], deny: [{name: ptrace, errno: ENOSYS}]",
        ),
        (
            "M209",
            "allow: [execve], deny: ['@debug']",
            "allow: [execve, ptrace], deny: ['@debug']",
        ),
        (
            "M209",
            "allow: [execve], deny: [socket]",
            // A child that allows socket is denied this all the same.
            &format!("allow: [execve], deny: [{one}]"),
        ),
        (
            "M209",
            "allow: [execve], deny: [memfd_create]",
            "allow: [execve], deny: [memfd_create]}\ndetect: [{on: fileless-exec}]\ndescription: {",
        ),
        (
            "M301",
            "allow: ['@default', brk]",
            "allow: ['@default', openat]",
        ),
        (
            "M301",
            "allow: [execve, openat, openat]",
            "allow: [execve, openat], tripwire: [openat]",
        ),
        ("M401", "allow: [execve, opnat]", "allow: [execve, openat]"),
        (
            "M802",
            "allow: [execve, memfd_create]}\ndetect: [{on: drift}]\ndescription: {",
            "allow: [execve]}\ndetect: [{on: drift}]\ndescription: {",
        ),
        (
            "M803",
            "allow: [execve, memfd_create]}\ndetect: [{on: fileless-exec}]\ndescription: {",
            "allow: [execve]}\ndetect: [{on: fileless-exec}]\ndescription: {",
        ),
    ] {
        let text = |lists: &str| calls(lists).replace("description: {}", "");
        let all = found(&text(wrong));
        assert!(
            all.iter().any(|said| said.starts_with(code)),
            "{code} {wrong}: {all:?}"
        );
        let all = found(&text(right));
        assert!(
            !all.iter().any(|said| said.starts_with(code)),
            "{code} {right}: {all:?}"
        );
    }
}

#[test]
fn what_a_parent_grants_already_is_noted_at_the_childs_line() {
    let all = found(
        "extends: [baseline]\ncapabilities: [CHOWN, NET_ADMIN]\nsyscalls: {groups: '2026.1', allow: [brk]}\nfiles: {read: [/etc]}\n",
    );
    let noted: Vec<&str> = all
        .iter()
        .filter(|said| said.starts_with("M303"))
        .map(String::as_str)
        .collect();
    assert_eq!(noted, ["M303 4", "M303 5", "M303 6"], "{all:?}");
    assert!(all.contains(&"M101 4".to_owned()), "{all:?}");
    let all = found(
        "extends: [baseline]\ncapabilities: [CHOWN]\nlint:\n  ignore: [{code: M303, why: to be read alone}]\n",
    );
    assert!(all.is_empty(), "{all:?}");
}

#[test]
fn a_profile_that_cannot_be_used_is_found_to_be_so_and_every_error_of_it() {
    let all = found("extends: [baseline]\ncapabilities: [CHWON]\nscope: [signals]\n");
    assert_eq!(all, ["M001 4", "M001 5"]);
    assert_eq!(found("extends: [nobody]\n"), ["M001 3"]);
    let wrong = found(&format!(
        "{CALLS}lint: {{ignore: [{{code: M001, why: x}}]}}\n"
    ));
    assert_eq!(wrong, ["M001 4"]);
}

#[test]
fn the_profiles_that_ship_have_nothing_to_warn_of() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
    let mut looked_at = 0;
    let mut wrong: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let all = lint(name, None, &mut |wanted| {
            Ok((wanted == name).then(|| text.clone()))
        });
        let worse: Vec<_> = all
            .iter()
            .filter(|found| found.level > Level::Note)
            .collect();
        let told: Vec<String> = worse
            .iter()
            .map(|found| found.show(crate::profile::Look::PLAIN))
            .collect();
        wrong.extend(told);
        looked_at += 1;
    }
    assert!(looked_at > 4);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_profile_of_which_nothing_is_expected_is_noted_unless_it_only_looks() {
    assert_eq!(everything(CALLS), ["M901 2"]);
    let tested = "tests: [{syscall: mount, expect: denied}]\n";
    assert!(everything(&format!("{CALLS}{tested}")).is_empty());
    assert_eq!(everything(&format!("{CALLS}mode: audit\n")), ["M902 4"]);
}

#[test]
fn every_code_is_documented_and_tested() {
    let page = include_str!("../../../profiles/README.md");
    let own = include_str!("lint.rs");
    for code in CODES {
        assert!(
            page.contains(&format!("| {} |", code.id)),
            "{} is not documented",
            code.id
        );
        // No build is older than its data version.
        let untold = code.id == "M402";
        assert!(
            untold || own.contains(&format!("\"{}", code.id)),
            "{} is not tested",
            code.id
        );
    }
}

/// Codes of the family about kernels, with lines, where kernels of that ABI are asked about.
fn on_abi(abi: u32, text: &str) -> Vec<String> {
    let findings = lint("web", Some(abi), &mut |name| {
        Ok((name == "web").then(|| format!("version: 1\nname: web\n{CALLS}{text}")))
    });
    let mut all: Vec<String> = findings
        .iter()
        .map(|found| format!("{} {}", found.code.unwrap(), found.origin.line()))
        .collect();
    all.retain(|said| said.starts_with("M503") || said.starts_with("M504"));
    all
}

#[test]
fn what_the_kernel_that_is_asked_about_cannot_enforce_is_found_where_it_is_written() {
    let text = "requires: {landlock: 1, degrade: [network, scope]}\n\
                network: {bind_tcp: [80]}\nscope: [signal]\n";
    assert_eq!(on_abi(3, text), ["M503 5", "M503 6"]);
    assert_eq!(on_abi(5, text), ["M503 6"]);
    assert!(on_abi(6, text).is_empty());
    assert_eq!(on_abi(0, text), ["M504 4"]);
    let kept = text.replace("network, scope", "scope");
    assert_eq!(on_abi(3, &kept), ["M504 5"]);
    assert_eq!(
        on_abi(3, &kept.replace("landlock: 1", "landlock: 4")),
        ["M504 4", "M504 5"]
    );
    let anything = "requires: {degrade: [landlock]}\nfiles: {read: [/srv]}\n";
    assert_eq!(on_abi(0, anything), ["M503 2"]);
    assert_eq!(on_abi(8, anything), ["M503 5"]);
    assert!(on_abi(9, anything).is_empty());
    // Who is asked about no kernel says nothing of an answer to that either.
    let answered = "lint: {ignore: [{code: M503, why: 'no such node'}]}\n";
    assert!(found(&format!("{CALLS}{answered}")).is_empty());
    let text = format!("{text}{answered}");
    assert!(on_abi(3, &text).is_empty());
}
