//! Rules and mounts: volumes over and under granted paths, single files, what the kubelet replaces,
//! tmpfs and devices.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::landlock_site::{
    around, assert_create_refused, assert_start_refused, assert_tries, drop_inode_caches, mounted,
    outside, report, site, volume,
};

fn write(path: impl AsRef<Path>, text: &str) {
    fs::write(path, text).expect("our own bundle");
}

#[test]
fn a_single_file_that_is_mounted_is_granted_alone() {
    let bundle = site("files: {read_execute: [/bin], read_write: [/tmp, /etc/app.conf]}");
    let source = volume(&bundle, "volume");
    write(source.join("app.conf"), "x");
    let file = source.join("app.conf");
    let bundle = mounted(bundle, &file, "/etc/app.conf", &["bind", "rw"]).up();
    let held = [
        ("read-file /etc/app.conf", "worked"),
        ("write-file /etc/app.conf", "worked"),
        ("truncate /etc/app.conf", "worked"),
        ("read-file /etc/passwd", "EACCES"),
        // Its directory is the image's: the file cannot be removed or replaced.
        ("unlink /etc/app.conf", "EACCES"),
    ];
    assert_tries(&bundle, &held);
    let again = "hostile read-file /etc/app.conf";
    let said = around(&bundle, again, drop_inode_caches, again);
    assert_eq!(said, "read-file: worked\nready\nread-file: worked\ndone\n");
}

/// Such as a host's /etc/localtime, whose file has other names on the host: the mount chose it.
#[test]
fn a_mounted_file_with_other_names_on_its_own_filesystem_is_granted_and_lasts() {
    let bundle = site("files: {read_execute: [/bin], read: [/etc/zone], read_write: [/tmp]}");
    let source = volume(&bundle, "volume");
    write(source.join("zone"), "x");
    fs::hard_link(source.join("zone"), source.join("twin")).expect("our own bundle");
    let bundle = mounted(bundle, &source.join("zone"), "/etc/zone", &["bind", "ro"]).up();
    let again = "hostile read-file /etc/zone; hostile write-file /etc/zone";
    let answer = "read-file: worked\nwrite-file: errno EROFS\n";
    let said = around(&bundle, again, drop_inode_caches, again);
    // A read-only mount is asked before Landlock is.
    assert_eq!(said, format!("{answer}ready\n{answer}done\n"));

    // In a directory that is mounted, the same file is refused as on the image.
    let bundle = site("files: {read_execute: [/bin], read: [/srv/zone]}");
    let source = volume(&bundle, "volume");
    write(source.join("zone"), "x");
    fs::hard_link(source.join("zone"), source.join("twin")).expect("our own bundle");
    let bundle = mounted(bundle, &source, "/srv", &["bind", "ro"]);
    assert_start_refused(&bundle, "\"/srv/zone\" is a file with 2 names");
}

#[test]
fn a_granted_path_covers_what_is_mounted_in_it_and_a_mount_point_what_lies_in_the_volume() {
    let bundle = site("files: {read_execute: [/bin], read: [/srv, /volume], read_write: [/tmp]}");
    let (over, plain, nested) = (
        volume(&bundle, "over"),
        volume(&bundle, "plain"),
        volume(&bundle, "nested"),
    );
    write(over.join("file"), "x");
    write(plain.join("file"), "x");
    fs::create_dir(plain.join("inner")).expect("our own bundle");
    write(nested.join("file"), "x");
    let script = "mount --bind \"$1\" \"$2\"";
    outside(script, &[&nested, &plain.join("inner")]);
    let bundle = mounted(bundle, &over, "/srv/over", &["rbind", "ro"]);
    let bundle = mounted(bundle, &plain, "/volume", &["rbind", "rw"]);
    let bundle = mounted(bundle, &plain, "/elsewhere", &["rbind", "rw"]).up();
    let reads = "hostile read-file /srv/over/file; hostile read-file /volume/file; \
                 hostile read-file /volume/inner/file; hostile write-file /volume/file";
    let answer = "read-file: worked\nread-file: worked\nread-file: worked\n\
                  write-file: errno EACCES\n";
    let said = around(&bundle, reads, drop_inode_caches, reads);
    assert_eq!(said, format!("{answer}ready\n{answer}done\n"));
    // Rules bind inodes: the same volume under another name is the same volume.
    assert_tries(&bundle, &[("read-file /elsewhere/file", "worked")]);
    outside("umount \"$1\"", &[&plain.join("inner")]);
}

#[test]
fn symbols_stand_for_the_mounts_that_are_there_and_image_for_what_is_none() {
    let lines = "files: {read_execute: ['@image'], read_write: ['@volumes', '@tmpfs', '@devices']}";
    let bundle = site(lines);
    let (data, odd, fixed) = (
        volume(&bundle, "data"),
        volume(&bundle, "odd"),
        volume(&bundle, "fixed"),
    );
    fs::create_dir(data.join("inner")).expect("our own bundle");
    write(fixed.join("file"), "x");
    let program = bundle.rootfs().join("bin/hostile");
    fs::copy(program, fixed.join("hostile")).expect("our own bundle");
    let bundle = mounted(bundle, &data, "/volume", &["rbind", "rw"]);
    // A mount point that /proc/self/mountinfo has to escape.
    let bundle = mounted(bundle, &odd, "/srv/new\nline \\040", &["rbind", "rw"]);
    let bundle = mounted(bundle, &fixed, "/srv/fixed", &["rbind", "ro"]).edit(|config| {
        let tmpfs = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "mode=1777"]});
        config["mounts"].as_array_mut().expect("mounts").push(tmpfs);
    });
    let bundle = bundle.up();
    let held = [
        ("write-file /volume/file", "worked"),
        ("write-file /volume/inner/file", "worked"),
        ("rename /volume/file /volume/inner/file", "worked"),
        ("write-file /tmp/file", "worked"),
        ("write-file /dev/null", "worked"),
        ("write-file /dev/zero", "worked"),
        ("read-file /etc/passwd", "worked"),
        ("write-file /etc/passwd", "EACCES"),
        ("write-file /var/file", "EACCES"),
        ("write-file /dev/file", "EACCES"),
        // A mount that is read-only may be read as part of the image, and runs nothing.
        ("read-file /srv/fixed/file", "worked"),
        ("exec /srv/fixed/hostile", "EACCES"),
        ("exec /bin/hostile", "worked"),
        ("write-exec /volume/dropped", "EACCES"),
    ];
    assert_tries(&bundle, &held);
    let odd = "d=$(printf '/srv/new\\nline \\\\040'); hostile write-file \"$d/file\"; \
               hostile write-exec \"$d/dropped\"; true";
    let said = bundle.exec(["sh", "-c", odd]).ok().stdout;
    assert_eq!(said, "write-file: worked\nwrite-exec: errno EACCES\n");
    let again = "hostile write-file /volume/inner/file; hostile write-file /tmp/file";
    let answer = "write-file: worked\nwrite-file: worked\n";
    drop_inode_caches();
    assert_eq!(bundle.exec(["sh", "-c", again]).ok().stdout, answer);
}

/// As the kubelet lays a ConfigMap out, and as it replaces it.
fn replace(folder: &Path, generation: u32) {
    let name = format!("..{generation}");
    fs::create_dir(folder.join(&name)).expect("our own bundle");
    write(folder.join(&name).join("key"), "x");
    symlink(&name, folder.join("..data_tmp")).expect("our own bundle");
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("our own bundle");
    if generation == 1 {
        symlink("..data/key", folder.join("key")).expect("our own bundle");
    } else {
        let old = folder.join(format!("..{}", generation - 1));
        fs::remove_dir_all(old).expect("our own bundle");
    }
}

#[test]
fn a_volume_that_the_kubelet_replaces_stays_readable() {
    let lines = "files: {read_execute: [/bin], read: [/etc/conf], read_write: [/tmp, '@volumes']}";
    let bundle = site(lines);
    let (fixed, writable) = (volume(&bundle, "fixed"), volume(&bundle, "writable"));
    replace(&fixed, 1);
    replace(&writable, 1);
    let bundle = mounted(bundle, &fixed, "/etc/conf", &["rbind", "ro"]);
    let bundle = mounted(bundle, &writable, "/volume", &["rbind", "rw"]).up();
    let read = "hostile read-file /etc/conf/key; hostile read-file /volume/key; \
                hostile write-file /volume/key";
    let answer = "read-file: worked\nread-file: worked\nwrite-file: worked\n";
    let update = || {
        replace(&fixed, 2);
        replace(&writable, 2);
        drop_inode_caches();
    };
    let said = around(&bundle, read, update, read);
    assert_eq!(said, format!("{answer}ready\n{answer}done\n"));
}

#[test]
fn an_exception_in_a_volume_that_the_kubelet_replaces_is_refused_at_create() {
    let lines = "files: {read_execute: [/bin], read: [/etc/conf], except: [/etc/conf/key]}";
    let bundle = site(lines);
    let folder = bundle.path.join("volumes/kubernetes.io~configmap/conf");
    fs::create_dir_all(&folder).expect("our own bundle");
    replace(&folder, 1);
    let bundle = mounted(bundle, &folder, "/etc/conf", &["rbind", "ro"]);
    assert_create_refused(&bundle, "\"/etc/conf/key\" in the volume at \"/etc/conf\"");
}

#[test]
fn devices_are_written_asked_and_made_only_where_a_list_says_so() {
    let lines = "files: {read_execute: [/bin], read: [/dev], read_write: [/dev/null, /tmp], \
                 device_ioctl: [/dev/zero], make_device: [/srv]}";
    let bundle = site(lines).edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_MKNOD"]);
        }
    });
    fs::create_dir_all(bundle.rootfs().join("srv")).expect("our own bundle");
    let bundle = bundle.up();
    let held = [
        ("write-file /dev/null", "worked"),
        ("write-file /dev/zero", "EACCES"),
        ("ioctl /dev/zero", "worked"),
        ("ioctl /dev/full", "EACCES"),
        ("mknod /srv/device", "worked"),
        ("mknod /tmp/device", "EACCES"),
        // Made, but neither read nor written.
        ("write-file /srv/file", "EACCES"),
    ];
    assert_tries(&bundle, &held);
    assert_eq!(
        report(&bundle)["degraded"].as_array().map(Vec::len),
        Some(1)
    );
}
