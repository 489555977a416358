/* Attacks on files: what is written where, and what of it can be executed. */
#include "attack.h"
#include <dirent.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int attack_mount(int argc, char **argv)
{
	const char *where = argument(argc, argv, "/tmp");
	int error = answer(mount("none", where, "tmpfs", 0, NULL));
	if (!error)
		umount2(where, MNT_DETACH);
	return error;
}

static int attack_remount(int argc, char **argv)
{
	return answer(mount(NULL, argument(argc, argv, "/"), NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int attack_fsopen(int argc, char **argv)
{
	return answer(syscall(SYS_fsopen, "tmpfs", 1));
}

static int attack_open_tree(int argc, char **argv)
{
	return answer(syscall(SYS_open_tree, AT_FDCWD, "/", 1 | O_CLOEXEC));
}

static int attack_umount(int argc, char **argv)
{
	return answer(umount2(argument(argc, argv, "/dev/mqueue"), MNT_DETACH));
}

static int attack_chroot(int argc, char **argv)
{
	return answer(chroot(argument(argc, argv, "/")));
}

static int attack_pivot_root(int argc, char **argv)
{
	return answer(syscall(SYS_pivot_root, ".", "."));
}

static int attack_mknod(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-device");
	int error = answer(mknod(path, S_IFCHR | 0600, makedev(1, 3)));
	if (!error)
		unlink(path);
	return error;
}

/* An overlay has no handles to open: the default is a file system that has. */
static int attack_open_by_handle(int argc, char **argv)
{
	struct {
		struct file_handle head;
		char rest[MAX_HANDLE_SZ];
	} handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	const char *path = argument(argc, argv, "/dev/shm");
	int mount_id;
	if (name_to_handle_at(AT_FDCWD, path, &handle.head, &mount_id, 0) < 0)
		return errno;
	int dir = open(path, O_RDONLY | O_CLOEXEC);
	return dir < 0 ? errno : answer(open_by_handle_at(dir, &handle.head, O_RDONLY | O_CLOEXEC));
}

static int attack_read(int argc, char **argv)
{
	char byte;
	int file = open(argument(argc, argv, "/etc/shadow"), O_RDONLY | O_CLOEXEC);
	return file < 0 ? errno : answer(read(file, &byte, 1));
}

/* Opens for writing, creating it where it is not there. Nothing is truncated. */
static int attack_write(int argc, char **argv)
{
	int file = open(argument(argc, argv, "/hostile-file"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			0644);
	return file < 0 ? errno : answer(write(file, "x", 1));
}

static int attack_unlink(int argc, char **argv)
{
	return answer(unlink(argument(argc, argv, "/hostile-file")));
}

/* A hard link out of a directory: Landlock's REFER. */
static int attack_link(int argc, char **argv)
{
	if (argc < 2)
		return EINVAL;
	int error = answer(link(argv[0], argv[1]));
	if (!error)
		unlink(argv[1]);
	return error;
}

/* By name, without opening it: Landlock's TRUNCATE alone decides. */
static int attack_truncate(int argc, char **argv)
{
	return answer(truncate(argument(argc, argv, "/etc/passwd"), 0));
}

/* Without a copy in its place, as mv(1) would make. */
static int attack_rename(int argc, char **argv)
{
	return argc < 2 ? EINVAL : answer(rename(argv[0], argv[1]));
}

/* A command that no other device than a terminal knows: that answer means it got through. */
static int attack_ioctl(int argc, char **argv)
{
	struct winsize size;
	int device = open(argument(argc, argv, "/dev/zero"), O_RDONLY | O_NOCTTY | O_CLOEXEC);
	if (device < 0)
		return errno;
	int error = answer(ioctl(device, TIOCGWINSZ, &size));
	return error == ENOTTY ? 0 : error;
}

/* Runs `file` with the argument `nothing`; its exit code tells whether the kernel executed it. */
static int execute(int file, const char *path)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0) {
		char *args[] = {"hostile", "nothing", NULL};
		char *env[] = {NULL};
		if (path)
			execve(path, args, env);
		else
			fexecve(file, args, env);
		_exit(errno);
	}
	return outcome(child);
}

/* Copies this program into `to`. */
static int copy_self(int to)
{
	char block[65536];
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return errno;
	for (ssize_t length; (length = read(from, block, sizeof block)) != 0;)
		if (length < 0 || write(to, block, length) != length)
			return errno ? errno : EIO;
	close(from);
	return 0;
}

static int attack_exec(int argc, char **argv)
{
	return execute(-1, argument(argc, argv, "/bin/hostile"));
}

/* Drops a program and runs it. ETXTBSY is ours to avoid: the writer is closed first. */
static int attack_write_exec(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-dropped");
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (file < 0)
		return errno;
	int error = copy_self(file);
	close(file);
	if (!error)
		error = execute(-1, path);
	unlink(path);
	return error;
}

static int attack_shm_exec(int argc, char **argv)
{
	char *path[] = {"/dev/shm/hostile-dropped", NULL};
	return attack_write_exec(1, path);
}

static int attack_memfd_exec(int argc, char **argv)
{
	int file = memfd_create("hostile", MFD_CLOEXEC);
	if (file < 0)
		return errno;
	int error = copy_self(file);
	return error ? error : execute(file, NULL);
}

/* Maps a file that it wrote as code: execution without execve. */
static int attack_map_exec(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-mapped");
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (file < 0)
		return errno;
	int error = answer(ftruncate(file, 4096));
	if (!error && mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) == MAP_FAILED)
		error = errno;
	unlink(path);
	return error;
}

/* Worked when a set-uid-root program of the image really ran as root. */
static int attack_setuid_exec(int argc, char **argv)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0) {
		execl(argument(argc, argv, "/bin/hostile-setuid"), "hostile", "euid-zero", NULL);
		_exit(errno);
	}
	return outcome(child);
}

/* Opened for writing, never written: a permitted open is the escape. */
static int open_for_writing(const char *path)
{
	return answer(open(path, O_WRONLY | O_CLOEXEC));
}

static int attack_core_pattern(int argc, char **argv)
{
	return open_for_writing("/proc/sys/kernel/core_pattern");
}

static int attack_sysrq(int argc, char **argv)
{
	return open_for_writing("/proc/sysrq-trigger");
}

static int attack_release_agent(int argc, char **argv)
{
	DIR *dir = opendir("/sys/fs/cgroup");
	int error = ENOENT;
	if (!dir)
		return errno;
	for (struct dirent *entry; (entry = readdir(dir));) {
		char path[PATH_MAX];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/sys/fs/cgroup/%s/release_agent", entry->d_name);
		int tried = open_for_writing(path);
		if (tried == 0)
			return 0;
		if (tried != ENOENT && tried != ENOTDIR)
			error = tried;
	}
	closedir(dir);
	return error;
}

const struct attack file_attacks[] = {
	{"mount", attack_mount, "mount a tmpfs on PATH (/tmp)"},
	{"remount", attack_remount, "remount PATH (/) writable"},
	{"fsopen", attack_fsopen, "start a mount through the new calls"},
	{"open-tree", attack_open_tree, "clone the mount tree"},
	{"umount", attack_umount, "unmount PATH (/dev/mqueue)"},
	{"chroot", attack_chroot, "chroot to PATH (/)"},
	{"pivot-root", attack_pivot_root, "pivot_root in place"},
	{"mknod", attack_mknod, "make a device at PATH"},
	{"open-by-handle", attack_open_by_handle, "open PATH (/dev/shm) by its handle"},
	{"read-file", attack_read, "read PATH (/etc/shadow)"},
	{"write-file", attack_write, "append to or create PATH"},
	{"unlink", attack_unlink, "remove PATH"},
	{"link", attack_link, "hard-link FROM TO"},
	{"truncate", attack_truncate, "empty PATH by truncate(2)"},
	{"rename", attack_rename, "rename FROM TO"},
	{"ioctl", attack_ioctl, "a harmless ioctl on the device PATH"},
	{"exec", attack_exec, "execute PATH"},
	{"write-exec", attack_write_exec, "write a program to PATH and execute it"},
	{"shm-exec", attack_shm_exec, "the same in /dev/shm"},
	{"memfd-exec", attack_memfd_exec, "execute a program that is in no file"},
	{"map-exec", attack_map_exec, "map a written file PATH as code"},
	{"setuid-exec", attack_setuid_exec, "become root through a set-uid program"},
	{"core-pattern", attack_core_pattern, "open core_pattern for writing"},
	{"sysrq", attack_sysrq, "open sysrq-trigger for writing"},
	{"release-agent", attack_release_agent, "open a cgroup release_agent for writing"},
	{NULL, NULL, NULL},
};
