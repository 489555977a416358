//! Ends of processes that executed something or tripped a wire, with their status.

use super::Seen;

pub(super) fn sees(seen: &Seen<'_>) -> Option<String> {
    let Seen::End { code } = seen else {
        return None;
    };
    Some(match code {
        Some(code) if *code > 128 => format!("ended by signal {}", code - 128),
        Some(code) => format!("ended with code {code}"),
        None => "ended; the kernel does not tell how".into(),
    })
}
