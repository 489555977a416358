//! Volumes that no program may be run from are `noexec`.

use super::*;

/// The options of the mount at `destination` once the plan is applied.
fn options(spec: &Value, profile: &Profile, destination: &str) -> Vec<String> {
    let plan = attempt(spec, profile, &host(7), &config()).unwrap();
    let mut patched = spec.clone();
    patch::apply(&mut patched, &plan.edits).unwrap();
    let mounts = patched["mounts"].as_array().unwrap();
    let found = mounts.iter().find(|m| m["destination"] == destination);
    serde_json::from_value(found.unwrap()["options"].clone()).unwrap()
}

fn site(files: &str) -> Profile {
    let text = format!(
        "{{version: 1, name: site, syscalls: {{groups: '2026.1', allow: ['@default']}}, \
         files: {files}}}"
    );
    Profile::parse("site", &text).unwrap()
}

fn mount(destination: &str, typ: &str, options: &[&str]) -> Value {
    with(|spec| {
        let mount =
            json!({"destination": destination, "type": typ, "source": "x", "options": options});
        spec["mounts"].as_array_mut().unwrap().push(mount);
    })
}

fn has(options: &[String], word: &str) -> bool {
    options.iter().any(|option| option == word)
}

#[test]
fn restricted_makes_every_volume_noexec_and_leaves_the_kernels_filesystems() {
    let profile = Profile::builtin("restricted").unwrap();
    for volume in ["/data", "/tmp", "/etc/hosts", "/etc/app", "/dev/shm"] {
        assert!(
            has(&options(&cri(), &profile, volume), "noexec"),
            "{volume}"
        );
    }
    for kernels in ["/dev", "/dev/pts", "/proc", "/sys"] {
        let mounts = cri()["mounts"].as_array().unwrap().clone();
        let before = mounts.iter().find(|m| m["destination"] == kernels).unwrap();
        let before: Vec<String> = serde_json::from_value(before["options"].clone()).unwrap();
        assert_eq!(options(&cri(), &profile, kernels), before, "{kernels}");
    }
}

#[test]
fn baseline_and_a_profile_without_files_change_no_mount() {
    let bare = "{version: 1, name: bare, syscalls: {groups: '2026.1', allow: ['@default']}}";
    for profile in [
        Profile::builtin("baseline").unwrap(),
        Profile::parse("bare", bare).unwrap(),
    ] {
        let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
        let touched = |edit: &patch::Edit| {
            let (patch::Edit::Set { pointer, .. } | patch::Edit::Remove { pointer }) = edit;
            pointer.starts_with("/mounts")
        };
        assert!(!plan.edits.iter().any(touched), "{}", profile.name);
    }
}

#[test]
fn a_mount_on_at_or_within_which_execution_is_granted_stays() {
    for (files, stays) in [
        ("{read_execute: [/]}", true),
        ("{execute: [/data]}", true),
        ("{execute: [/data/bin]}", true),
        ("{read_write_execute: ['@volumes']}", true),
        ("{execute: ['@image'], read_write: ['@volumes']}", false),
        ("{execute: [/dat]}", false),
        ("{read: [/]}", false),
        ("{execute: [/], except: [/data]}", false),
        ("{execute: [/], except: [/data/part]}", true),
        ("{execute: ['@tmpfs']}", false),
    ] {
        let found = options(&cri(), &site(files), "/data");
        assert_eq!(!has(&found, "noexec"), stays, "{files}: {found:?}");
    }
}

#[test]
fn noexec_is_the_last_word_and_reaches_the_mounts_below_an_rbind() {
    let profile = Profile::builtin("restricted").unwrap();
    for (typ, given, want) in [
        ("bind", &["bind", "rw"][..], &["bind", "rw", "noexec"][..]),
        (
            "bind",
            &["rbind", "exec", "rexec"],
            &["rbind", "noexec", "rnoexec"],
        ),
        (
            "none",
            &["rbind", "ro"],
            &["rbind", "ro", "noexec", "rnoexec"],
        ),
        (
            "tmpfs",
            &["noexec", "exec", "size=1k"],
            &["noexec", "size=1k"],
        ),
        ("overlay", &[], &["noexec"]),
    ] {
        let spec = mount("/more", typ, given);
        assert_eq!(options(&spec, &profile, "/more"), want, "{given:?}");
        let again = mount("/more", typ, want);
        assert_eq!(options(&again, &profile, "/more"), want, "twice is once");
    }
}

#[test]
fn without_landlock_volumes_are_noexec_all_the_same() {
    let text = "{version: 1, name: old, extends: [restricted], \
                requires: {degrade: [landlock, exec-capture]}}";
    let profile = Profile::parse("old", text).unwrap();
    let plan = attempt(&cri(), &profile, &host(0), &config()).unwrap();
    let mut patched = cri();
    patch::apply(&mut patched, &plan.edits).unwrap();
    let mounts = patched["mounts"].as_array().unwrap();
    let data = mounts.iter().find(|m| m["destination"] == "/data").unwrap();
    assert!(
        data["options"]
            .as_array()
            .unwrap()
            .contains(&json!("noexec"))
    );
}

#[test]
fn in_a_user_namespace_runc_is_not_made_to_remount_a_bind() {
    let profile = Profile::builtin("restricted").unwrap();
    let in_user_namespace = |mut spec: Value| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
        spec
    };
    for (typ, given, want) in [
        ("bind", &["bind", "rw"][..], &["bind", "rw", "rnoexec"][..]),
        ("bind", &["rbind"], &["rbind", "rnoexec"]),
        ("tmpfs", &["nosuid"], &["nosuid", "noexec"]),
    ] {
        let spec = in_user_namespace(mount("/more", typ, given));
        assert_eq!(options(&spec, &profile, "/more"), want, "{given:?}");
    }
}
