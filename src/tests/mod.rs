//! Tests that go through several modules of floor 3.

mod foretold;
