//! The file of `exec --process`: a session gets no more than engine and container both have.

use std::collections::BTreeSet;
use std::path::Path;

use mantlet::oci::document::{Document, Kind};
use mantlet::policy::{Streams, plan_exec};
use mantlet::state::ExecRules;
use oci_spec::runtime::{Capabilities, Process};

use super::change;

/// As a probe calls.
const PROBE: Streams = Streams {
    terminal: false,
    input: false,
};

pub fn check(data: &[u8]) {
    let Some(document) = read(Kind::Process, data) else {
        return;
    };
    let Ok(process) = document.process() else {
        return;
    };
    for refuse_root in [false, true] {
        let rules = ExecRules {
            capabilities: vec!["CAP_NET_BIND_SERVICE".into(), "CAP_CHOWN".into()],
            landlock: true,
            refuse_root,
            ..ExecRules::default()
        };
        let Ok(plan) = plan_exec(&process, PROBE, &rules) else {
            continue;
        };
        assert!(!(refuse_root && process.user().uid() == 0));
        let edited = document
            .edited(&plan.edits)
            .expect("a plan's edits can be made");
        change::only(&plan.edits, document.value(), edited.value());
        let after = edited.process().expect("an edited process is one");
        no_more(&process, &after, &rules.capabilities);
        let (all, kept) = (process.rlimits(), after.rlimits());
        let count = |limits: &Option<Vec<_>>| limits.as_ref().map_or(0, Vec::len);
        assert_eq!(
            count(all),
            count(kept) + plan.rlimits.len(),
            "a limit is lost"
        );
        let again = edited
            .edited(&plan_exec(&after, PROBE, &rules).unwrap().edits)
            .unwrap();
        assert_eq!(again.value(), edited.value(), "twice equals once");
    }
}

/// Parses, and what was parsed survives being written.
pub(super) fn read(kind: Kind, data: &[u8]) -> Option<Document> {
    let file = Path::new("config.json");
    let document = Document::parse(file, kind, data).ok()?;
    let written = document.to_bytes();
    let again = Document::parse(file, kind, &written).expect("what was written can be read");
    assert_eq!(again.value(), document.value());
    assert_eq!(again.to_bytes(), written);
    assert_eq!(document.edited(&[]).unwrap().to_bytes(), written);
    Some(document)
}

/// No capability that the engine did not give or that is not `allowed`, and no new privileges.
pub(super) fn no_more(before: &Process, after: &Process, allowed: &[String]) {
    assert_eq!(after.no_new_privileges(), Some(true));
    let sets = |process: &Process| {
        let all = process.capabilities().clone().unwrap_or_default();
        [
            all.bounding().clone(),
            all.effective().clone(),
            all.inheritable().clone(),
            all.permitted().clone(),
            all.ambient().clone(),
        ]
    };
    let names = |set: Option<Capabilities>| -> BTreeSet<String> {
        set.into_iter()
            .flatten()
            .map(|name| name.to_string())
            .collect()
    };
    let absent = before.capabilities().is_none();
    for (had, has) in sets(before).into_iter().zip(sets(after)) {
        assert!(has.is_some(), "a set is left to the runtime");
        let (had, has) = (names(had), names(has));
        assert!(
            has.is_subset(&had) && (!absent || has.is_empty()),
            "{had:?} became {has:?}"
        );
        let granted = |name: &String| {
            allowed
                .iter()
                .any(|full| full == name || full.strip_prefix("CAP_") == Some(name))
        };
        assert!(has.iter().all(granted), "{has:?}");
    }
}
