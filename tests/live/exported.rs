//! A filter that `mantlet export` made, under a runtime that knows nothing of mantlet.

use std::fs;

use serde_json::Value;

use crate::detect::worlds;
use crate::harness::{Bundle, World};

/// The filter of a profile, with what the runtime itself calls.
fn filter(world: &World, profile: &str) -> Value {
    let words = ["export", profile, "--to", "oci-seccomp", "--with-runtime"];
    let made = world.mantlet(words).ok();
    serde_json::from_str(&made.stdout).expect("the filter is alone on standard output")
}

#[test]
fn an_exported_filter_alone_starts_the_runtimes_own_init_and_denies_what_it_does_not_list() {
    let script = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; echo x > /tmp/x && cat /tmp/x; \
                  unshare -U true; echo unshare $?; mkdir /made; echo mkdir $?";
    for world in worlds() {
        let folder = world.folder("exported", &world.name("site"));
        let narrow = folder.join("narrow.yaml");
        // All but mkdir(2), which no runtime needs once the container's mounts are made.
        let text = "version: 1\nname: narrow\nsyscalls:\n  groups: '2026.1'\n  allow: ['@default', '@basic-io', \
                    '@file-system', '@io-event', '@process', '@signal', '@timer', '@setuid', '@sync', \
                    '@resources', '@network-io', '@ipc', ioctl]\n  \
                    deny: [{name: mkdir, args: [{index: 1, op: ge, value: 0}]}, \
                    {name: mkdirat, args: [{index: 2, op: ge, value: 0}]}]\n";
        fs::write(world.inside(&narrow), text).expect("our own folder");
        for (profile, mkdir) in [("restricted", 0), (narrow.to_str().expect("UTF-8"), 1)] {
            let seccomp = filter(world, profile);
            let bundle = Bundle::new(world, world.runtime())
                .args(["/bin/sh", "-c", script])
                .edit(|config| config["linux"]["seccomp"] = seccomp);
            let done = bundle.run().ok();
            let expected = format!("NoNewPrivs:\t1\nSeccomp:\t2\nx\nunshare 1\nmkdir {mkdir}\n");
            assert_eq!(done.stdout, expected, "{profile}: {}", done.stderr);
            assert!(
                done.stderr.contains("Operation not permitted"),
                "{}",
                done.stderr
            );
        }
        // Without it nothing is denied.
        let bundle = Bundle::new(world, world.runtime()).args(["/bin/sh", "-c", script]);
        let bundle = bundle.edit(|config| config["linux"]["seccomp"] = Value::Null);
        let done = bundle.run().ok();
        assert!(
            done.stdout.contains("Seccomp:\t0\nx\nunshare 0\nmkdir 0\n"),
            "{}",
            done.stdout
        );
    }
}
