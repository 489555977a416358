//! Standard error beside a program that has it too.

use std::io::{self, Write};

/// How lines end there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console {
    /// The terminal is in raw mode: a line end does not lead to the first column.
    pub raw: bool,
}

impl Console {
    /// Tells something; text ends with a line end.
    pub fn tell(self, text: &str) {
        let text = if self.raw {
            text.replace('\n', "\r\n")
        } else {
            text.to_owned()
        };
        // Nothing can be done where stderr is gone.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
