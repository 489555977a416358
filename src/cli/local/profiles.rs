//! The profiles of a run, gathered where the front door will look for them: those that were named by a
//! path, what these extend, and the site's.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::LocalError;
use super::beside::Copies;
use crate::cli::profiles::{Written, as_file};
use crate::config::{self, ConfigError};
use crate::policy;
use crate::profile::{self, Mode, Profile};

/// One profile of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// By name: the site's file, else the one that is built in.
    Named(String),
    /// A file. What it extends is looked for beside it first.
    File(PathBuf),
}

/// What is told of denials besides events that the layers themselves make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looking {
    /// Nothing: each layer does as it says.
    No,
    /// All of them: beside each layer that enforces is a copy that only looks.
    Beside,
    /// All of them, and they are performed: no layer enforces.
    Instead,
}

/// Texts by profile name, and the names of the layers, outermost first.
#[derive(Debug)]
pub struct Texts {
    /// NAME.yaml → text.
    pub files: BTreeMap<String, String>,
    /// Names of the layers.
    pub layers: Vec<String>,
    /// Which of them are copies of others.
    pub copies: Copies,
    /// There is no room for copies.
    pub crowded: bool,
}

impl Layer {
    /// What a person wrote for a profile: with a slash, or an ending of YAML, it is a path.
    pub fn parse(written: &str) -> Layer {
        match as_file(written) {
            Some(path) => Layer::File(path),
            None => Layer::Named(written.to_owned()),
        }
    }

    /// `A+B`: several, outermost first.
    pub fn parse_all(written: &str) -> Vec<Layer> {
        written.split('+').map(Layer::parse).collect()
    }
}

/// Reads every profile that the layers need, and checks each layer.
///
/// # Errors
/// One is missing, cannot be read or trusted, or is wrong.
pub fn gather(layers: &[Layer], looking: Looking, site: &Path) -> Result<Texts, LocalError> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut names = Vec::new();
    let mut enforcing = Vec::new();
    for layer in layers {
        let (profile, mut used) = read_layer(layer, site)?;
        let name = profile.name;
        if looking == Looking::Instead {
            let text = match used.get(&name) {
                Some(text) => text,
                None => profile::embedded(&name).expect("it was found, and is nobody's file"),
            };
            used.insert(name.clone(), audited(text));
            // The parser is the judge of the new text.
            let mut load = |name: &str| Ok(used.get(name).cloned());
            Profile::resolve(&name, &mut load).map_err(|error| LocalError::Audit {
                name: name.clone(),
                cause: error.to_string(),
            })?;
        }
        for (name, text) in used {
            match files.get(&name) {
                Some(other) if *other != text => return Err(LocalError::SameName { name }),
                _ => files.insert(name, text),
            };
        }
        if !names.contains(&name) {
            if profile.mode == Mode::Enforce {
                enforcing.push(name.clone());
            }
            names.push(name);
        }
    }
    let mut copies = Copies::default();
    let crowded = looking == Looking::Beside && names.len() + enforcing.len() > policy::MOST;
    if looking == Looking::Beside && !crowded {
        for name in enforcing {
            let taken = |name: &str| files.contains_key(name) || profile::embedded(name).is_some();
            let (copy, text) = copies.add(&name, taken);
            files.insert(copy.clone(), text);
            names.push(copy);
        }
    }
    Ok(Texts {
        files,
        layers: names,
        copies,
        crowded,
    })
}

/// One layer, and the texts of it and of what it extends, as far as they are files.
fn read_layer(
    layer: &Layer,
    site: &Path,
) -> Result<(Profile, BTreeMap<String, String>), LocalError> {
    let (name, written) = match layer {
        Layer::Named(name) => (name.clone(), None),
        Layer::File(path) => {
            let written = Written::read(path).map_err(|cause| LocalError::ProfileFile {
                path: path.clone(),
                cause,
            })?;
            (written.name.clone(), Some(written))
        }
    };
    let mut used = BTreeMap::new();
    let mut untrusted = None;
    let mut load = |wanted: &str| -> io::Result<Option<String>> {
        let mut at_site = || match config::read(&site.join(format!("{wanted}.yaml"))) {
            Ok(text) => Ok(Some(text)),
            Err(ConfigError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(None)
            }
            Err(ConfigError::Read { source, .. }) => Err(source),
            Err(error) => {
                untrusted = Some(error);
                Err(ErrorKind::PermissionDenied.into())
            }
        };
        let text = match &written {
            Some(written) => written.load(wanted, at_site)?,
            None => at_site()?,
        };
        if let Some(text) = &text {
            used.insert(wanted.to_owned(), text.clone());
        }
        Ok(text)
    };
    let resolved = Profile::resolve(&name, &mut load);
    if let Some(error) = untrusted {
        return Err(error.into());
    }
    let profile = resolved.map_err(|error| match &written {
        Some(written) => written.blame(error),
        None => error,
    })?;
    Ok((profile, used))
}

/// The text in mode `audit`, every line where it was, so that events name the author's lines.
fn audited(text: &str) -> String {
    let own = |line: &str| line.starts_with("mode:");
    if text.lines().any(own) {
        let lines = text.lines().map(|line| match own(line) {
            true => "mode: audit",
            false => line,
        });
        return lines.collect::<Vec<_>>().join("\n") + "\n";
    }
    // JSON, or YAML in its manner: the first brace opens the document.
    let first = text.trim_start();
    if first.starts_with('{') {
        return text.replacen('{', "{\"mode\": \"audit\", ", 1);
    }
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}mode: audit\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::tests::Scratch;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        path
    }

    fn text(name: &str, parent: &str) -> String {
        format!("version: 1\nname: {name}\nextends: [{parent}]\n")
    }

    #[test]
    fn a_path_and_a_name_are_told_apart() {
        assert_eq!(Layer::parse("web"), Layer::Named("web".into()));
        for path in ["./web", "web.yaml", "/etc/x", "a/b.yaml"] {
            assert_eq!(Layer::parse(path), Layer::File(path.into()));
        }
        assert_eq!(Layer::parse_all("a+./b.yaml").len(), 2);
    }

    #[test]
    fn parents_are_found_beside_the_file_then_at_the_site_then_built_in() {
        let (own, site) = (Scratch::new("try-own"), Scratch::new("try-site"));
        let file = write(&own.path, "web", &text("web", "near"));
        write(&own.path, "near", &text("near", "far"));
        write(&site.path, "far", &text("far", "baseline"));
        write(&site.path, "near", "not even YAML: [");
        let texts = gather(
            &[Layer::File(file), Layer::Named("far".into())],
            Looking::No,
            &site.path,
        );
        let texts = texts.unwrap();
        assert_eq!(texts.layers, ["web", "far"]);
        assert_eq!(Vec::from_iter(texts.files.keys()), ["far", "near", "web"]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_an_error() {
        let site = Scratch::new("try-wrong");
        let gather = |layer: Layer| {
            gather(&[layer], Looking::No, &site.path)
                .unwrap_err()
                .to_string()
        };
        assert!(gather(Layer::Named("nosuch".into())).contains("no profile `nosuch`"));
        assert!(gather(Layer::File(site.path.join("nosuch.yaml"))).contains("nosuch"));
        let file = write(&site.path, "web", "version: 1\nname: web\nsyscals: {}\n");
        assert!(gather(Layer::File(file)).contains("syscals"));
        assert!(gather(Layer::File(site.path.clone())).contains("directory"));
    }

    #[test]
    fn another_mode_moves_no_line() {
        assert_eq!(
            audited("a: 1\nmode: enforce\nb: 2\n"),
            "a: 1\nmode: audit\nb: 2\n"
        );
        assert_eq!(audited("a: 1"), "a: 1\nmode: audit\n");
        assert_eq!(audited("{\"a\": 1}"), "{\"mode\": \"audit\", \"a\": 1}");
    }

    #[test]
    fn a_copy_says_what_its_original_says_and_only_looks() {
        let site = Scratch::new("try-copies");
        let text = "version: 1\nname: web\nextends: [restricted]\ndetect: [{on: drift}]\n\
                    network: {bind_tcp: [80]}\nsyscalls: {groups: '2026.1', allow: [bpf]}\n";
        let file = write(&site.path, "web", text);
        let audit = "version: 1\nname: seen\nextends: [baseline]\nmode: audit\n";
        write(&site.path, "seen", audit);
        let layers = [
            Layer::File(file),
            Layer::Named("seen".into()),
            Layer::Named("baseline".into()),
        ];
        let texts = gather(&layers, Looking::Beside, &site.path).unwrap();
        assert_eq!(
            texts.layers,
            ["web", "seen", "baseline", "web-told-1", "baseline-told-1"],
            "one that only looks needs none"
        );
        let resolve = |name: &str| {
            Profile::resolve(name, &mut |name| Ok(texts.files.get(name).cloned())).unwrap()
        };
        let (own, copy) = (resolve("web"), resolve("web-told-1"));
        assert_eq!(copy.mode, Mode::Audit);
        for get in [
            |p: &Profile| format!("{:?}", p.syscalls.allow),
            |p: &Profile| format!("{:?}", p.syscalls.tripwire),
            |p: &Profile| format!("{:?}", p.syscalls.deny),
            |p: &Profile| format!("{:?}", p.files),
            |p: &Profile| format!("{:?}", p.network),
            |p: &Profile| format!("{:?}", p.capabilities),
        ] {
            assert_eq!(get(&own), get(&copy));
        }
        // What is watched for is told once.
        let both = [&own, &copy];
        let both = crate::policy::Layers::new(&both).unwrap();
        assert_eq!(both.detect().unwrap(), own.detect);
        let texts = gather(&layers, Looking::No, &site.path).unwrap();
        assert_eq!(texts.layers.len(), 3);
    }
}
