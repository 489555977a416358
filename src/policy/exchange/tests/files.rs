//! Landlock rulesets: never wider, back again the same, each form, each error.

use std::collections::BTreeMap;
use std::io;

use landlock::{AccessFs, AccessNet, BitFlags, Scope};
use oci_spec::runtime::Spec;
use serde_json::json;

use super::super::{Error, Folder, Form, Imported, LandlockConfig, export_files, import_files};
use crate::policy::landlock::rights;
use crate::policy::mounts::beneath;
use crate::policy::seccomp::tests::generate::Random;
use crate::policy::seccomp::tests::rounds;
use crate::profile::{Place, Profile};

fn read(text: &str, form: Form) -> Result<LandlockConfig, Error> {
    LandlockConfig::read("l", text, form)
}

fn made(text: &str) -> (LandlockConfig, Imported, Profile) {
    let config = read(text, Form::Json).unwrap();
    let imported = import_files("l", "made", &config).unwrap();
    let profile = Profile::parse("made", &imported.text).unwrap();
    (config, imported, profile)
}

/// What a ruleset lets be done at `path`.
fn allowed(config: &LandlockConfig, path: &str) -> BitFlags<AccessFs> {
    let above = config
        .paths
        .iter()
        .filter(|(other, _)| beneath(path, other));
    let free = BitFlags::<AccessFs>::all() & !config.handled_fs & !AccessFs::Refer;
    above.fold(free, |all, (_, rights)| all | *rights)
}

/// What a profile lets be done there.
fn granted(profile: &Profile, path: &str) -> BitFlags<AccessFs> {
    let Some(files) = &profile.files else {
        return BitFlags::all() & !AccessFs::Refer;
    };
    let lists = [
        &files.read,
        &files.read_execute,
        &files.read_write,
        &files.read_write_execute,
        &files.execute,
        &files.device_ioctl,
        &files.make_device,
    ];
    let all = lists
        .into_iter()
        .zip(rights())
        .flat_map(|(list, (_, rights))| list.iter().map(move |entry| (entry, rights)));
    all.fold(BitFlags::EMPTY, |all, (entry, rights)| match &entry.place {
        Place::Path(own) if beneath(path, own) => all | rights,
        _ => all,
    })
}

const PATHS: [&str; 8] = [
    "/", "/usr", "/usr/bin", "/etc", "/tmp", "/tmp/a", "/srv/x", "/dev",
];

#[test]
fn what_is_imported_grants_nothing_that_its_source_withholds() {
    let words: Vec<&str> = super::super::landlockconfig::FILES
        .iter()
        .map(|(name, _)| *name)
        .collect();
    let groups = ["abi.all", "abi.read_execute", "abi.read_write"];
    let mut random = Random::new(31);
    let (mut asked, mut given) = (0, 0);
    for _ in 0..rounds(150) {
        let some = |random: &mut Random| -> Vec<&str> {
            let mut all = vec![*random.pick(&groups)];
            if random.below(3) == 0 {
                all.clear();
            }
            for _ in 0..1 + random.below(8) {
                all.push(*random.pick(&words));
            }
            all
        };
        let rules: Vec<_> = (0..1 + random.below(4))
            .map(|_| json!({"allowedAccess": some(&mut random), "parent": [random.pick(&PATHS)]}))
            .collect();
        let mut text = json!({"abi": 1 + random.below(7), "pathBeneath": rules});
        if random.below(2) == 0 {
            text["ruleset"] = json!([{"handledAccessFs": some(&mut random)}]);
        }
        let (config, imported, profile) = made(&text.to_string());
        for path in PATHS {
            let (theirs, ours) = (allowed(&config, path), granted(&profile, path));
            asked += 1;
            given += usize::from(!(ours & config.handled_fs).is_empty());
            // Connecting to sockets belongs to reading, and they have no word for it.
            let wider = ours & !theirs & !AccessFs::ResolveUnix;
            assert!(
                wider.is_empty(),
                "{path}: {wider:?}\n{text}\n{}",
                imported.text
            );
        }
    }
    assert!(given > asked / 10, "{given} of {asked}");
}

#[test]
fn the_groups_of_an_abi_become_the_lists_of_the_same_rights() {
    let text = r#"{"abi": 6, "ruleset": [{"handledAccessFs": ["abi.all"], "handledAccessNet": ["abi.all"], "scoped": ["signal"]}],
        "pathBeneath": [{"allowedAccess": ["abi.read_execute"], "parent": ["/usr", "/lib/"]},
                        {"allowedAccess": ["abi.read_write"], "parent": ["/tmp"]},
                        {"allowedAccess": ["abi.all"], "parent": ["/opt"]}],
        "netPort": [{"allowedAccess": ["bind_tcp"], "port": [80, 443]}]}"#;
    let (config, imported, profile) = made(text);
    for path in ["/usr", "/lib", "/tmp", "/opt", "/srv"] {
        let theirs = allowed(&config, path);
        let missing = theirs & !granted(&profile, path) & !AccessFs::Refer;
        let wider = granted(&profile, path) & !theirs;
        // Sockets go with reading, and are not granted where nothing is read.
        let sockets: BitFlags<AccessFs> = AccessFs::ResolveUnix.into();
        assert!(
            (missing & !sockets).is_empty() && wider.is_empty(),
            "{path}: {missing:?} {wider:?}\n{}",
            imported.text
        );
    }
    let network = profile.network.as_ref().unwrap();
    assert_eq!(network.bind_tcp, Some([80, 443].into()));
    assert_eq!(network.connect_tcp, Some([].into()));
    assert_eq!(profile.scope.len(), 1);
    assert!(profile.syscalls.allow.len() > 200, "the calls of baseline");
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("refer on /lib /usr")),
        "{:?}",
        imported.notes
    );
}

#[test]
fn single_rights_are_said_narrower_and_named() {
    let text = r#"{"abi": 6, "ruleset": [{"handledAccessFs": ["abi.all"]}],
        "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/etc"]},
                        {"allowedAccess": ["execute", "make_dir"], "parent": ["/srv"]}]}"#;
    let (_, imported, profile) = made(text);
    assert_eq!(granted(&profile, "/srv"), AccessFs::Execute);
    assert!(granted(&profile, "/etc").is_empty());
    for words in ["read_file on /etc", "make_dir on /srv"] {
        let told = imported.notes.iter().any(|note| note.contains(words));
        assert!(
            told && imported.text.contains(words),
            "{words}: {:?}",
            imported.notes
        );
    }
}

#[test]
fn what_a_ruleset_does_not_handle_is_free_here_too() {
    let text = r#"{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/etc"]}]}"#;
    let (_, imported, profile) = made(text);
    let root = granted(&profile, "/");
    assert!(root.contains(AccessFs::Execute | AccessFs::IoctlDev | AccessFs::MakeChar));
    assert!(!root.contains(AccessFs::ReadFile) && !root.contains(AccessFs::WriteFile));
    // Listing is free, so that reading files is all of `read`.
    assert!(granted(&profile, "/etc").contains(AccessFs::ReadFile));
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("free there") && note.contains("write_file"))
    );
}

#[test]
fn a_ruleset_of_the_network_restricts_no_files() {
    let (_, _, profile) =
        made(r#"{"netPort": [{"allowedAccess": ["connect_tcp"], "port": [5432]}]}"#);
    assert!(profile.files.is_none() && profile.scope.is_empty());
    let network = profile.network.unwrap();
    assert_eq!(
        (network.bind_tcp, network.connect_tcp),
        (None, Some([5432].into()))
    );
}

const TOML: &str = r#"
abi = 6
[[variable]]
name = "tmp"
literal = ["/tmp", "/var/tmp"]
[[variable]]
name = "none"
[[ruleset]]
handled_access_fs = ["abi.all"]
[[path_beneath]]
allowed_access = ["abi.read_write"]
parent = ["${tmp}", "${tmp}/a/${none}", "/a$$b", "/c$d", "/e$${tmp}"]
[[net_port]]
allowed_access = ["abi.all"]
port = [443]
"#;

#[test]
fn toml_and_variables_are_read_as_landlockconfig_reads_them() {
    let config = read(TOML, Form::Toml).unwrap();
    let paths: Vec<&str> = config.paths.keys().map(String::as_str).collect();
    assert_eq!(paths, ["/a$b", "/c$d", "/e${tmp}", "/tmp", "/var/tmp"]);
    assert_eq!(
        config.ports[&443],
        AccessNet::BindTcp | AccessNet::ConnectTcp
    );
    assert!(
        !config.paths["/tmp"].contains(AccessFs::Execute)
            && config.paths["/tmp"].contains(AccessFs::IoctlDev)
    );
    // Either notation says the same.
    for form in [Form::Json, Form::Toml] {
        let written = config.write(form);
        assert_eq!(read(&written, form).unwrap(), config, "{written}");
    }
}

#[test]
fn what_is_wrong_is_said_by_line_and_column() {
    let json = [
        (
            "{\"pathBeneath\": [\n{\"allowedAccess\": [\"raed_file\"], \"parent\": [\"/\"]}]}",
            "l:2:",
            "unknown right `raed_file`; one of execute",
        ),
        ("{\"ruleset\": []}", "l:1:", "empty list"),
        (
            "{\"path_beneath\": []}",
            "l:1:",
            "unknown field `path_beneath`",
        ),
        (
            "{\"netPort\": [{\"allowedAccess\": [\"bind_tcp\"],\n \"port\": [70000]}]}",
            "l:2:",
            "above 65535",
        ),
        (
            "{\"abi\": 0, \"variable\": [{\"name\": \"a\"}]}",
            "l:1:",
            "not 1 or above",
        ),
        (
            "{\"variable\": [{\"name\": \"a-b\"}]}",
            "l:1:",
            "no name of a variable",
        ),
        (
            "{\"pathBeneath\": [{\"allowedAccess\": [\"execute\"], \"parent\": [\"/${x\"]}]}",
            "l:1:",
            "does not close",
        ),
    ];
    for (text, place, words) in json {
        let error = read(text, Form::Json).unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains(words), "{error}");
    }
    let toml = [
        (
            "abi = 6\n[[ruleset]]\nhandled_access_fs = [\"abi.most\"]\n",
            "l:3:",
            "unknown right `abi.most`",
        ),
        ("[[ruleset]\n", "l:1:", ""),
        (
            "[[ruleset]]\nhandledAccessFs = [\"execute\"]\n",
            "l:2:1:",
            "unknown field `handledAccessFs`",
        ),
    ];
    for (text, place, words) in toml {
        let error = read(text, Form::Toml).unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains(words), "{error}");
    }
    let meanings = [
        (r#"{}"#, "says nothing"),
        (r#"{"ruleset": [{}]}"#, "is empty"),
        (r#"{"ruleset": [{"scoped": ["abi.all"]}]}"#, "add `abi`"),
        (
            r#"{"pathBeneath": [{"allowedAccess": ["execute"], "parent": ["."]}]}"#,
            "not absolute",
        ),
        (
            r#"{"pathBeneath": [{"allowedAccess": ["execute"], "parent": ["/a/../b"]}]}"#,
            "`..`",
        ),
        (
            r#"{"pathBeneath": [{"allowedAccess": ["execute"], "parent": ["/${x}"]}]}"#,
            "no variable `x`",
        ),
    ];
    for (text, words) in meanings {
        let error = read(text, Form::Json).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn variables_make_a_bounded_number_of_paths() {
    let many: Vec<String> = (0..200).map(|n| format!("/{n}")).collect();
    let text = json!({"variable": [{"name": "a", "literal": many}], "abi": 1,
        "pathBeneath": [{"allowedAccess": ["execute"], "parent": ["${a}${a}${a}"]}]});
    assert!(
        read(&text.to_string(), Form::Json)
            .unwrap_err()
            .to_string()
            .contains("10000 paths")
    );
}

#[test]
fn what_no_profile_can_name_is_left_out_with_a_word() {
    let text = r#"{"pathBeneath": [{"allowedAccess": ["execute", "read_file", "read_dir"],
        "parent": ["/proc/self", "/x*", "/proc", "/\u001b[2J\nversion: 2"]}]}"#;
    let (_, imported, profile) = made(text);
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("/proc/self"))
            && imported.notes.iter().any(|note| note.contains("/x*"))
    );
    assert!(granted(&profile, "/proc").contains(AccessFs::ReadFile));
    assert!(!imported.text.contains('\u{1b}'));
}

struct Tree(BTreeMap<&'static str, Vec<(&'static str, bool)>>);

impl Folder for Tree {
    fn entries(&self, path: &str) -> io::Result<Vec<(String, bool)>> {
        let found = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(found
            .iter()
            .map(|(name, folder)| ((*name).to_owned(), *folder))
            .collect())
    }

    fn real(&self, path: &str) -> String {
        path.to_owned()
    }
}

fn tree() -> Tree {
    Tree(BTreeMap::from([
        (
            "/",
            vec![
                ("usr", true),
                ("etc", true),
                ("proc", true),
                ("sys", true),
                ("dev", true),
                ("data", true),
                ("init", false),
            ],
        ),
        (
            "/etc",
            vec![("shadow", false), ("passwd", false), ("ssl", true)],
        ),
    ]))
}

fn spec() -> Spec {
    serde_json::from_value(json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "rw"]},
    ]}))
    .unwrap()
}

fn profile(files: &str) -> Profile {
    let text = format!(
        "version: 1\nname: x\nsyscalls: {{groups: '2026.1', allow: ['@default']}}\nfiles: {files}\n"
    );
    Profile::parse("x", &text).unwrap()
}

#[test]
fn symbols_and_exceptions_need_a_container_and_get_it() {
    for (files, entry) in [
        ("{read: ['/'], execute: ['@image']}", "@image"),
        ("{read_write: ['@volumes']}", "@volumes"),
        (
            "{read: ['/'], except: [/etc/shadow]}",
            "except: /etc/shadow",
        ),
    ] {
        let error = export_files(&profile(files), None).unwrap_err();
        assert!(
            matches!(&error, Error::NeedsContainer { entry: found, .. } if found == entry),
            "{error}"
        );
    }
    let (spec, tree) = (spec(), tree());
    let exported = export_files(
        &profile(
            "{read: ['/'], execute: ['@image'], read_write: ['@volumes'], except: [/etc/shadow]}",
        ),
        Some((&spec, &tree)),
    )
    .unwrap();
    let at = |path| exported.config.paths.get(path).copied().unwrap_or_default();
    assert!(
        at("/etc/passwd").contains(AccessFs::ReadFile)
            && !at("/etc/passwd").contains(AccessFs::ReadDir)
    );
    assert!(at("/usr").contains(AccessFs::Execute | AccessFs::ReadDir));
    assert!(at("/data").contains(AccessFs::WriteFile) && !at("/data").contains(AccessFs::Execute));
    for path in ["/", "/etc", "/etc/shadow"] {
        assert!(at(path).is_empty(), "{path}");
    }
    assert!(!at("/dev").contains(AccessFs::Execute) && at("/dev").contains(AccessFs::ReadFile));
    let gone = export_files(
        &profile("{read: ['/'], except: [/srv/x]}"),
        Some((&spec, &Tree(BTreeMap::new()))),
    );
    assert!(
        gone.unwrap_err()
            .to_string()
            .contains("cannot list / of the bundle")
    );
}

#[test]
fn plain_rules_come_back_as_they_were() {
    let text = "version: 1\nname: x\nsyscalls: {groups: '2026.1', allow: ['@default']}\n\
        files: {read: ['/'], read_execute: [/usr], read_write: [/tmp, /srv/a$b], execute: [/opt], device_ioctl: [/dev/pts], make_device: [/dev]}\n\
        network: {bind_tcp: [80], connect_tcp: []}\nscope: [signal]\n";
    let own = Profile::parse("x", text).unwrap();
    for form in [Form::Json, Form::Toml] {
        let written = export_files(&own, None).unwrap().config.write(form);
        let config = read(&written, form).unwrap();
        let back = import_files("l", "made", &config).unwrap();
        let back = Profile::parse("made", &back.text).unwrap();
        for path in [
            "/", "/usr/bin", "/tmp", "/srv", "/srv/a$b", "/opt", "/dev", "/dev/pts", "/etc",
        ] {
            assert_eq!(
                granted(&back, path),
                granted(&own, path),
                "{path}\n{written}"
            );
        }
        assert_eq!(back.network, own.network);
        assert_eq!(back.scope, own.scope);
        assert_eq!(config.scoped, Scope::Signal);
    }
}

#[test]
fn the_shipped_profiles_restrict_no_less_in_the_other_form() {
    let (spec, tree) = (spec(), tree());
    for name in ["baseline", "restricted", "watched", "pause"] {
        let exported =
            export_files(&Profile::builtin(name).unwrap(), Some((&spec, &tree))).unwrap();
        let again = read(&exported.config.write(Form::Json), Form::Json).unwrap();
        assert_eq!(again, exported.config, "{name}");
        assert!(!exported.config.handled_fs.is_empty());
    }
    let calls = "version: 1\nname: x\nsyscalls: {groups: '2026.1', allow: ['@default']}\n";
    let nothing = export_files(&Profile::parse("x", calls).unwrap(), None).unwrap_err();
    assert!(matches!(nothing, Error::Nothing { .. }), "{nothing}");
}
