//! `explain` and `diff` about a container that runs: what they say is what its kernel does, whatever has
//! become of the profile's file since.

use std::fs;
use std::path::PathBuf;

use crate::detect::worlds;
use crate::harness::{Bundle, Finished, World};

const HEAD: &str = "version: 1\nname: site\nextends: [restricted]\n";
const REST: &str = "network: {bind_tcp: [8080]}\nfiles: {read_write: [/srv]}\n";

/// A container of `site` that sleeps.
fn asleep(world: &'static World) -> Bundle {
    let bundle = Bundle::new(world, "mantlet-baseline")
        .profile("site", &format!("{HEAD}{REST}"))
        .args(["/bin/sleep", "1000"]);
    for folder in ["srv", "var/spool"] {
        fs::create_dir_all(bundle.rootfs().join(folder)).expect("an image of our own");
    }
    bundle.up()
}

fn mantlet(bundle: &Bundle, words: &[&str]) -> Finished {
    let world = bundle.world();
    let command = world.command(world.bin("mantlet")).args(words);
    let configuration = bundle.path.join("mantlet.yaml");
    command.env("MANTLET_CONFIG", configuration).run()
}

/// Another file of the same profile.
fn file(bundle: &Bundle, folder: &str, text: &str) -> String {
    let folder: PathBuf = bundle.path.join(folder);
    fs::create_dir_all(&folder).expect("our own folder");
    let path = folder.join("site.yaml");
    fs::write(&path, text).expect("our own folder");
    path.display().to_string()
}

#[test]
fn explain_says_of_a_running_container_what_its_kernel_does() {
    for world in worlds() {
        let bundle = asleep(world);
        let id = bundle.id.clone();
        let asked = |words: &[&str], code: i32| {
            let words = [&["explain", "--exit-code", "--container", &id], words].concat();
            mantlet(&bundle, &words).expect(code).stdout
        };
        for (question, code, script) in [
            (&["path", "/srv/new", "create"][..], 0, "mkdir /srv/new"),
            (&["path", "/etc/new", "create"], 1, "mkdir /etc/new"),
            (
                &["port", "8080", "bind"],
                0,
                "timeout 1 nc -l -p 8080; test $? -ge 124",
            ),
            (
                &["port", "80", "bind"],
                1,
                "timeout 1 nc -l -p 80; test $? -ge 124",
            ),
            (&["exec", "/bin/busybox"], 0, "/bin/busybox true"),
            (&["syscall", "unshare"], 1, "unshare --uts true"),
        ] {
            let text = asked(question, code);
            let verdict = if code == 0 { "allowed" } else { "denied" };
            assert!(text.contains(verdict), "{question:?}: {text}");
            assert!(text.contains("site"), "the layer is named: {text}");
            let done = bundle.exec(["/bin/sh", "-c", script]);
            assert_eq!(done.code == 0, code == 0, "{script}: {}", done.stderr);
        }
        // The file has changed since, and the container has not.
        file(
            &bundle,
            "profiles",
            &format!(
                "{HEAD}network: {{bind_tcp: [80]}}\n\
                 syscalls: {{groups: '2026.1', allow: [unshare]}}\n"
            ),
        );
        let text = asked(&["syscall", "unshare"], 1);
        assert!(text.contains("denied"), "{text}");
        let now = mantlet(&bundle, &["diff", &format!("container:{id}"), "site"]).expect(1);
        for line in ["+ unshare", "+ 80", "- 8080"] {
            let told = now
                .stdout
                .lines()
                .any(|own| own.trim_end().starts_with(line));
            assert!(told, "{line}: {}", now.stdout);
        }

        let words = ["explain", "--container", &id, "port", "8080", "bind"];
        let done = mantlet(&bundle, &words).ok();
        assert!(done.stdout.contains("allowed"), "{}", done.stdout);
        assert_eq!(
            done.stderr, "",
            "the container has the text that it was made from"
        );
        let json = [
            "explain",
            "--container",
            &id,
            "--json",
            "port",
            "80",
            "bind",
        ];
        let done = mantlet(&bundle, &json).ok();
        let answer: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON alone");
        assert_eq!(answer["answer"], "denied", "{answer}");
        let done = mantlet(&bundle, &["explain", "--container", "nosuch"]).expect(1);
        assert!(done.stderr.contains("no container"), "{}", done.stderr);
    }
}

#[test]
fn diff_tells_a_running_container_from_a_file_in_both_directions() {
    for world in worlds() {
        let bundle = asleep(world);
        let running = format!("container:{}", bundle.id);
        let same = file(&bundle, "same", &format!("{HEAD}{REST}"));
        for sides in [[&running, &same], [&same, &running], [&running, &running]] {
            let done = mantlet(&bundle, &["diff", sides[0], sides[1]]).ok();
            assert!(done.stdout.contains("come to the same"), "{}", done.stdout);
            assert_eq!(done.stderr, "");
        }
        let more = "network: {bind_tcp: [9090]}\nfiles: {read_write: [/srv, /var/spool]}\n\
                    syscalls: {groups: '2026.1', allow: [bpf]}\n";
        let other = file(&bundle, "other", &format!("{HEAD}{more}"));
        for (sides, own, theirs) in [
            ([&running, &other], '-', '+'),
            ([&other, &running], '+', '-'),
        ] {
            let done = mantlet(&bundle, &["diff", sides[0], sides[1]]).expect(1);
            let lines: Vec<&str> = done.stdout.lines().collect();
            let has = |sign: char, word: &str| {
                let mut lines = lines.iter();
                lines.any(|line| line.starts_with(sign) && line.contains(word))
            };
            for (sign, word) in [
                (own, "8080"),
                (theirs, "9090"),
                (theirs, "/var/spool"),
                (theirs, "bpf"),
            ] {
                assert!(has(sign, word), "{sign} {word} in {}", done.stdout);
            }
            assert!(!has('+', "/srv") && !has('-', "/srv"), "{}", done.stdout);
            let words = ["diff", "--json", sides[0], sides[1]];
            let done = mantlet(&bundle, &words).expect(1);
            let told: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON alone");
            assert_eq!(told["same"], false);
        }
        let done = mantlet(&bundle, &["diff", "container:nosuch", &same]).expect(2);
        assert!(done.stderr.contains("no container"), "{}", done.stderr);
        let done = mantlet(&bundle, &["diff", &running, "nosuch"]).expect(2);
        assert!(done.stderr.contains("no profile"), "{}", done.stderr);
    }
}
