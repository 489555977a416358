//! Programs that the image did not ship: made or changed after the container's start, or on a mount
//! that can be written.
//!
//! *After the start* goes by the inode's change time (ctime, inode(7)), which nobody in a container
//! can set. A host clock that is set back moves the line with it (see `supervisor/clock.rs`).

use super::Seen;

pub(super) fn sees(seen: &Seen<'_>) -> Option<String> {
    let Seen::Execution(execution) = seen else {
        return None;
    };
    let path = &execution.file.path;
    if execution.changed {
        return Some(format!(
            "executes {path}, which changed after the container's start"
        ));
    }
    execution
        .writable_mount
        .then(|| format!("executes {path}, which lies on a writable mount"))
}
