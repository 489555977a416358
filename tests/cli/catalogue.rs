//! The profiles that ship hold what their own `tests:` say, and `lint` finds nothing.

use mantlet::profile::BUILT_IN;

use super::node::Node;
use super::{code, out};

#[test]
fn each_profile_of_the_catalogue_does_what_it_says_of_itself() {
    let node = Node::new();
    for name in BUILT_IN {
        let linted = node.run(&["lint", "--deny", "warnings", name]);
        code(&linted, 0);
        // The first three are for any image, and say nothing of one.
        if BUILT_IN[..3].contains(&name) {
            continue;
        }
        assert_eq!(out(&linted), "nothing found\n", "{name}");
        let tested = node.run(&["test", name]);
        code(&tested, 0);
        assert!(
            out(&tested).contains("0 failed"),
            "{name}: {}",
            out(&tested)
        );
    }
}
