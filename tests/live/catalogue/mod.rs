//! The programs of the catalogue (`profiles/`) doing what they are deployed for: what profiles are learned
//! from, and what each has to let through without a denial.
//!
//! A [`Program`] is one small file: how it is deployed (image, user, volumes, arguments), and a life of it, from
//! the first start over its ordinary work to the end, that fails where an answer is wrong. Nobody is inside
//! the container but the program: it is asked over its pod's loopback ([`Wire`]).
//!
//! `MANTLET_LEARN=DIR cargo test --test live catalogue::recorded -- --ignored` records each life under a profile
//! in mode `learn` and leaves the journals in DIR, for `mantlet learn`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Container, Containerd, Pod, World};

mod batch_job;
mod jvm;
mod nginx;
mod node;
mod postgresql;
mod python_web;
mod redis;
mod wire;

pub use wire::Wire;

/// One program of the catalogue.
pub trait Program: Sync {
    /// Its profile's name.
    fn name(&self) -> &'static str;

    /// Gives the daemon its image.
    fn import(&self, daemon: &Containerd);

    /// Lives once in the pod, and answers the containers' ids.
    fn live(&self, pod: &Pod<'_>) -> Vec<String>;
}

/// All of them.
pub const ALL: [&dyn Program; 7] = [
    &nginx::Nginx,
    &redis::Redis,
    &postgresql::PostgreSql,
    &python_web::PythonWeb,
    &jvm::Jvm,
    &node::Node,
    &batch_job::BatchJob,
];

/// Lives one program under a daemon's handler.
fn lives(program: &dyn Program, daemon: &Containerd) -> Vec<PathBuf> {
    program.import(daemon);
    let pod = daemon.pod("mantlet-baseline").run();
    let ids = program.live(&pod);
    let journal = |id: &String| {
        let root = Path::new("/run/containerd/runc/k8s.io");
        mantlet::state::journal_path(&daemon.world().log_dir(), root, id)
    };
    ids.iter().map(journal).collect()
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

/// One test for each: that it does its work where little is denied, which is what its own profile is measured by.
macro_rules! alive {
    ($($test:ident: $program:expr;)*) => {
        $(
            #[test]
            fn $test() {
                lives(&$program, Containerd::shared());
            }
        )*
    };
}

alive! {
    nginx_lives_under_baseline: nginx::Nginx;
    redis_lives_under_baseline: redis::Redis;
    postgresql_lives_under_baseline: postgresql::PostgreSql;
    a_python_application_lives_under_baseline: python_web::PythonWeb;
    a_jvm_lives_under_baseline: jvm::Jvm;
    node_lives_under_baseline: node::Node;
    a_batch_job_lives_under_baseline: batch_job::BatchJob;
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
        for (at, journal) in lives(program, &daemon).into_iter().enumerate() {
            let to = folder.join(format!("{}-{at}.jsonl", program.name()));
            fs::copy(&journal, &to).unwrap_or_else(|error| panic!("{journal:?}: {error}"));
        }
    }
}
