//! Whom a program runs as: numbers, or a name of the tree's own /etc/passwd.

use std::fs;
use std::path::Path;

use super::LocalError;

/// User, groups and home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// uid.
    pub uid: u32,
    /// gid.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home directory; `/` where the tree does not tell.
    pub home: String,
}

/// Understands `UID`, `UID:GID` or `NAME` within the tree at `root`.
///
/// # Errors
/// A name that the tree's /etc/passwd does not have, or numbers that are none.
pub fn find(root: &Path, written: &str) -> Result<User, LocalError> {
    let passwd = root.join("etc/passwd");
    let text = fs::read_to_string(&passwd).unwrap_or_default();
    let group = fs::read_to_string(root.join("etc/group")).unwrap_or_default();
    parse(&text, &group, written).ok_or_else(|| LocalError::NoUser {
        user: written.to_owned(),
        file: passwd,
    })
}

fn parse(passwd: &str, group: &str, written: &str) -> Option<User> {
    let (who, of) = match written.split_once(':') {
        Some((who, of)) => (who, Some(of)),
        None => (written, None),
    };
    let entries = passwd.lines().filter_map(entry);
    let number: Option<u32> = who.parse().ok();
    let known = entries
        .into_iter()
        .find(|entry| entry.name == who || Some(entry.uid) == number);
    let (uid, own, home) = match (known.as_ref(), number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home.to_owned()),
        (None, Some(uid)) => (uid, uid, "/".to_owned()),
        (None, None) => return None,
    };
    let gid = match of {
        Some(of) => of.parse().ok().or_else(|| gid_of(group, of))?,
        None => own,
    };
    // Numbers alone say all that is wanted; a name brings its groups, as login(1) does.
    let groups = match number {
        None => groups_of(group, who, gid),
        Some(_) => Vec::new(),
    };
    Some(User {
        uid,
        gid,
        groups,
        home,
    })
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let fields: Vec<&str> = line.split(':').collect();
    Some(Entry {
        name: fields.first()?,
        uid: fields.get(2)?.parse().ok()?,
        gid: fields.get(3)?.parse().ok()?,
        home: fields
            .get(5)
            .filter(|home| home.starts_with('/'))
            .unwrap_or(&"/"),
    })
}

/// (name, gid, members)
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

fn gid_of(group: &str, name: &str) -> Option<u32> {
    groups(group)
        .find(|(known, ..)| *known == name)
        .map(|(_, gid, _)| gid)
}

fn groups_of(group: &str, user: &str, own: u32) -> Vec<u32> {
    let in_it = |members: &str| members.split(',').any(|member| member.trim() == user);
    groups(group)
        .filter(|(_, gid, members)| *gid != own && in_it(members))
        .map(|(_, gid, _)| gid)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/bin/false\nodd\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\ntls:x:101:db,web\nlog:x:102:db\n";

    #[test]
    fn a_name_brings_its_groups_and_home_and_numbers_need_no_entry() {
        let web = parse(PASSWD, GROUP, "web").unwrap();
        assert_eq!((web.uid, web.gid, &web.groups[..]), (33, 34, &[101][..]));
        assert_eq!(web.home, "/var/www");
        let numbers = parse(PASSWD, GROUP, "1000:50").unwrap();
        assert_eq!((numbers.uid, numbers.gid), (1000, 50));
        assert_eq!(numbers.home, "/");
        assert_eq!(parse(PASSWD, GROUP, "33").unwrap().gid, 34);
        assert_eq!(parse(PASSWD, GROUP, "web:tls").unwrap().gid, 101);
    }

    #[test]
    fn what_is_not_known_is_no_user() {
        for wrong in ["nobody", "", "web:nosuch", "-1", "odd"] {
            assert_eq!(parse(PASSWD, GROUP, wrong), None, "{wrong}");
        }
    }
}
