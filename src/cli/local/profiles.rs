//! The profiles of a run, gathered where the front door will look for them: those that were named by a
//! path, what these extend, and the site's.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::LocalError;
use crate::cli::profiles::as_file;
use crate::config::{self, ConfigError};
use crate::profile::{self, Profile};

/// No profile comes near; a larger file is a mistake such as a device.
const MAX_SIZE: u64 = 1 << 20;

/// One profile of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// By name: the site's file, else the one that is built in.
    Named(String),
    /// A file. What it extends is looked for beside it first.
    File(PathBuf),
}

/// What all layers do, whatever they say themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What they would deny is performed and reported.
    Audit,
}

impl Mode {
    /// As profiles spell it.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Audit => "audit",
        }
    }
}

/// Texts by profile name, and the names of the layers, outermost first.
#[derive(Debug)]
pub struct Texts {
    /// NAME.yaml → text.
    pub files: BTreeMap<String, String>,
    /// Names of the layers.
    pub layers: Vec<String>,
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

    fn name(&self) -> Result<String, LocalError> {
        match self {
            Layer::Named(name) => Ok(name.clone()),
            Layer::File(path) => {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                stem.map(str::to_owned)
                    .ok_or_else(|| LocalError::NoProfile { path: path.clone() })
            }
        }
    }
}

/// Reads every profile that the layers need, and checks each layer.
///
/// # Errors
/// One is missing, cannot be read or trusted, or is wrong.
pub fn gather(layers: &[Layer], mode: Option<Mode>, site: &Path) -> Result<Texts, LocalError> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut names = Vec::new();
    for layer in layers {
        let name = layer.name()?;
        let mut used = read_layer(layer, &name, site)?;
        if let Some(mode) = mode {
            let text = used
                .get(&name)
                .cloned()
                .or_else(|| profile::embedded(&name).map(str::to_owned))
                .unwrap_or_default();
            used.insert(name.clone(), with_mode(&text, mode));
            // The parser is the judge of the new text.
            let mut load = |name: &str| Ok(used.get(name).cloned());
            Profile::resolve(&name, &mut load).map_err(|error| LocalError::Mode {
                name: name.clone(),
                mode: mode.word(),
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
            names.push(name);
        }
    }
    Ok(Texts {
        files,
        layers: names,
    })
}

/// One layer and what it extends, as far as they are files.
fn read_layer(
    layer: &Layer,
    name: &str,
    site: &Path,
) -> Result<BTreeMap<String, String>, LocalError> {
    let own = match layer {
        Layer::File(path) => Some(read_plain(path).map_err(LocalError::system("read", path))?),
        Layer::Named(_) => None,
    };
    let mut used = BTreeMap::new();
    let mut untrusted = None;
    let mut load = |wanted: &str| -> io::Result<Option<String>> {
        let beside = match layer {
            Layer::File(_) if wanted == name => own.clone(),
            Layer::File(path) => found(read_plain(&path.with_file_name(format!("{wanted}.yaml"))))?,
            Layer::Named(_) => None,
        };
        let text = match beside {
            Some(text) => Some(text),
            None => match config::read(&site.join(format!("{wanted}.yaml"))) {
                Ok(text) => Some(text),
                Err(ConfigError::Read { source, .. }) => found(Err(source))?,
                Err(error) => {
                    untrusted = Some(error);
                    return Err(ErrorKind::PermissionDenied.into());
                }
            },
        };
        if let Some(text) = &text {
            used.insert(wanted.to_owned(), text.clone());
        }
        Ok(text)
    };
    let resolved = Profile::resolve(name, &mut load);
    if let Some(error) = untrusted {
        return Err(error.into());
    }
    resolved?;
    Ok(used)
}

/// That there is no such file is no error.
fn found(read: io::Result<String>) -> io::Result<Option<String>> {
    match read {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file that a person named: whoever may write it, that is the one meant.
fn read_plain(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let mut text = String::new();
    file.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

/// The text with another `mode:`, every line where it was, so that events name the author's lines.
fn with_mode(text: &str, mode: Mode) -> String {
    let word = mode.word();
    let own = |line: &str| line.starts_with("mode:");
    if text.lines().any(own) {
        let lines = text.lines().map(|line| {
            if own(line) {
                format!("mode: {word}")
            } else {
                line.to_owned()
            }
        });
        return lines.collect::<Vec<_>>().join("\n") + "\n";
    }
    // JSON, or YAML in its manner: the first brace opens the document.
    let first = text.trim_start();
    if first.starts_with('{') {
        return text.replacen('{', &format!("{{\"mode\": \"{word}\", "), 1);
    }
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}mode: {word}\n")
}

#[cfg(test)]
mod tests {
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
            None,
            &site.path,
        );
        let texts = texts.unwrap();
        assert_eq!(texts.layers, ["web", "far"]);
        assert_eq!(Vec::from_iter(texts.files.keys()), ["far", "near", "web"]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_an_error() {
        let site = Scratch::new("try-wrong");
        let gather = |layer: Layer| gather(&[layer], None, &site.path).unwrap_err().to_string();
        assert!(gather(Layer::Named("nosuch".into())).contains("no profile `nosuch`"));
        assert!(gather(Layer::File(site.path.join("nosuch.yaml"))).contains("nosuch"));
        let file = write(&site.path, "web", "version: 1\nname: web\nsyscals: {}\n");
        assert!(gather(Layer::File(file)).contains("syscals"));
        assert!(gather(Layer::File(site.path.clone())).contains("directory"));
    }

    #[test]
    fn another_mode_moves_no_line() {
        let mode = Mode::Audit;
        assert_eq!(
            with_mode("a: 1\nmode: enforce\nb: 2\n", mode),
            "a: 1\nmode: audit\nb: 2\n"
        );
        assert_eq!(with_mode("a: 1", mode), "a: 1\nmode: audit\n");
        assert_eq!(
            with_mode("{\"a\": 1}", mode),
            "{\"mode\": \"audit\", \"a\": 1}"
        );
    }
}
