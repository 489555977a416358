//! Which process a pid means: pids are reused, so a pid counts only with its start time.

/// `starttime` of a process (proc_pid_stat(5), field 22), in clock ticks since boot; none where
/// there is no such process or it has ended and merely waits to be reaped.
pub fn start_time(pid: i32) -> Option<u64> {
    if pid <= 0 {
        return None;
    }
    parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether the process that had this pid and start time still runs.
pub fn is_alive(pid: i32, started: u64) -> bool {
    start_time(pid) == Some(started)
}

/// Fields are counted after the *last* parenthesis: `comm` is chosen by the process and may hold
/// any byte.
fn parse(stat: &[u8]) -> Option<u64> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after..])
        .ok()?
        .split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    // Field 3 was the state; 22 is the nineteenth after it.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start_time() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = start_time(pid).unwrap();
        assert!(is_alive(pid, started));
        assert!(!is_alive(pid, started + 1));
        assert!(!is_alive(0, 0) && !is_alive(-1, 0));
    }

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 0";
        let stat = format!("42 (a) Z 1 (\n) {rest}");
        assert_eq!(parse(stat.as_bytes()), Some(777));
        assert_eq!(
            parse(format!("42 (a) {}", rest.replace('S', "Z")).as_bytes()),
            None
        );
        assert_eq!(parse(b"42 (a"), None);
        assert_eq!(parse(b"42 (a) S 1"), None);
    }

    #[test]
    fn an_unreaped_child_is_not_alive() {
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let started = start_time(pid).unwrap();
        child.kill().unwrap();
        while !std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .unwrap()
            .contains(") Z ")
        {
            std::thread::yield_now();
        }
        let seen = is_alive(pid, started);
        child.wait().unwrap();
        assert!(!seen);
    }
}
