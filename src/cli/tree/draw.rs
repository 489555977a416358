//! A tree in text: one line a process, what it executed beneath it.

use std::collections::BTreeMap;

use super::Node;
use super::history::Execution;
use crate::cli::text::{Ink, cut, escape, ink, words};
use crate::event::Session;

/// Deeper processes are drawn as if they were no deeper: a container can make a chain of thousands,
/// and each line would be longer than the one before.
const DEEPEST: usize = 40;
/// Longest `comm` (TASK_COMM_LEN without its end).
const LONGEST_COMM: usize = 15;

/// Draws all, which are in the order of their start; lines are cut at `width`.
pub fn draw(nodes: &[Node], width: Option<usize>) -> String {
    let parents = parents(nodes);
    let mut below: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (place, parent) in parents.into_iter().enumerate() {
        below.entry(parent).or_default().push(place);
    }
    let mut text = String::new();
    // A list of what is ahead, not a recursion: see DEEPEST.
    let mut ahead = Vec::new();
    let mut enter = |parent, prefix: &str, ahead: &mut Vec<_>| {
        let children: Vec<usize> = below.remove(&parent).unwrap_or_default();
        let some = !children.is_empty();
        let last = children.len().saturating_sub(1);
        let children = children.into_iter().enumerate().rev();
        ahead.extend(children.map(|(nth, child)| (child, prefix.to_owned(), nth == last)));
        some
    };
    enter(None, "", &mut ahead);
    while let Some((place, prefix, last)) = ahead.pop() {
        let node = &nodes[place];
        let branch = if last { "└─ " } else { "├─ " };
        text += &line(&format!("{prefix}{branch}"), node, width);
        let under = match (prefix.chars().count() < 3 * DEEPEST, last) {
            (false, _) => prefix,
            (true, true) => format!("{prefix}   "),
            (true, false) => format!("{prefix}│  "),
        };
        let rail = if enter(Some(place), &under, &mut ahead) {
            "│  "
        } else {
            "   "
        };
        for execution in &node.executions {
            text += &limited(&format!("{under}{rail}· {}", executed(execution)), width);
            text.push('\n');
        }
    }
    text
}

/// The place of each one's parent; none where that is not among them: the runtime's shim, say.
fn parents(nodes: &[Node]) -> Vec<Option<usize>> {
    let mut by_pid: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (place, node) in nodes.iter().enumerate() {
        by_pid.entry(node.pid).or_default().push(place);
    }
    let parent = |(place, node): (usize, &Node)| {
        let mut all = by_pid.get(&node.ppid)?.iter().copied();
        if !node.is_history() {
            return all.find(|&other| !nodes[other].is_history());
        }
        // The latest that was there by then; else one of which the journal tells only later.
        let before = |&other: &usize| other != place && nodes[other].started <= node.started;
        let found = all.clone().rfind(before);
        found.or_else(|| all.find(|&other| other != place))
    };
    let mut parents: Vec<_> = nodes.iter().enumerate().map(parent).collect();
    cut_circles(&mut parents);
    parents
}

/// Pids come again, and /proc is not read in one moment: two processes may seem to be each other's
/// parents. One of them is made a root then, or neither would be drawn.
fn cut_circles(parents: &mut [Option<usize>]) {
    let mut walked = vec![0; parents.len()];
    for start in 0..parents.len() {
        let (walk, mut at) = (start + 1, start);
        while walked[at] == 0 {
            walked[at] = walk;
            match parents[at] {
                Some(parent) if walked[parent] == walk => parents[at] = None,
                Some(parent) => at = parent,
                None => {}
            }
        }
    }
}

/// `EXE[PID]`, then what it is, then its arguments, which are what is cut first.
fn line(prefix: &str, node: &Node, width: Option<usize>) -> String {
    let plain = format!("{prefix}{}", head(node));
    let rest = limited(&format!("{plain}{}", tail(node)), width);
    // Colours have no width, so they come after the cut, and only where the head survived it.
    let coloured = match colour(node) {
        Some(colour) if rest.starts_with(&plain) => {
            let (_, rest) = rest.split_at(plain.len());
            format!("{prefix}{}{rest}", ink(&head(node), colour))
        }
        _ => rest,
    };
    coloured + "\n"
}

fn limited(text: &str, width: Option<usize>) -> String {
    width.map_or_else(|| text.to_owned(), |width| cut(text, width))
}

fn head(node: &Node) -> String {
    let shown = if node.exe.is_empty() {
        &node.comm
    } else {
        &node.exe
    };
    format!("{}[{}]", escape(shown), node.pid)
}

fn colour(node: &Node) -> Option<Ink> {
    match (node.session, node.state) {
        (_, "zombie" | "stopped" | "traced") | (Some(Session::Exec), _) => Some(Ink::Odd),
        (Some(Session::Workload), _) => Some(Ink::Good),
        _ => None,
    }
}

fn tail(node: &Node) -> String {
    let mut parts = Vec::new();
    if let Some(inside) = node.inside {
        parts.push(format!("inside {inside}"));
    }
    parts.push(format!("uid {}", node.uid));
    parts.push(match node.code {
        Some(code) => format!("{} with code {code}", node.state),
        None => node.state.to_owned(),
    });
    match node.session {
        Some(Session::Exec) => parts.push("exec session".into()),
        Some(Session::Workload) => parts.push("workload".into()),
        None => {}
    }
    if renamed(node) {
        parts.push(format!(
            "calls itself {}",
            words(std::slice::from_ref(&node.comm))
        ));
    }
    let argv = node.argv.as_deref().unwrap_or_default();
    format!("  {}  {}", parts.join("  "), words(argv))
        .trim_end()
        .to_owned()
}

/// Whether it goes by another name than its program's. Scripts do so by nature.
fn renamed(node: &Node) -> bool {
    let path = node.exe.trim_end_matches(" (deleted)");
    let program = path.rsplit('/').next().unwrap_or_default();
    // The kernel cuts bytes, so a character may be cut in two.
    let program = &program.as_bytes()[..program.len().min(LONGEST_COMM)];
    !node.exe.is_empty() && String::from_utf8_lossy(program) != node.comm
}

fn executed(execution: &Execution) -> String {
    let argv = execution.argv.as_deref().unwrap_or_default();
    let rules = execution.rules.join(", ");
    format!(
        "{} executed {}  {}  ({})",
        escape(&execution.time),
        escape(&execution.path),
        words(argv),
        escape(&rules)
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn node(pid: i32, ppid: i32, exe: &str) -> Node {
        Node {
            pid,
            inside: Some(pid - 100),
            ppid,
            uid: 0,
            state: "sleeping",
            comm: exe.rsplit('/').next().unwrap().into(),
            exe: exe.into(),
            argv: None,
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(pid as u64),
            session: None,
            executions: Vec::new(),
            code: None,
        }
    }

    #[test]
    fn branches_join_and_executions_stand_beneath_their_process() {
        let mut nodes = vec![
            node(101, 50, "/a"),
            node(102, 101, "/b"),
            node(103, 102, "/c"),
            node(104, 101, "/d"),
            node(105, 60, "/e"),
        ];
        nodes[1].executions = vec![Execution {
            time: "T".into(),
            path: "/b".into(),
            argv: Some(vec!["b".into(), "x y".into()]),
            rules: vec!["p/r".into()],
        }];
        nodes[4].session = Some(Session::Exec);
        nodes[4].argv = Some(vec!["e".into(), "\n".into()]);
        let want = "\
├─ /a[101]  inside 1  uid 0  sleeping
│  ├─ /b[102]  inside 2  uid 0  sleeping
│  │  │  · T executed /b  b \"x y\"  (p/r)
│  │  └─ /c[103]  inside 3  uid 0  sleeping
│  └─ /d[104]  inside 4  uid 0  sleeping
└─ /e[105]  inside 5  uid 0  sleeping  exec session  e \"\\n\"
";
        assert_eq!(draw(&nodes, None), want);
        let narrow = draw(&nodes, Some(20));
        assert!(
            narrow.lines().all(|line| line.chars().count() <= 20),
            "{narrow}"
        );
    }

    #[test]
    fn a_circle_of_parents_is_drawn_and_a_long_chain_stays_readable() {
        let circle = [
            node(101, 102, "/a"),
            node(102, 101, "/b"),
            node(103, 103, "/c"),
        ];
        assert_eq!(draw(&circle, None).lines().count(), 3);
        let chain: Vec<Node> = (0..5000).map(|n| node(101 + n, 100 + n, "/a")).collect();
        let text = draw(&chain, None);
        assert_eq!(text.lines().count(), 5000);
        assert!(text.lines().all(|line| line.chars().count() < 200));
    }

    #[test]
    fn a_process_under_another_name_is_told() {
        let mut own = node(101, 1, "/bin/a-program-with-a-long-name (deleted)");
        own.comm = "a-program-with-".into();
        assert!(!tail(&own).contains("calls itself"));
        own.comm = "kworker/0:1".into();
        assert!(tail(&own).contains("calls itself kworker/0:1"));
    }

    #[test]
    fn an_ended_process_stands_under_the_parent_of_its_time() {
        let mut nodes = vec![node(101, 1, "/old"), node(102, 101, "/child")];
        nodes[0].state = super::super::ENDED;
        nodes[1].state = super::super::ENDED;
        let mut new = node(101, 1, "/new");
        new.started = SystemTime::UNIX_EPOCH + Duration::from_secs(500);
        nodes.push(new);
        assert_eq!(parents(&nodes), [None, Some(0), None]);
    }
}
