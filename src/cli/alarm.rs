//! What is wrong with a container, for a person: each one sentence that ends with what to do.

use super::select::{Known, Watch};
use super::text::escape;
use crate::detect::{OnLoss, Then};
use crate::state::{Frozen, Record, Status};

/// Everything that somebody should look at now; empty where all is well.
pub fn alarms(known: &Known) -> Vec<String> {
    let id = escape(&known.home.id());
    let (record, status) = match (&known.record, &known.status) {
        (Err(error), _) | (_, Err(error)) => return vec![format!("container {id}: {error}")],
        (Ok(record), Ok(status)) => (record, status.as_ref()),
    };
    let frozen = status.and_then(|status| status.frozen.as_ref());
    match known.watch() {
        Watch::Lost => return vec![lost(&id, record, frozen)],
        Watch::Ended | Watch::None => return Vec::new(),
        Watch::Running | Watch::Starting | Watch::Unknown => {}
    }
    let mut all: Vec<String> = frozen.into_iter().map(|f| stopped(&id, f)).collect();
    all.extend(status.and_then(|status| blind(&id, status)));
    all.extend(status.and_then(|status| unwritten(&id, status)));
    all
}

fn lost(id: &str, record: &Record, frozen: Option<&Frozen>) -> String {
    let whether = match record.on_supervisor_loss {
        OnLoss::Keep => "",
        OnLoss::Kill => {
            ", though its profile says `on_supervisor_loss: kill`: it should not run any more"
        }
    };
    let frozen = match frozen {
        None => "",
        Some(_) => ". It was FROZEN then, and no deadline thaws or ends it any more",
    };
    let holds = match record.observing.iter().all(serde_json::Value::is_null) {
        true => "what it may not do stays forbidden (tripwires answer ENOSYS)",
        // Its sentinel answers.
        false => {
            "what it may not do stays forbidden, and what a layer in mode `audit` or `learn` only looks at goes on"
        }
    };
    format!(
        "container {id} has LOST its supervisor{whether}: {holds}, but nothing is reported any \
         more{frozen}; restart the container"
    )
}

fn stopped(id: &str, frozen: &Frozen) -> String {
    format!(
        "container {id} is FROZEN {}: its engine shows it as running, and probes fail; \
         `mantlet thaw {id}` or `mantlet kill {id}`",
        freeze(frozen)
    )
}

/// Since when, by whom, until when and what then.
pub fn freeze(frozen: &Frozen) -> String {
    let (since, by) = (escape(&frozen.since), escape(&frozen.by));
    let end = match (&frozen.until, frozen.then) {
        (None, _) => "until somebody ends it".to_owned(),
        (Some(until), Some(Then::Kill)) => format!("until {}, then killed", escape(until)),
        (Some(until), _) => format!("until {}, then thawed", escape(until)),
    };
    format!("since {since} by {by}, {end}")
}

/// No watcher, though there were some: an older supervisor never counts a restart.
fn blind(id: &str, status: &Status) -> Option<String> {
    (status.watcher == 0 && status.watcher_restarts > 0).then(|| {
        format!(
            "container {id} has no watcher after {} ended: calls stay denied, but nothing is \
             detected; look for its `watcher` events, and restart the container",
            status.watcher_restarts
        )
    })
}

fn unwritten(id: &str, status: &Status) -> Option<String> {
    let journal = escape(&status.journal.display().to_string());
    match (&status.journal_error, status.lost) {
        (Some(cause), lost) => Some(format!(
            "container {id}: its journal {journal} CANNOT be written ({}), {lost} events are lost; \
             free space there or mend the folder, writing is tried again by itself",
            escape(cause)
        )),
        (None, 0) => None,
        (None, lost) => Some(format!(
            "container {id}: {lost} events are LOST and not in its journal {journal}; \
             `mantlet events --type lost {id}` says why"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_says_by_whom_and_how_it_ends() {
        let mut frozen = Frozen {
            since: "2026-01-01T00:00:00Z".into(),
            by: "restricted/drift\u{1b}".into(),
            until: None,
            then: None,
        };
        assert_eq!(
            freeze(&frozen),
            "since 2026-01-01T00:00:00Z by restricted/drift\\u{1b}, until somebody ends it"
        );
        frozen.until = Some("2026-01-01T00:10:00Z".into());
        frozen.then = Some(Then::Kill);
        assert!(freeze(&frozen).ends_with("until 2026-01-01T00:10:00Z, then killed"));
        frozen.then = Some(Then::Thaw);
        assert!(freeze(&frozen).ends_with("then thawed"));
    }
}
