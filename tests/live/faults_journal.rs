//! A journal that cannot be written costs lines, which are counted, and never the container a moment.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::detect::site;
use crate::faults::{configure, have, status, waiting};
use crate::harness::{Bundle, World, eventually};

/// A container whose journal lies in a folder of its own, and the folder.
struct Place {
    bundle: Bundle,
    folder: PathBuf,
}

impl Place {
    /// `prepare` has the folder before there is a container.
    fn new(prepare: impl FnOnce(&World, &Path)) -> Place {
        let bundle = site(World::runc(), "");
        let folder = bundle.world().folder("logs", &bundle.id);
        prepare(bundle.world(), &folder);
        let own = bundle.world().log_dir();
        let (from, to) = (own.display().to_string(), folder.display().to_string());
        configure(&bundle, |text| {
            text.replace(&format!("log_dir: {from}"), &format!("log_dir: {to}"))
        });
        let bundle = waiting(bundle);
        Place { bundle, folder }
    }

    /// As the world sees it: what is mounted there is mounted in the world.
    fn inside(&self) -> PathBuf {
        self.bundle.world().inside(&self.folder)
    }

    fn file(&self) -> PathBuf {
        let path = mantlet::state::journal_path(&self.folder, &self.bundle.root(), &self.bundle.id);
        self.bundle.world().inside(path)
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        text.lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// Calls are answered as ever, and the reason is told; `says` is part of it.
    fn loses(&self, says: &str) {
        for _ in 0..3 {
            assert_eq!(have(&self.bundle, "USR1"), "errno EPERM");
        }
        self.bundle.exec(["harmless", "work"]).ok();
        let status = status(&self.bundle);
        assert!(status.lost >= 3, "{status:?}");
        let error = status.journal_error.unwrap_or_default();
        assert!(error.contains(says), "{error}");
    }

    /// What can be written again is, and tells how much is missing.
    /// `removed` lines are in no file any more.
    fn recovers(&self, removed: u64) {
        let lost = eventually("it is written again", || {
            assert_eq!(have(&self.bundle, "USR1"), "errno EPERM");
            self.events()
                .into_iter()
                .rfind(|event| event["type"] == "lost")
        });
        let status = status(&self.bundle);
        assert_eq!(
            lost["count"].as_u64(),
            Some(status.lost),
            "{lost} {status:?}"
        );
        assert_eq!(status.journal_error, None);
        // Whatever number is missing was counted.
        let events = self.events();
        let last = events.last().and_then(|event| event["seq"].as_u64());
        let known = events.len() as u64 + status.lost + removed;
        assert_eq!(last, Some(known), "{events:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let script = "umount -l \"$1\" 2>/dev/null || true";
        let call = self.bundle.world().command("sh").args(["-c", script, "sh"]);
        call.arg(&self.folder).run();
    }
}

fn mount(world: &World, words: &[&str], folder: &Path) {
    world.command("mount").args(words).arg(folder).run().ok();
}

fn a_full_disk() {
    let place = Place::new(|world, folder| {
        mount(world, &["-t", "tmpfs", "-o", "size=64k", "tmpfs"], folder);
    });
    assert_eq!(have(&place.bundle, "USR1"), "errno EPERM");
    eventually("the first lines", || {
        (place.events().len() >= 2).then_some(())
    });
    let filler = place.inside().join("filler");
    // As much as fits: tmpfs counts whole pages.
    let _ = fs::write(&filler, vec![0; 1 << 20]);
    // The rest of the journal's last page takes a few.
    for _ in 0..12 {
        assert_eq!(have(&place.bundle, "USR1"), "errno EPERM");
    }
    place.loses("No space left");
    // Whole lines, to the last.
    place.events();
    fs::remove_file(filler).expect("root removes it");
    place.recovers(0);
}

fn a_disk_that_is_read_only() {
    let place = Place::new(|world, folder| {
        mount(world, &["-t", "tmpfs", "tmpfs"], folder);
        mount(world, &["-o", "remount,ro"], folder);
    });
    place.loses("Read-only");
    mount(place.bundle.world(), &["-o", "remount,rw"], &place.folder);
    place.recovers(0);
}

fn a_folder_that_is_removed() {
    let place = Place::new(|_, _| {});
    assert_eq!(have(&place.bundle, "USR1"), "errno EPERM");
    fs::remove_dir_all(&place.folder).expect("our own folder");
    assert_eq!(have(&place.bundle, "USR1"), "errno EPERM");
    eventually("it is made again", || {
        (!place.events().is_empty()).then_some(())
    });
    assert_eq!(status(&place.bundle).lost, 0);
    // A file in the folder's place, and there is none to be made.
    let removed = status(&place.bundle).events;
    fs::remove_dir_all(&place.folder).expect("our own folder");
    fs::write(&place.folder, "").expect("our own folder");
    place.loses("Not a directory");
    fs::remove_file(&place.folder).expect("our own file");
    place.recovers(removed);
}

/// Something else stands where the journal was.
fn replaced(says: &str, put: impl FnOnce(&World, &Path)) {
    let place = Place::new(|_, _| {});
    assert_eq!(have(&place.bundle, "USR1"), "errno EPERM");
    let (file, aside) = (place.file(), place.inside().join("moved"));
    eventually("the first lines", || {
        (place.events().len() >= 2).then_some(())
    });
    fs::rename(&file, &aside).expect("root moves it");
    let before = fs::read(&aside).expect("a journal");
    put(place.bundle.world(), &file);
    place.loses(says);
    assert_eq!(
        fs::read(&aside).expect("a journal"),
        before,
        "nothing goes elsewhere"
    );
    let meta = fs::symlink_metadata(&file).expect("somebody put it there");
    let removed = if meta.is_dir() {
        fs::remove_dir(&file)
    } else {
        fs::remove_file(&file)
    };
    removed.expect("root removes it");
    fs::rename(&aside, &file).expect("root moves it");
    place.recovers(0);
}

#[test]
fn what_cannot_be_written_is_counted_and_told_and_the_container_goes_on() {
    std::thread::scope(|scope| {
        scope.spawn(a_full_disk);
        scope.spawn(a_disk_that_is_read_only);
        scope.spawn(a_folder_that_is_removed);
        scope.spawn(|| {
            replaced("No such device", |_, file| {
                nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).expect("root makes it");
            });
        });
        scope.spawn(|| {
            replaced("directory", |_, file| {
                fs::create_dir(file).expect("root makes it");
            });
        });
        scope.spawn(|| {
            let victim = World::runc().work().join("victim");
            fs::write(&victim, "").expect("our own folder");
            replaced("symbolic links", |_, file| {
                std::os::unix::fs::symlink(&victim, file).expect("root makes it");
            });
            assert_eq!(
                fs::read(&victim).expect("our own file"),
                b"",
                "not through a link"
            );
        });
    });
}

#[test]
fn what_all_journals_take_has_a_bound_and_the_oldest_go_first() {
    let bundle = site(World::runc(), "");
    let folder = bundle.world().folder("logs", &bundle.id);
    let old = |name: &str| {
        let path = mantlet::state::journal_path(&folder, &bundle.root(), name);
        fs::write(&path, vec![b'\n'; 700 << 10]).expect("our own folder");
        path
    };
    let (first, second) = (old("first"), old("second"));
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    let file = fs::File::options()
        .write(true)
        .open(&first)
        .expect("our own file");
    file.set_modified(past).expect("our own file");
    let own = bundle.world().log_dir().display().to_string();
    configure(&bundle, |text| {
        let to = folder.display();
        text.replace(
            &format!("log_dir: {own}"),
            &format!("log_dir: {to}\nlog_total_mib: 1"),
        )
    });
    let bundle = waiting(bundle);
    eventually("the oldest is gone", || (!first.exists()).then_some(()));
    assert!(second.exists());
    assert_eq!(have(&bundle, "USR1"), "errno EPERM");
}
