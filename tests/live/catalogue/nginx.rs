//! nginx: serves files, compresses, proxies to itself, reloads, opens its logs anew, ends gracefully.

use nix::sys::signal::Signal;

use super::{Attack, Program, Wire, furnished, said};
use crate::harness::{Container, Containerd, DEBIAN, Pod, eventually};

pub struct Nginx;

const CONF: &str =
    "daemon off; worker_processes 2; pid /run/nginx.pid; error_log /var/log/nginx/error.log;
events {}
http {
  include /etc/nginx/mime.types;
  access_log /var/log/nginx/access.log; gzip on; gzip_types text/plain;
  server { listen 127.0.0.1:8080; root /srv/www; sendfile on;
    location /proxy/ { proxy_pass http://127.0.0.1:8443/; } }
  server { listen 127.0.0.1:8443; root /srv/www; }
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
        let more = CONF.replace(
            "location /proxy/",
            "location /second { return 200 second; } location /proxy/",
        );
        std::fs::write(config.join("nginx.conf"), more).expect("our own folder");
        assert!(world.signal(container.pid(), Signal::SIGHUP));
        assert_eq!(wire.await_get(8080, "/second"), "second");
        // 3. The end.
        container.stop(30).expect("StopContainer");
        assert_eq!(container.status().exit_code, 0);
        vec![container.id.clone()]
    }

    fn attacks(&self) -> &'static [Attack] {
        &[
            Attack {
                what: "a web shell is put into the site",
                profile: None,
                carry_out: |pod| {
                    let container = taken_over(pod);
                    let request = "PUT /shell.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\n<?php";
                    let answer = Wire::of(&container).ask(8080, request, |_| false);
                    let answer = answer.expect("an answer");
                    let log = std::fs::read_to_string(
                        container.volume_path("/var/log/nginx").join("error.log"),
                    );
                    let there = container.volume_path("/srv/www").join("shell.php").exists();
                    assert_eq!(there, answer.starts_with("HTTP/1.1 201"), "{answer}");
                    (!there).then(|| log.expect("it has logged"))
                },
                refused: &["failed (13: Permission denied)"],
            },
            Attack {
                what: "a link in the site leads to a key",
                profile: None,
                carry_out: |pod| {
                    let container = taken_over(pod);
                    let site = container.volume_path("/srv/www");
                    std::os::unix::fs::symlink("/secrets/tls.key", site.join("page"))
                        .expect("our own folder");
                    let log = container.volume_path("/var/log/nginx").join("error.log");
                    match Wire::of(&container).get(8080, "/page").as_deref() {
                        Some("a key") => None,
                        _ => Some(std::fs::read_to_string(log).expect("it has logged")),
                    }
                },
                refused: &["/page\" failed (13: Permission denied)"],
            },
            Attack {
                what: "a shell",
                profile: None,
                carry_out: |pod| said(&taken_over(pod), &["/bin/sh", "-c", "id"]),
                refused: &["permission denied", "Permission denied"],
            },
        ]
    }
}

/// A server whose site it may write, with WebDAV, beside a key that is not for it.
fn taken_over<'a>(pod: &'a Pod<'_>) -> Container<'a> {
    let name = pod.containerd().world().name("nginx");
    let container = pod.container(&name).image(DEBIAN).user(USER.into());
    let open = CONF.replace(
        "root /srv/www; sendfile on;",
        "root /srv/www; dav_methods PUT;",
    );
    let config = furnished(&container, "/config", 0, &[("nginx.conf", &open)]);
    let secrets = furnished(&container, "/secrets", USER, &[("tls.key", "a key")]);
    let site = furnished(&container, "/srv/www", USER, &[("index.html", "first\n")]);
    let mut container = container
        .mount(&config, "/config", true)
        .mount(&secrets, "/secrets", true);
    container = container.mount(&site, "/srv/www", false);
    for path in ["/var/lib/nginx", "/var/log/nginx", "/run", "/tmp"] {
        container = container.volume(path, USER);
    }
    let container = container
        .command(["nginx", "-c", "/config/nginx.conf"])
        .run();
    Wire::of(&container).await_get(8080, "/index.html");
    container
}
