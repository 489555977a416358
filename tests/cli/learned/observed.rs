//! Journals of recorded containers, made by hand.

use mantlet::access::{Access, Argument, Phase};
use mantlet::event::{Event, Mounted, Process, Recording, Report, Session, What};

use crate::node::{event, report};

/// One container's journal in the making.
pub struct Recorded {
    id: String,
    program: &'static str,
    phase: Phase,
    session: Session,
    profile: &'static str,
    linked: bool,
    denied: bool,
    blind: Vec<String>,
    pub events: Vec<Event>,
}

impl Recorded {
    /// A container whose workload is `program`, just started.
    pub fn new(id: &str, program: &'static str) -> Recorded {
        Recorded::seen(id, program, Vec::new())
    }

    /// The same where something cannot be seen.
    pub fn seen(id: &str, program: &'static str, blind: Vec<String>) -> Recorded {
        let mut recorded = Recorded {
            id: id.into(),
            program,
            phase: Phase::StartUp,
            session: Session::Workload,
            profile: "",
            linked: false,
            denied: false,
            blind,
            events: Vec::new(),
        };
        recorded.start(report());
        recorded
    }

    fn start(&mut self, report: Report) {
        let process = self.process();
        let session = self.session;
        self.push(What::Start {
            process,
            session,
            stricter: Vec::new(),
            report,
            recording: Some(Box::new(Recording {
                mode: "learn".into(),
                kernel: "6.18.0".into(),
                command: self.program.into(),
                blind: self.blind.clone(),
                ..Recording::default()
            })),
        });
    }

    fn process(&self) -> Process {
        let comm = self.program.rsplit('/').next().unwrap_or_default();
        Process {
            pid: 7,
            ppid: 1,
            uid: 33,
            comm: comm.into(),
            exe: self.program.into(),
        }
    }

    pub fn push(&mut self, what: What) -> &mut Recorded {
        let seq = self.events.len() as u64 + 1;
        let mut event = event(&self.id, 1, what);
        event.seq = seq;
        event.time = format!("2026-11-25T22:{:02}:{:02}.000000Z", seq / 60 % 60, seq % 60);
        event.handler = "learn".into();
        event.profiles = vec!["learn".into()];
        self.events.push(event);
        self
    }

    pub fn see(&mut self, access: Access) -> &mut Recorded {
        let what = What::Observed {
            process: self.process(),
            session: self.session,
            phase: self.phase,
            access,
            linked: self.linked,
            clipped: false,
            profile: self.profile.into(),
            fix: String::new(),
            denied: self.denied,
        };
        self.push(what)
    }

    /// A volume that it can write to.
    pub fn volume(&mut self, destination: &str) -> &mut Recorded {
        if let Some(Event {
            what:
                What::Start {
                    recording: Some(recording),
                    ..
                },
            ..
        }) = self.events.first_mut()
        {
            recording.mounts.push(Mounted {
                destination: destination.into(),
                kind: "volume".into(),
                writable: true,
            });
        }
        self
    }

    /// By another program from here on.
    pub fn by(&mut self, program: &'static str) -> &mut Recorded {
        self.program = program;
        self
    }

    /// It listens: what follows is its serving.
    pub fn serving(&mut self) -> &mut Recorded {
        self.phase = Phase::Serving;
        self
    }

    /// Files with several names from here on.
    pub fn linked(&mut self, linked: bool) -> &mut Recorded {
        self.linked = linked;
        self
    }

    /// A layer that enforces denies what follows.
    pub fn denied(&mut self, denied: bool) -> &mut Recorded {
        self.denied = denied;
        self
    }

    /// Seen in mode `audit`, as something that `profile` would deny.
    pub fn audited(&mut self, profile: &'static str) -> &mut Recorded {
        self.profile = profile;
        self
    }

    /// An exec session begins, and what follows is its.
    pub fn session(&mut self) -> &mut Recorded {
        self.session = Session::Exec;
        self.start(report());
        self
    }

    pub fn calls(&mut self, names: &str) -> &mut Recorded {
        for name in names.split_ascii_whitespace() {
            self.see(Access::Syscall {
                name: name.into(),
                args: Vec::new(),
            });
        }
        self
    }

    pub fn call(&mut self, name: &str, index: u8, value: u64, mask: Option<u64>) -> &mut Recorded {
        self.see(Access::Syscall {
            name: name.into(),
            args: vec![Argument { index, value, mask }],
        })
    }

    /// Files on the root file system, or on the mount before a `:`.
    pub fn files(&mut self, right: &str, paths: &str) -> &mut Recorded {
        for path in paths.split_ascii_whitespace() {
            let (mount, path) = path.split_once(':').unwrap_or(("/", path));
            self.see(Access::File {
                path: path.into(),
                right: right.into(),
                entry: None,
                mount: mount.into(),
                directory: right == "read-dir",
                moved: None,
            });
        }
        self
    }

    /// Something made, removed or renamed in `folder`.
    pub fn entry(&mut self, right: &str, mount: &str, folder: &str, name: &str) -> &mut Recorded {
        self.see(Access::File {
            path: folder.into(),
            right: right.into(),
            entry: Some(name.into()),
            mount: mount.into(),
            directory: true,
            moved: None,
        })
    }

    pub fn port(&mut self, right: &str, port: u16) -> &mut Recorded {
        self.see(Access::Tcp {
            right: right.into(),
            port,
        })
    }

    pub fn capability(&mut self, name: &str) -> &mut Recorded {
        self.see(Access::Capability { name: name.into() })
    }

    pub fn end(&mut self) -> Vec<Event> {
        self.push(What::End {
            tripwires: 0,
            observed: None,
        });
        self.events.clone()
    }
}

/// What ld.so and libc do before main(3).
const LOADING: &str = "arch_prctl brk close fstat getrandom mmap mprotect munmap newfstatat openat \
                       pread64 prlimit64 read rseq set_robust_list set_tid_address write exit_group";

/// nginx with its configuration and site on a volume, as root that drops to another user. `reloads`:
/// it was told to reload.
pub fn nginx(id: &str, reloads: bool) -> Recorded {
    let mut run = Recorded::new(id, "/usr/sbin/nginx");
    run.calls(LOADING)
        .calls("clone3 dup2 epoll_create epoll_create1 epoll_ctl eventfd2 fcntl getdents64 geteuid getpid getppid")
        .calls("io_setup lseek mkdir pwrite64 rt_sigaction rt_sigprocmask rt_sigsuspend setgid setgroups setuid uname")
        .call("socket", 0, 2, None)
        .call("socket", 0, 1, None)
        .call("ioctl", 1, 0x5421, None)
        .call("ioctl", 1, 0x5452, None)
        .call("prctl", 0, 4, None)
        .calls("setsockopt bind socketpair listen")
        .files("execute", "/usr/sbin/nginx /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
        .files(
            "read-file",
            "/usr/sbin/nginx /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 /etc/ld.so.cache \
             /usr/lib/x86_64-linux-gnu/libcrypt.so.1.1.0 /usr/lib/x86_64-linux-gnu/libpcre2-8.so.0.11.2 \
             /usr/lib/x86_64-linux-gnu/libssl.so.3 /usr/lib/x86_64-linux-gnu/libcrypto.so.3 \
             /usr/lib/x86_64-linux-gnu/libz.so.1.2.13 /usr/lib/x86_64-linux-gnu/libc.so.6 \
             /usr/lib/ssl/openssl.cnf /etc/nsswitch.conf /etc/passwd /etc/group \
             /proc/sys/kernel/random/boot_id /dev/urandom \
             /srv:/srv/nginx.conf /srv:/srv/index.html",
        )
        .files("write-file", "/dev/null")
        .entry("make-reg", "/run", "/run", "nginx.pid")
        .files("write-file", "/run:/run/nginx.pid")
        .entry("make-dir", "/var/lib/nginx", "/var/lib/nginx", "body")
        .entry("make-dir", "/var/lib/nginx", "/var/lib/nginx", "proxy")
        .files("read-dir", "/etc/nginx/modules-enabled")
        .capability("CAP_SETUID")
        .capability("CAP_SETGID")
        .capability("CAP_NET_BIND_SERVICE")
        .port("bind", 80)
        .serving()
        .calls("accept4 epoll_wait recvfrom writev sendfile")
        .calls("close openat fstat write")
        .port("connect", 5432)
        .calls("connect getsockopt")
        .files("read-file", "/srv:/srv/index.html")
        .entry("make-reg", "/var/lib/nginx", "/var/lib/nginx/body/1", "0000000001")
        .files("write-file", "/var/lib/nginx:/var/lib/nginx/body/1/0000000001")
        .entry("remove-file", "/var/lib/nginx", "/var/lib/nginx/body/1", "0000000001");
    if reloads {
        run.calls("kill wait4 sendmsg recvmsg");
    }
    run.calls("rt_sigreturn shutdown unlink exit_group").entry(
        "remove-file",
        "/run",
        "/run",
        "nginx.pid",
    );
    run
}
