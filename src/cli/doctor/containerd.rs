//! Whether containerd knows a handler of ours. Its file is only searched for `BinaryName` lines,
//! which is enough to tell; containerd itself is the judge of its own configuration.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Check;
use crate::host::{output_of, resolve};

const PATH: &str = "/etc/containerd/config.toml";

/// The handlers in containerd's file, and what its version makes special.
pub fn checks() -> Vec<Check> {
    let mut checks = vec![handlers(Path::new(PATH))];
    checks.extend(no_pivot());
    checks
}

fn handlers(path: &Path) -> Check {
    let name = "containerd";
    let shown = path.display();
    let add = "add a drop-in of containerd-config/, restart containerd, create the RuntimeClass";
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return Check::warn(name, format!("cannot read {shown}: {error}"), add),
    };
    let mut programs = binaries(&text);
    for import in imports(&text, path) {
        programs.extend(binaries(&fs::read_to_string(import).unwrap_or_default()));
    }
    if programs.is_empty() {
        return Check::warn(
            name,
            format!("{shown} and its imports name no handler of mantlet"),
            add,
        );
    }
    let unusable = |program: &&PathBuf| {
        !fs::metadata(program).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
    };
    let all = |list: Vec<&PathBuf>| {
        list.iter()
            .map(|p| p.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let missing: Vec<&PathBuf> = programs.iter().filter(unusable).collect();
    if missing.is_empty() {
        return Check::ok(
            name,
            format!("{shown} calls {}", all(programs.iter().collect())),
        );
    }
    let remedy = "link each to mantlet-runtime; until then its pods fail to start";
    Check::fail(
        name,
        format!("{shown} calls what cannot be executed: {}", all(missing)),
        remedy,
    )
}

/// Programs of ours that `BinaryName = "…"` names; comments left out.
fn binaries(text: &str) -> Vec<PathBuf> {
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "BinaryName").then(|| quoted(value).next())?
    });
    let ours = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("mantlet-"))
    };
    values.map(PathBuf::from).filter(ours).collect()
}

/// Files that `imports = [ … ]` names, relative to the importing file; a `*` stands for any name
/// in the last component, as people write it.
fn imports(text: &str, importer: &Path) -> Vec<PathBuf> {
    let lines = text.lines().map(str::trim).skip_while(|line| {
        line.split_once('=')
            .is_none_or(|(key, _)| key.trim() != "imports")
    });
    let mut list = String::new();
    for line in lines {
        list.push_str(line);
        if line.contains(']') {
            break;
        }
    }
    let folder = importer.parent().unwrap_or(Path::new("/"));
    quoted(&list)
        .flat_map(|pattern| expand(&folder.join(pattern)))
        .collect()
}

fn expand(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let Some((start, end)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let entries = pattern
        .parent()
        .and_then(|folder| fs::read_dir(folder).ok());
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    paths
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix(start)
                .is_some_and(|rest| rest.ends_with(end))
        })
        .collect()
}

/// The strings between quotation marks of either kind.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split(['"', '\'']).skip(1).step_by(2)
}

/// containerd 1.6's ctr forgets the runtime's binary when asked not to pivot.
fn no_pivot() -> Option<Check> {
    let ctr = resolve(Path::new("ctr")).ok()?;
    let version = output_of(&ctr, &["--version"]).ok()?;
    version.split_ascii_whitespace().any(|word| word.trim_start_matches('v').starts_with("1.6.")).then(|| {
        Check::warn(
            "ctr",
            "`ctr run --no-pivot` of containerd 1.6 silently drops --runc-binary: plain runc, no sandbox",
            "do not use --no-pivot with ctr 1.6; the kubelet's way (CRI) is not concerned",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn a_handler_is_found_in_the_file_or_its_imports_and_must_exist() {
        let scratch = Scratch::new("doctor-containerd");
        let file = scratch.path.join("config.toml");
        assert_eq!(handlers(&file).level, Level::Warn);
        fs::write(&file, "version = 2\n# BinaryName = \"/x/mantlet-no\"\n").unwrap();
        assert_eq!(handlers(&file).level, Level::Warn);
        fs::create_dir(scratch.path.join("conf.d")).unwrap();
        fs::write(&file, "imports = [\n  \"conf.d/*.toml\"\n]\n").unwrap();
        let program = scratch.path.join("mantlet-restricted");
        let drop_in = format!("  BinaryName = \"{}\"\n", program.display());
        fs::write(scratch.path.join("conf.d/m.toml"), drop_in).unwrap();
        assert_eq!(handlers(&file).level, Level::Fail);
        fs::copy("/bin/true", &program).unwrap();
        assert_eq!(handlers(&file).level, Level::Ok);
    }
}
