//! `create` and `run`: from the engine's bundle to a container whose first program is init.
//!
//! Nothing is written before the plan is whole. What goes wrong later is undone: the home is
//! removed, the supervisor ends with its channel, config.json is replaced last.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::SystemTime;

use super::bundle::Bundle;
use super::handover::{self, Handover};
use super::{Door, Failure, absolute, bound, forward, sources};
use crate::config;
use crate::event::Identity;
use crate::host::Host;
use crate::oci::document::Document;
use crate::oci::invocation::{Changes, Create};
use crate::oci::patch::Edit;
use crate::policy::{self, Input, Layers, Plan, Selecting};
use crate::profile::Profile;
use crate::state::{self, Delivery, Home, Record};
use crate::sys::{fanotify, socket, spawn};

/// Set by containerd's CRI plugin on a pod's pause container.
const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";

/// What was read of profiles, by name; none for one that is built in.
type Texts = BTreeMap<String, Option<String>>;

/// Creates the container by becoming the runtime. Returns only why not.
pub(super) fn container(door: &Door<'_>, create: &Create, run: bool) -> Failure {
    prepare(door, create, run).unwrap_or_else(|failure| failure)
}

fn prepare(door: &Door<'_>, create: &Create, run: bool) -> Result<Failure, Failure> {
    if let Some(path) = &create.config {
        return Err(Failure::OtherConfig { path: path.clone() });
    }
    // 1. What is asked for, and what this node can do.
    let bundle = Bundle::open(&absolute(
        create.bundle.as_deref().unwrap_or(Path::new(".")),
    )?)?;
    let host = Host::probe(&door.settings.runtime, &door.config.state_dir)?;
    host.runtime.check()?;
    // 2. Decide.
    let who = identity(&create.id, &bundle.original);
    let mut texts = Texts::new();
    let (plan, profiles) = decide(door, &who, &bundle, &host, run, &mut texts)?;
    // 3. Make everything ready beside the bundle.
    let home = take_home(door, &create.id)?;
    let made = assemble(
        door,
        create,
        run,
        &bundle,
        &host,
        &plan,
        (who, profiles, texts),
        &home,
    );
    let (rewritten, handover) = match made {
        Ok(made) => made,
        Err(failure) => {
            // The refusal is what matters; a home that stays is replaced by the next create.
            let _ = home.remove();
            return Err(failure);
        }
    };
    // 4. Replace config.json, and become the runtime.
    let changes = Changes {
        preserve_fds: Some(handover.preserve()),
        ..Changes::default()
    };
    let words = door.invocation.render(&host.runtime.path, &changes);
    let placed = handover.place().and_then(|()| bundle.rewrite(&rewritten));
    let failure = match placed {
        Ok(()) => {
            // Not before: beside an error, conmon reads a second line as no message at all.
            for degraded in &plan.degraded {
                door.warn(degraded);
            }
            forward::execute(&host.runtime.path, words)
        }
        Err(failure) => failure,
    };
    let _ = home.remove();
    Ok(failure)
}

/// `restore`, by becoming the runtime: for those whose every profile says that they want a container
/// without its sandbox. CRIU makes processes as the image has them; init never runs in them.
///
/// The container has no home afterwards, so no session can be added to it.
pub(super) fn restored(door: &Door<'_>, id: &str, bundle: Option<&Path>) -> Failure {
    let planned = || -> Result<Option<String>, Failure> {
        let bundle = Bundle::open(&absolute(bundle.unwrap_or(Path::new(".")))?)?;
        let host = Host::probe(&door.settings.runtime, &door.config.state_dir)?;
        host.runtime.check()?;
        let who = identity(id, &bundle.original);
        let (plan, _) = decide(door, &who, &bundle, &host, false, &mut Texts::new())?;
        Ok(plan.restore_denied_by)
    };
    match planned() {
        Err(failure) => failure,
        Ok(Some(profile)) => Failure::Restore {
            id: id.to_owned(),
            profile,
        },
        Ok(None) => {
            door.warn(&format!(
                "container {id:?} is restored WITHOUT its sandbox, as its profiles say \
                 (`restore: unprotected`): no Landlock, no supervisor, no exec"
            ));
            forward::become_runtime(door.invocation, Some(&door.config))
        }
    }
}

fn decide(
    door: &Door<'_>,
    who: &Identity,
    bundle: &Bundle,
    host: &Host,
    run: bool,
    texts: &mut Texts,
) -> Result<(Plan, Vec<String>), Failure> {
    let spec = bundle.original.spec()?;
    let annotations = spec.annotations().iter().flatten();
    let annotations = annotations
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect::<BTreeMap<&str, &str>>();
    let pause = annotations.get(CONTAINER_TYPE) == Some(&"sandbox");
    let names = policy::select(&Selecting {
        name: &door.handler,
        handler: &door.settings,
        rules: &door.config.rules,
        who,
        annotations: &annotations,
        pause,
    })?;
    let profiles = names
        .iter()
        .map(|name| load(door, name, texts))
        .collect::<Result<Vec<Profile>, Failure>>()?;
    // What a pod selects for its containers has to be there; it is in force on none but those.
    let layers = if pause { 1 } else { profiles.len() };
    let profiles: Vec<&Profile> = profiles.iter().take(layers).collect();
    let found = sources::find(&profiles, &spec, &bundle.path)?;
    let input = Input {
        profiles: Layers::new(&profiles)?,
        spec: &spec,
        host,
        config: &door.config,
        found: Some(&found),
        run,
    };
    if pause {
        return Ok((policy::plan_pause(input)?, vec!["pause".to_owned()]));
    }
    Ok((policy::plan(input)?, names))
}

/// One profile: the site's file of that name, else the one that ships. `texts` gets what was read.
fn load(door: &Door<'_>, name: &str, texts: &mut Texts) -> Result<Profile, Failure> {
    let mut read = |name: &str| {
        let text = config::profile(&door.config.profiles_dir, name)?;
        texts.insert(name.to_owned(), text.clone());
        Ok(text)
    };
    Ok(Profile::resolve(name, &mut read)?)
}

/// A home of its own. One that a container left behind which the runtime no longer knows is
/// replaced.
fn take_home(door: &Door<'_>, id: &str) -> Result<Home, Failure> {
    let home = door.home(id)?;
    if door.root.join(id).exists() {
        return Err(Failure::Exists {
            id: id.to_owned(),
            root: door.root.clone(),
        });
    }
    if home.exists() {
        home.remove()?;
    }
    home.create()?;
    Ok(home)
}

#[allow(clippy::too_many_arguments)]
fn assemble(
    door: &Door<'_>,
    create: &Create,
    run: bool,
    bundle: &Bundle,
    host: &Host,
    plan: &Plan,
    (container, profiles, texts): (Identity, Vec<String>, Texts),
    home: &Home,
) -> Result<(Vec<u8>, Handover), Failure> {
    let sealed = plan.policy.encode();
    let policy = handover::bytes(c"mantlet-policy", &sealed)?;
    let delivery = plan.exec.delivery;
    let label = plan.init_label.as_deref();
    let (program, init_digest) = handover::init(door, delivery, label, home)?;
    let supervised = if plan.policy.supervised {
        let copy = |fd: &OwnedFd| {
            fd.try_clone()
                .map_err(|error| Failure::system("copy", "a descriptor".into(), error))
        };
        let mut lent = vec![copy(&program)?];
        lent.extend(file_group(plan)?);
        lent.push(copy(&policy)?);
        for policy in &plan.session_policies {
            lent.push(handover::bytes(c"mantlet-policy", &policy.encode())?);
        }
        let channel = |error| Failure::system("make", "init's channel".into(), error);
        let (near, far) = socket::pair().map_err(channel)?;
        // Here and not by the supervisor, which on a busy machine may begin after init has spoken.
        socket::pass_credentials(&near).map_err(channel)?;
        Some((near, far, lent))
    } else {
        None
    };
    let (supervised, far) = match supervised {
        Some((near, far, lent)) => (Some((near, lent)), Some(far)),
        None => (None, None),
    };
    // A mounted program is not passed as well: through its descriptor, which is of the host's mount,
    // it could be written.
    let program = Some(program).filter(|_| delivery == Delivery::Memfd);
    let ours = program.into_iter().chain([policy]).chain(far).collect();
    let handover = Handover::new(create.preserve_fds, host.runtime.family, delivery, ours);
    let args = bundle
        .original
        .value()
        .pointer("/process/args")
        .cloned()
        .unwrap_or_default();
    let mut edits = plan.edits.clone();
    if delivery == Delivery::Bind {
        edits.push(policy::delivery::mount(&bound::path(home)));
    }
    edits.push(Edit::Set {
        pointer: "/process/args".into(),
        value: handover::with_init(handover.words(), &args).ok_or(Failure::NoCommand {
            verb: "create",
            id: create.id.clone(),
        })?,
    });
    let rewritten = bundle.original.edited(&edits)?.to_bytes();
    let record = Record {
        version: state::VERSION,
        mantlet: env!("CARGO_PKG_VERSION").into(),
        container,
        handler: door.handler.clone(),
        profiles,
        journal: state::journal_path(&door.config.log_dir, &door.root, &create.id),
        root: door.root.clone(),
        bundle: bundle.path.clone(),
        original: bundle.companion_for(&rewritten),
        parked: !run,
        pid_file: create.pid_file.as_deref().map(absolute).transpose()?,
        runtime: host.runtime.path.clone(),
        supervised: plan.policy.supervised,
        policy_digest: state::digest(&sealed),
        init_digest,
        exec: plan.exec.clone(),
        host_paths: plan.host_paths.clone(),
        observed_host_paths: plan.observed_host_paths.clone(),
        checkpoint: plan.checkpoint,
        tripwires: plan.tripwires.clone(),
        recording: plan.recording.clone(),
        observing: plan
            .observing
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()
            .map_err(|cause| Failure::Observing { cause })?,
        detect: plan.detect.clone(),
        on_supervisor_loss: plan.on_supervisor_loss,
        fanotify: plan.policy.supervised && watches_files(plan).next().is_some(),
        log_total: door.config.log_total_mib << 20,
        effective: plan.effective.clone(),
        created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
    };
    home.write_texts(&state::Texts {
        version: state::VERSION,
        profiles: texts,
    })?;
    home.write_record(&record)?;
    if let Some((channel, lent)) = supervised {
        let mut fds = vec![home.bind_control()?, channel];
        fds.extend(lent);
        start_supervisor(door, home, fds)?;
    }
    Ok((rewritten, handover))
}

/// Profiles with rules that need a fanotify group.
fn watches_files(plan: &Plan) -> impl Iterator<Item = &str> {
    let needing = plan.detect.iter().filter(|rule| rule.on.needs_fanotify());
    needing.map(|rule| rule.profile.as_str())
}

/// The group that the supervisor watches executions with, made here: where there is none to be had,
/// nothing is created.
fn file_group(plan: &Plan) -> Result<Option<OwnedFd>, Failure> {
    let profiles: BTreeSet<&str> = watches_files(plan).collect();
    if profiles.is_empty() {
        return Ok(None);
    }
    fanotify::init()
        .map(Some)
        .map_err(|cause| Failure::Fanotify {
            profiles: Vec::from_iter(profiles).join(" + "),
            cause,
        })
}

/// In the order that [`crate::supervisor`] expects. Returns once its program runs; its socket
/// listens already.
fn start_supervisor(door: &Door<'_>, home: &Home, fds: Vec<OwnedFd>) -> Result<(), Failure> {
    let path = handover::program(door, "mantlet-supervisor")?;
    let word = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes());
    let (Ok(program), Ok(home)) = (word(&path), word(&home.path)) else {
        let error = std::io::Error::from(std::io::ErrorKind::InvalidInput);
        return Err(Failure::Missing { path, cause: error });
    };
    // A journal that cannot be written is counted by the supervisor; it never stops a container.
    let _ = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&door.config.log_dir);
    spawn::daemon(&[program, home], &[], fds).map_err(|cause| Failure::Missing { path, cause })
}

fn annotation(document: &Document, name: &str) -> Option<String> {
    document
        .value()
        .get("annotations")?
        .get(name)?
        .as_str()
        .map(str::to_owned)
}

fn identity(id: &str, document: &Document) -> Identity {
    let cri = |name: &str| annotation(document, &format!("io.kubernetes.cri.{name}"));
    Identity {
        id: id.to_owned(),
        name: cri("container-name"),
        pod: cri("sandbox-name"),
        namespace: cri("sandbox-namespace"),
        image: cri("image-name"),
    }
}
