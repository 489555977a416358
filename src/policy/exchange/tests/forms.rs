//! Each word of a seccomp filter, the forms it comes in, and errors.

use super::super::{
    Defaults, Error, Imported, Kernel, SeccompFile, SeccompScene, export_seccomp, import_seccomp,
    manifest,
};
use crate::detect::Response;
use crate::policy::Layers;
use crate::policy::seccomp::exact::Exact;
use crate::policy::seccomp::verdict::Action;
use crate::profile::Profile;

fn attempt(text: &str, scene: &SeccompScene, defaults: Defaults) -> Result<Imported, Error> {
    let file = SeccompFile::read("s.json", text)?;
    import_seccomp("s.json", "made", &file, scene, defaults)
}

fn made(text: &str) -> (Imported, Profile) {
    let imported = attempt(text, &SeccompScene::default(), Defaults::Refuse).unwrap();
    let profile = Profile::parse("made", &imported.text).unwrap();
    (imported, profile)
}

fn answer(profile: &Profile, name: &str, args: [u64; 6]) -> Action {
    let exact = Exact::new(Layers::from(&profile), true).unwrap();
    exact.calls[name].1.verdict(&args)
}

/// A filter that allows what every workload needs, with more rules.
fn with(default: &str, rules: &str) -> String {
    format!(
        r#"{{"defaultAction": "{default}", "syscalls": [
            {{"names": ["read", "write", "execve", "exit_group", "clone"], "action": "SCMP_ACT_ALLOW"}}{rules}]}}"#
    )
}

#[test]
fn each_action_has_its_place() {
    let (imported, profile) = made(&with(
        "SCMP_ACT_ERRNO",
        r#", {"names": ["getpid"], "action": "SCMP_ACT_LOG"},
           {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
           {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
           {"names": ["bpf"], "action": "SCMP_ACT_KILL_PROCESS"},
           {"names": ["kcmp"], "action": "SCMP_ACT_KILL"},
           {"names": ["acct"], "action": "SCMP_ACT_TRAP"},
           {"names": ["ptrace"], "action": "SCMP_ACT_TRACE"},
           {"names": ["umask"], "action": "SCMP_ACT_NOTIFY"},
           {"names": ["fork"], "action": "SCMP_ACT_ALLOW"},
           {"names": ["fork"], "action": "SCMP_ACT_ERRNO"}"#,
    ));
    let ask = |name| answer(&profile, name, [0; 6]);
    assert_eq!(ask("getpid"), Action::Allow);
    assert_eq!(ask("mkdir"), Action::Errno(13));
    assert_eq!(ask("rmdir"), Action::Errno(1));
    assert_eq!(ask("fork"), Action::Errno(1), "the stricter of two");
    for name in ["bpf", "kcmp", "acct", "ptrace", "umask"] {
        assert_eq!(ask(name), Action::Notify, "{name}");
    }
    let [rule] = profile.detect.as_slice() else {
        panic!("{:?}", profile.detect)
    };
    assert_eq!(rule.respond, Response::KillProcess);
    assert_eq!(rule.calls, ["bpf", "kcmp"]);
    let trace = profile
        .syscalls
        .tripwire
        .iter()
        .find(|rule| rule.name == "ptrace")
        .unwrap();
    assert_eq!(trace.errno, Some(libc::ENOSYS));
    for words in [
        "rmdir: it answers errno 77",
        "acct: SCMP_ACT_TRAP",
        "umask: SCMP_ACT_NOTIFY",
    ] {
        assert!(
            imported.notes.iter().any(|note| note.contains(words)),
            "{words}: {:?}",
            imported.notes
        );
        assert!(imported.text.contains(words), "{words}");
    }
}

#[test]
fn comparisons_keep_their_meaning() {
    let (_, profile) = made(&with(
        "SCMP_ACT_ERRNO",
        r#", {"names": ["lseek"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 1, "value": 240, "valueTwo": 255, "op": "SCMP_CMP_MASKED_EQ"},
                {"index": 2, "value": 2, "op": "SCMP_CMP_LT"}]},
           {"names": ["socket"], "action": "SCMP_ACT_ALLOW"},
           {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97, "args": [
                {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]}"#,
    ));
    let lseek = |one, two| answer(&profile, "lseek", [0, one, two, 0, 0, 0]);
    assert_eq!(lseek(0xf7, 1), Action::Allow);
    assert_eq!(lseek(0xe7, 1), Action::Errno(1));
    assert_eq!(lseek(0xf7, 2), Action::Errno(1));
    let socket = |family| answer(&profile, "socket", [family, 0, 0, 0, 0, 0]);
    assert_eq!(socket(2), Action::Allow);
    assert_eq!(socket(16), Action::Errno(97));
    assert_eq!(
        socket(1 << 32 | 16),
        Action::Errno(97),
        "an int has no upper half"
    );
}

#[test]
fn an_argument_that_is_named_twice_is_read_the_stricter_way() {
    let twice = r#""args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]"#;
    let (_, profile) = made(&with(
        "SCMP_ACT_ERRNO",
        &format!(
            r#", {{"names": ["getpgid"], "action": "SCMP_ACT_ALLOW", {twice}}},
               {{"names": ["getsid"], "action": "SCMP_ACT_ALLOW"}},
               {{"names": ["getsid"], "action": "SCMP_ACT_ERRNO", {twice}}}"#
        ),
    ));
    let ask = |name, value| answer(&profile, name, [value, 0, 0, 0, 0, 0]).permits();
    assert!(!ask("getpgid", 1) && !ask("getpgid", 2));
    assert!(ask("getsid", 0) && !ask("getsid", 1) && !ask("getsid", 2));
}

#[test]
fn a_default_that_kills_becomes_a_tripwire_for_everything_that_kills() {
    let (_, profile) = made(&with("SCMP_ACT_KILL_PROCESS", ""));
    assert_eq!(answer(&profile, "openat", [0; 6]), Action::Notify);
    assert_eq!(answer(&profile, "write", [0; 6]), Action::Allow);
    assert_eq!(profile.detect[0].respond, Response::KillProcess);
    // A refusal of its own stays what it is.
    let rule = r#", {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                    {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}"#;
    let (_, profile) = made(&with("SCMP_ACT_KILL", rule));
    assert_eq!(answer(&profile, "mkdir", [0; 6]), Action::Errno(13));
    assert_eq!(answer(&profile, "openat", [0; 6]), Action::Notify);
    assert!(!profile.detect[0].calls.contains(&"mkdir".to_owned()));
}

#[test]
fn a_list_of_what_is_forbidden_is_refused_or_expanded() {
    let text = with(
        "SCMP_ACT_ALLOW",
        r#", {"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}"#,
    );
    let refused = attempt(&text, &SeccompScene::default(), Defaults::Refuse).unwrap_err();
    assert!(
        matches!(
            refused,
            Error::DenyList {
                action: "SCMP_ACT_ALLOW",
                ..
            }
        ) && refused.to_string().contains("--expand")
    );
    let expanded = attempt(&text, &SeccompScene::default(), Defaults::Expand).unwrap();
    let profile = Profile::parse("made", &expanded.text).unwrap();
    assert_eq!(answer(&profile, "openat", [0; 6]), Action::Allow);
    assert_eq!(answer(&profile, "bpf", [0; 6]), Action::Errno(1));
    assert_eq!(
        answer(&profile, "mount", [0; 6]),
        Action::Errno(1),
        "no profile can allow it"
    );
    assert!(
        expanded
            .notes
            .iter()
            .any(|note| note.contains("Landlock domain") && note.contains("mount"))
    );
}

#[test]
fn an_errno_of_the_default_is_kept() {
    let text = with("SCMP_ACT_ERRNO", "").replacen('{', r#"{"defaultErrnoRet": 38, "#, 1);
    let (_, profile) = made(&text);
    assert_eq!(answer(&profile, "openat", [0; 6]), Action::Errno(38));
}

const DOCKER: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
  "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
              {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null}],
  "syscalls": [
    {"names": ["read", "write", "execve", "exit_group"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "a", "includes": {}, "excludes": {}},
    {"name": "ptrace", "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
    {"names": ["futex_waitv"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "5.16"}},
    {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]},
     "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
    {"names": ["clone", "bpf", "mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
    {"names": ["getpid"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64", "arm64"]}},
    {"names": ["chown32", "frobnicate"], "action": "SCMP_ACT_ALLOW"}
  ]}"#;

#[test]
fn rules_for_capabilities_architectures_and_kernels_are_resolved() {
    let (imported, profile) = made(DOCKER);
    let ask = |name, flags| answer(&profile, name, [flags, 0, 0, 0, 0, 0]).permits();
    assert!(ask("ptrace", 0) && ask("clone", 17) && !ask("clone", 0x1000_0000));
    assert!(!ask("bpf", 0) && !ask("futex_waitv", 0) && !ask("getpid", 0));
    assert!(cfg!(not(target_arch = "x86_64")) || ask("arch_prctl", 0));
    let has = |words: &str| imported.notes.iter().any(|note| note.contains(words));
    assert!(
        has("containers with CAP_SYS_ADMIN: clone bpf mount"),
        "{:?}",
        imported.notes
    );
    assert!(has("from 5.16 on") && has("frobnicate") && !has("chown32"));
    let admin = SeccompScene {
        capabilities: ["CAP_SYS_ADMIN"].into(),
        kernel: Kernel(6, 1),
    };
    let imported = attempt(DOCKER, &admin, Defaults::Refuse).unwrap();
    let profile = Profile::parse("made", &imported.text).unwrap();
    let ask = |name, flags| answer(&profile, name, [flags, 0, 0, 0, 0, 0]).permits();
    assert!(ask("clone", 0x1000_0000) && ask("bpf", 0) && ask("futex_waitv", 0));
    assert!(!ask("mount", 0), "denied in every domain");
    assert!(profile.capabilities.contains("CAP_SYS_ADMIN"));
}

#[test]
fn a_config_json_and_a_manifest_hold_a_filter_too() {
    let filter = with("SCMP_ACT_ERRNO", "");
    let (_, plain) = made(&filter);
    let config = format!(r#"{{"ociVersion": "1.0.2", "linux": {{"seccomp": {filter}}}}}"#);
    let (_, inside) = made(&config);
    assert_eq!(plain.syscalls, inside.syscalls);
    let none = attempt(
        r#"{"linux": {}}"#,
        &SeccompScene::default(),
        Defaults::Refuse,
    )
    .unwrap_err();
    assert!(none.to_string().contains("no `linux.seccomp`"));
}

#[test]
fn a_manifest_comes_back_as_it_was_and_is_what_the_operator_takes() {
    let restricted = Profile::builtin("restricted").unwrap();
    let exported = export_seccomp(&restricted, false).unwrap();
    let text = manifest("my_profile", "for \"tests\"\n", &exported).unwrap();
    assert!(text.contains(
        "apiVersion: security-profiles-operator.x-k8s.io/v1beta1\nkind: SeccompProfile\n"
    ));
    assert!(text.contains("name: \"my-profile\""));
    assert!(text.contains("# * tripwires are refused in silence"));
    let file = SeccompFile::read("m.yaml", &text).unwrap();
    let back = import_seccomp(
        "m.yaml",
        "made",
        &file,
        &SeccompScene::default(),
        Defaults::Refuse,
    )
    .unwrap();
    let json = exported.filter.to_string();
    let (direct, _) = made(&json);
    let body = |text: &str| text.split_once("syscalls:").unwrap().1.to_owned();
    assert_eq!(body(&back.text), body(&direct.text));
}

#[test]
fn a_manifest_refuses_values_that_the_resource_cannot_hold() {
    let text = "version: 1\nname: x\nsyscalls: {groups: '2026.1', allow: [execve, {name: lseek, args: [{index: 1, op: eq, value: 0xffffffffffffffff}]}]}\n";
    let exported = export_seccomp(&Profile::parse("x", text).unwrap(), false).unwrap();
    let error = manifest("x", "", &exported).unwrap_err().to_string();
    assert!(error.contains("below 2^63"), "{error}");
}

#[test]
fn too_many_rules_are_refused_by_the_call() {
    let args: Vec<String> = (0..10u64)
        .map(|n| {
            format!(
                "{{index: 2, op: masked-ne, mask: {:#x}, value: 0}}",
                0x0101_0101_0101_0101u64 << (n % 8) | 0xff << (4 * n)
            )
        })
        .collect();
    let text = format!(
        "version: 1\nname: x\nsyscalls: {{groups: '2026.1', allow: [execve, {{name: lseek, args: [{}]}}]}}\n",
        args.join(", ")
    );
    let error = export_seccomp(&Profile::parse("x", &text).unwrap(), false).unwrap_err();
    assert!(
        matches!(error, Error::TooManyRules { ref call, .. } if call == "lseek"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_is_said_by_line_and_column() {
    let cases = [
        (
            "{\n \"defaultAction\": \"SCMP_ACT_ALOW\"}",
            "s.json:2:",
            "SCMP_ACT_ALOW",
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n \"syscals\": []}",
            "s.json:2:",
            "unknown field `syscals`",
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [\n{\"names\": [\"read\"]}]}",
            "s.json:2:",
            "missing field `action`",
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [\n{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [{\"index\": 6, \"value\": 0, \"op\": \"SCMP_CMP_EQ\"}]}]}",
            "s.json:2:",
            "above 5",
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 5000}",
            "s.json:1:",
            "above 4095",
        ),
        ("{\"defaultAction\": \"SCMP_ACT_ERRNO\",,}", "s.json:1:", ""),
        (
            "defaultAction: SCMP_ACT_ERRNO\nsyscals: []\n",
            "s.json:2:1",
            "syscals",
        ),
    ];
    for (text, place, words) in cases {
        let error = attempt(text, &SeccompScene::default(), Defaults::Refuse)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(place) && error.contains(words), "{error}");
    }
    let meanings = [
        (
            with(
                "SCMP_ACT_ERRNO",
                r#", {"names": [], "action": "SCMP_ACT_ALLOW"}"#,
            ),
            "names no call",
        ),
        (
            with(
                "SCMP_ACT_ERRNO",
                r#", {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_FLY"]}}"#,
            ),
            "CAP_FLY",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}"#.to_owned(),
            "needs it under every profile",
        ),
        (
            with(
                "SCMP_ACT_ERRNO",
                r#", {"names": ["write"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}"#,
            ),
            "write",
        ),
        (
            with("SCMP_ACT_ERRNO", "").replacen('{', r#"{"baseProfileName": "runc-v1.2", "#, 1),
            "baseProfileName",
        ),
    ];
    for (text, words) in meanings {
        let error = attempt(&text, &SeccompScene::default(), Defaults::Refuse)
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn foreign_text_stays_in_its_comment() {
    let rule = ", {\"names\": [\"evil\\n  - bpf\\u0085x\\u2028\"], \"action\": \"SCMP_ACT_ALLOW\"}";
    let (imported, profile) = made(&with("SCMP_ACT_ERRNO", rule));
    assert!(!answer(&profile, "bpf", [0; 6]).permits());
    assert!(
        imported
            .text
            .lines()
            .all(|line| !line.trim_start().starts_with("- bpf"))
    );
    assert!(!imported.text.contains('\u{2028}') && !imported.text.contains('\u{85}'));
}

#[test]
fn a_parsers_message_comes_in_one_line_without_its_own_functions() {
    let wrong = |text: &str| SeccompFile::read("s.yaml", text).unwrap_err().to_string();
    let two = wrong("kind: SeccompProfile\nspec: {defaultAction: SCMP_ACT_ERRNO}\n---\na: 1\n");
    assert!(
        two.ends_with("a second document begins here; import a file of one"),
        "{two}"
    );
    let alias = wrong("kind: &x SeccompProfile\nspec: *x\n");
    assert!(
        alias.contains("line 1, column") && !alias.ends_with("(used"),
        "{alias}"
    );
    let toml = "[[path_beneath]]\nparent = [\"rel\"]\nallowed_access = [\"execute\"]\n";
    let form = super::super::Form::Toml;
    let relative = super::super::LandlockConfig::read("r.toml", toml, form);
    let relative = relative.unwrap_err().to_string();
    assert!(
        relative.contains("`rel` is not absolute; write it from `/`"),
        "{relative}"
    );
}

#[test]
fn what_clone3_answers_is_said_as_it_is() {
    let text = with(
        "SCMP_ACT_ERRNO",
        r#", {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}"#,
    );
    let narrow = text.replace(", \"clone\"]", "]");
    let (imported, profile) = made(&narrow);
    assert_eq!(answer(&profile, "clone3", [0; 6]), Action::Errno(38));
    let told = imported
        .notes
        .iter()
        .find(|note| note.starts_with("clone3:"));
    assert!(
        told.unwrap().contains("ENOSYS instead"),
        "{:?}",
        imported.notes
    );
}
