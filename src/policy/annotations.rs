//! Annotations that are switches of the runtime: crun runs other programs than config.json says, swaps
//! the filter, or opens files of the host for them, before and beside the sandbox. Engines pass on
//! what a pod's author writes, so none is left that the node's admin has not named.

use std::collections::BTreeSet;

use oci_spec::runtime::Spec;

use crate::oci::patch::Edit;

/// What switches begin with: crun(1) "Annotations"; the wasm and krun handlers of crun and youki.
const PREFIXES: [&str; 4] = ["run.oci.", "module.wasm.image/", "krun.", "com.krun."];

/// Switches in `spec` that are not among `permitted`, sorted.
#[must_use]
pub fn switches<'a>(spec: &'a Spec, permitted: &BTreeSet<String>) -> Vec<&'a str> {
    let names = spec.annotations().iter().flatten().map(|(name, _)| name);
    let sorted: BTreeSet<&str> = names
        .map(String::as_str)
        .filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| !permitted.contains(*name))
        .collect();
    sorted.into_iter().collect()
}

/// Takes one annotation out of config.json.
#[must_use]
pub fn removal(name: &str) -> Edit {
    // RFC 6901: `~` before `/`, or the escapes themselves would be escaped.
    let step = name.replace('~', "~0").replace('/', "~1");
    Edit::Remove {
        pointer: format!("/annotations/{step}"),
    }
}
