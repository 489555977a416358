//! How init gets into a container: as a sealed file in memory, or, where SELinux would judge that,
//! as a read-only bind mount of a copy ([`BOUND_INIT`]).

use std::path::Path;

use oci_spec::runtime::Spec;
use serde_json::json;

use super::mounts;
use super::refuse::Refusal;
use crate::config::{Config, InitDelivery};
use crate::oci::patch::Edit;
use crate::seal::BOUND_INIT;
use crate::state::Delivery;

/// Which of the two, and the label that the copy gets.
///
/// # Errors
///
/// [`Refusal::Selinux`] for a label where the admin rules the mount out, or that tells nothing of
/// files; [`Refusal::Bound`] where the mount could be forged or would leave something behind.
pub(super) fn choose(
    spec: &Spec,
    config: &Config,
    run: bool,
) -> Result<(Delivery, Option<String>), Refusal> {
    let some = |label: Option<&str>| label.filter(|label| !label.is_empty()).map(str::to_owned);
    let process = spec.process().as_ref();
    let of_process = some(process.and_then(|process| process.selinux_label().as_deref()));
    let linux = spec.linux().as_ref();
    let of_files = some(linux.and_then(|linux| linux.mount_label().as_deref()));
    let object = "process.selinuxLabel";
    match (config.init_delivery, of_process, &of_files) {
        (InitDelivery::Memfd, Some(label), _) => Err(Refusal::Selinux { object, label }),
        (InitDelivery::Memfd, None, Some(label)) => Err(Refusal::Selinux {
            object: "linux.mountLabel",
            label: label.clone(),
        }),
        (_, Some(label), None) => Err(Refusal::SelinuxHalf { label }),
        (InitDelivery::Memfd | InitDelivery::Auto, None, None) => Ok((Delivery::Memfd, None)),
        _ => {
            place(spec, run)?;
            Ok((Delivery::Bind, of_files))
        }
    }
}

/// /dev is one tmpfs of the runtime's own, so that the mount point is made in memory and not in the
/// image or on the host, and nothing of the bundle's is mounted where init will be.
fn place(spec: &Spec, run: bool) -> Result<(), Refusal> {
    let refused = |why| Err(Refusal::Bound { why });
    if run {
        return refused(
            "`run` never parks the container, so the mount cannot be checked in time; use `create` and `start`",
        );
    }
    let mut devs = 0;
    for mount in spec.mounts().iter().flatten() {
        let destination = mounts::normal(mount.destination())?;
        if mounts::beneath(&destination, BOUND_INIT) {
            return refused("config.json mounts something there itself; remove that mount");
        }
        if destination == "/dev" {
            devs += 1;
            if mount.typ().as_deref() != Some("tmpfs") || mounts::is_bind(mount) {
                return refused(
                    "another filesystem than a tmpfs is mounted at /dev; remove that volume",
                );
            }
        }
    }
    let devices = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.devices().as_ref());
    for device in devices.into_iter().flatten() {
        if mounts::beneath(&mounts::normal(device.path())?, BOUND_INIT) {
            return refused("config.json makes a device there; remove it");
        }
    }
    match devs {
        1 => Ok(()),
        _ => refused("/dev is not mounted exactly once; let the engine mount one tmpfs there"),
    }
}

/// The mount of `source`, last of all, so that it lies on top of whatever the others lead to.
#[must_use]
pub fn mount(source: &Path) -> Edit {
    Edit::Set {
        pointer: "/mounts/-".into(),
        value: json!({
            "destination": BOUND_INIT,
            "type": "bind",
            "source": source,
            "options": ["bind", "ro", "nosuid", "nodev", "private"],
        }),
    }
}
