//! A draft as YAML. Comments are what a learned profile is for, so it is written by hand: no library
//! keeps them. Whatever came from a container is escaped, in comments and in values.

use super::super::text::escape;
use super::draft::{Allowance, Draft, Section};
use crate::yaml::scalar;

/// Where comments behind items begin, where the items are short enough.
const COMMENTS: usize = 44;

/// Width of the comments above items and at the top.
const WIDTH: usize = 100;

/// The profile's text, without the allowance of number `without`.
#[must_use]
pub fn profile(draft: &Draft, without: Option<usize>) -> String {
    let mut page = Page::default();
    draft.head.iter().for_each(|line| page.comment("", line));
    page.line("version: 1");
    page.line(&format!("name: {}", scalar(&draft.name)));
    page.line(&format!("description: {}", scalar(&draft.description)));
    if let Some(parent) = &draft.extends {
        page.line(&format!("extends: [{}]", scalar(parent)));
    }
    if let Some(why) = &draft.audit {
        page.comment("", why);
        page.line("mode: audit");
    }
    let own = draft.extends.is_none();
    if own {
        let degrade = match draft.degrade.is_empty() {
            true => String::new(),
            false => format!(", degrade: [{}]", draft.degrade.join(", ")),
        };
        page.line(&format!(
            "requires: {{landlock: {}{degrade}}}",
            draft.landlock
        ));
    }
    page.gap();
    page.list(draft, Section::Capabilities, "", without, own);
    page.gap();
    calls(&mut page, draft, without, own);
    page.gap();
    files(&mut page, draft, without, own);
    page.gap();
    network(&mut page, draft, without, own);
    if own {
        page.gap();
        page.line("scope: [abstract-unix-socket]");
        page.gap();
        page.line("process:");
        page.line("  refuse:");
        for rule in REFUSED {
            page.line(&format!("    - {rule}"));
        }
    }
    if !draft.tests.is_empty() {
        page.gap();
        page.line("tests:");
        draft
            .tests
            .iter()
            .for_each(|test| page.line(&format!("  - {test}")));
    }
    if !draft.foot.is_empty() {
        page.gap();
        draft.foot.iter().for_each(|line| page.comment("", line));
    }
    page.text
}

/// What no learned container needs and each would undo the sandbox with: the rules of `restricted`.
const REFUSED: [&str; 5] = [
    "privileged",
    "host-pid",
    "host-network",
    "host-ipc",
    "host-path: [\"@host-root\", \"@runtime-sockets\", \"@kubelet\"]",
];

fn calls(page: &mut Page, draft: &Draft, without: Option<usize>, own: bool) {
    let any = draft.of(Section::Calls, without).next().is_some();
    if !own && !any {
        return;
    }
    page.line("syscalls:");
    page.line(&format!(
        "  groups: \"{}\"",
        crate::profile::groups::CURRENT
    ));
    page.list(draft, Section::Calls, "  ", without, true);
    if own {
        page.line(
            "  # Everything else is refused, and reported with the line that would allow it.",
        );
        page.line("  tripwire: [\"@known\"]");
    }
    if !draft.absent.is_empty() {
        page.line("  deny:");
        for (name, why) in &draft.absent {
            let item = format!("    - {{name: {name}, errno: ENOSYS}}");
            page.noted(&item, why);
        }
    }
}

fn files(page: &mut Page, draft: &Draft, without: Option<usize>, own: bool) {
    let any = |section| draft.of(section, without).next().is_some();
    if !Section::FILES.into_iter().any(any) {
        if own {
            page.line("files: {read: []}");
        }
        return;
    }
    page.line("files:");
    for section in Section::FILES {
        page.list(draft, section, "  ", without, false);
    }
}

fn network(page: &mut Page, draft: &Draft, without: Option<usize>, own: bool) {
    let lists = [Section::Bind, Section::Connect];
    let written = |section: &Section| {
        let any = draft.of(*section, without).next().is_some();
        (own || any) && !draft.free.contains_key(section)
    };
    if lists.iter().any(written) {
        page.line("network:");
    }
    for section in lists {
        if let Some(why) = draft.free.get(&section) {
            page.comment("  ", &format!("{} is left free: {why}", section.key()));
        } else if written(&section) {
            page.list(draft, section, "  ", without, own);
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn gap(&mut self) {
        if !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A comment of its own, broken at spaces. A line that begins with a space stays as it is.
    fn comment(&mut self, indent: &str, text: &str) {
        let text = escape(text);
        if text.is_empty() || text.starts_with(' ') {
            return self.line(&format!("{indent}# {}", text.trim_start_matches(' ')));
        }
        let room = WIDTH - indent.len() - 2;
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                self.line(&format!("{indent}# {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&format!("{indent}# {line}"));
    }

    /// An item with the comment behind it.
    fn noted(&mut self, item: &str, note: &str) {
        if note.is_empty() {
            return self.line(item);
        }
        let note = escape(note);
        self.line(&format!("{item:<COMMENTS$}  # {note}"));
    }

    /// One list; `always`: an empty one too.
    fn list(
        &mut self,
        draft: &Draft,
        section: Section,
        indent: &str,
        without: Option<usize>,
        always: bool,
    ) {
        for text in draft.left_out.get(&section).into_iter().flatten() {
            self.comment(indent, text);
        }
        let items: Vec<&Allowance> = draft.of(section, without).collect();
        if items.is_empty() {
            if always {
                self.line(&format!("{indent}{}: []", section.key()));
            }
            return;
        }
        self.line(&format!("{indent}{}:", section.key()));
        for one in items {
            let inner = format!("{indent}  ");
            one.above.iter().for_each(|text| self.comment(&inner, text));
            self.noted(&format!("{inner}- {}", one.item), &one.note);
        }
    }
}
