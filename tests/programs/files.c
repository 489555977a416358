/* Attacks on files that are there: what is read, written, replaced. */
#include "attack.h"
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static int attack_read(int argc, char **argv)
{
	char block[8192];
	const char *path = argument(argc, argv, "/etc/shadow");
	int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (file < 0)
		return errno;
	ssize_t length = read(file, block, sizeof block);
	/* What is masked by /dev/null opens, and is empty. */
	return length < 0 ? errno : length == 0 ? ENODATA : 0;
}

/* Opens for writing, creating it where it is not there. Nothing is truncated. */
static int attack_write(int argc, char **argv)
{
	int file = open(argument(argc, argv, "/hostile-file"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			0644);
	return file < 0 ? errno : answer(write(file, "x", 1));
}

/* Opened for writing, never written: a permitted open is the escape. */
static int attack_open_write(int argc, char **argv)
{
	return answer(open(argument(argc, argv, "/bin/pause"), O_WRONLY | O_CLOEXEC));
}

static int attack_core_pattern(int argc, char **argv)
{
	return answer(open("/proc/sys/kernel/core_pattern", O_WRONLY | O_CLOEXEC));
}

static int attack_sysrq(int argc, char **argv)
{
	return answer(open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC));
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

static int attack_truncate(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/etc/group");
	struct stat now;
	return stat(path, &now) < 0 ? errno : answer(truncate(path, now.st_size));
}

/* Gives a file capabilities and lets another user execute it: worked when that user held them. */
static int attack_file_capability(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/bin/hostile");
	struct vfs_cap_data grant = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE};
	grant.data[0].permitted = 1U << CAP_CHOWN;
	if (setxattr(path, "security.capability", &grant, sizeof grant, 0) < 0)
		return errno;
	pid_t child = fork();
	if (child == 0) {
		if (setgid(1000) < 0 || setuid(1000) < 0)
			_exit(errno);
		execl(path, "hostile", "holds-chown", NULL);
		_exit(errno);
	}
	int error = child < 0 ? errno : outcome(child);
	removexattr(path, "security.capability");
	return error;
}

const struct attack file_attacks[] = {
	{"read-file", attack_read, "read PATH (/etc/shadow)"},
	{"write-file", attack_write, "append to or create PATH"},
	{"open-write", attack_open_write, "open PATH for writing"},
	{"core-pattern", attack_core_pattern, "open core_pattern for writing"},
	{"sysrq", attack_sysrq, "open sysrq-trigger for writing"},
	{"unlink", attack_unlink, "remove PATH"},
	{"link", attack_link, "hard-link FROM TO"},
	{"rename", attack_rename, "rename FROM TO"},
	{"truncate", attack_truncate, "truncate PATH (/etc/group) to the length it has"},
	{"ioctl", attack_ioctl, "a harmless ioctl on the device PATH"},
	{"file-capability", attack_file_capability, "give PATH a capability for another user"},
	{NULL, NULL, NULL},
};
