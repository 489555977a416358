//! Programs without a file that anybody could look at later: deleted ones, those in shared memory, and
//! memory that could be executed. Of the last the call is seen, memfd_create(2) without
//! MFD_NOEXEC_SEAL; it is refused, so there is no execution to see.

use super::Seen;

/// memfd_create(2), 6.3.
const MFD_NOEXEC_SEAL: u64 = 8;

pub(super) fn sees(seen: &Seen<'_>) -> Option<String> {
    match seen {
        Seen::Call {
            name: "memfd_create",
            args,
        } if args[1] & MFD_NOEXEC_SEAL == 0 => {
            Some("asked for memory that can be executed (memfd_create)".into())
        }
        Seen::Execution(execution) if execution.deleted => Some(format!(
            "executes {}, which has no name any more",
            execution.file.path
        )),
        Seen::Execution(execution) if execution.shared_memory => Some(format!(
            "executes {}, which lies in shared memory",
            execution.file.path
        )),
        _ => None,
    }
}
