//! Paths in a folder of the test's own, by ordinary calls: a rule is what `each` is handed.

use super::*;

fn rule(path: &Path, except: &[&Path]) -> PathRule {
    PathRule {
        path: path.as_os_str().as_bytes().to_vec(),
        access: 1,
        except: except
            .iter()
            .map(|path| path.as_os_str().as_bytes().to_vec())
            .collect(),
        optional: false,
        follow: false,
        within_mount: false,
    }
}

fn found(rule: &PathRule) -> Result<bool, PathError> {
    resolve(rule, &Own, &mut |_| Ok(()))
}

struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let path =
            std::env::temp_dir().join(format!("mantlet-paths-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("a/b/c")).unwrap();
        std::fs::create_dir_all(path.join("a/d")).unwrap();
        std::fs::create_dir_all(path.join("e")).unwrap();
        Tree(std::fs::canonicalize(path).unwrap())
    }

    fn names(&self, rule: &PathRule) -> Vec<String> {
        let mut grants = Vec::new();
        let keep = &mut |grant| {
            grants.push(grant);
            Ok::<(), PathError>(())
        };
        assert!(resolve(rule, &Own, keep).unwrap());
        let mut names: Vec<_> = grants
            .iter()
            .map(|grant| target(&grant.fd).unwrap())
            .map(|path| {
                path.strip_prefix(&self.0)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_except_becomes_its_siblings_on_every_level() {
    let tree = Tree::new("siblings");
    let root = &tree.0;
    assert_eq!(tree.names(&rule(root, &[&root.join("a/b")])), ["a/d", "e"]);
    assert_eq!(
        tree.names(&rule(root, &[&root.join("a/b/c"), &root.join("e")])),
        ["a/d"]
    );
    assert!(tree.names(&rule(root, &[root])).is_empty());
    assert_eq!(tree.names(&rule(root, &[Path::new("/elsewhere")])), [""]);
}

#[test]
fn an_except_named_through_a_link_leaves_the_place_out_not_the_name() {
    let tree = Tree::new("link");
    std::os::unix::fs::symlink("a", tree.0.join("alias")).unwrap();
    let names = tree.names(&rule(&tree.0, &[&tree.0.join("alias/b")]));
    assert_eq!(names, ["a/d", "e"]);
}

#[test]
fn a_link_in_a_path_is_refused_unless_the_author_says_follow() {
    let tree = Tree::new("follow");
    std::os::unix::fs::symlink("a", tree.0.join("alias")).unwrap();
    let mut wanted = rule(&tree.0.join("alias/b"), &[]);
    assert!(matches!(found(&wanted), Err(PathError::Link(_))));
    wanted.follow = true;
    assert_eq!(tree.names(&wanted), ["a/b"]);
}

#[test]
fn an_absent_path_is_skipped_only_where_it_is_optional() {
    let mut wanted = rule(Path::new("/no/such/path"), &[]);
    assert!(matches!(found(&wanted), Err(PathError::Open(..))));
    wanted.optional = true;
    assert!(!found(&wanted).unwrap());
}

#[test]
fn a_hard_linked_program_beside_an_except_is_refused() {
    let tree = Tree::new("hardlink");
    let program = tree.0.join("e/program");
    std::fs::write(&program, "").unwrap();
    std::fs::hard_link(&program, tree.0.join("e/twin")).unwrap();
    let wanted = rule(&tree.0, &[&tree.0.join("e/x")]);
    assert_eq!(tree.names(&wanted), ["a"]);
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(found(&wanted), Err(PathError::HardLink(_))));
}

#[test]
fn a_path_that_climbs_is_refused() {
    assert!(matches!(
        found(&rule(Path::new("/usr/../etc"), &[])),
        Err(PathError::Form(_))
    ));
    assert!(matches!(
        found(&rule(Path::new("usr"), &[])),
        Err(PathError::Form(_))
    ));
}

#[test]
fn a_rule_that_stays_within_its_mount_grants_no_mount_point() {
    let mut wanted = rule(Path::new("/"), &[]);
    wanted.within_mount = true;
    let mut names = Vec::new();
    let keep = &mut |grant: Grant| {
        names.push(target(&grant.fd).unwrap());
        Ok::<(), PathError>(())
    };
    assert!(resolve(&wanted, &Own, keep).unwrap());
    assert!(names.iter().any(|name| name == Path::new("/usr")));
    let points = mount_points(&Own, Path::new("/")).unwrap();
    assert!(points.contains(&PathBuf::from("/proc")));
    for point in points {
        assert!(
            !names.iter().any(|name| point.starts_with(name)),
            "{point:?}"
        );
    }
}

#[test]
fn a_mount_point_is_read_with_its_escapes_undone() {
    let line = br"36 35 98:0 /mnt1 /a\040b\134 rw,noatime master:1 - ext3 /dev/root rw";
    assert_eq!(mount_point(line), Some(PathBuf::from(r"/a b\")));
    assert_eq!(mount_point(b"36 35"), None);
}

#[test]
fn a_rule_for_execution_passes_over_files_that_are_no_programs() {
    let tree = Tree::new("programs");
    std::fs::write(tree.0.join("e/notes"), "").unwrap();
    let mut wanted = rule(&tree.0, &[&tree.0.join("e/x")]);
    assert_eq!(tree.names(&wanted), ["a"]);
    wanted.access = 5;
    assert_eq!(tree.names(&wanted), ["a", "e/notes"]);
}

#[test]
fn a_file_with_other_names_is_refused_and_its_directory_is_not() {
    let tree = Tree::new("names");
    let file = tree.0.join("e/file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(tree.names(&rule(&file, &[])), ["e/file"]);
    std::fs::hard_link(&file, tree.0.join("e/twin")).unwrap();
    let error = found(&rule(&file, &[])).unwrap_err();
    assert!(
        matches!(&error, PathError::Names(path, 2) if *path == file),
        "{error}"
    );
    // Optional means that it may be missing, not that it may be anything.
    let optional = PathRule {
        optional: true,
        ..rule(&file, &[])
    };
    assert!(matches!(found(&optional), Err(PathError::Names(..))));
    assert_eq!(tree.names(&rule(&tree.0.join("e"), &[])), ["e"]);
}

#[test]
fn what_leads_below_procfs_is_refused_whatever_it_is_called() {
    let tree = Tree::new("procfs");
    std::os::unix::fs::symlink("/proc/self/fd", tree.0.join("own")).unwrap();
    std::os::unix::fs::symlink("/proc", tree.0.join("all")).unwrap();
    for below in ["/proc/sys", "/proc/1", "/proc/version"] {
        let error = found(&rule(Path::new(below), &[])).unwrap_err();
        assert!(matches!(error, PathError::Procfs(_)), "{below}: {error}");
    }
    let followed = |name: &str| {
        let mut wanted = rule(&tree.0.join(name), &[]);
        wanted.follow = true;
        found(&wanted)
    };
    assert!(matches!(followed("own"), Err(PathError::Procfs(_))));
    assert!(followed("all").unwrap());
    // Nor do siblings beside an exception lie there.
    let beside = rule(Path::new("/proc"), &[Path::new("/proc/sys")]);
    assert!(matches!(found(&beside), Err(PathError::Procfs(_))));
}

#[test]
fn odd_names_fifos_and_deep_folders_are_granted_like_any_other() {
    let tree = Tree::new("odd");
    let odd = OsStr::from_bytes(b"new\nline \xff");
    std::fs::write(tree.0.join("e").join(odd), "").unwrap();
    // A fifo without a writer would block whoever opened it for reading.
    nix::unistd::mkfifo(&tree.0.join("e/fifo"), Mode::S_IRWXU).unwrap();
    let mut wanted = rule(&tree.0.join("e"), &[&tree.0.join("e/x")]);
    wanted.access = 4;
    let names = tree.names(&wanted);
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(tree.names(&rule(&tree.0.join("e/fifo"), &[])), ["e/fifo"]);
    // Longer than PATH_MAX from the root on: reached from folder to folder.
    let mut deep = tree.0.join("a/d");
    let name = "d".repeat(200);
    while deep.as_os_str().len() < 3600 {
        deep.push(&name);
    }
    std::fs::create_dir_all(&deep).unwrap();
    let parent = open_plain(&Own, &deep).unwrap();
    let mut folder = Dir::openat(
        parent,
        ".",
        OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .unwrap();
    for _ in 0..4 {
        nix::sys::stat::mkdirat(&folder, &*name, Mode::S_IRWXU).unwrap();
        folder = Dir::openat(&folder, &*name, OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    }
    let mut except = deep.clone();
    except.push(&name);
    assert_eq!(tree.names(&rule(&deep, &[&except])), Vec::<String>::new());
}

#[test]
fn a_folder_that_became_a_link_meanwhile_grants_nothing() {
    let tree = Tree::new("swapped");
    let excepts = BTreeSet::from([tree.0.join("a/b/c")]);
    std::fs::rename(tree.0.join("a"), tree.0.join("kept")).unwrap();
    std::os::unix::fs::symlink("kept", tree.0.join("a")).unwrap();
    let walk = Walk {
        root: &Own,
        programs_only: false,
        excepts: &excepts,
    };
    let mut names = Vec::new();
    let root = open_plain(&Own, &tree.0).unwrap();
    walk.siblings(root.as_fd(), &tree.0, &mut |grant| {
        names.push(target(&grant.fd).unwrap());
        Ok::<(), PathError>(())
    })
    .unwrap();
    names.sort();
    // What was moved away is another name now, and not the excepted one: only where nobody but the
    // image's author can move directories is an exception worth something.
    assert_eq!(names, [tree.0.join("e"), tree.0.join("kept")]);
}

#[test]
fn an_except_below_a_file_is_an_error_and_an_absent_one_leaves_its_siblings() {
    let tree = Tree::new("below");
    std::fs::write(tree.0.join("e/file"), "").unwrap();
    let below = rule(&tree.0, &[&tree.0.join("e/file/x")]);
    assert!(matches!(found(&below), Err(PathError::List(..))));
    let mut wanted = rule(&tree.0, &[&tree.0.join("e/gone")]);
    wanted.access = 4;
    assert_eq!(tree.names(&wanted), ["a", "e/file"]);
}

#[test]
fn a_path_that_is_not_there_is_told_with_what_to_write() {
    let tree = Tree::new("absent");
    let path = tree.0.join("none");
    let error = found(&rule(&path, &[])).unwrap_err().to_string();
    let line = format!("{{path: {}, optional: true}}", path.display());
    assert!(
        error.contains("for a landlock rule: No such file") && error.contains(&line),
        "{error}"
    );
}
