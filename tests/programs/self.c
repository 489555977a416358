/* Attacks by other doors (architectures, terminals) and what the sandbox must leave working. */
#include "attack.h"
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#ifndef __X32_SYSCALL_BIT
#define __X32_SYSCALL_BIT 0x40000000
#endif

/* Through the x32 table. Killed processes end with a signal: 128 + SIGSYS. */
static int attack_x32(int argc, char **argv)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0)
		_exit(answer(syscall(__X32_SYSCALL_BIT | SYS_getpid)));
	return outcome(child);
}

/* Through the i386 gate: getpid is 20 there. */
static int attack_int80(int argc, char **argv)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0) {
		long result;
		__asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
		_exit(result < 0 ? (int)-result : 0);
	}
	return outcome(child);
}

/* A system call that needs a terminal: on standard input, or else on a terminal of its own. */
static int on_terminal(unsigned long request, char byte)
{
	if (isatty(0))
		return answer(syscall(SYS_ioctl, 0L, request, &byte));
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0) {
		int master = posix_openpt(O_RDWR | O_NOCTTY);
		if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 || setsid() < 0)
			_exit(errno);
		int terminal = open(ptsname(master), O_RDWR);
		_exit(terminal < 0 ? errno : answer(syscall(SYS_ioctl, terminal, request, &byte)));
	}
	return outcome(child);
}

static int attack_tiocsti(int argc, char **argv)
{
	return on_terminal(TIOCSTI, '\n');
}

/* The kernel looks at 32 bits of the request; a filter that looks at 64 is passed by. */
static int attack_tiocsti_high(int argc, char **argv)
{
	return on_terminal(TIOCSTI | 1UL << 32, '\n');
}

static int attack_tioclinux(int argc, char **argv)
{
	return on_terminal(TIOCLINUX, 3);
}

static long add_filter(unsigned int flags)
{
	struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {1, allow};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* A listener on top of another would answer first. EBUSY: there is one below. */
static int attack_listener(int argc, char **argv)
{
	return answer(add_filter(SECCOMP_FILTER_FLAG_NEW_LISTENER));
}

/* For all threads at once, those below included. */
static int attack_tsync(int argc, char **argv)
{
	return answer(add_filter(SECCOMP_FILTER_FLAG_TSYNC));
}

/* Raises CAP_SYS_ADMIN through the ambient set. */
static int attack_ambient(int argc, char **argv)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	if (syscall(SYS_capget, &head, sets) < 0)
		return errno;
	sets[0].effective = sets[0].permitted |= 1U << CAP_SYS_ADMIN;
	sets[0].inheritable |= 1U << CAP_SYS_ADMIN;
	if (syscall(SYS_capset, &head, sets) < 0)
		return errno;
	return answer(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
}

/* Through the i386 gate, what the native table's filter denies: unshare(2) is 310 there. */
static int attack_int80_unshare(int argc, char **argv)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0) {
		long result;
		__asm__ volatile("int $0x80"
				 : "=a"(result)
				 : "a"(310L), "b"(0x10000000L)
				 : "memory");
		_exit(result < 0 ? (int)-result : 0);
	}
	return outcome(child);
}

/* Looks for a directory among the descriptors it was started with, and leaves through it. */
static int attack_leaked_directory(int argc, char **argv)
{
	const char *file = argument(argc, argv, "etc/hostname");
	int error = EBADF;
	for (int number = 3; number < 256; number++) {
		struct stat found;
		if (fstat(number, &found) < 0 || !S_ISDIR(found.st_mode))
			continue;
		int opened = openat(number, file, O_RDONLY | O_CLOEXEC);
		if (opened >= 0)
			return 0;
		error = errno;
	}
	return error;
}

/* Ordinary: a workload that sandboxes itself further. */
static int stack_filter(int argc, char **argv)
{
	return answer(add_filter(0));
}

/* Ordinary too: worked when its own domain took effect. */
static int stack_landlock(int argc, char **argv)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = LANDLOCK_ACCESS_FS_READ_DIR};
	int ruleset = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return errno;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return errno;
	if (open("/", O_RDONLY | O_DIRECTORY) >= 0)
		return EXFULL;
	return errno == EACCES ? 0 : errno;
}

/* Waits until the first thread of this process has ended. */
static void be_headless(void)
{
	char path[64], text[256] = {0};
	snprintf(path, sizeof path, "/proc/%d/stat", getpid());
	while (!strstr(text, ") Z")) {
		int file = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t length = read(file, text, sizeof text - 1);
		text[length < 0 ? 0 : length] = 0;
		close(file);
		usleep(1000);
	}
}

static void *go_on_headless(void *words)
{
	char **argv = words, *args[] = {argv[1], "exit", "0", NULL}, *env[] = {NULL};
	be_headless();
	printf("headless: %s\n", argv[0]);
	if (!strcmp(argv[0], "exec"))
		execve(argv[1], args, env);
	else if (!strcmp(argv[0], "keyctl"))
		syscall(SYS_keyctl, 0, -3, 0);
	else
		pause();
	exit(errno);
}

/* The kernel tells less of a process whose first thread has ended: cgroup v1 forgets its group. */
static int attack_headless(int argc, char **argv)
{
	pthread_t other;
	if (argc < 1 || pthread_create(&other, NULL, go_on_headless, argv) != 0)
		return EINVAL;
	pthread_exit(NULL);
}

const struct attack self_attacks[] = {
	{"x32", attack_x32, "call through the x32 table"},
	{"int80", attack_int80, "call through the i386 gate"},
	{"tiocsti", attack_tiocsti, "type into its terminal"},
	{"tiocsti-high", attack_tiocsti_high, "the same with the request's high bits set"},
	{"tioclinux", attack_tioclinux, "reach the console's selection"},
	{"listener", attack_listener, "put a seccomp listener of its own on top"},
	{"tsync", attack_tsync, "(ordinary) add a filter to all its threads"},
	{"int80-unshare", attack_int80_unshare, "unshare through the i386 gate"},
	{"ambient", attack_ambient, "raise SYS_ADMIN"},
	{"leaked-directory", attack_leaked_directory, "open FILE below a directory it was left"},
	{"headless", attack_headless, "without its first thread: stay, keyctl, or exec PATH"},
	{"filter", stack_filter, "(ordinary) add a seccomp filter"},
	{"landlock", stack_landlock, "(ordinary) enter a Landlock domain of its own"},
	{NULL, NULL, NULL},
};
