//! What somebody does who is in a program already, and what becomes of it.

use crate::harness::{Container, Containerd, Finished, Pod};

/// An attack that works without mantlet.
pub struct Attack {
    /// In words.
    pub what: &'static str,
    /// Under which profile, where it is not the program's own.
    pub profile: Option<&'static str>,
    /// Carries it out in a pod: none where it worked, else what the attacker is told.
    pub carry_out: fn(&Pod<'_>) -> Option<String>,
    /// What an attacker is told under the profile, in the kernel's words as the program passes them on.
    pub refused: &'static [&'static str],
}

impl Attack {
    /// It works under the plain runtime, and is refused under the handler.
    #[track_caller]
    pub fn tried(&self, daemon: &Containerd, handler: &str, profile: &str) {
        let plain = daemon.pod("runc").run();
        let told = (self.carry_out)(&plain);
        assert_eq!(told, None, "{}: without mantlet it works", self.what);
        drop(plain);
        let pod = daemon
            .pod(handler)
            .annotation("mantlet.dev/profile", profile)
            .run();
        let told = (self.carry_out)(&pod);
        let told = told.unwrap_or_else(|| panic!("{}: it worked under {profile}", self.what));
        let refused = self.refused.iter().any(|words| told.contains(words));
        assert!(refused, "{}: {told}", self.what);
    }
}

/// What a program says that runs in a container, as whoever got in would run it; none where it says `worked`.
pub fn said(container: &Container<'_>, command: &[&str]) -> Option<String> {
    match container.try_exec(command) {
        Ok(Finished { code: 0, .. }) => None,
        Ok(done) => Some(format!("{} {} {}", done.code, done.stdout, done.stderr)),
        Err(error) => Some(error),
    }
}
