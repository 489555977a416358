//! One event as a person reads it: a line, and what belongs to it indented beneath.

use crate::access::Access;
use crate::cli::ps;
use crate::cli::text::{Ink, escape, ink, name, words};
use crate::detect::{Response, Severity};
use crate::event::{Action, Ancestor, Event, File, Process, Session, What};

/// As many are told at most; there may have been more.
const MOST_ANCESTORS: usize = 16;

/// The line and those beneath it.
pub fn human(event: &Event) -> String {
    let (what, beneath) = told(event);
    let mut text = format!(
        "{}  {}  {what}\n",
        escape(&event.time),
        name(&event.container)
    );
    for line in beneath {
        text += &format!("    {line}\n");
    }
    text
}

/// The same where time and container are plain.
pub fn brief(event: &Event) -> String {
    let (what, beneath) = told(event);
    let beneath = beneath.iter().map(|line| format!("    {line}\n"));
    format!("{what}\n{}", beneath.collect::<String>())
}

fn told(event: &Event) -> (String, Vec<String>) {
    let plain = |what: String| (what, Vec::new());
    match &event.what {
        What::Tripwire { .. } => tripwire(event),
        What::Detection { .. } => detection(&event.what),
        What::Observed { .. } => observed(event),
        What::Response { .. } => response(&event.what),
        What::Start { .. } => plain(start(&event.what)),
        What::Watcher {
            ended,
            restarts,
            denied,
        } => plain(format!(
            "{} {}, and another one took over, {restarts} so far{}",
            ink("watcher", Ink::Odd),
            escape(ended),
            denied.as_ref().map_or_else(String::new, |what| format!(
                "; denied, as it had that in hand: {}",
                escape(what)
            ))
        )),
        What::Lost { count, cause } => plain(format!(
            "{} {count} events: {}",
            ink("LOST", Ink::Bad),
            escape(cause)
        )),
        What::Overflow { count } => plain(format!(
            "{} the kernel's queue was full and let executions or openings pass, seen {count} times",
            ink("UNSEEN", Ink::Bad)
        )),
        What::Suppressed { count, of } => plain(format!(
            "{} {count} more of: {}",
            ink("left out", Ink::Odd),
            escape(of)
        )),
        What::Failed { session, message } => plain(format!(
            "{} to start {}: {}",
            ink("failed", Ink::Bad),
            kind(*session),
            escape(message)
        )),
        What::Exit { process, code } => {
            let code = code.map_or_else(String::new, |code| format!(" with code {code}"));
            plain(format!("exited{code}  {}", who(process)))
        }
        What::End {
            tripwires,
            observed: None,
        } => plain(format!("ended  {tripwires} denials in all")),
        What::End {
            tripwires,
            observed: Some(seen),
        } => plain(format!(
            "ended  {tripwires} denials in all; {} accesses told of {} calls looked at, {} not looked at",
            seen.told, seen.calls, seen.unseen
        )),
    }
}

fn start(what: &What) -> String {
    let What::Start {
        process,
        session,
        stricter,
        report,
        recording,
    } = what
    else {
        return String::new();
    };
    let held = match &stricter[..] {
        [] => String::new(),
        more => format!(" held to {} too", escape(&more.join(" + "))),
    };
    let mode = recording.as_ref().map_or_else(String::new, |recording| {
        let mode = escape(&recording.mode).to_uppercase();
        format!(
            "  {}",
            ink(
                &format!("{mode}: nothing that such a layer lists is denied"),
                Ink::Odd
            )
        )
    });
    format!(
        "started {} {}{held}{mode}  landlock: {}; seccomp: {}",
        kind(*session),
        who(process),
        ps::landlock(report),
        ps::seccomp(report)
    )
}

fn tripwire(event: &Event) -> (String, Vec<String>) {
    let What::Tripwire {
        process,
        ancestors,
        syscall,
        args,
        errno,
        profile,
        fix,
        ..
    } = &event.what
    else {
        return Default::default();
    };
    let denied = ink("denied", Ink::Bad);
    let call = format!("{}({})", escape(syscall), escape(&args.join(", ")));
    let what = format!("{denied} {call} = {}  by {}", escape(errno), who(process));
    let mut beneath: Vec<String> = from(ancestors).into_iter().collect();
    beneath.push(remedy(event, profile, fix));
    (what, beneath)
}

fn observed(event: &Event) -> (String, Vec<String>) {
    let What::Observed {
        process,
        access,
        profile,
        fix,
        denied,
        ..
    } = &event.what
    else {
        return Default::default();
    };
    if profile.is_empty() {
        return (
            format!("did {}  by {}", done(access), who(process)),
            Vec::new(),
        );
    }
    let verdict = match denied {
        true => ink("denied", Ink::Bad),
        false => ink("would deny", Ink::Odd),
    };
    let what = format!("{verdict} {}  by {}", done(access), who(process));
    (what, vec![remedy(event, profile, fix)])
}

/// An access in a few words.
pub fn done(access: &Access) -> String {
    match access {
        Access::Syscall { name, args } => {
            let args = args.iter().map(|a| format!("{}: {:#x}", a.index, a.value));
            format!("{}({})", escape(name), args.collect::<Vec<_>>().join(", "))
        }
        Access::File {
            path,
            right,
            entry: Some(entry),
            moved,
            ..
        } => {
            let from = moved.as_ref();
            let from = from.map_or(String::new(), |own| format!(" from {}", escape(&own.path)));
            let (right, entry) = (escape(right), escape(entry));
            format!("{right} {entry} in {}{from}", escape(path))
        }
        Access::File { path, right, .. } => format!("{} {}", escape(right), escape(path)),
        Access::Tcp { right, port } => format!("{} tcp port {port}", escape(right)),
        Access::Capability { name } => escape(name),
        Access::Container { what } => escape(what),
    }
}

/// The line that would allow it, and in which profile where that is not plain.
fn remedy(event: &Event, profile: &str, fix: &str) -> String {
    if event.profiles.len() > 1 && !profile.is_empty() {
        format!("fix in {}: {}", escape(profile), escape(fix))
    } else {
        format!("fix: {}", escape(fix))
    }
}

fn detection(what: &What) -> (String, Vec<String>) {
    let What::Detection {
        rule,
        profile,
        severity,
        tags,
        process,
        ancestors,
        file,
        why,
        hits,
        respond,
        would,
        due,
        ..
    } = what
    else {
        return Default::default();
    };
    let by = process.as_ref();
    let by = by.map_or_else(String::new, |process| format!("  by {}", who(process)));
    let tags = match &tags[..] {
        [] => String::new(),
        tags => format!("  [{}]", escape(&tags.join(", "))),
    };
    let line = format!(
        "{} {}/{}: {}{by}{tags}",
        shade(*severity),
        escape(profile),
        escape(rule),
        escape(why)
    );
    let mut beneath = file.as_ref().map(opened).unwrap_or_default();
    beneath.extend(from(ancestors));
    beneath.extend(then(*respond, *due, *hits));
    beneath.extend(would.and_then(|would| not_done(would, *due, *hits)));
    (line, beneath)
}

/// Its word, in its colour.
fn shade(severity: Severity) -> String {
    let colour = match severity {
        Severity::Info => Ink::Good,
        Severity::Notice | Severity::Warning => Ink::Odd,
        Severity::Critical => Ink::Bad,
    };
    ink(severity.word(), colour)
}

fn opened(file: &File) -> Vec<String> {
    let tty = file.tty.as_ref();
    let tty = tty.map_or_else(String::new, |tty| format!(", terminal {}", escape(tty)));
    let mut lines = vec![format!(
        "file: {}  mode {}, uid {}, changed {}{tty}",
        escape(&file.path),
        escape(&file.mode),
        file.uid,
        escape(&file.changed)
    )];
    let args = file.argv.as_ref();
    lines.extend(args.map(|argv| format!("args: {}", words(argv))));
    lines
}

/// The processes above, nearest first.
fn from(ancestors: &[Ancestor]) -> Option<String> {
    let one = |above: &Ancestor| format!("{}[{}]", shown(&above.exe, &above.comm), above.pid);
    let mut chain: Vec<String> = ancestors.iter().map(one).collect();
    if chain.len() >= MOST_ANCESTORS {
        chain.push("…".into());
    }
    (!chain.is_empty()).then(|| format!("from: {}", chain.join(" ← ")))
}

/// What it led to; a rule that merely logs, at once, needs no line.
fn then(respond: Response, due: bool, hits: u32) -> Option<String> {
    let word = respond.word();
    match (respond, due) {
        (Response::Log, _) if hits <= 1 => None,
        (Response::Log, _) => Some(format!("hits: {hits}")),
        (_, true) if hits <= 1 => Some(format!("then: {word}")),
        (_, true) => Some(format!("then: {word}, at hit {hits}")),
        (_, false) => Some(format!("then: nothing yet, hit {hits}; later {word}")),
    }
}

/// What a profile in mode `audit` would have done.
fn not_done(would: Response, due: bool, hits: u32) -> Option<String> {
    let word = would.word();
    match (would, due) {
        (Response::Log, _) => None,
        (_, true) => Some(format!("not done (mode audit): {word}, at hit {hits}")),
        (_, false) => Some(format!(
            "not done (mode audit): later {word}, this was hit {hits}"
        )),
    }
}

fn response(what: &What) -> (String, Vec<String>) {
    let What::Response {
        action,
        by,
        pid,
        failed,
        evidence,
    } = what
    else {
        return Default::default();
    };
    let of = pid.map_or_else(
        || "every process".to_owned(),
        |pid| format!("process {pid}"),
    );
    let (did, to_do, of) = match action {
        Action::KillProcess | Action::KillContainer => ("killed", "kill", of),
        Action::Freeze => ("FROZE", "freeze", of),
        Action::Thaw => ("thawed", "thaw", of),
        Action::Evidence => ("collected", "collect", "evidence".to_owned()),
    };
    let by = escape(by);
    let line = match failed {
        None => format!("{} {of}  by {by}", ink(did, Ink::Odd)),
        Some(cause) => {
            let failed = ink(&format!("FAILED to {to_do}"), Ink::Bad);
            format!("{failed} {of}: {}  by {by}", escape(cause))
        }
    };
    let evidence = evidence.iter();
    let beneath = evidence.map(|path| format!("evidence: {}", escape(path)));
    (line, beneath.collect())
}

fn kind(session: Session) -> &'static str {
    match session {
        Session::Workload => "workload",
        Session::Exec => "exec session",
    }
}

fn who(process: &Process) -> String {
    let shown = shown(&process.exe, &process.comm);
    format!("{shown}[{}] uid {}", process.pid, process.uid)
}

/// The path of what it runs; what it calls itself where that is not known.
fn shown(exe: &str, comm: &str) -> String {
    escape(if exe.is_empty() { comm } else { exe })
}
