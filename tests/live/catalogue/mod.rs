//! The programs of the catalogue (`profiles/`) doing what they are deployed for: what profiles are learned
//! from, and what each has to let through without a denial.
//!
//! A [`Program`] is one small file: how it is deployed (image, user, volumes, arguments), and a life of it, from
//! the first start over its ordinary work to the end, that fails where an answer is wrong. Nobody is inside
//! the container but the program: it is asked over its pod's loopback ([`Wire`]).
//!
//! Under its profile nothing may be denied. A denied call is told; of a denied file or port nobody says a
//! word, so the same profile in mode `audit` stands beside it and tells.
//!
//! Each also has attacks ([`Attack`]): what somebody does who is in it already. Each works under the plain
//! runtime, and under the profile ends with the kernel's own answer.
//!
//! `MANTLET_LEARN=DIR cargo test --test live catalogue::recorded -- --ignored` records each life under a profile
//! in mode `learn` and leaves the journals in DIR, for `mantlet learn`.

use std::fs;
use std::path::{Path, PathBuf};

use std::sync::OnceLock;

use serde_json::Value;

use crate::harness::{Container, Containerd, Pod, World};

mod attack;
mod batch_job;
mod jvm;
mod nginx;
mod node;
mod postgresql;
mod python_web;
mod redis;
mod static_go;
mod wire;

pub use attack::{Attack, said};
pub use wire::Wire;

/// One program of the catalogue.
pub trait Program: Sync {
    /// Its profile's name.
    fn name(&self) -> &'static str;

    /// Gives the daemon its image.
    fn import(&self, daemon: &Containerd);

    /// Lives once in the pod, and answers the containers' ids.
    fn live(&self, pod: &Pod<'_>) -> Vec<String>;

    /// What its profile has to refuse.
    fn attacks(&self) -> &'static [Attack];
}

/// All of them.
pub const ALL: [&dyn Program; 8] = [
    &nginx::Nginx,
    &redis::Redis,
    &postgresql::PostgreSql,
    &python_web::PythonWeb,
    &jvm::Jvm,
    &node::Node,
    &batch_job::BatchJob,
    &static_go::StaticGo,
];

/// Lives one program in a pod, and answers its containers' journals.
fn lives(program: &dyn Program, daemon: &Containerd, pod: &Pod<'_>) -> Vec<PathBuf> {
    let ids = program.live(pod);
    let journal = |id: &String| {
        let root = Path::new("/run/containerd/runc/k8s.io");
        mantlet::state::journal_path(&daemon.world().log_dir(), root, id)
    };
    ids.iter().map(journal).collect()
}

/// The profile in mode `audit`, which a rule of the node lays beside it where the pod's namespace has its name.
fn beside(program: &dyn Program) -> String {
    format!("{}-beside", program.name())
}

/// A daemon whose pods select a profile of the catalogue, which is a layer beside `baseline` then.
fn daemon() -> &'static Containerd {
    static DAEMON: OnceLock<Containerd> = OnceLock::new();
    DAEMON.get_or_init(|| {
        let world = World::runc();
        let folder = world.folder("nodes", "catalogue");
        // The program that stands for one that was taken over is executed as well.
        let hostile = "version: 1\nname: static-hostile\nextends: [static-go]\n\
                       files: {read_execute: [/bin/hostile]}\n";
        fs::write(folder.join("static-hostile.yaml"), hostile).expect("our own folder");
        let names: Vec<&str> = ALL.iter().map(|program| program.name()).collect();
        let offers = format!(
            "profile: baseline, selectable: [{}, static-hostile],",
            names.join(", ")
        );
        let text = fs::read_to_string(world.config()).expect("the world has one");
        let text = text.replace("profile: baseline,", &offers);
        let mut rules = String::new();
        for program in ALL {
            let (name, beside) = (program.name(), beside(program));
            let profile = mantlet::profile::embedded(name).expect("it is built in");
            let head = (
                format!("\nname: {name}\n"),
                format!("\nname: {beside}\nmode: audit\n"),
            );
            fs::write(
                folder.join(format!("{beside}.yaml")),
                profile.replace(&head.0, &head.1),
            )
            .expect("our own folder");
            rules += &format!("- {{namespace: {name}, profile: {beside}}}\n");
        }
        let node = folder.join("config.yaml");
        let text = format!("{text}profiles_dir: {}\nrules:\n{rules}", folder.display());
        fs::write(&node, text).expect("our own folder");
        Containerd::configured(world, "catalogue", |text| text, &node)
    })
}

/// It does all its work under its profile, and nothing of it is denied.
fn works(program: &dyn Program) {
    program.import(daemon());
    let mut pod = daemon()
        .pod("mantlet-baseline")
        .annotation("mantlet.dev/profile", program.name());
    let metadata = pod.config.metadata.as_mut().expect("a pod has a name");
    metadata.namespace = program.name().into();
    let pod = pod.run();
    for journal in lives(program, daemon(), &pod) {
        let text =
            fs::read_to_string(&journal).unwrap_or_else(|error| panic!("{journal:?}: {error}"));
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
        let mut layers = Vec::new();
        for event in events {
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            let denied = [
                "tripwire",
                "observed",
                "detection",
                "failed",
                "suppressed",
                "lost",
                "response",
            ];
            assert!(
                !denied.contains(&kind.as_str()),
                "{}: {event}",
                program.name()
            );
            layers = vec![event["profiles"].clone()];
        }
        let all = serde_json::json!(["baseline", beside(program), program.name()]);
        assert_eq!(layers, [all]);
    }
}

/// Each of its attacks works without mantlet, and is refused under its profile.
fn refuses(program: &dyn Program) {
    program.import(daemon());
    for attack in program.attacks() {
        attack.tried(
            daemon(),
            "mantlet-baseline",
            attack.profile.unwrap_or(program.name()),
        );
    }
}

/// A folder of this test's own that a container gets, with files in it, for `owner`.
fn furnished(container: &Container<'_>, to: &str, owner: u32, files: &[(&str, &str)]) -> PathBuf {
    let folder = container.volume_path(to);
    fs::create_dir_all(&folder).expect("a folder of our own");
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("our own folder");
    }
    std::os::unix::fs::chown(&folder, Some(owner), Some(owner)).expect("our own folder");
    folder
}

/// A uid of an image's /etc/passwd: packages take the next free number.
fn uid(image: &str, user: &str) -> u32 {
    let path = crate::harness::image(&format!("{image}-rootfs")).join("etc/passwd");
    let passwd = fs::read_to_string(path).expect("the image's passwd");
    let line = passwd
        .lines()
        .find(|line| line.starts_with(&format!("{user}:")));
    let uid = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    uid.unwrap_or_else(|| panic!("no user {user} in {image}"))
}

/// Two tests for each.
macro_rules! catalogue {
    ($($works:ident, $refuses:ident: $program:expr;)*) => {
        $(
            #[test]
            fn $works() {
                works(&$program);
            }

            #[test]
            fn $refuses() {
                refuses(&$program);
            }
        )*
    };
}

catalogue! {
    nginx_works, nginx_refuses: nginx::Nginx;
    redis_works, redis_refuses: redis::Redis;
    postgresql_works, postgresql_refuses: postgresql::PostgreSql;
    a_python_application_works, a_python_application_refuses: python_web::PythonWeb;
    a_jvm_works, a_jvm_refuses: jvm::Jvm;
    node_works, node_refuses: node::Node;
    a_batch_job_works, a_batch_job_refuses: batch_job::BatchJob;
    a_static_program_works, a_static_program_refuses: static_go::StaticGo;
}

#[test]
#[ignore = "makes what profiles are learned from: MANTLET_LEARN=DIR"]
fn recorded() {
    let folder = std::env::var_os("MANTLET_LEARN")
        .map(PathBuf::from)
        .expect("MANTLET_LEARN=DIR");
    let profile = "version: 1\nname: site\nmode: learn\n";
    let daemon = Containerd::with_profile(World::runc(), "learn", profile);
    for program in ALL {
        program.import(&daemon);
        let pod = daemon.pod("mantlet-baseline").run();
        for (at, journal) in lives(program, &daemon, &pod).into_iter().enumerate() {
            let to = folder.join(format!("{}-{at}.jsonl", program.name()));
            fs::copy(&journal, &to).unwrap_or_else(|error| panic!("{journal:?}: {error}"));
        }
    }
}
