//! What a container is looked at for beside what its layers in mode `audit` would deny: every call where
//! one records, those that name files where one is about files, and what begins its serving phase.

use std::collections::BTreeMap;

use super::exact::Exact;
use super::verdict::{Action, Compare, Condition, Decision};
use crate::access::{UNSEEN, files};
use crate::policy::Layers;
use crate::profile::table::{self, Lookup};

/// Numbers up to which this build's table is searched.
const MOST_CALLS: u32 = 1024;

/// The filter that only looks: nothing in it denies.
pub(super) fn calls(layers: Layers<'_>) -> Exact {
    let mut exact = Exact {
        calls: BTreeMap::new(),
        unknown: Vec::new(),
        unlisted: Action::Allow,
        foreign: Action::Allow,
    };
    let mut look = |name: &str, decision: Decision| {
        if let Lookup::Number(number) = table::lookup(name) {
            exact.calls.insert(name.into(), (number, decision));
        }
    };
    let all = || Decision::always(Action::Audit);
    if layers.learn() {
        for number in 0..MOST_CALLS {
            if let Some(name) = table::name_of(number) {
                look(&name, all());
            }
        }
        for name in UNSEEN {
            look(name, Decision::always(Action::Allow));
        }
        exact.unlisted = Action::Audit;
        exact.foreign = Action::Audit;
        return exact;
    }
    look("listen", all());
    if layers.audited().any(|profile| profile.files.is_some()) {
        for name in files::CALLS {
            look(name, all());
        }
        // Of a file, to be executed: none of the others costs anything.
        let maps = |(index, mask, value)| Condition {
            index,
            compare: Compare::Eq,
            value,
            mask,
        };
        look(
            "mmap",
            Decision {
                branches: vec![(files::MAPPING.map(maps).into(), Action::Audit)],
                otherwise: Action::Allow,
            },
        );
    }
    let network = |profile: &crate::profile::Profile| {
        profile
            .network
            .as_ref()
            .is_some_and(crate::profile::Network::restricts)
    };
    let named = layers
        .audited()
        .any(|profile| profile.files.is_some() || network(profile));
    if named {
        look("bind", all());
        look("connect", all());
        // With an address, in the fifth argument.
        let addressed = Condition {
            index: 4,
            compare: Compare::Ne,
            value: 0,
            mask: u64::MAX,
        };
        look(
            "sendto",
            Decision {
                branches: vec![(vec![addressed], Action::Audit)],
                otherwise: Action::Allow,
            },
        );
    }
    exact
}
