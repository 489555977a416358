//! A command line, in the form of /proc/PID/cmdline: the real runtime reads what was read here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use mantlet::oci::invocation::{Changes, Create, Exec, Invocation, Verb, preserved};

const RUNTIME: &str = "/usr/sbin/runc";

pub fn check(data: &[u8]) {
    let words = data
        .strip_suffix(b"\0")
        .unwrap_or(data)
        .split(|byte| *byte == 0);
    let argv: Vec<OsString> = words
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    if let [count, owner, ..] = &argv[..] {
        // The same words as socket activation, which is counted beside them.
        for family in ["runc", "crun", "youki"] {
            let family = family_of(family);
            let found = preserved(1, Some(count), Some(owner), 1, family);
            assert!(found.first_free >= 3);
        }
    }
    let call = match Invocation::parse(argv.clone()) {
        Ok(call) => call,
        Err(rejected) => {
            assert!(!rejected.to_string().is_empty());
            return;
        }
    };
    // 1. Forwarded, it is what came.
    assert_eq!(call.argv, argv);
    assert_eq!(call.forward(Path::new(RUNTIME))[1..], argv[1..]);
    // 2. Rendered without a change, it is read as before, and rendering it again changes nothing.
    let words = call.render(Path::new(RUNTIME), &Changes::default());
    let again = reread(&words);
    assert_eq!(
        (&again.verb, &again.global),
        (&call.verb, &call.global),
        "{words:?}"
    );
    assert_eq!(again.is_help(), call.is_help());
    assert_eq!(again.render(Path::new(RUNTIME), &Changes::default()), words);
    // 3. Rendered with what the front door changes, only that is read differently.
    match &call.verb {
        Verb::Create(create) => created(&call, create),
        Verb::Run(run) => created(&call, &run.create),
        Verb::Exec(exec) => executed(&call, exec),
        _ => {}
    }
}

fn family_of(name: &str) -> mantlet::host::Family {
    use mantlet::host::Family;
    [Family::Runc, Family::Crun, Family::Youki]
        .into_iter()
        .find(|family| family.name() == name)
        .expect("the three families")
}

fn reread(words: &[OsString]) -> Invocation {
    Invocation::parse(words.to_vec())
        .unwrap_or_else(|error| panic!("{words:?} came from a readable line: {error}"))
}

fn created(call: &Invocation, create: &Create) {
    let changes = Changes {
        preserve_fds: Some(7),
        ..Changes::default()
    };
    let again = reread(&call.render(Path::new(RUNTIME), &changes));
    let want = Create {
        preserve_fds: 7,
        ..create.clone()
    };
    let found = match again.verb {
        Verb::Create(found) => found,
        Verb::Run(run) => run.create,
        other => panic!("{other:?}"),
    };
    assert_eq!(found, want);
    assert_eq!(again.global, call.global);
}

fn executed(call: &Invocation, exec: &Exec) {
    let init = [OsString::from("/proc/self/fd/4")];
    let allowed = ["CAP_CHOWN".to_owned()];
    let file = exec.process.as_ref().map(|_| Path::new("/proc/self/fd/9"));
    let changes = Changes {
        preserve_fds: Some(7),
        process: file,
        before_command: if file.is_some() { &[] } else { &init },
        no_new_privs: file.is_none(),
        allowed_caps: file.is_none().then_some(&allowed),
    };
    let again = reread(&call.render(Path::new(RUNTIME), &changes));
    let Verb::Exec(found) = again.verb else {
        panic!("{:?}", again.verb);
    };
    let mut want = Exec {
        preserve_fds: 7,
        ..exec.clone()
    };
    if file.is_some() {
        want.process = file.map(Path::to_owned);
    } else {
        want.command.splice(0..0, init);
        want.no_new_privs = Some(true);
        want.caps = found.caps.clone();
        assert!(found.caps.iter().all(|cap| exec.caps.contains(cap)));
        let chown = |cap: &String| {
            let upper = cap.to_ascii_uppercase();
            upper.strip_prefix("CAP_").unwrap_or(&upper) == "CHOWN"
        };
        assert!(found.caps.iter().all(chown), "{:?}", found.caps);
    }
    assert_eq!(found, want);
    assert_eq!(again.global, call.global);
}
