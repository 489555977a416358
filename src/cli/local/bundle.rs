//! config.json of a run: what an engine asks for, of the job's command and tree. Pure.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::place::Place;
use super::tree::{OWN, Root};
use super::users::{self, User};
use super::{Job, LocalError, Tree};
use crate::oci::reference;

/// What of this machine's a program sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Network {
    /// A loopback interface of its own, and nothing else
    None,
    /// This machine's
    Host,
}

/// Something of this machine's at a place inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volume {
    /// A folder or file of this machine's, writable unless it says otherwise.
    Bind {
        /// What.
        source: PathBuf,
        /// Where; absolute.
        destination: PathBuf,
        /// It cannot be written.
        read_only: bool,
    },
    /// A fresh folder in memory.
    Memory {
        /// Where; absolute.
        destination: PathBuf,
    },
}

impl Volume {
    /// `SRC[:DST][:ro|:rw]`. SRC is made absolute; DST is SRC where it is not said.
    ///
    /// # Errors
    /// There is no SRC, or DST is not absolute.
    pub fn parse(written: &str) -> Result<Volume, LocalError> {
        let (rest, read_only) = match written.rsplit_once(':') {
            Some((rest, "ro")) => (rest, true),
            Some((rest, "rw")) => (rest, false),
            _ => (written, false),
        };
        let (source, destination) = match rest.split_once(':') {
            Some((source, destination)) => (source, Some(PathBuf::from(destination))),
            None => (rest, None),
        };
        let source = std::fs::canonicalize(source).map_err(|cause| LocalError::NoVolume {
            path: source.into(),
            cause,
        })?;
        let destination = destination.unwrap_or_else(|| source.clone());
        absolute(&destination)?;
        Ok(Volume::Bind {
            source,
            destination,
            read_only,
        })
    }

    /// A fresh folder in memory at `destination`.
    ///
    /// # Errors
    /// It is not absolute.
    pub fn memory(destination: &Path) -> Result<Volume, LocalError> {
        absolute(destination)?;
        Ok(Volume::Memory {
            destination: destination.to_owned(),
        })
    }

    fn mount(&self) -> Value {
        match self {
            // Without `r`, what else is mounted beneath stays out: `ro` would not reach it.
            Volume::Bind {
                source,
                destination,
                read_only: true,
            } => json!({"destination": destination, "type": "bind", "source": source,
                        "options": ["bind", "rprivate", "ro"]}),
            Volume::Bind {
                source,
                destination,
                read_only: false,
            } => json!({"destination": destination, "type": "bind", "source": source,
                        "options": ["rbind", "rprivate", "rw"]}),
            Volume::Memory { destination } => {
                let mode = match destination.to_str() {
                    Some("/run") => "mode=0755",
                    _ => "mode=1777",
                };
                json!({"destination": destination, "type": "tmpfs", "source": "tmpfs",
                       "options": ["nosuid", "nodev", mode]})
            }
        }
    }
}

fn absolute(path: &Path) -> Result<(), LocalError> {
    let up = |path: &Path| path.components().any(|part| part.as_os_str() == "..");
    if path.is_absolute() && !up(path) {
        return Ok(());
    }
    Err(LocalError::NotAbsolute {
        path: path.to_owned(),
    })
}

/// config.json for `job`, with its root filesystem at `root`.
///
/// # Errors
/// There is no command, or no such user.
pub fn config(job: &Job, place: &Place, root: &Root) -> Result<Value, LocalError> {
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let mut spec = match (&root.spec, &job.tree) {
        (Some(document), Tree::Bundle(path)) => of_bundle(document.value().clone(), path),
        _ => plain(job, &here),
    };
    spec["root"]["path"] = json!(root.path);
    if job.read_only {
        spec["root"]["readonly"] = json!(true);
    }
    if !job.command.is_empty() {
        spec["process"]["args"] = json!(job.command);
    }
    if spec["process"]["args"].as_array().is_none_or(Vec::is_empty) {
        return Err(LocalError::NoCommand);
    }
    spec["process"]["terminal"] = json!(job.terminal);
    if let Some(cwd) = &job.cwd {
        absolute(cwd)?;
        spec["process"]["cwd"] = json!(cwd);
    }
    let user = job
        .user
        .as_deref()
        .map(|user| users::find(&root.path, user));
    if let Some(user) = user.transpose()? {
        be(&mut spec, &user);
    }
    set_variables(&mut spec, &job.env);
    reference::add_capabilities(&mut spec, &job.capabilities);
    match job.network {
        Some(Network::None) => set_network(&mut spec, true),
        Some(Network::Host) => set_network(&mut spec, false),
        None => {}
    }
    let mounts = job.volumes.iter().map(Volume::mount);
    list(&mut spec, "mounts").extend(mounts);
    // One level, so that nothing but the runtime has to remove it.
    spec["linux"]["cgroupsPath"] = json!(format!("/mantlet-{}", place.id));
    Ok(spec)
}

/// What an engine asks for, and of this machine's what a program expects that is run on it.
fn plain(job: &Job, here: &Path) -> Value {
    let mut spec = reference::config();
    spec["process"]["args"] = json!([]);
    let mut env = vec![("HOME".to_owned(), "/root".to_owned())];
    if job.terminal {
        env.extend(std::env::var("TERM").ok().map(|term| ("TERM".into(), term)));
    }
    if job.tree == Tree::Machine {
        env.extend(std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            let passed = matches!(name.as_str(), "PATH" | "LANG" | "TZ") || name.starts_with("LC_");
            passed.then_some((name, value))
        }));
        let own = ["/tmp", "/run"].map(|path| Volume::Memory {
            destination: path.into(),
        });
        let mounts = own.iter().map(Volume::mount);
        list(&mut spec, "mounts").extend(mounts);
        // Where it would be hidden by what containers have of their own.
        if OWN
            .iter()
            .any(|top| here.starts_with(top) && here != Path::new(top))
        {
            let volume = Volume::Bind {
                source: here.to_owned(),
                destination: here.to_owned(),
                read_only: true,
            };
            list(&mut spec, "mounts").push(volume.mount());
        }
        spec["process"]["cwd"] = json!(here);
    }
    let env: Vec<String> = env
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    set_variables(&mut spec, &env);
    spec
}

/// A bundle's own, away from its folder: what is relative to that is made absolute.
fn of_bundle(mut spec: Value, bundle: &Path) -> Value {
    let bundle = std::fs::canonicalize(bundle).unwrap_or_else(|_| bundle.to_owned());
    for mount in list(&mut spec, "mounts") {
        let options = mount["options"].as_array();
        let is_bind = mount["type"] == "bind"
            || options.is_some_and(|all| all.iter().any(|one| one == "bind" || one == "rbind"));
        let source = mount["source"]
            .as_str()
            .filter(|source| is_bind && !source.starts_with('/'));
        if let Some(source) = source {
            mount["source"] = json!(bundle.join(source));
        }
    }
    if let Some(process) = spec["process"].as_object_mut() {
        process.remove("consoleSize");
    }
    spec
}

fn list<'a>(spec: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    if !spec[key].is_array() {
        spec[key] = json!([]);
    }
    spec[key].as_array_mut().expect("it was made one")
}

fn be(spec: &mut Value, user: &User) {
    let mut who = json!({"uid": user.uid, "gid": user.gid});
    if !user.groups.is_empty() {
        who["additionalGids"] = json!(user.groups);
    }
    spec["process"]["user"] = who;
    set_variables(spec, &[format!("HOME={}", user.home)]);
}

/// A later variable takes the place of an earlier one.
fn set_variables(spec: &mut Value, variables: &[String]) {
    let env = list(&mut spec["process"], "env");
    for variable in variables {
        let name = variable.split('=').next().unwrap_or_default();
        env.retain(|other| {
            let other = other.as_str().unwrap_or_default();
            other.split('=').next() != Some(name)
        });
        env.push(json!(variable));
    }
}

fn set_network(spec: &mut Value, own: bool) {
    let namespaces = list(&mut spec["linux"], "namespaces");
    namespaces.retain(|namespace| namespace["type"] != "network");
    if own {
        namespaces.push(json!({"type": "network"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_read_as_engines_read_it() {
        let bind = |written: &str| match Volume::parse(written).unwrap() {
            Volume::Bind {
                destination,
                read_only,
                ..
            } => (destination, read_only),
            Volume::Memory { .. } => panic!("{written} is a bind"),
        };
        assert_eq!(bind("/etc"), ("/etc".into(), false));
        assert_eq!(bind("/etc:ro"), ("/etc".into(), true));
        assert_eq!(bind("/etc:/data"), ("/data".into(), false));
        assert_eq!(bind("/etc:/data:rw"), ("/data".into(), false));
        assert_eq!(bind("/etc:/data:ro"), ("/data".into(), true));
        let own = std::env::current_dir().unwrap();
        assert_eq!(bind(".").0, std::fs::canonicalize(own).unwrap());
        for wrong in ["/no/such", "/etc:data", "/etc:/a/../b", "", ":/x"] {
            assert!(Volume::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_later_variable_wins_and_the_network_is_switched() {
        let mut spec = json!({"process": {"env": ["A=1", "B=2"]}, "linux": {}});
        set_variables(&mut spec, &["A=3".into(), "C=".into()]);
        assert_eq!(spec["process"]["env"], json!(["B=2", "A=3", "C="]));
        set_network(&mut spec, true);
        assert_eq!(spec["linux"]["namespaces"], json!([{"type": "network"}]));
        set_network(&mut spec, false);
        assert_eq!(spec["linux"]["namespaces"], json!([]));
    }

    #[test]
    fn a_bundles_relative_sources_are_made_absolute() {
        let spec = json!({"mounts": [
            {"destination": "/a", "type": "bind", "source": "data"},
            {"destination": "/b", "source": "more", "options": ["rbind"]},
            {"destination": "/c", "type": "tmpfs", "source": "tmpfs"},
        ], "process": {"consoleSize": {"height": 1, "width": 1}}});
        let spec = of_bundle(spec, Path::new("/usr"));
        let sources: Vec<&Value> = spec["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| &m["source"])
            .collect();
        assert_eq!(sources, ["/usr/data", "/usr/more", "tmpfs"]);
        assert!(spec["process"]["consoleSize"].is_null());
    }
}
