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
    View::of(nix::unistd::gettid().as_raw(), None).unwrap()
}

fn name(node: &Node) -> Option<String> {
    node.path().map(|path| in_text(&path).0)
}

#[track_caller]
fn leads(path: &[u8]) -> Option<String> {
    match view().walk(None, path, true).unwrap() {
        Led::There(node) => name(&node),
        Led::Missing(folder, name) => {
            let entry = in_text(&name).0;
            Some(format!("{} + {entry}", self::name(&folder).unwrap()))
        }
        Led::Nowhere | Led::Link => None,
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
        name(&node),
        Some(folder.0.join("a/file").display().to_string())
    );
    let tid = nix::unistd::gettid().as_raw();
    let Led::There(proc) = view().walk(None, b"/proc/version", true).unwrap() else {
        panic!("it is there");
    };
    let place = Mounts::default().of(tid, &proc).unwrap();
    assert_eq!(place, Some("/proc".into()));
    let read = mounts(b"7 1 8:1 / /a\\040b\\134c rw - ext4 x rw\nbroken\n");
    assert_eq!(read, [(7, "/a b\\c".to_owned())]);
    let named = name(&node);
    fs::remove_file(folder.0.join("a/file")).unwrap();
    assert_eq!(name(&node), named, "the kernel goes on looking there");
}

#[test]
fn a_slash_at_the_end_follows_and_wants_a_directory() {
    let folder = Folder::new("slash");
    symlink("a", folder.0.join("link")).unwrap();
    let held = |path: &str| view().walk(None, &folder.text(path), false).unwrap();
    let a = Some(folder.0.join("a").display().to_string());
    let path = |path: &str| match view().walk(
        None,
        &[&folder.text("")[..], path.as_bytes()].concat(),
        false,
    ) {
        Ok(Led::There(node)) => name(&node),
        _ => None,
    };
    assert!(matches!(held("link"), Led::There(node) if node.mode & libc::S_IFMT == libc::S_IFLNK));
    assert_eq!((path("link/"), path("link/.")), (a.clone(), a));
    assert_eq!((path("a/file/"), path("a/none/")), (None, None));
}

#[test]
fn openat2_goes_no_further_than_it_is_told() {
    let folder = Folder::new("resolve");
    symlink("/a/file", folder.0.join("absolute")).unwrap();
    symlink("a", folder.0.join("link")).unwrap();
    let held = fs::File::open(&folder.0).unwrap();
    let led = |path: &str, how| {
        let led = view().resolve(Some(held.as_raw_fd()), path.as_bytes(), true, how);
        match led.unwrap() {
            Led::There(node) => {
                let path = PathBuf::from(name(&node).unwrap());
                let below = path.strip_prefix(&folder.0).map(Path::to_path_buf);
                below.unwrap_or(path).display().to_string()
            }
            Led::Missing(..) => "missing".into(),
            Led::Nowhere => "nowhere".into(),
            Led::Link => "link".into(),
        }
    };
    use ResolveFlag as Flag;
    assert_eq!(led("absolute", Flag::RESOLVE_IN_ROOT), "a/file");
    assert_eq!(led("/../a/file", Flag::RESOLVE_IN_ROOT), "a/file");
    assert_eq!(led("absolute", Flag::RESOLVE_BENEATH), "nowhere");
    assert_eq!(led("a/../../x", Flag::RESOLVE_BENEATH), "nowhere");
    assert_eq!(led("link/file", Flag::RESOLVE_BENEATH), "a/file");
    assert_eq!(led("link/file", Flag::RESOLVE_NO_SYMLINKS), "link");
    assert_eq!(led("a/file", Flag::RESOLVE_NO_SYMLINKS), "a/file");
    assert_eq!(led("/proc/version", Flag::RESOLVE_NO_XDEV), "nowhere");
    assert_eq!(
        led("/proc/self/cwd", Flag::RESOLVE_NO_MAGICLINKS),
        "nowhere"
    );
}

#[test]
fn a_thread_of_a_deeper_pid_namespace_has_no_number_that_is_known() {
    let tid = nix::unistd::gettid().as_raw();
    let own = depth(tid).unwrap();
    let walk = |depth| {
        View::of(tid, Some(depth))
            .unwrap()
            .walk(None, b"/proc/self", true)
    };
    assert!(walk(own).is_ok());
    assert!(walk(own + 1).is_err() && walk(own - 1).is_err());
}

#[test]
fn only_what_the_containers_own_list_tells_is_remembered() {
    let tid = nix::unistd::gettid().as_raw();
    let Led::There(proc) = view().walk(None, b"/proc/version", true).unwrap() else {
        panic!("it is there");
    };
    let number = proc.mount.unwrap();
    let elsewhere = || {
        let mut mounts = Mounts::default();
        // Of another namespace than this thread is in.
        mounts.take(1, tid, &[(number + 1, "/x".into())]);
        mounts
    };
    let mut own = Mounts::default();
    own.take(namespace(tid).unwrap(), tid, &[]);
    for (mut mounts, waited, kept) in [
        (elsewhere(), true, false),
        (own, true, true),
        (elsewhere(), false, false),
    ] {
        assert_eq!(mounts.of(tid, &proc).unwrap(), Some("/proc".into()));
        mounts.settle(waited);
        assert_eq!(mounts.known.contains_key(&number), kept);
        assert!(mounts.fresh.is_empty());
    }
    let mut told = Mounts::default();
    told.take(namespace(tid).unwrap(), tid, &[(number, "/told".into())]);
    assert_eq!(told.of(tid, &proc).unwrap(), Some("/told".into()));
}

#[test]
fn a_name_that_is_no_utf8_leads_to_its_file_and_is_told_by_its_bytes() {
    let folder = Folder::new("bytes");
    let latin = [folder.text("a/caf"), vec![0xe9]].concat();
    let other = [folder.text("a/caf"), vec![0xe8]].concat();
    fs::write(OsStr::from_bytes(&latin), "x").unwrap();
    fs::write(OsStr::from_bytes(&other), "x").unwrap();
    for path in [&latin, &other] {
        let Led::There(node) = view().walk(None, path, true).unwrap() else {
            panic!("it is there");
        };
        assert_eq!(node.path().as_ref(), Some(path));
    }
    let above = folder.0.join("a").display().to_string();
    assert_eq!(in_text(&latin), (format!("{above}/caf\\xe9"), false));
    assert_ne!(leads(&latin), leads(&other));
    // A character that stands for what is none is one itself.
    assert_eq!(in_text("é\u{fffd}".as_bytes()), ("é\u{fffd}".into(), true));
    assert_eq!(in_text(b"\xff\xfea"), ("\\xff\\xfea".into(), false));
}
