//! landlockconfig's two notations, and what they come to.

use std::collections::{BTreeMap, BTreeSet};

use landlock::{ABI, Access, AccessFs, AccessNet, BitFlags, Scope};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::super::yaml::{message, plain};
use super::super::{Error, json_error};
use super::{Config, FILES, Form, SCOPES, TCP};
use crate::profile::normal_path;

/// A list that is not empty.
struct Many<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::deserialize(deserializer)?;
        if list.is_empty() {
            return Err(de::Error::custom("an empty list: leave the key out"));
        }
        Ok(Many(list))
    }
}

/// Both notations have the same shape; only the names of their keys differ.
macro_rules! notation {
    ($module:ident, $case:literal) => {
        mod $module {
            use super::*;

            #[derive(Deserialize)]
            #[serde(deny_unknown_fields, rename_all = $case)]
            pub struct Written {
                pub abi: Option<Abi>,
                pub variable: Option<Many<Variable>>,
                pub ruleset: Option<Many<Ruleset>>,
                pub path_beneath: Option<Many<PathBeneath>>,
                pub net_port: Option<Many<NetPort>>,
            }

            #[derive(Deserialize)]
            #[serde(deny_unknown_fields, rename_all = $case)]
            pub struct Ruleset {
                pub handled_access_fs: Option<Many<FsWord>>,
                pub handled_access_net: Option<Many<NetWord>>,
                pub scoped: Option<Many<ScopeWord>>,
            }

            #[derive(Deserialize)]
            #[serde(deny_unknown_fields, rename_all = $case)]
            pub struct PathBeneath {
                pub allowed_access: Many<FsWord>,
                pub parent: Many<Template>,
            }

            #[derive(Deserialize)]
            #[serde(deny_unknown_fields, rename_all = $case)]
            pub struct NetPort {
                pub allowed_access: Many<NetWord>,
                pub port: Many<Port>,
            }

            impl Written {
                pub fn resolve(self) -> Result<Config, String> {
                    let sets = self.ruleset.map(|list| list.0).unwrap_or_default();
                    let paths = self.path_beneath.map(|list| list.0).unwrap_or_default();
                    let ports = self.net_port.map(|list| list.0).unwrap_or_default();
                    let parts = Parts {
                        abi: self.abi.map(|abi| abi.0),
                        variables: self.variable.map(|list| list.0),
                        sets: sets
                            .into_iter()
                            .map(|set| (set.handled_access_fs, set.handled_access_net, set.scoped))
                            .collect(),
                        paths: paths
                            .into_iter()
                            .map(|rule| (rule.allowed_access, rule.parent))
                            .collect(),
                        ports: ports
                            .into_iter()
                            .map(|rule| (rule.allowed_access, rule.port))
                            .collect(),
                    };
                    parts.resolve()
                }
            }
        }
    };
}

notation!(json, "camelCase");
notation!(toml_form, "snake_case");

/// A configuration as written, whatever the notation.
struct Parts {
    abi: Option<i32>,
    variables: Option<Vec<Variable>>,
    sets: Vec<Set>,
    paths: Vec<(Many<FsWord>, Many<Template>)>,
    ports: Vec<(Many<NetWord>, Many<Port>)>,
}

type Set = (
    Option<Many<FsWord>>,
    Option<Many<NetWord>>,
    Option<Many<ScopeWord>>,
);

struct Abi(i32);

impl<'de> Deserialize<'de> for Abi {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let abi = i64::deserialize(deserializer)?;
        match i32::try_from(abi) {
            Ok(abi) if abi > 0 => Ok(Abi(abi)),
            _ => Err(de::Error::custom(format!("`abi` {abi} is not 1 or above"))),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: Name,
    literal: Option<ManyStrings>,
}

type ManyStrings = Vec<String>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

fn name(text: &str) -> Result<Name, String> {
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    if begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(Name(text.into()));
    }
    Err(format!(
        "`{}` is no name of a variable: a letter, then letters, digits and `_`",
        plain(text)
    ))
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        name(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[derive(Debug, Clone, Copy)]
struct Port(u16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let port = u64::deserialize(deserializer)?;
        let fits = u16::try_from(port).map(Port);
        fits.map_err(|_| de::Error::custom(format!("port {port} is above 65535")))
    }
}

/// A path with variables in it.
#[derive(Debug, Clone)]
struct Template(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    Variable(Name),
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        template(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// `${NAME}` is a variable, `$$` a dollar; any other dollar is one, too.
fn template(text: &str) -> Result<Template, String> {
    let mut tokens = Vec::new();
    let mut plainly = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        plainly += before;
        if let Some(inside) = after.strip_prefix('{') {
            let Some((variable, after)) = inside.split_once('}') else {
                return Err(format!(
                    "`{}` opens `${{` and does not close it",
                    plain(text)
                ));
            };
            tokens.push(Token::Text(std::mem::take(&mut plainly)));
            tokens.push(Token::Variable(name(variable)?));
            rest = after;
        } else {
            plainly.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    tokens.push(Token::Text(plainly + rest));
    Ok(Template(tokens))
}

/// Most paths that the variables of one configuration may make.
const MOST_PATHS: usize = 10_000;

impl Template {
    fn expand(&self, variables: &BTreeMap<Name, BTreeSet<String>>) -> Result<Vec<String>, String> {
        let mut all = vec![String::new()];
        for token in &self.0 {
            let values: Vec<&str> = match token {
                Token::Text(text) => vec![text],
                Token::Variable(name) => {
                    let found = variables.get(name);
                    let found = found.ok_or_else(|| {
                        format!("there is no variable `{}`: add it to `variable`", name.0)
                    })?;
                    found.iter().map(String::as_str).collect()
                }
            };
            if all.len() * values.len() > MOST_PATHS {
                return Err(format!("its variables make more than {MOST_PATHS} paths"));
            }
            all = all
                .iter()
                .flat_map(|path| values.iter().map(move |value| format!("{path}{value}")))
                .collect();
        }
        Ok(all)
    }
}

/// A right, or those that an ABI has.
#[derive(Debug, Clone, Copy)]
enum Group<A> {
    One(A),
    All,
    ReadExecute,
    ReadWrite,
}

struct FsWord(Group<AccessFs>);
struct NetWord(Group<AccessNet>);
struct ScopeWord(Group<Scope>);

fn word<'de, D: Deserializer<'de>, A: Copy>(
    deserializer: D,
    known: &[(&str, A)],
    groups: &[(&str, Group<A>)],
) -> Result<Group<A>, D::Error> {
    let written = String::deserialize(deserializer)?;
    let right = known
        .iter()
        .find(|(name, _)| *name == written)
        .map(|(_, right)| Group::One(*right));
    let group = || {
        groups
            .iter()
            .find(|(name, _)| *name == written)
            .map(|(_, group)| *group)
    };
    right.or_else(group).ok_or_else(|| {
        let names: Vec<&str> = known
            .iter()
            .map(|(name, _)| *name)
            .chain(groups.iter().map(|(name, _)| *name))
            .collect();
        de::Error::custom(format!(
            "unknown right `{}`; one of {}",
            plain(&written),
            names.join(", ")
        ))
    })
}

impl<'de> Deserialize<'de> for FsWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let groups = [
            ("abi.all", Group::All),
            ("abi.read_execute", Group::ReadExecute),
            ("abi.read_write", Group::ReadWrite),
        ];
        word(deserializer, &FILES, &groups).map(FsWord)
    }
}

impl<'de> Deserialize<'de> for NetWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word(deserializer, &TCP, &[("abi.all", Group::All)]).map(NetWord)
    }
}

impl<'de> Deserialize<'de> for ScopeWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word(deserializer, &SCOPES, &[("abi.all", Group::All)]).map(ScopeWord)
    }
}

impl Parts {
    fn resolve(self) -> Result<Config, String> {
        let mut config = Config {
            handled_fs: BitFlags::EMPTY,
            handled_net: BitFlags::EMPTY,
            scoped: BitFlags::EMPTY,
            paths: BTreeMap::new(),
            ports: BTreeMap::new(),
        };
        if self.variables.is_none()
            && self.sets.is_empty()
            && self.paths.is_empty()
            && self.ports.is_empty()
        {
            return Err("it says nothing: no `ruleset`, no rule".into());
        }
        let mut variables: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
        for variable in self.variables.into_iter().flatten() {
            variables
                .entry(variable.name)
                .or_default()
                .extend(variable.literal.into_iter().flatten());
        }
        let abi = self.abi;
        for (files, tcp, scoped) in &self.sets {
            if files.is_none() && tcp.is_none() && scoped.is_none() {
                return Err("a `ruleset` is empty".into());
            }
            for word in files.iter().flat_map(|list| &list.0) {
                config.handled_fs |= file_rights(word.0, abi)?;
            }
            for word in tcp.iter().flat_map(|list| &list.0) {
                config.handled_net |= all_rights(word.0, abi)?;
            }
            for word in scoped.iter().flat_map(|list| &list.0) {
                config.scoped |= all_rights(word.0, abi)?;
            }
        }
        for (words, parents) in self.paths {
            let mut rights = BitFlags::EMPTY;
            for word in &words.0 {
                rights |= file_rights(word.0, abi)?;
            }
            config.handled_fs |= rights;
            for parent in parents.0 {
                for path in parent.expand(&variables)? {
                    *config.paths.entry(absolute(&path)?).or_default() |= rights;
                }
            }
            if config.paths.len() > MOST_PATHS {
                return Err(format!("it has more than {MOST_PATHS} paths"));
            }
        }
        for (words, ports) in self.ports {
            let mut rights = BitFlags::EMPTY;
            for word in &words.0 {
                rights |= all_rights(word.0, abi)?;
            }
            config.handled_net |= rights;
            for port in ports.0 {
                *config.ports.entry(port.0).or_default() |= rights;
            }
        }
        config.paths.retain(|_, rights| !rights.is_empty());
        config.ports.retain(|_, rights| !rights.is_empty());
        Ok(config)
    }
}

fn absolute(path: &str) -> Result<String, String> {
    // A wildcard is a name like any other here; a profile cannot hold it.
    let written = path.replace('*', "\u{1}");
    let normal =
        normal_path(&written).map_err(|problem| message(&problem.replace('\u{1}', "*")))?;
    Ok(normal.replace('\u{1}', "*"))
}

fn known_abi(abi: Option<i32>) -> Result<ABI, String> {
    abi.map(ABI::from)
        .ok_or_else(|| "`abi.*` stands for the rights of an ABI: add `abi`".into())
}

fn file_rights(word: Group<AccessFs>, abi: Option<i32>) -> Result<BitFlags<AccessFs>, String> {
    Ok(match word {
        Group::One(right) => right.into(),
        Group::All => AccessFs::from_all(known_abi(abi)?),
        Group::ReadExecute => {
            let abi = known_abi(abi)?;
            AccessFs::from_read(abi) | AccessFs::from_all(abi) & AccessFs::Refer
        }
        Group::ReadWrite => AccessFs::from_all(known_abi(abi)?) & !AccessFs::Execute,
    })
}

fn all_rights<A: Access>(word: Group<A>, abi: Option<i32>) -> Result<BitFlags<A>, String> {
    Ok(match word {
        Group::One(right) => right.into(),
        _ => A::from_all(known_abi(abi)?),
    })
}

impl Config {
    /// Reads a configuration; `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`Error::Text`], [`Error::Meaning`].
    pub fn read(file: &str, text: &str, form: Form) -> Result<Config, Error> {
        let resolved = match form {
            Form::Json => {
                let written: json::Written =
                    serde_json::from_str(text).map_err(|error| json_error(file, &error))?;
                written.resolve()
            }
            Form::Toml => {
                let written: toml_form::Written = toml::from_str(text).map_err(|error| {
                    let (line, column) = place(text, error.span().map_or(0, |span| span.start));
                    let message = message(error.message());
                    Error::Text {
                        file: file.into(),
                        line,
                        column,
                        message,
                    }
                })?;
                written.resolve()
            }
        };
        resolved.map_err(|message| Error::Meaning {
            file: file.into(),
            message,
        })
    }
}

/// Line and column of a byte, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |last| last.chars().count())
        + 1;
    (line, column)
}
