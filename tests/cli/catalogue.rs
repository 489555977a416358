//! The profiles that ship hold what their own `tests:` say, and `lint` finds nothing.

use mantlet::profile::BUILT_IN;

use super::node::Node;
use super::{code, out};

#[test]
fn each_profile_of_the_catalogue_does_what_it_says_of_itself() {
    let node = Node::new();
    // The first three are for any image, and say nothing of one.
    for name in &BUILT_IN[3..] {
        let tested = node.run(&["test", name]);
        code(&tested, 0);
        assert!(
            out(&tested).contains("0 failed"),
            "{name}: {}",
            out(&tested)
        );
        let linted = node.run(&["lint", name]);
        code(&linted, 0);
        assert_eq!(out(&linted), "nothing found\n", "{name}");
    }
}
