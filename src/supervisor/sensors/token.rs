//! The pod's service-account token, opened by another program than the one that the container was
//! started with.

use super::Seen;

pub(super) fn sees(seen: &Seen<'_>) -> Option<String> {
    match seen {
        Seen::Opening {
            file,
            entrypoint: false,
        } => Some(format!(
            "opens {}, the pod's service-account token",
            file.path
        )),
        _ => None,
    }
}
