//! What `explain`, `diff` and `test` look at: layers over a container, be it one that runs, one whose
//! bundle lies in a folder, or the reference that stands in where there is none.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};

use super::{CliError, profiles, select};
use crate::config::Config;
use crate::event::Mounted;
use crate::host::{Family, Host, Kernel, Runtime};
use crate::oci::document::{Document, Kind};
use crate::oci::reference;
use crate::policy::decide::{AsWritten, Decider, Places, Rootfs};
use crate::policy::mounts::{self, Place};
use crate::policy::{Composed, Input, Layers, Plan, Refusal, Scene, domains, plan};
use crate::profile::{Mode, Profile};
use crate::seal;
use crate::state::{Home, Record, digest};

/// Over which container, for all verbs that ask.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Over {
    /// Over this container: its config.json as the engine wrote it, and, without a profile, what is in force
    #[arg(long, value_name = "ID", conflicts_with = "bundle")]
    pub container: Option<String>,
    /// Over the bundle in this folder: its config.json, and its root file system where it has one
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// As on a kernel with this Landlock ABI; 0 for none [default: this node's]
    #[arg(long, value_name = "N")]
    pub landlock_abi: Option<u32>,
}

/// A mount of a container that a journal tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// What it is.
    pub mount: Mounted,
    /// The journal says so; else it is what an access was seen on, and only where it is is known.
    pub recorded: bool,
}

impl Volume {
    fn as_spec(&self) -> Mount {
        let Mounted {
            destination,
            kind,
            writable,
        } = &self.mount;
        let may = if *writable { "rw" } else { "ro" };
        let (kind, source, options) = match kind.as_str() {
            "tmpfs" => ("tmpfs", "tmpfs", vec![may]),
            _ => ("bind", "/volume", vec!["rbind", may]),
        };
        let mount = serde_json::json!({
            "destination": destination, "type": kind, "source": source, "options": options,
        });
        serde_json::from_value(mount).expect("a mount of runtime-spec")
    }

    fn in_words(&self) -> String {
        let may = if self.mount.writable {
            ""
        } else {
            ", read-only"
        };
        format!("{} ({}{may})", self.mount.destination, self.mount.kind)
    }
}

/// Layers over a container on a node.
pub struct Subject {
    /// Outermost first.
    pub profiles: Vec<Profile>,
    /// config.json as the engine wrote it.
    pub spec: Spec,
    /// Its mounts.
    pub mounts: Vec<Place>,
    /// The node.
    pub host: Host,
    /// Where the container comes from, for people.
    pub about: String,
    /// What should be said before anything else.
    pub warnings: Vec<String>,
    /// The root file system, where it is at hand.
    pub rootfs: Option<Rootfs>,
    /// The domains of a container that was given others than the profiles come to now.
    pub entered: Vec<(String, seal::Layer)>,
    /// There is no container: the reference stands in.
    reference: bool,
}

impl Subject {
    /// `words` name the layers; none: those that are in force on the container of `over`.
    ///
    /// # Errors
    /// A profile, a container, a bundle or the kernel cannot be had.
    pub fn of(words: &[&str], over: &Over, config: &Config) -> Result<Subject, CliError> {
        let profiles = profiles::layers(words.iter().copied(), config)?;
        let host = node(over.landlock_abi)?;
        if let Some(id) = &over.container {
            return Subject::running(profiles, id, host, config);
        }
        let (spec, about, rootfs) = match &over.bundle {
            Some(folder) => {
                let spec = spec_of(&folder.join("config.json"))?;
                let about = format!("the bundle in {}", folder.display());
                let root = spec.root().as_ref().map(|root| folder.join(root.path()));
                let places = mounts::read(&spec)?;
                let targets = places.iter().map(|place| place.destination.clone());
                let rootfs = root.and_then(|root| Rootfs::open(&root, targets.collect()).ok());
                (spec, about, rootfs)
            }
            None => {
                let spec = a_pod();
                let about = "a pod that asks for nothing special (RuntimeDefault seccomp, the engine's 14 \
                             capabilities, no volumes)";
                (spec, about.to_owned(), None)
            }
        };
        let mut subject = Subject::new(profiles, spec, host, about, rootfs)?;
        subject.reference = over.bundle.is_none();
        Ok(subject)
    }

    /// Whether nothing is known of the container, its volumes among it.
    pub fn is_reference(&self) -> bool {
        self.reference
    }

    fn new(
        profiles: Vec<Profile>,
        spec: Spec,
        host: Host,
        about: String,
        rootfs: Option<Rootfs>,
    ) -> Result<Subject, CliError> {
        let warnings = profiles.iter().filter_map(|profile| {
            let mode = match profile.mode {
                Mode::Enforce => return None,
                Mode::Audit => "audit",
                Mode::Learn => "learn",
            };
            let name = &profile.name;
            Some(format!(
                "{name} says `mode: {mode}` and denies nothing: this is what it would deny if it enforced"
            ))
        });
        Ok(Subject {
            mounts: mounts::read(&spec)?,
            warnings: warnings.collect(),
            profiles,
            spec,
            host,
            about,
            rootfs,
            entered: Vec::new(),
            reference: false,
        })
    }

    /// A container as its record tells.
    fn running(
        profiles: Vec<Profile>,
        id: &str,
        host: Host,
        config: &Config,
    ) -> Result<Subject, CliError> {
        let known = select::one(&config.state_dir, id)?;
        let record = known.record.map_err(|error| CliError::Unreadable {
            reason: error.to_string(),
        })?;
        let spec = spec_of(&record.original)?;
        let own = profiles.is_empty();
        let profiles = match own {
            true => in_force(&known.home, &record, config)?,
            false => profiles,
        };
        let about = format!("container {}", record.container.id);
        let root = spec
            .root()
            .as_ref()
            .map(|root| record.bundle.join(root.path()));
        let targets = mounts::read(&spec)?
            .into_iter()
            .map(|place| place.destination);
        let rootfs = root.and_then(|root| Rootfs::open(&root, targets.collect()).ok());
        let mut subject = Subject::new(profiles, spec, host, about, rootfs)?;
        if own && !subject.is_of(&record, config)? {
            subject.warnings.push(
                "the profiles, this node or mantlet have changed since the container was created: files, ports \
                 and scopes are as its record has them, the rest is what it would be given now"
                    .into(),
            );
            // One that only looks has no domain of its own to read back.
            let enforce = |profile: &Profile| profile.mode == Mode::Enforce;
            if subject.profiles.iter().all(enforce) {
                subject.entered = domains(&record.effective);
            }
        }
        Ok(subject)
    }

    /// The capabilities that any of the profiles lists.
    pub fn capabilities(&self) -> Vec<&'static str> {
        let listed = self
            .profiles
            .iter()
            .flat_map(|p| p.capabilities.iter().copied());
        listed.collect()
    }

    /// Where the reference stands in: the pod asks for these capabilities, so that what is said is the
    /// profiles' word and not the lack of a request.
    pub fn ask_for(&mut self, capabilities: &[&str]) {
        if !self.reference {
            return;
        }
        let mut config = reference::config();
        reference::add_capabilities(&mut config, capabilities);
        let mounts = self.spec.mounts().clone();
        self.spec = serde_json::from_value(config).expect("a test reads the reference as a spec");
        self.spec.set_mounts(mounts);
    }

    /// Where the reference stands in: these are the pod's mounts.
    ///
    /// # Errors
    /// One is no place for a mount.
    pub fn add_volumes(&mut self, volumes: &[Volume]) -> Result<(), CliError> {
        let known = |path: &String| self.mounts.iter().any(|mount| &mount.destination == path);
        // What was recorded goes before what pods mostly have there.
        let new = |one: &&Volume| one.recorded || !known(&one.mount.destination);
        let new: Vec<&Volume> = volumes.iter().filter(new).collect();
        if !self.reference || new.is_empty() {
            return Ok(());
        }
        let mut mounts = self.spec.mounts().clone().unwrap_or_default();
        let replaced = |path: &Path| {
            new.iter()
                .any(|one| Path::new(&one.mount.destination) == path)
        };
        mounts.retain(|mount| !replaced(mount.destination()));
        mounts.extend(new.iter().map(|one| one.as_spec()));
        self.spec.set_mounts(Some(mounts));
        self.mounts = mounts::read(&self.spec)?;
        let (recorded, guessed): (Vec<&Volume>, Vec<&Volume>) =
            new.into_iter().partition(|one| one.recorded);
        if !recorded.is_empty() {
            let list: Vec<String> = recorded.iter().map(|one| one.in_words()).collect();
            self.about += &format!(
                ", with the mounts that the journal tells: {}",
                list.join(", ")
            );
        }
        if !guessed.is_empty() {
            let list = guessed.iter().map(|one| one.mount.destination.as_str());
            self.about += &format!(
                ", with what the journal shows as mounts taken for writable volumes: {}",
                list.collect::<Vec<_>>().join(", ")
            );
        }
        Ok(())
    }

    /// Whether the container of `record` was given just this policy.
    pub fn is_of(&self, record: &Record, config: &Config) -> Result<bool, CliError> {
        let layers: Vec<&Profile> = self.profiles.iter().collect();
        let planned = self.plan(Layers::new(&layers)?, config, !record.parked);
        Ok(planned.is_ok_and(|plan| digest(&plan.policy.encode()) == record.policy_digest))
    }

    /// Why `create` would refuse such a container under these profiles; none where it would not.
    pub fn refusal(profiles: Vec<Profile>, config: &Config) -> Result<Option<Refusal>, CliError> {
        let (spec, about) = (a_pod(), String::new());
        let subject = Subject::new(profiles, spec, node(None)?, about, None)?;
        let layers: Vec<&Profile> = subject.profiles.iter().collect();
        let planned = match Layers::new(&layers) {
            Ok(layers) => subject.plan(layers, config, false),
            Err(refusal) => Err(refusal),
        };
        Ok(planned.err())
    }

    fn plan(&self, profiles: Layers<'_>, config: &Config, run: bool) -> Result<Plan, Refusal> {
        plan(Input {
            profiles,
            spec: &self.spec,
            host: &self.host,
            config,
            found: None,
            run,
        })
    }

    /// Names of the layers as errors and titles have them.
    pub fn title(&self) -> String {
        let names: Vec<&str> = self.profiles.iter().map(|p| p.name.as_str()).collect();
        names.join(" + ")
    }

    /// What decides, and what it all comes to.
    ///
    /// # Errors
    /// The layers refuse this node.
    pub fn decider(&self) -> Result<(Decider, Composed), CliError> {
        let layers: Vec<&Profile> = self.profiles.iter().collect();
        let scene = Scene {
            spec: &self.spec,
            mounts: &self.mounts,
            host: &self.host,
            supervised: true,
        };
        let places: &dyn Places = match &self.rootfs {
            Some(rootfs) => rootfs,
            None => &AsWritten,
        };
        let (mut decider, mut composed) = Decider::compose(Layers::new(&layers)?, &scene, places)?;
        if !self.entered.is_empty() {
            decider.take_domains(&self.entered, places);
            composed.domains = self
                .entered
                .iter()
                .map(|(_, layer)| layer.clone())
                .collect();
        }
        Ok((decider, composed))
    }
}

/// A pod that asks for nothing special.
fn a_pod() -> Spec {
    serde_json::from_value(reference::config()).expect("a test reads the reference as a spec")
}

/// The layers that a container was given. Of one that an older mantlet made, as its profiles are now.
fn in_force(home: &Home, record: &Record, config: &Config) -> Result<Vec<Profile>, CliError> {
    let names = record.profiles.iter().map(String::as_str);
    let texts = home.read_texts().map_err(|error| CliError::Unreadable {
        reason: error.to_string(),
    })?;
    let Some(texts) = texts else {
        return profiles::layers(names, config);
    };
    let mut load = |name: &str| Ok(texts.text(name));
    let layers = names.map(|name| Ok(Profile::resolve(name, &mut load)?));
    layers.collect()
}

/// config.json of a folder.
fn spec_of(path: &Path) -> Result<Spec, CliError> {
    let document = Document::load(path, Kind::Config)?;
    Ok(document.spec()?)
}

/// This node, with another Landlock where one is asked for. No runtime is called: what `noexec` and
/// the like depend on is runc's way, and a kernel without an answer has no Landlock.
fn node(abi: Option<u32>) -> Result<Host, CliError> {
    let kernel = Kernel::probe()?;
    Ok(Host {
        landlock_abi: abi.unwrap_or(kernel.landlock_abi),
        user_notif: kernel.user_notif,
        listener_taken: kernel.listener_taken,
        may_go_on: kernel.may_go_on,
        wait_killable: kernel.wait_killable,
        runtime: Runtime {
            path: "/usr/sbin/runc".into(),
            family: Family::Runc,
            version: "1.1.5".into(),
            number: Some((1, 1, 5)),
        },
    })
}
