//! The sealed policy: init takes it whole or not at all, and there is one way to write each.

use mantlet::seal::Policy;

pub fn check(data: &[u8]) {
    if let Ok(policy) = Policy::decode(data) {
        assert_eq!(policy.encode(), data, "another spelling of the same policy");
    }
}
