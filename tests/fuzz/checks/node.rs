//! The node's configuration: what is accepted leaves no handler without a meaning.

use std::path::Path;

use mantlet::config::{Config, VERSION};

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let path = Path::new("/etc/mantlet/config.yaml");
    let config = match Config::parse(text, path) {
        Ok(config) => config,
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("/etc/mantlet/config.yaml"), "{message}");
            return;
        }
    };
    assert_eq!(Config::parse(text, path).unwrap(), config, "read twice");
    assert_eq!(config.version, VERSION);
    // 1. The embedded handlers are added to, never lost, and the default exists.
    for built_in in ["baseline", "restricted"] {
        assert!(config.handlers.contains_key(built_in));
    }
    let (name, _) = config
        .handler_for("mantlet-runtime")
        .expect("the default handler");
    assert_eq!(name, config.default_handler);
    for (name, handler) in &config.handlers {
        assert_eq!(
            config.handler_for(&format!("mantlet-{name}")).unwrap().0,
            name
        );
        assert!(!handler.profile.is_empty() && !handler.profile.contains('/'));
    }
    // 2. Nothing depends on the working directory, which is the bundle.
    let folders = [&config.state_dir, &config.log_dir, &config.profiles_dir];
    for folder in folders.into_iter().chain(&config.libexec_dir) {
        assert!(folder.is_absolute(), "{folder:?}");
    }
    // 3. Another program is no handler.
    assert!(config.handler_for("my-restricted").is_err());
}
