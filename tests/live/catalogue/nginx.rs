//! nginx: serves files, compresses, proxies to itself, reloads, opens its logs anew, ends gracefully.

use nix::sys::signal::Signal;

use super::{Program, Wire, furnished};
use crate::harness::{Containerd, DEBIAN, Pod, eventually};

pub struct Nginx;

const CONF: &str =
    "daemon off; worker_processes 2; pid /run/nginx.pid; error_log /var/log/nginx/error.log;
events {}
http {
  include /etc/nginx/mime.types;
  access_log /var/log/nginx/access.log; gzip on; gzip_types text/plain;
  server { listen 127.0.0.1:8080; root /srv/www; sendfile on;
    location /proxy/ { proxy_pass http://127.0.0.1:8081/; } }
  server { listen 127.0.0.1:8081; root /srv/www; }
}
";

/// Debian's www-data.
const USER: u32 = 33;

impl Program for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn import(&self, daemon: &Containerd) {
        daemon.with_debian();
    }

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let container = pod
            .container("nginx")
            .image(DEBIAN)
            .user(USER.into())
            .read_only();
        let config = furnished(&container, "/config", 0, &[("nginx.conf", CONF)]);
        let page = "text ".repeat(4000);
        let site = furnished(
            &container,
            "/srv/www",
            0,
            &[("index.html", "first\n"), ("page.txt", &page)],
        );
        let mut container = container
            .mount(&config, "/config", true)
            .mount(&site, "/srv/www", true);
        for path in ["/var/lib/nginx", "/var/log/nginx", "/run", "/tmp"] {
            container = container.volume(path, USER);
        }
        let container = container
            .command(["nginx", "-c", "/config/nginx.conf"])
            .run();
        let wire = Wire::of(&container);
        assert_eq!(wire.await_get(8080, "/index.html"), "first\n");
        assert_eq!(
            wire.get(8080, "/page.txt").map(|body| body.len()),
            Some(page.len())
        );
        assert_eq!(
            wire.get(8080, "/proxy/index.html").as_deref(),
            Some("first\n")
        );
        assert_eq!(wire.get(8080, "/nothing"), None);
        // 1. The logs move, as logrotate moves them.
        let logs = container.volume_path("/var/log/nginx");
        std::fs::rename(logs.join("access.log"), logs.join("access.log.1")).expect("it has logged");
        let world = container.containerd().world();
        assert!(world.signal(container.pid(), Signal::SIGUSR1));
        eventually("a new log", || {
            wire.get(8080, "/index.html");
            let text = std::fs::read_to_string(logs.join("access.log")).unwrap_or_default();
            text.contains("GET /index.html").then_some(())
        });
        // 2. Another configuration.
        let more = CONF
            .replace("worker_processes 2", "worker_processes 3")
            .replace("127.0.0.1:8080;", "127.0.0.1:8080; listen 127.0.0.1:8082;");
        std::fs::write(config.join("nginx.conf"), more).expect("our own folder");
        assert!(world.signal(container.pid(), Signal::SIGHUP));
        assert_eq!(wire.await_get(8082, "/index.html"), "first\n");
        // 3. The end.
        container.stop(30).expect("StopContainer");
        assert_eq!(container.status().exit_code, 0);
        vec![container.id.clone()]
    }
}
