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

/// What a layer that only looks says of mounts is what one that enforces does to them.
#[test]
fn what_is_told_of_a_mount_is_what_becomes_of_it() {
    let all = with(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/data/inner", "type": "bind", "source": "x", "options": ["bind"]}));
        mounts.push(json!({"destination": "/closed", "type": "tmpfs", "source": "x", "options": ["exec", "noexec"]}));
    });
    let spec: Spec = serde_json::from_value(all.clone()).unwrap();
    let places = mounts::read(&spec).unwrap();
    for files in [
        "{read_execute: ['@image']}",
        "{read_execute: [/]}",
        "{execute: [/data/inner/bin]}",
        "{execute: ['@volumes'], except: [/data/inner]}",
        "{execute: [/], except: [/data]}",
        "{execute: ['@tmpfs']}",
    ] {
        let profile = site(files);
        let closed = crate::policy::noexec::closed_by(&profile, &spec, &places);
        for place in &places {
            let own = &place.destination;
            let before = all["mounts"].as_array().unwrap().iter();
            let before = before.filter(|mount| mount["destination"] == **own);
            let by_engine = before
                .flat_map(|mount| mount["options"].as_array().cloned().unwrap_or_default())
                .any(|word| word == "noexec");
            let made = has(&options(&all, &profile, own), "noexec") && !by_engine;
            assert_eq!(closed.contains(own), made, "{files}: {own}");
            // One that stays open lies within none that is closed.
            let open = places
                .iter()
                .all(|other| *own != other.destination || !by_engine)
                && !made;
            if open {
                assert_eq!(
                    crate::policy::noexec::closes(&closed, own),
                    None,
                    "{files}: {own}"
                );
            }
        }
    }
    let bare = "{version: 1, name: bare, syscalls: {groups: '2026.1', allow: ['@default']}}";
    let bare = Profile::parse("bare", bare).unwrap();
    assert!(crate::policy::noexec::closed_by(&bare, &spec, &places).is_empty());
    let possible = crate::policy::noexec::possible(&spec, &places);
    assert!(possible.contains(&"/data".into()) && possible.contains(&"/etc/hosts".into()));
    for never in ["/closed", "/dev", "/proc", "/sys", "/dev/pts"] {
        assert!(!possible.contains(&never.into()), "{never}");
    }
}

#[test]
fn sessions_share_the_mounts_that_the_containers_own_layers_make() {
    let quiet = "{version: 1, name: quiet, extends: [restricted]}";
    let looks =
        "{version: 1, name: site, mode: audit, extends: [baseline], exec: {profile: quiet}}";
    let profile = of_node(&[("site", looks), ("quiet", quiet)]);
    let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
    let sessions = plan.observing[1].as_ref().unwrap();
    let closed = |name: &str| {
        let mut layers = sessions.layers.iter();
        let own = layers.find(|layer| layer.profile == name).unwrap();
        !own.noexec.is_empty()
    };
    assert!(!closed("quiet"), "it is no layer of the container");
    let strict = Profile {
        name: "strict".into(),
        mode: crate::profile::Mode::Audit,
        exec: profile.exec.clone(),
        ..Profile::builtin("restricted").unwrap()
    };
    let plan = attempt(&cri(), &strict, &host(7), &config()).unwrap();
    let sessions = plan.observing[1].as_ref().unwrap();
    assert!(!sessions.layers[0].noexec.is_empty() && sessions.layers[1].noexec.is_empty());
}
