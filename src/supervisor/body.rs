//! Whether bytes that the watcher wrote can stand in a line of the journal. The keeper understands
//! nothing of them; it makes sure that they are one object, in one line, that leaves the line's own
//! keys alone: a watcher that was taken over must not speak for another container.

/// Keys that the keeper writes itself.
const OWN: [&[u8]; 7] = [
    b"version",
    b"seq",
    b"time",
    b"container",
    b"handler",
    b"profiles",
    b"policy",
];

/// One JSON object as far as brackets and strings go, without control characters, and without a key of
/// ours at its top. A key with an escape in it is nobody's.
pub(super) fn is_event(body: &[u8]) -> bool {
    let (mut depth, mut at, mut key) = (0_u32, 0, false);
    if body.len() < 3 || body[0] != b'{' || body.iter().any(|byte| *byte < b' ') {
        return false;
    }
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                key = depth == 1;
            }
            b'}' | b']' => {
                let Some(less) = depth.checked_sub(1) else {
                    return false;
                };
                depth = less;
                if depth == 0 && at != body.len() {
                    return false;
                }
            }
            b',' => key = depth == 1,
            b':' => key = false,
            b'"' => {
                let Some(length) = string(&body[at..]) else {
                    return false;
                };
                let text = &body[at..at + length];
                let ours = OWN.contains(&text) || text.contains(&b'\\');
                if key && depth == 1 && ours {
                    return false;
                }
                at += length + 1;
            }
            _ => {}
        }
    }
    depth == 0
}

/// Bytes up to the string's end; none where it has none.
fn string(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match rest.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_event;
    use crate::event::{Process, What};

    #[test]
    fn what_the_watcher_writes_is_an_event_whatever_the_container_calls_itself() {
        for comm in [
            "",
            "\"seq\":1",
            "}{][",
            "\\",
            "a\u{1}\n\"",
            "\u{202e}\"container\":{",
        ] {
            let process = Process {
                comm: comm.into(),
                exe: format!("/{comm}"),
                ..Process::default()
            };
            let what = What::Exit {
                process,
                code: Some(1),
            };
            assert!(is_event(&serde_json::to_vec(&what).unwrap()), "{comm:?}");
        }
    }

    #[test]
    fn no_other_bytes_are() {
        for body in [
            "",
            "{}",
            "x",
            "{\"type\":\"end\"}{\"type\":\"end\"}",
            "{\"type\":\"end\"",
            "{\"type\":\"end}",
            "{\"type\":\"end\"}]",
            "{\"type\":\n\"end\"}",
            "{\"type\":\"end\",\"seq\":7}",
            "{\"container\":{\"id\":\"other\"},\"type\":\"end\"}",
            "{\"type\":\"end\",\"\\u0073eq\":7}",
            "{\"a\":[{\"b\":1}],\"policy\":\"\"}",
        ] {
            assert!(!is_event(body.as_bytes()), "{body}");
        }
        // Elsewhere they are words like others.
        assert!(is_event(
            b"{\"type\":\"x\",\"a\":{\"seq\":1,\"b\":[\"seq\"]},\"c\":\"seq\"}"
        ));
    }
}
