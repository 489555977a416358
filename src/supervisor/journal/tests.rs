//! Lines are written whole, numbered, and counted where they are not.

use super::*;
use crate::event::{Event, Process};
use crate::state::tests::record;

fn empty(path: PathBuf) -> Journal {
    let record = Record {
        journal: path,
        ..record(Path::new("/nowhere"))
    };
    let mut journal = Journal::new(&record, Path::new(""));
    journal.whose = "\"container\":{\"id\":\"c\"},\"handler\":\"h\",\"profiles\":[]".into();
    journal
}

#[test]
fn a_composed_line_is_the_event_of_the_schema() {
    let container = Identity {
        id: "a\"b".into(),
        pod: Some("web\n".into()),
        ..Identity::default()
    };
    let mut journal = empty(PathBuf::from("/proc/nowhere/at/all"));
    journal.whose = format!(
        "\"container\":{},\"handler\":\"h\",\"profiles\":[\"p\"]",
        json!(container)
    );
    journal.seq = 6;
    let what = What::Exit {
        process: Process {
            comm: "x\"\u{7}".into(),
            ..Process::default()
        },
        code: Some(3),
    };
    journal.write(&what);
    let event: Event = serde_json::from_slice(&journal.line).unwrap();
    assert_eq!(event.container, container);
    assert_eq!((event.seq, &event.what), (7, &what));
    assert_eq!(event.profiles, ["p"]);
    assert_eq!(
        journal.line.iter().filter(|byte| **byte == b'\n').count(),
        1
    );
    assert_eq!(event.time.len(), "2026-01-01T00:00:00.000000Z".len());
    // The very bytes that serde would have written.
    let mut whole = serde_json::to_vec(&event).unwrap();
    whole.push(b'\n');
    assert_eq!(journal.line, whole);
}

fn events(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn what_could_not_be_written_is_told_by_number_and_cause() {
    let folder = Folder::new("lost");
    let path = folder.0.join("a.jsonl");
    // A folder in its place: not even root can write to that.
    std::fs::create_dir(&path).unwrap();
    let mut journal = empty(path.clone());
    for tripwires in 1..=3 {
        journal.write(&What::End {
            tripwires,
            observed: None,
        });
    }
    assert_eq!((journal.written(), journal.lost()), (3, 3));
    assert!(journal.error().is_some());
    std::fs::remove_dir(&path).unwrap();
    journal.failed_at = None;
    journal.write(&What::End {
        tripwires: 4,
        observed: None,
    });
    let events = events(&path);
    let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [4, 5]);
    let What::Lost { count, cause } = &events[1].what else {
        panic!("{events:?}");
    };
    assert_eq!(*count, 3);
    assert!(cause.contains("directory"), "{cause}");
    assert_eq!((journal.lost(), journal.error()), (3, None));
}

#[test]
fn a_journal_that_was_removed_is_made_again() {
    let folder = Folder::new("removed");
    let path = folder.0.join("logs/a.jsonl");
    let mut journal = empty(path.clone());
    journal.write(&What::End {
        tripwires: 1,
        observed: None,
    });
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    journal.write(&What::End {
        tripwires: 2,
        observed: None,
    });
    assert_eq!(events(&path)[0].seq, 2);
}

#[test]
fn half_a_line_that_somebody_left_is_taken_away() {
    let folder = Folder::new("torn");
    let path = folder.0.join("a.jsonl");
    for (left, whole) in [
        ("", 0),
        ("{\"half\":", 0),
        ("{}\n{}\n{\"ha", 2),
        ("{}\n", 1),
    ] {
        std::fs::write(&path, left).unwrap();
        let mut journal = empty(path.clone());
        journal.write(&What::End {
            tripwires: 1,
            observed: None,
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), whole + 1, "{text}");
        assert!(text.lines().last().unwrap().contains("\"seq\":1"), "{text}");
        assert_eq!(journal.size, text.len() as u64);
    }
}

#[test]
fn a_journal_that_was_moved_away_is_made_again_in_its_place() {
    let folder = Folder::new("moved");
    let path = folder.0.join("a.jsonl");
    let mut journal = empty(path.clone());
    journal.write(&What::End {
        tripwires: 1,
        observed: None,
    });
    std::fs::rename(&path, folder.0.join("elsewhere")).unwrap();
    journal.write(&What::End {
        tripwires: 2,
        observed: None,
    });
    assert_eq!(events(&path)[0].seq, 2);
}

#[test]
fn what_would_be_two_lines_or_none_is_lost_and_counted() {
    let folder = Folder::new("broken");
    let path = folder.0.join("a.jsonl");
    let mut journal = empty(path.clone());
    for body in [
        &b"{}"[..],
        b"{\"type\":\"end\",\n\"tripwires\":1}",
        b"",
        b"x",
    ] {
        journal.write_body(body);
    }
    journal.write(&What::End {
        tripwires: 1,
        observed: None,
    });
    let events = events(&path);
    assert_eq!(journal.lost(), 4);
    let lost: u64 = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Lost { count, .. } => Some(*count),
            _ => None,
        })
        .sum();
    assert_eq!(lost, 4);
    assert_eq!(
        events.last().unwrap().what,
        What::End {
            tripwires: 1,
            observed: None
        }
    );
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("mantlet-journal-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn observed_lines_have_a_share_of_their_own_and_put_nothing_else_out() {
    assert_eq!(share(0), LARGEST / 2);
    assert_eq!(share(1 << 30), LARGEST / 2);
    assert_eq!(share(1 << 20), 1 << 18, "all journals together have less");
    let folder = Folder::new("share");
    let path = folder.0.join("a.jsonl");
    let mut journal = empty(path.clone());
    // Somebody else's life left as much as a file takes.
    std::fs::write(&path, vec![b'\n'; LARGEST as usize - 100]).unwrap();
    journal.write(&What::Failed {
        session: crate::event::Session::Workload,
        message: "the first line".into(),
    });
    let body = format!("{{\"type\":\"observed\",\"x\":\"{}\"}}", "y".repeat(9000));
    let mut written = 0;
    while journal.takes_observed(body.len()) {
        journal.write_body(body.as_bytes());
        written += 1;
        assert!(written < 10_000);
    }
    assert!(written > 800, "{written}");
    // A short one is refused as well: what is there is what came first.
    assert!(!journal.takes_observed(10));
    let both = [path.clone(), path.with_extension("jsonl.1")].map(std::fs::read);
    let size: usize = both.iter().flatten().map(Vec::len).sum();
    assert!(size as u64 <= LARGEST + OBSERVED, "{size}");
    let first = |text: &Vec<u8>| text.windows(14).any(|part| part == b"the first line");
    assert!(both.iter().flatten().any(first));
    // Each line took at most what was reckoned.
    let lines = both
        .iter()
        .flatten()
        .flat_map(|text| text.split(|byte| *byte == b'\n'));
    let longest = lines.map(<[u8]>::len).max().unwrap();
    assert!(
        longest < body.len() + journal.whose.len() + FRAME,
        "{longest}"
    );
}

#[test]
fn a_journal_is_never_written_through_a_link() {
    let folder = Folder::new("link");
    let victim = folder.0.join("victim");
    std::fs::write(&victim, "original").unwrap();
    let path = folder.0.join("a.jsonl");
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    assert!(open_own(&path).is_err());
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(&victim, &path).unwrap();
    assert!(open_own(&path).is_err());
    assert_eq!(std::fs::read(&victim).unwrap(), b"original");
}

#[test]
fn a_journal_that_has_grown_is_put_aside() {
    let folder = Folder::new("grown");
    let mut journal = empty(folder.0.join("a.jsonl"));
    journal.write(&What::End {
        tripwires: 1,
        observed: None,
    });
    journal.size = LARGEST;
    journal.write(&What::End {
        tripwires: 2,
        observed: None,
    });
    let lines = |name: &str| std::fs::read_to_string(folder.0.join(name)).unwrap();
    assert!(lines("a.jsonl.1").contains("\"tripwires\":1"));
    assert!(lines("a.jsonl").contains("\"tripwires\":2"));
}
