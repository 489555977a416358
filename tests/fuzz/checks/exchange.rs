//! Files of other tools: what is accepted becomes a profile that parses, performs nothing that the filter
//! refuses, and comes back from an export.

use mantlet::policy::Layers;
use mantlet::policy::exchange::{
    Defaults, Form, LandlockConfig, SeccompFile, SeccompScene, export_files, export_seccomp,
    import_files, import_seccomp,
};
use mantlet::policy::seccomp::{engine, exact::Exact};
use mantlet::profile::Profile;
use oci_spec::runtime::LinuxSeccomp;

use super::verdict::Decision;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    seccomp(text);
    for form in [Form::Json, Form::Toml] {
        ruleset(text, form);
    }
}

fn seccomp(text: &str) {
    let Ok(file) = SeccompFile::read("file", text) else {
        return;
    };
    let scene = SeccompScene::default();
    let Ok(imported) = import_seccomp("file", "made", &file, &scene, Defaults::Expand) else {
        return;
    };
    let profile = Profile::parse("made", &imported.text).expect("what is imported parses");
    let Ok(exact) = Exact::new(Layers::from(&&profile), false) else {
        return;
    };
    // Only a plain filter is one as it stands; the other forms are resolved first.
    if let Ok(filter) = serde_json::from_str::<LinuxSeccomp>(text)
        && !text.contains("cludes")
        && !text.contains("\"name\"")
    {
        for (name, (_, decision)) in &exact.calls {
            let rules = engine::rules(&filter, name);
            let source = Decision::strictest(rules, engine::default(&filter));
            for args in [[0; 6], [1; 6], [0x7fff_ffff; 6]] {
                // No upper half of an int differs here, which alone is read in another way.
                let ours = decision.verdict(&args).permits();
                assert!(!ours || source.verdict(&args).permits(), "{name} {args:?}");
            }
        }
    }
    let Ok(exported) = export_seccomp(&profile, false) else {
        return;
    };
    let again = SeccompFile::read("again", &exported.filter.to_string()).expect("our own form");
    let again = import_seccomp("again", "made", &again, &scene, Defaults::Refuse);
    let again = again.expect("our own filter").text;
    let again = Profile::parse("made", &again).expect("what is imported parses");
    let again = Exact::new(Layers::from(&&again), false).expect("fewer rules");
    for (name, (_, decision)) in &exact.calls {
        for args in [[0; 6], [1; 6], [u64::MAX; 6]] {
            let (one, other) = (decision.verdict(&args), again.calls[name].1.verdict(&args));
            assert_eq!(one.permits(), other.permits(), "{name} {args:?}");
        }
    }
}

fn ruleset(text: &str, form: Form) {
    let Ok(config) = LandlockConfig::read("file", text, form) else {
        return;
    };
    for form in [Form::Json, Form::Toml] {
        let written = config.write(form);
        // A ruleset of variables alone has nothing to write.
        if config.handled_fs.is_empty() && config.handled_net.is_empty() && config.scoped.is_empty()
        {
            continue;
        }
        match LandlockConfig::read("again", &written, form) {
            Ok(again) => assert_eq!(again.handled_net, config.handled_net),
            // Rights younger than its words.
            Err(error) => assert!(config.handled_fs.bits() >> 16 != 0, "{error}\n{written}"),
        }
    }
    let imported = import_files("file", "made", &config).expect("every ruleset");
    let profile = Profile::parse("made", &imported.text).expect("what is imported parses");
    if profile.files.is_some() {
        export_files(&profile, None).expect("no symbols, no exceptions");
    }
}
