//! What the Landlock tests share: a bundle under a profile of the test's own words.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Bundle, Run, World, eventually};

/// System calls of ordinary programs; what a profile says of files and ports follows.
const HEAD: &str = r#"
version: 1
name: site
capabilities: [MKNOD, DAC_OVERRIDE]
syscalls:
  groups: "2026.1"
  allow: ["@default", "@aio", "@basic-io", "@chown", "@file-system", "@io-event", "@ipc", "@network-io",
    "@process", "@resources", "@setuid", "@signal", "@sync", "@timer", ioctl]
"#;

/// A profile of these lines.
pub fn profile(lines: &str) -> String {
    format!("{HEAD}{lines}\n")
}

/// A bundle on runc under a profile of these lines.
pub fn site(lines: &str) -> Bundle {
    Bundle::new(World::runc(), "mantlet-baseline").profile("site", &profile(lines))
}

/// Adds a mount of `source` at `destination`.
pub fn mounted(bundle: Bundle, source: &Path, destination: &str, options: &[&str]) -> Bundle {
    let mount = json!({"destination": destination, "type": "bind", "source": source,
        "options": options});
    bundle.edit(|config| config["mounts"].as_array_mut().expect("mounts").push(mount))
}

/// A folder on the host for a volume of `bundle`.
pub fn volume(bundle: &Bundle, name: &str) -> PathBuf {
    let path = bundle.path.join(name);
    fs::create_dir(&path).expect("a folder of our own");
    path
}

/// The container is created and `start` refuses it in one line with `words`.
#[track_caller]
pub fn assert_start_refused(bundle: &Bundle, words: &str) {
    bundle.write();
    assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
    bundle.start().refused();
    assert_told(bundle, words);
}

/// The container is not created, and one line has `words`.
#[track_caller]
pub fn assert_create_refused(bundle: &Bundle, words: &str) {
    bundle.write();
    assert_ne!(bundle.create(), 0, "created in spite of {words:?}");
    assert_told(bundle, words);
}

#[track_caller]
fn assert_told(bundle: &Bundle, words: &str) {
    let errors = bundle.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains(words), "no {words:?} in {errors:?}");
}

/// What `words` print in an exec session, one attack a line; lines such as `read-file: worked`.
#[track_caller]
pub fn tries(bundle: &Bundle, words: &[&str]) -> Vec<String> {
    let script: String = words
        .iter()
        .map(|words| format!("hostile {words}; "))
        .collect();
    let done = bundle.exec(["sh", "-c", &(script + "true")]).ok();
    done.stdout.lines().map(str::to_owned).collect()
}

/// Asserts what each attack answers: `worked` or the errno's name.
#[track_caller]
pub fn assert_tries(bundle: &Bundle, wanted: &[(&str, &str)]) {
    let words: Vec<&str> = wanted.iter().map(|(words, _)| *words).collect();
    let found = tries(bundle, &words);
    let wanted: Vec<String> = wanted
        .iter()
        .map(|(words, answer)| line(words, answer))
        .collect();
    assert_eq!(found, wanted, "{words:#?}");
}

fn line(words: &str, answer: &str) -> String {
    let name = words.split(' ').next().unwrap_or(words);
    match answer {
        "worked" => format!("{name}: worked"),
        errno => format!("{name}: errno {errno}"),
    }
}

/// Runs `before`, waits while `meanwhile` happens outside, and runs `after`, all in one exec session;
/// answers what it printed. The profile must let it write into /tmp.
pub fn around(bundle: &Bundle, before: &str, meanwhile: impl FnOnce(), after: &str) -> String {
    let go = bundle.world().name("go");
    let script = format!(
        "{before}; echo ready; until [ -e /tmp/{go} ]; do sleep 0.05; done; {after}; echo done"
    );
    let (code, output, _) = bundle.exec_detached(&[], &["sh", "-c", &script]);
    let text = || fs::read_to_string(&output).unwrap_or_default();
    assert_eq!(code, 0, "{}{:?}", text(), bundle.errors());
    eventually("the session is half way", || {
        text().contains("ready\n").then_some(())
    });
    meanwhile();
    fs::write(bundle.rootfs().join("tmp").join(&go), "").expect("our own bundle");
    eventually("the session is done", || {
        text().ends_with("done\n").then_some(())
    });
    text()
}

/// Forgets every name and inode that nobody holds, the whole machine's. Each write goes on while it
/// finds much: one that finds little else only unmarks what was used a moment ago.
pub fn drop_inode_caches() {
    for _ in 0..3 {
        fs::write("/proc/sys/vm/drop_caches", "2").expect("root may");
    }
}

/// The report of the container's start.
#[track_caller]
pub fn report(bundle: &Bundle) -> Value {
    let journal = bundle.journal();
    assert_eq!(journal[0]["type"], "start", "{journal:?}");
    journal[0]["report"].clone()
}

/// A call of the shell in the world, outside of any container.
pub fn outside(script: &str, arguments: &[&Path]) {
    let call: Run = World::runc().command("sh").args(["-euc", script, "sh"]);
    call.args(arguments).run().ok();
}
