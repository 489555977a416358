//! A directory of one test, gone when the test is.

use std::path::{Path, PathBuf};

/// Removes itself.
pub(crate) struct TestDir(PathBuf);

impl TestDir {
    /// A fresh directory; `name` tells tests of one process apart.
    pub(crate) fn new(name: &str) -> TestDir {
        let path = std::env::temp_dir().join(format!("mantlet-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a fresh directory");
        TestDir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
