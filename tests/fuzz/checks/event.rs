//! A journal's line: what a reader understands it could have written, and one event stays one line.

use mantlet::event::Event;

pub fn check(data: &[u8]) {
    super::control::same::<Event>(data);
    // The way of the command line: the value first, for its version.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) else {
        return;
    };
    let direct = serde_json::from_slice::<Event>(data).ok();
    let Ok(event) = serde_json::from_value::<Event>(value) else {
        return;
    };
    if let Some(direct) = direct {
        assert_eq!(event, direct);
    }
    let line = serde_json::to_string(&event).expect("what was read can be written");
    assert!(!line.chars().any(|c| c < ' '), "{line:?}");
}
