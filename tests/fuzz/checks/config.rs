//! config.json: a plan can be carried out, touches what it names only, and gives nothing that the
//! engine or the profile does not.

use mantlet::config::Config;
use mantlet::host::{Family, Host, Runtime};
use mantlet::oci::document::{Document, Kind};
use mantlet::policy::seccomp::{engine, exact, runtime};
use mantlet::policy::{Input, Layers, Plan, plan};
use mantlet::profile::Profile;
use mantlet::seal::Policy;
use oci_spec::runtime::{LinuxSeccomp, Spec};
use std::sync::LazyLock;

use super::bpf;
use super::interpreter::{Call, action, parse, run};
use super::process::{no_more, read};
use super::{change, verdict::Action};

static PROFILES: LazyLock<[Profile; 2]> =
    LazyLock::new(|| ["baseline", "restricted"].map(|name| Profile::builtin(name).unwrap()));

static NODE: LazyLock<(Config, Host)> = LazyLock::new(|| {
    let host = Host {
        landlock_abi: 7,
        user_notif: true,
        listener_taken: false,
        may_go_on: true,
        wait_killable: true,
        runtime: Runtime {
            path: "/usr/sbin/runc".into(),
            family: Family::Runc,
            version: "1.1.5".into(),
            number: Some((1, 1, 5)),
        },
    };
    (Config::embedded(), host)
});

pub fn check(data: &[u8]) {
    let Some(document) = read(Kind::Config, data) else {
        return;
    };
    let Ok(spec) = document.spec() else {
        return;
    };
    let [baseline, restricted] = &*PROFILES;
    for layers in [&[baseline][..], &[restricted], &[baseline, restricted]] {
        let layers = Layers::new(layers).unwrap();
        let (config, host) = &*NODE;
        let input = Input {
            profiles: layers,
            spec: &spec,
            host,
            config,
            found: None,
            run: false,
        };
        if let Ok(plan) = plan(input) {
            judge(&document, &spec, layers, &plan);
        }
    }
}

fn judge(document: &Document, spec: &Spec, layers: Layers<'_>, plan: &Plan) {
    // 1. It can be carried out, and changes what it names.
    let edited = document
        .edited(&plan.edits)
        .expect("a plan's edits can be made");
    change::only(&plan.edits, document.value(), edited.value());
    let after = edited.spec().expect("an edited config.json is one");
    // 2. The process.
    let process = spec
        .process()
        .as_ref()
        .expect("a spec without process is refused");
    no_more(
        process,
        after.process().as_ref().unwrap(),
        &layers.capabilities(),
    );
    // 3. What is hidden stays hidden.
    let lists = |spec: &Spec| {
        let linux = spec.linux().clone().unwrap();
        [linux.masked_paths().clone(), linux.readonly_paths().clone()]
            .map(Option::unwrap_or_default)
    };
    for (before, after) in lists(spec).into_iter().zip(lists(&after)) {
        assert!(before.iter().all(|path| after.contains(path)));
    }
    // 4. The sealed policy is what init reads.
    assert_eq!(
        Policy::decode(&plan.policy.encode()).as_ref(),
        Ok(&plan.policy)
    );
    assert!(plan.policy.supervised && !plan.policy.layers.is_empty());
    assert!(plan.policy.layers.len() <= mantlet::policy::MOST);
    // 5. The filters.
    let before = spec.linux().as_ref().unwrap().seccomp().as_ref();
    let now = after.linux().as_ref().unwrap().seccomp().as_ref();
    filters(before, now.expect("there is a filter always"), layers, plan);
}

fn filters(before: Option<&LinuxSeccomp>, after: &LinuxSeccomp, layers: Layers<'_>, plan: &Plan) {
    let program = parse(&plan.policy.filter.program);
    let ask = |number, arch| {
        let args = [0; 6];
        action(run(&program, &Call { number, arch, args }))
    };
    assert_eq!(ask(39, 0x4000_0003), Action::KillProcess, "i386");
    assert_eq!(
        ask(0x4000_0000 | 39, bpf::NATIVE),
        Action::KillProcess,
        "x32"
    );
    assert!(!engine::notifies(after), "the listener is init's");
    let wanted = exact::Exact::new(layers, true).unwrap();
    for (name, (number, decision)) in &wanted.calls {
        let found = ask(*number, bpf::NATIVE);
        if exact::LAST_NEEDS.contains(&name.as_str()) {
            assert_eq!(found, Action::Allow, "{name}");
            continue;
        }
        assert!(found.rank() <= decision.verdict(&[0; 6]).rank(), "{name}");
        if let Some(before) = before
            && !runtime::INIT_NEEDS.contains(&name.as_str())
            && engine::decision(before, name).permits_none()
        {
            assert!(
                engine::decision(after, name).permits_none(),
                "{name} was denied"
            );
        }
    }
}
