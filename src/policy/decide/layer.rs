//! One layer: what its Landlock domain, its filter and its lists say, each with the line that says it.

use std::collections::{BTreeMap, BTreeSet};

use super::files::{Domain, Places};
use super::{Answer, Contribution, Known, Written, calls};
use crate::access::Access;
use crate::policy::mounts::beneath;
use crate::policy::seccomp::exact::Exact;
use crate::policy::seccomp::verdict::Decision;
use crate::policy::{Layers, Refusal, Scene, landlock, noexec};
use crate::profile::{Mode, Part, Profile, capability};
use crate::seal::rights;

/// One layer, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The profile's name.
    pub name: String,
    /// Its Landlock domain; none on a kernel without Landlock.
    pub domain: Option<Domain>,
    /// What its calls are answered; what is not here is unknown to it: ENOSYS.
    pub calls: BTreeMap<String, Decision>,
    /// Capabilities that it leaves, `CAP_` names.
    pub capabilities: BTreeSet<String>,
    /// Mounts that it makes `noexec`.
    pub noexec: Vec<String>,
    /// The profile that all this was made from, where it is at hand.
    pub profile: Option<Box<Profile>>,
}

/// The same profile with all that it says in force.
pub(super) fn enforced(profile: &Profile) -> Profile {
    Profile {
        mode: Mode::Enforce,
        ..profile.clone()
    }
}

impl Layer {
    /// One profile over a container and a node, as if it enforced.
    ///
    /// # Errors
    ///
    /// [`Refusal::Filter`].
    pub fn of(profile: &Profile, scene: &Scene<'_>, places: &dyn Places) -> Result<Layer, Refusal> {
        let profile = &enforced(profile);
        let abi = scene.host.landlock_abi;
        let (domain, _) = landlock::plan(profile, scene.spec, scene.mounts, abi);
        let sources = landlock::sources(profile, scene.spec, scene.mounts, abi);
        let domain = domain.map(|domain| match profile.files {
            Some(_) => Domain::written(&domain, sources, places),
            None => Domain::new(&domain, places),
        });
        let notify = scene.supervised && scene.host.user_notif && !scene.host.listener_taken;
        let exact =
            Exact::new(Layers::from(&profile), notify).map_err(|cause| Refusal::Filter {
                profile: profile.name.clone(),
                cause,
            })?;
        let calls = exact.calls.into_iter();
        Ok(Layer {
            name: profile.name.clone(),
            domain,
            calls: calls
                .map(|(name, (_, decision))| (name, decision))
                .collect(),
            capabilities: profile.capabilities.iter().map(|&c| c.to_owned()).collect(),
            noexec: noexec::closed_by(profile, scene.spec, scene.mounts),
            profile: Some(Box::new(profile.clone())),
        })
    }

    /// What it says to a file, by its domain; to a mapping, by what it makes of the mount.
    #[must_use]
    pub fn file(&self, access: &Access) -> Contribution {
        if let (true, Access::File { path, .. }) = (access.maps(), access) {
            return self.mapping(path, noexec::denies(&self.noexec, access));
        }
        let Some(domain) = &self.domain else {
            return self.no_landlock();
        };
        let found = domain.file(access);
        let except = found.except.as_ref().and_then(|out| self.exception(out));
        Contribution {
            written: except.or(found.written),
            ..Contribution::new(&self.name, found.answer, found.reason)
        }
    }

    /// What it says to a file that is mapped to be executed, which lies on a mount that it has `closed`.
    fn mapping(&self, path: &str, closed: Option<&String>) -> Contribution {
        let Some(mount) = closed else {
            let reason = "mapping a file is no execution to Landlock, and the profile leaves its mount executable";
            return Contribution::new(&self.name, Answer::Allowed, reason);
        };
        let reason = format!(
            "the mount at {mount} gets `noexec`, because no list of `files` grants execution there"
        );
        let files = self.profile.as_ref().and_then(|own| own.files.as_ref());
        let excepts = files.into_iter().flat_map(|files| &files.except);
        let out = excepts.map(|out| &out.path).find(|out| beneath(path, out));
        Contribution {
            written: out.and_then(|out| self.exception(out)),
            ..Contribution::new(&self.name, Answer::Denied, reason)
        }
    }

    /// What it says to a TCP port.
    #[must_use]
    pub fn port(&self, right: &str, port: u16) -> Contribution {
        let Some(domain) = &self.domain else {
            return self.no_landlock();
        };
        let (key, verb) = match right {
            "bind" => ("network.bind_tcp", "bound"),
            _ => ("network.connect_tcp", "connected to"),
        };
        let Some(bit) = rights::port(right) else {
            let reason = format!("no such right on TCP ports: {right}");
            return Contribution::new(&self.name, Answer::Denied, reason);
        };
        if domain.handled_net & bit == 0 {
            let reason = format!("TCP ports may be {verb} freely: nothing is enforced of `{key}`");
            return Contribution::new(&self.name, Answer::Allowed, reason);
        }
        let part = match right {
            "bind" => Part::BindTcp(port),
            _ => Part::ConnectTcp(port),
        };
        let key_of = match right {
            "bind" => Part::Key("network.bind_tcp"),
            _ => Part::Key("network.connect_tcp"),
        };
        match domain.allows_port(right, port) {
            true => Contribution {
                written: Some(self.written(format!("{key}: {port}"), &part)),
                ..Contribution::new(&self.name, Answer::Allowed, format!("`{key}` lists {port}"))
            },
            false => {
                let reason = format!("`{key}` does not list {port}");
                Contribution {
                    written: Some(self.written(key, &key_of)),
                    ..Contribution::new(&self.name, Answer::Denied, reason)
                }
            }
        }
    }

    /// What it says to a capability.
    #[must_use]
    pub fn capability(&self, name: &str) -> Contribution {
        let part = capability::canonical(name).map(Part::Capability);
        match self.capabilities.contains(name) {
            true => Contribution {
                written: part.map(|part| self.written(format!("capabilities: {name}"), &part)),
                ..Contribution::new(&self.name, Answer::Allowed, "`capabilities` lists it")
            },
            false => Contribution::new(
                &self.name,
                Answer::Denied,
                "`capabilities` does not list it",
            ),
        }
    }

    /// What it answers to a call of which this is known.
    #[must_use]
    pub fn call(&self, name: &str, known: &Known) -> Contribution {
        calls::layer(self, name, known)
    }

    /// A line of its profile.
    fn written(&self, text: impl Into<String>, part: &Part) -> Written {
        let profile = self.profile.as_ref();
        Written::new(text, profile.and_then(|profile| profile.origins.of(part)))
    }

    /// The line of its profile that leaves `path` out; none where no author did.
    fn exception(&self, path: &str) -> Option<Written> {
        let files = self.profile.as_ref()?.files.as_ref()?;
        let out = files.except.iter().find(|out| out.path == path)?;
        Some(Written::new(
            format!("files.except: {path}"),
            Some(&out.origin),
        ))
    }

    fn no_landlock(&self) -> Contribution {
        let reason = "this kernel has no Landlock: nothing of the kind is denied";
        Contribution::new(&self.name, Answer::Allowed, reason)
    }
}
