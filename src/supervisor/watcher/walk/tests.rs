//! Walks of this very thread, whose kernel gives the same answers.

use super::*;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("mantlet-walk-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/file"), "x").unwrap();
        Folder(fs::canonicalize(path).unwrap())
    }

    fn text(&self, below: &str) -> Vec<u8> {
        self.0.join(below).into_os_string().into_encoded_bytes()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn view() -> View {
    View::of(nix::unistd::gettid().as_raw()).unwrap()
}

#[track_caller]
fn leads(path: &[u8]) -> Option<String> {
    match view().walk(None, path, true).unwrap() {
        Led::There(node) => node.path(),
        Led::Missing(folder, name) => {
            let name = String::from_utf8_lossy(&name).into_owned();
            Some(format!("{} + {name}", folder.path().unwrap()))
        }
        Led::Nowhere => None,
    }
}

#[test]
fn links_dots_and_names_lead_where_the_kernel_goes() {
    let folder = Folder::new("links");
    let file = folder.0.join("a/file").display().to_string();
    symlink(&file, folder.0.join("absolute")).unwrap();
    symlink("a/b/../file", folder.0.join("relative")).unwrap();
    symlink("loop", folder.0.join("loop")).unwrap();
    symlink("a/new", folder.0.join("dangling")).unwrap();
    for path in ["a/file", "a//./file", "a/b/../file", "absolute", "relative"] {
        assert_eq!(leads(&folder.text(path)), Some(file.clone()), "{path}");
    }
    let above = folder.0.join("a").display().to_string();
    for path in ["a/new", "dangling"] {
        assert_eq!(
            leads(&folder.text(path)),
            Some(format!("{above} + new")),
            "{path}"
        );
    }
    for path in ["loop", "no/such", "a/file/x"] {
        assert_eq!(leads(&folder.text(path)), None, "{path}");
    }
    // There is nothing above the root.
    assert_eq!(leads(b"/../../etc"), Some("/etc".into()));
    let entry = view()
        .entry(None, &folder.text("dangling"))
        .unwrap()
        .unwrap();
    assert_eq!(entry.1, b"dangling");
    let found = entry.2.expect("the link itself");
    assert_eq!(found.mode & libc::S_IFMT, libc::S_IFLNK);
    assert!(view().entry(None, b"/").unwrap().is_none());
    assert!(view().entry(None, b"a/..").unwrap().is_none());
}

#[test]
fn links_of_procfs_mean_the_caller_and_what_has_no_name_has_no_path() {
    let own = format!("/proc/{}/status", std::process::id());
    assert_eq!(leads(b"/proc/self/status"), Some(own));
    let (read, _write) = nix::unistd::pipe().unwrap();
    let pipe = format!("/proc/self/fd/{}", read.as_raw_fd());
    assert_eq!(leads(pipe.as_bytes()), None);
    let file = fs::File::open("/proc/version").unwrap();
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    assert_eq!(leads(link.as_bytes()), Some("/proc/version".into()));
}

#[test]
fn a_path_begins_at_its_descriptor_and_lies_on_a_mount() {
    let folder = Folder::new("mounts");
    let held = fs::File::open(&folder.0).unwrap();
    let led = view()
        .walk(Some(held.as_raw_fd()), b"a/file", true)
        .unwrap();
    let Led::There(node) = led else {
        panic!("it is there");
    };
    assert_eq!(
        node.path(),
        Some(folder.0.join("a/file").display().to_string())
    );
    let tid = nix::unistd::gettid().as_raw();
    let Led::There(proc) = view().walk(None, b"/proc/version", true).unwrap() else {
        panic!("it is there");
    };
    assert_eq!(Mounts::default().of(tid, &proc), Some("/proc".into()));
    assert_eq!(unescaped(b"/a\\040b\\134c\\9"), b"/a b\\c\\9");
    fs::remove_file(folder.0.join("a/file")).unwrap();
    assert_eq!(node.path(), None, "it has no name any more");
}
