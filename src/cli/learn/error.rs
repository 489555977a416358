//! Why nothing was learned, in words that end with what to do.

use std::path::PathBuf;

use super::check;
use crate::cli::text::escape;

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Several journals are of containers with such an id.
    #[error("{:?} is the beginning of several containers' ids; name one journal:\n  {}", escape(id), candidates.join("\n  "))]
    Several {
        /// As given.
        id: String,
        /// Their journals.
        candidates: Vec<String>,
    },
    /// A file is a recording that cannot be used.
    #[error("recording {}: {}; write it anew with --save", path.display(), escape(why))]
    Recording {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file is neither a journal nor a recording.
    #[error(
        "{} holds no event of a container; name a journal (see log_dir in the configuration) or a recording",
        path.display()
    )]
    NoJournal {
        /// The file.
        path: PathBuf,
    },
    /// There is no run at all.
    #[error(
        "there is no run of a container in what was named, and nothing to learn from; record one in mode \
         `learn`, or with `mantlet learn -o FILE -- COMMAND`"
    )]
    NoRuns,
    /// The program that was to be recorded never ran; its cause is on standard error.
    #[error("nothing was recorded and no file is written: {}", not_started(*code))]
    NotStarted {
        /// As a shell would end: 127 where there is no such program, 126 where it cannot be executed, else 125.
        code: u8,
    },
    /// It was looked at, and nothing was seen.
    #[error(
        "container {:?} was recorded, and nothing that it did is in the recording: its program was not started, \
         or the beginning of its journal is lost; `mantlet events` tells which",
        escape(id)
    )]
    DidNothing {
        /// The container.
        id: String,
    },
    /// It was looked at, and what was seen is lost.
    #[error(
        "container {:?} was looked at, and nothing that it did is in the recording, because {}: nobody knows what it \
         needs; record it again",
        escape(id),
        lost_how(*lost)
    )]
    AllLost {
        /// The container.
        id: String,
        /// Events that are missing; none: its supervisor ended before it.
        lost: u64,
    },
    /// All that was seen is of exec sessions, which are left out.
    #[error(
        "of container {:?} nothing was seen but what exec sessions did, which is left out; --exec-sessions takes \
         it in",
        escape(id)
    )]
    OnlySessions {
        /// The container.
        id: String,
    },
    /// It was audited, and nothing would have been denied.
    #[error(
        "container {:?} was audited by {}, which would have denied nothing that it did: there is nothing to add \
         to it",
        escape(id),
        escape(profiles)
    )]
    NothingDenied {
        /// The container.
        id: String,
        /// What was in force.
        profiles: String,
    },
    /// Nothing was observed.
    #[error(
        "container {:?} was not recorded: its profiles are {}, and only mode `learn` or `audit` tells what a \
         container does; let its handler name the profile `learn`, or run it by `mantlet learn -- COMMAND`",
        escape(id),
        escape(profiles)
    )]
    NotRecorded {
        /// The container.
        id: String,
        /// What was in force.
        profiles: String,
    },
    /// Some runs were recorded, others audited, or by several profiles.
    #[error(
        "the runs were looked at in different ways ({found}), and no one profile says what they need; learn \
         from each kind alone"
    )]
    Mixed {
        /// The ways.
        found: String,
    },
    /// An addition to one profile is to be one to another.
    #[error(
        "the runs were audited by {}, and what that denied says nothing of what {} would; leave out --extends, or \
         record in mode `learn`",
        escape(audited),
        escape(parent)
    )]
    Audited {
        /// In force.
        audited: String,
        /// Wanted.
        parent: String,
    },
    /// A name that no profile may have.
    #[error(
        "{:?} cannot be a profile's name: use letters, digits, `-`, `_` and `.`; give one with --name or -o",
        escape(name)
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A profile that would be its own parent.
    #[error(
        "the profile is to extend {name:?} and cannot have the same name; give it another one with --name or -o"
    )]
    OwnParent {
        /// The name of both.
        name: String,
    },
    /// One file for two things.
    #[error("{} cannot hold two of profile, recording and JSON; give each a file of its own", path.display())]
    SameFile {
        /// As given.
        path: PathBuf,
    },
    /// The program has standard output.
    #[error(
        "a program that is recorded has standard output for itself; name a file for the profile with -o"
    )]
    NoFile,
    /// JSON would go there too.
    #[error(
        "a program that is recorded has standard output for itself; name a file for what is told with --json=FILE"
    )]
    NoFileForJson,
    /// The profile cannot be judged.
    #[error(transparent)]
    Check(#[from] check::Error),
    /// It would deny what it was made from, because the profile that it adds to does.
    #[error(
        "{} denies some of what was recorded, and nothing that is added to it can allow that; change {0}, or learn \
         from runs in mode `learn` without --extends:\n  {}",
        escape(parent),
        denied.join("\n  ")
    )]
    ParentDenies {
        /// The profile that is extended.
        parent: String,
        /// What, each with the reason.
        denied: Vec<String>,
    },
    /// It would deny what it was made from.
    #[error(
        "the profile made would deny what was recorded, which is a bug of mantlet's; please report it with the \
         recording (--save keeps it):\n  {}",
        denied.join("\n  ")
    )]
    Denies {
        /// What.
        denied: Vec<String>,
    },
}

/// Why nothing of a run is left.
fn lost_how(lost: u64) -> String {
    match lost {
        0 => "the recording is cut off: its supervisor ended before the container".into(),
        1 => "1 event of it is lost".into(),
        _ => format!("{lost} events of it are lost"),
    }
}

/// What an exit code says of a program that never ran.
fn not_started(code: u8) -> &'static str {
    match code {
        127 => {
            "there is no such program in the root file system that it was to run in (see the line above); name \
             one that is there, with its path"
        }
        126 => {
            "the program cannot be executed (see the line above); try another one, or mend its mode"
        }
        _ => {
            "the container was not created, for the reason above; `mantlet doctor` checks this node"
        }
    }
}
