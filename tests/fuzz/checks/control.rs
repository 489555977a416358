//! The supervisor's control socket: what is understood is what was said.

use mantlet::control::{Answer, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub fn check(data: &[u8]) {
    // An answer may have more keys than are known here (a newer supervisor), a request may not.
    same::<Request>(data);
    same::<Answer>(data);
}

pub(super) fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(data) else {
        return;
    };
    let bytes = serde_json::to_vec(&message).expect("what was read can be written");
    let again = serde_json::from_slice::<T>(&bytes).expect("what was written can be read");
    assert_eq!(again, message);
    assert_eq!(serde_json::to_vec(&again).unwrap(), bytes);
}
