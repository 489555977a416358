//! `@image`: what may be executed without a path of its own.

use super::*;

const EXECUTE: u64 = 1;

fn rules(files: &str, spec: &Value) -> Vec<seal::PathRule> {
    let text = format!(
        "{{version: 1, name: site, syscalls: {{groups: '2026.1', allow: ['@default']}}, \
         files: {files}}}"
    );
    let profile = Profile::parse("site", &text).unwrap();
    let plan = attempt(spec, &profile, &host(7), &config()).unwrap();
    plan.policy.layers[0].paths.clone()
}

fn excepted(rule: &seal::PathRule) -> Vec<String> {
    let texts = rule.except.iter().map(|path| String::from_utf8_lossy(path));
    texts.map(|text| text.into_owned()).collect()
}

#[test]
fn programs_of_the_image_are_on_its_own_mount_whatever_config_json_calls_the_others() {
    let files = "{execute: ['@image'], read_write: ['@volumes', /srv], except: [/opt/key]}";
    let all = rules(files, &cri());
    let programs: Vec<_> = all.iter().filter(|r| r.access & EXECUTE != 0).collect();
    let [programs] = programs[..] else {
        panic!("{programs:?}");
    };
    assert!(programs.within_mount && programs.path == b"/");
    let want = ["/dev", "/opt/key", "/proc", "/srv", "/sys"];
    assert_eq!(excepted(programs), want, "no list of mounts");
    assert!(
        all.iter()
            .all(|r| r.access & EXECUTE != 0 || !r.within_mount)
    );
}

#[test]
fn reading_the_image_stays_what_it_was() {
    let all = rules("{read_execute: ['@image']}", &cri());
    let [execute, read] = &all[..] else {
        panic!("{all:?}");
    };
    let (execute, read) = if execute.within_mount {
        (execute, read)
    } else {
        (read, execute)
    };
    assert_eq!((execute.access, execute.within_mount), (EXECUTE, true));
    assert_eq!((read.access & EXECUTE, read.within_mount), (0, false));
    let out = excepted(read);
    assert!(out.contains(&"/data".to_owned()), "{out:?}");
    assert!(!out.contains(&"/etc/app".to_owned()), "read-only: {out:?}");
}

#[test]
fn a_path_of_the_authors_executes_across_mounts() {
    let all = rules("{execute: ['@image', /etc/app]}", &cri());
    let own = all.iter().find(|rule| rule.path == b"/etc/app").unwrap();
    assert!(!own.within_mount && own.access == EXECUTE);
}

#[test]
fn restricted_executes_no_mount_of_the_pods_nor_an_engines_file() {
    let profile = Profile::builtin("restricted").unwrap();
    let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
    for rule in &plan.policy.layers[0].paths {
        assert!(rule.access & EXECUTE == 0 || rule.within_mount, "{rule:?}");
    }
}
