use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::oci::testdir::TestDir;

fn config(text: &str) -> Result<Document, DocumentError> {
    Document::parse(Path::new("config.json"), Kind::Config, text.as_bytes())
}

fn process(text: &str) -> Result<Document, DocumentError> {
    Document::parse(Path::new("process.json"), Kind::Process, text.as_bytes())
}

fn odd(text: &str) -> (Oddity, usize, usize) {
    match config(text) {
        Err(DocumentError::Odd {
            what, line, column, ..
        }) => (what, line, column),
        other => panic!("{text}: {other:?}"),
    }
}

/// As containerd 1.6 writes it, shortened.
const CONTAINERD: &str = r#"{"ociVersion":"1.0.2-dev","process":{"user":{"uid":0,"gid":0,"additionalGids":[0,10]},"args":["sh"],"env":["PATH=/bin"],"cwd":"/","capabilities":{"bounding":["CAP_CHOWN"],"effective":["CAP_CHOWN"],"permitted":["CAP_CHOWN"]},"noNewPrivileges":true,"oomScoreAdj":1000},"root":{"path":"rootfs"},"mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid"]}],"annotations":{"io.kubernetes.cri.container-type":"container"},"linux":{"resources":{"memory":{"limit":9223372036854771712},"cpu":{"shares":2}},"cgroupsPath":"/k8s/x","namespaces":[{"type":"pid"},{"type":"network","path":"/proc/7/ns/net"}],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]},"maskedPaths":["/proc/acpi"]}}"#;

#[test]
fn an_engines_file_survives_to_the_byte_and_has_a_typed_view() {
    let document = config(CONTAINERD).unwrap();
    assert_eq!(document.to_bytes(), CONTAINERD.as_bytes());
    let spec = document.spec().unwrap();
    assert_eq!(spec.root().as_ref().unwrap().path(), Path::new("rootfs"));
    let seccomp = spec.linux().as_ref().unwrap().seccomp().as_ref().unwrap();
    let argument = &seccomp.syscalls().as_ref().unwrap()[0]
        .args()
        .as_ref()
        .unwrap()[0];
    assert_eq!(argument.value(), u64::MAX);
    assert_eq!(document.process().unwrap().no_new_privileges(), Some(true));
}

#[test]
fn a_bare_process_file_has_a_typed_view() {
    let document = process(r#"{"user":{"uid":1,"gid":2},"args":["id"],"cwd":"/","x":1}"#).unwrap();
    assert_eq!(
        document.process().unwrap().args().as_deref(),
        Some(&["id".to_owned()][..])
    );
    assert!(matches!(
        document.spec(),
        Err(DocumentError::Absent { what: "spec", .. })
    ));
    assert!(matches!(
        config("{}").unwrap().process(),
        Err(DocumentError::Absent {
            what: "process",
            ..
        })
    ));
}

#[test]
fn every_digit_of_odd_numbers_survives() {
    // serde_json spells an exponent `e+N` or `e-N`, and keeps everything else.
    for (number, kept) in [
        ("1e400", "1e+400"),
        ("1E5", "1e+5"),
        ("0.10e-7", "0.10e-7"),
        ("-0", "-0"),
        ("-0.0", "-0.0"),
        ("1.0", "1.0"),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        (
            "123456789012345678901234567890.50",
            "123456789012345678901234567890.50",
        ),
    ] {
        let text = |number| format!(r#"{{"unknown":[{number},{{"n":{number}}}]}}"#);
        let bytes = config(&text(number)).unwrap().to_bytes();
        assert_eq!(String::from_utf8(bytes).unwrap(), text(kept));
    }
}

/// xorshift64*: reproducible without a dependency.
struct Dice(u64);

impl Dice {
    fn upto(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.upto(from.len())]
    }
}

/// Random JSON in the compact form that we write.
fn random_json(dice: &mut Dice, depth: usize, out: &mut String) {
    const ATOMS: [&str; 16] = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.0",
        "1e+400",
        "18446744073709551616",
        "-9223372036854775809",
        "5e-3",
        r#""""#,
        r#""plain""#,
        r#""\" \\ \n \u0001""#,
        r#""ü 漢 🦀""#,
        r#""$""#,
        "[]",
    ];
    match if depth == 0 { 0 } else { dice.upto(3) } {
        0 => out.push_str(dice.pick(&ATOMS)),
        1 => {
            out.push('[');
            for at in 0..dice.upto(4) {
                if at > 0 {
                    out.push(',');
                }
                random_json(dice, depth - 1, out);
            }
            out.push(']');
        }
        _ => {
            out.push('{');
            for at in 0..dice.upto(5) {
                if at > 0 {
                    out.push(',');
                }
                let name = dice.pick(&[
                    "z", "a", "m/n", "~", "Ü", "process", "x y", "\\\\", "seccomp",
                ]);
                out.push_str(&format!("\"{name}{at}\":"));
                random_json(dice, depth - 1, out);
            }
            out.push('}');
        }
    }
}

#[test]
fn whatever_is_not_understood_survives_a_round_trip_and_an_edit() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        let mut unknown = String::new();
        random_json(&mut dice, 5, &mut unknown);
        let text = format!(
            r#"{{"zz":{unknown},"process":{{"args":["a"],"x-new":{unknown}}},"aa":{unknown}}}"#
        );
        let document = config(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(String::from_utf8(document.to_bytes()).unwrap(), text);
        let edit = Edit::Set {
            pointer: "/process/args/0".into(),
            value: "b".into(),
        };
        let edited = document.edited(std::slice::from_ref(&edit)).unwrap();
        let want = text.replace(r#""args":["a"]"#, r#""args":["b"]"#);
        assert_eq!(String::from_utf8(edited.to_bytes()).unwrap(), want);
        assert_eq!(edited.edited(&[edit]).unwrap(), edited);
    }
}

#[test]
fn equal_keys_are_refused_at_any_depth() {
    let duplicate = |key: &str| Oddity::DuplicateKey { key: key.into() };
    assert_eq!(odd("{\"a\":1,\n \"a\":2}"), (duplicate("a"), 2, 2));
    assert_eq!(odd(r#"{"x":[{"y":{"k":1,"\u006b":2}}]}"#).0, duplicate("k"));
    assert_eq!(
        odd(r#"{"annotations":{"k":"1","k":"2"}}"#).0,
        duplicate("k")
    );
    assert!(config(r#"{"a":{"k":1},"b":{"k":1},"c":[{"k":1},{"k":1}]}"#).is_ok());
}

#[test]
fn keys_that_only_go_reads_are_refused_where_they_are_read() {
    for (text, known) in [
        (r#"{"Process":{}}"#, "process"),
        (
            r#"{"process":{"NoNewPrivileges":false}}"#,
            "noNewPrivileges",
        ),
        (
            r#"{"process":{"capabilities":{"Bounding":[]}}}"#,
            "bounding",
        ),
        (r#"{"linux":{"SECCOMP":null}}"#, "seccomp"),
        (r#"{"linux":{"\u017feccomp":null}}"#, "seccomp"),
        (r#"{"linux":{"mas\u212aedPaths":[]}}"#, "maskedPaths"),
        (
            r#"{"linux":{"seccomp":{"syscalls":[{},{"Action":"x"}]}}}"#,
            "action",
        ),
        (r#"{"mounts":[{"TYPE":"bind"}]}"#, "type"),
        (r#"{"hooks":{"StartContainer":[]}}"#, "startContainer"),
        (r#"{"linux":{"namespaces":[{"Path":"/x"}]}}"#, "path"),
        (
            r#"{"linux":{"resources":{"devices":[{"Allow":true}]}}}"#,
            "allow",
        ),
    ] {
        assert!(
            matches!(odd(text).0, Oddity::LetterCase { known: found, .. } if found == known),
            "{text}"
        );
    }
    assert!(matches!(
        process(r#"{"ARGS":["x"]}"#),
        Err(DocumentError::Odd { .. })
    ));
    for data in [
        r#"{"annotations":{"Process":"x","process":"y"}}"#,
        r#"{"linux":{"sysctl":{"Kernel.x":"1","kernel.x":"2"}}}"#,
        r#"{"unknown":{"SECCOMP":1},"linux":{"newThing":{"Type":1}}}"#,
        r#"{"process":{"env":["SECCOMP=1"]}}"#,
    ] {
        assert!(config(data).is_ok(), "{data}");
    }
}

#[test]
fn the_parsers_own_marks_are_refused() {
    let text = r#"{"x":{"$serde_json::private::Number":"1"}}"#;
    assert!(matches!(odd(text).0, Oddity::ReservedKey { .. }));
}

#[test]
fn broken_files_are_refused_with_a_place_and_a_remedy() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let bottomless = "[".repeat(100_000);
    let nul = r#"{"process":{"args":["a\u0000b"]}}"#;
    for text in [
        "",
        " ",
        "{",
        "{}{}",
        "{} x",
        "[]",
        "null",
        "3",
        "{\"a\":1,}",
        "{'a':1}",
        "{\"a\":\u{1}}",
        "\u{feff}{}",
        "{\"a\":NaN}",
        "{\"a\":01}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\0\"}",
        nul,
        &deep,
        &bottomless,
    ] {
        let error = config(text).expect_err(text).to_string();
        assert!(error.contains("\"config.json\""), "{error}");
        assert!(error.contains(';'), "no remedy: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let latin = Document::parse(Path::new("c"), Kind::Config, b"{\"a\":\"\xe9\"}");
    assert!(matches!(
        latin,
        Err(DocumentError::NotUtf8 { offset: 6, .. })
    ));
    let huge = vec![b' '; MAX_SIZE + 1];
    let huge = Document::parse(Path::new("c"), Kind::Config, &huge);
    assert!(matches!(huge, Err(DocumentError::TooLarge { .. })));
    let nested = format!(
        r#"{{"a":{}{}}}"#,
        "[".repeat(MAX_DEPTH - 1),
        "]".repeat(MAX_DEPTH - 1)
    );
    assert!(config(&nested).is_ok());
}

#[test]
fn a_wrong_type_is_told_in_one_line() {
    let document = config(r#"{"ociVersion":"1.0.2","process":{"cwd":7}}"#).unwrap();
    let error = document.process().unwrap_err().to_string();
    assert!(
        error.contains("config.json") && error.contains("string"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
    assert!(config(r#"{"ociVersion":3}"#).unwrap().spec().is_err());
}

#[test]
fn a_rewrite_keeps_mode_and_owner_and_leaves_nothing_behind() {
    let dir = TestDir::new("rewrite");
    let file = dir.path().join("config.json");
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let root = nix::unistd::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&file, Some(1234), Some(2345)).unwrap();
    } else {
        eprintln!("skipped: keeping another owner needs root");
    }
    let before = std::fs::metadata(&file).unwrap();
    write_atomically(&file, b"new").unwrap();
    let after = std::fs::metadata(&file).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"new");
    assert_eq!(
        (before.mode(), before.uid(), before.gid()),
        (after.mode(), after.uid(), after.gid())
    );
    assert_ne!(before.ino(), after.ino());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_rewrite_leaves_the_original_and_no_temporary_file() {
    let dir = TestDir::new("rewrite-failed");
    let sub = dir.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    assert!(matches!(
        write_atomically(&sub, b"x"),
        Err(FileError::Kind {
            kind: "directory",
            ..
        })
    ));
    let absent = write_atomically(&dir.path().join("absent"), b"x");
    assert!(matches!(absent, Err(FileError::Write { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_fifo_is_read_once_and_whole() {
    let dir = TestDir::new("fifo");
    let fifo = dir.path().join("process.json");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let body = format!(r#"{{"env":["X={}"]}}"#, "y".repeat(200_000));
    let (path, text) = (fifo.clone(), body.clone());
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        let mut fifo = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        fifo.write_all(text.as_bytes()).unwrap();
    });
    assert_eq!(read(&fifo).unwrap(), body.as_bytes());
    writer.join().unwrap();
}

#[test]
fn odd_files_are_refused_by_name() {
    let dir = TestDir::new("odd-files");
    assert!(matches!(
        read(dir.path()),
        Err(FileError::Kind {
            kind: "directory",
            ..
        })
    ));
    assert!(matches!(
        read(Path::new("/dev/zero")),
        Err(FileError::Kind { kind: "device", .. })
    ));
    let absent = read(&dir.path().join("absent")).unwrap_err().to_string();
    assert!(absent.contains("No such file or directory"), "{absent}");
    let large = dir.path().join("large");
    std::fs::File::create(&large)
        .unwrap()
        .set_len(MAX_SIZE as u64 + 1)
        .unwrap();
    assert!(matches!(read(&large), Err(FileError::TooLarge { .. })));
}

#[test]
fn a_wrong_type_is_named_by_line_and_column() {
    let text = "{\"ociVersion\": \"1.0.2\",\n \"process\": {\"cwd\": \"/\",\n  \"args\": \"sh\"}}";
    let document = Document::parse(Path::new("c"), Kind::Config, text.as_bytes()).unwrap();
    for error in [document.spec().err(), document.process().err()] {
        let error = error.unwrap().to_string();
        assert!(error.contains("at line 3 column 14"), "{error}");
    }
    let document = Document::parse(Path::new("p"), Kind::Process, b"{\"args\": 7}").unwrap();
    let error = document.process().unwrap_err().to_string();
    assert!(error.contains("at line 1 column 10"), "{error}");
}
