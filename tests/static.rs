//! The programs are static: nothing of a container's or a node's libraries can reach into them.

use std::fs;
use std::path::{Path, PathBuf};

/// Program header types that a static executable must not have (elf(5)).
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const PT_DYNAMIC: u32 = 2;

fn programs() -> Vec<PathBuf> {
    let folder = std::env::var_os("MANTLET_BIN_DIR").map_or_else(
        || {
            let built = Path::new(env!("CARGO_BIN_EXE_mantlet"));
            built.parent().expect("in a folder").to_owned()
        },
        PathBuf::from,
    );
    [
        "mantlet",
        "mantlet-runtime",
        "mantlet-init",
        "mantlet-supervisor",
    ]
    .map(|name| folder.join(name))
    .into()
}

fn number<const N: usize>(file: &[u8], at: u64) -> u64 {
    let at = usize::try_from(at).expect("an offset");
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(&file[at..at + N]);
    u64::from_le_bytes(bytes)
}

/// (type, offset, size in the file) of each program header of a 64-bit little-endian ELF file.
fn headers(file: &[u8]) -> Vec<(u32, u64, u64)> {
    assert_eq!(&file[..6], b"\x7fELF\x02\x01", "a 64-bit ELF file");
    let (table, size, count) = (
        number::<8>(file, 32),
        number::<2>(file, 54),
        number::<2>(file, 56),
    );
    (0..count)
        .map(|index| table + index * size)
        .map(|at| {
            let kind = u32::try_from(number::<4>(file, at)).expect("four bytes");
            (kind, number::<8>(file, at + 8), number::<8>(file, at + 32))
        })
        .collect()
}

#[test]
fn no_program_asks_for_a_loader_or_a_library() {
    for program in programs() {
        let file = fs::read(&program).expect("a built program");
        for (kind, offset, size) in headers(&file) {
            assert_ne!(kind, PT_INTERP, "{} has an interpreter", program.display());
            if kind != PT_DYNAMIC {
                continue;
            }
            let needed =
                (0..size / 16).any(|index| number::<8>(&file, offset + index * 16) == DT_NEEDED);
            assert!(!needed, "{} needs a shared library", program.display());
        }
    }
}

#[test]
fn ldd_says_so_too() {
    for program in programs() {
        let answer = std::process::Command::new("ldd")
            .arg(&program)
            .output()
            .expect("libc-bin");
        let text = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
        assert!(
            text.contains("not a dynamic executable") || text.contains("statically linked"),
            "{}: {text}",
            program.display()
        );
    }
}
