//! Links and renames from every folder to every other one of its mount: what Landlock asks of both, and
//! whether what is moved gains anything by it.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::unistd::linkat;

use super::{FOLDERS, Foretellers, MOUNTS};
use crate::access::files::{self, Asked, Place, Renaming};
use crate::access::{Access, Moved};
use crate::policy::decide::Verdict;

const FILE: u32 = libc::S_IFREG;
const FOLDER: u32 = libc::S_IFDIR;

/// Every ordered pair of folders on one mount.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mount = |folder: &str| {
        let on = MOUNTS.iter().map(|(path, ..)| *path);
        on.filter(|mount| crate::policy::mounts::beneath(folder, mount))
            .max_by_key(|mount| mount.len())
    };
    let pairs = FOLDERS
        .into_iter()
        .flat_map(|from| FOLDERS.map(|to| (from, to)));
    pairs.filter(move |(from, to)| from != to && mount(from) == mount(to))
}

pub(super) fn pairs() -> usize {
    all().count()
}

fn within(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

/// A call between two folders, and what it moves there and back.
struct Call<'a> {
    from: &'a str,
    to: &'a str,
    name: &'a str,
    mode: u32,
    exchange: bool,
}

impl Call<'_> {
    fn accesses(&self, foretellers: &Foretellers, asked: &[Asked]) -> Vec<Access> {
        let each = asked.iter().map(|asked| {
            let (folder, other, moves) = match asked.place {
                Place::FirstEntry => (self.from, self.to, self.exchange),
                Place::SecondEntry => (self.to, self.from, true),
                Place::Itself => panic!("neither link nor rename asks that"),
            };
            let mut access = foretellers.access(folder, asked.right, true);
            if let Access::File { moved, .. } = &mut access
                && moves
                && asked.right == "refer"
            {
                *moved = Some(Moved {
                    path: within(other, self.name),
                    directory: self.mode == FOLDER,
                });
            }
            access
        });
        each.collect()
    }
}

/// EACCES comes first; where that is not why, both rules of `refer` are EXDEV.
fn expected(told: &(bool, Vec<Verdict>), asked: &[Asked]) -> Result<(), Errno> {
    let (allowed, said) = told;
    let mut plain = said
        .iter()
        .zip(asked)
        .filter(|(_, asked)| asked.right != "refer");
    match *allowed {
        true => Ok(()),
        false if plain.all(|(said, _)| said.allowed()) => Err(Errno::EXDEV),
        false => Err(Errno::EACCES),
    }
}

pub(super) fn compare(
    foretellers: &Foretellers,
    counts: &mut (usize, usize),
    wrong: &mut Vec<String>,
) {
    for (at, (from, to)) in all().enumerate() {
        let exchanging = |mode| Renaming {
            mode,
            replaced: Some(mode),
            exchange: true,
            keeps: false,
            same_directory: false,
        };
        let tries = [
            ("file", FILE, false, files::link(FILE, false)),
            ("moved", FILE, true, files::rename(exchanging(FILE))),
            ("kept.d", FOLDER, true, files::rename(exchanging(FOLDER))),
        ];
        for (name, mode, exchange, asked) in tries {
            let call = Call {
                from,
                to,
                name,
                mode,
                exchange,
            };
            let told = foretellers.ask(&call.accesses(foretellers, &asked));
            let (old, new) = (within(from, name), within(to, name));
            let swap = || {
                let flags = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, &*old, AT_FDCWD, &*new, flags)
            };
            let done = match exchange {
                true => swap().and_then(|()| swap()),
                false => {
                    let link = within(to, &format!("linked.{at}"));
                    linkat(AT_FDCWD, &*old, AT_FDCWD, &*link, AtFlags::empty())
                }
            };
            match told.as_ref().map(|told| expected(told, &asked)) {
                Ok(expected) if expected == done => match done {
                    Ok(()) => counts.0 += 1,
                    Err(_) => counts.1 += 1,
                },
                _ => {
                    let what = if exchange { "exchange" } else { "link" };
                    wrong.push(format!("{what} {old} {new}: {done:?}, but {told:?}"));
                }
            }
        }
    }
}
