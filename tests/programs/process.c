/* Attacks on other processes and on namespaces. Without a PID they take a child of their own, so
 * that a refusal is the sandbox's and not the target's. */
#include "attack.h"
#include <limits.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static char shared_byte;

int outcome(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, 0) < 0)
		return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

pid_t victim(void)
{
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

void bury(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Calls `on` with the PID argument, or with a victim of our own. */
static int with_target(int argc, char **argv, int (*on)(pid_t))
{
	if (argc > 0)
		return on(atoi(argv[0]));
	pid_t pid = victim();
	if (pid < 0)
		return errno;
	int error = on(pid);
	bury(pid);
	return error;
}

static int unshare_in_child(int flags)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0)
		_exit(answer(unshare(flags)));
	return outcome(child);
}

static int attack_unshare_user(int argc, char **argv)
{
	return unshare_in_child(CLONE_NEWUSER);
}

static int attack_unshare_mount(int argc, char **argv)
{
	return unshare_in_child(CLONE_NEWNS);
}

static int attack_unshare_net(int argc, char **argv)
{
	return unshare_in_child(CLONE_NEWNET);
}

/* A name as in /proc/PID/ns. */
static int flag_of(const char *name)
{
	static const struct { const char *name; int flag; } spaces[] = {
		{"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS}, {"net", CLONE_NEWNET},
		{"pid", CLONE_NEWPID}, {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS},
		{"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
	};
	for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
		if (!strcmp(spaces[i].name, name))
			return spaces[i].flag;
	return 0;
}

static int attack_unshare(int argc, char **argv)
{
	return unshare_in_child(flag_of(argument(argc, argv, "user")));
}

static int attack_clone(int argc, char **argv)
{
	int flag = flag_of(argument(argc, argv, "mnt"));
	long child = syscall(SYS_clone, flag | SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0)
		_exit(0);
	return child < 0 ? errno : outcome(child);
}

/* What most kernel exploits of recent years begin with: all capabilities over a network or a
 * mount namespace of one's own. */
static int userns_chain(int flag, int (*use)(void))
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0)
		_exit(unshare(CLONE_NEWUSER | flag) < 0 ? errno : use());
	return outcome(child);
}

static int use_mount(void)
{
	return answer(mount("none", "/proc", "tmpfs", 0, NULL));
}

static int use_raw_socket(void)
{
	return answer(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
}

static int attack_userns_mount(int argc, char **argv)
{
	return userns_chain(CLONE_NEWNS, use_mount);
}

static int attack_userns_net(int argc, char **argv)
{
	return userns_chain(CLONE_NEWNET, use_raw_socket);
}

static int attack_clone_user(int argc, char **argv)
{
	long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0)
		_exit(0);
	return child < 0 ? errno : outcome(child);
}

static int attack_clone3_user(int argc, char **argv)
{
	struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	long child = syscall(SYS_clone3, &args, sizeof args);
	if (child == 0)
		_exit(0);
	return child < 0 ? errno : outcome(child);
}

static int attack_setns(int argc, char **argv)
{
	int space = open(argument(argc, argv, "/proc/self/ns/uts"), O_RDONLY | O_CLOEXEC);
	return space < 0 ? errno : answer(setns(space, 0));
}

static int ptrace_one(pid_t pid)
{
	int error = answer(ptrace(PTRACE_ATTACH, pid, NULL, NULL));
	if (!error) {
		waitpid(pid, NULL, __WALL);
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
	}
	return error;
}

static int attack_ptrace(int argc, char **argv)
{
	return with_target(argc, argv, ptrace_one);
}

static int seize_one(pid_t pid)
{
	return answer(ptrace(PTRACE_SEIZE, pid, NULL, NULL));
}

/* KCMP_FILE of descriptor 0: tells pointers of the kernel apart. */
static int kcmp_one(pid_t pid)
{
	return answer(syscall(SYS_kcmp, getpid(), pid, 0, 0, 0));
}

static int vm_write_one(pid_t pid)
{
	char byte = 1;
	struct iovec local = {&byte, 1}, remote = {&shared_byte, 1};
	return answer(process_vm_writev(pid, &local, 1, &remote, 1, 0));
}

static int attack_seize(int argc, char **argv)
{
	return with_target(argc, argv, seize_one);
}

/* The child asks to be traced by its parent. */
static int attack_traceme(int argc, char **argv)
{
	pid_t child = fork();
	if (child == 0)
		_exit(answer(ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
	return child < 0 ? errno : outcome(child);
}

static int attack_kcmp(int argc, char **argv)
{
	return with_target(argc, argv, kcmp_one);
}

static int attack_proc_read(int argc, char **argv)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%s/%s", argument(argc, argv, "self"),
		 argc > 1 ? argv[1] : "environ");
	char target[PATH_MAX];
	if (readlink(path, target, sizeof target) >= 0)
		return 0;
	return errno == EINVAL ? answer(open(path, O_RDONLY | O_CLOEXEC)) : errno;
}

static int attack_vm_write(int argc, char **argv)
{
	return with_target(argc, argv, vm_write_one);
}

static int vm_read_one(pid_t pid)
{
	char byte;
	struct iovec local = {&byte, 1}, remote = {&shared_byte, 1};
	/* EFAULT: permitted, and another program has nothing there. */
	return reached(process_vm_readv(pid, &local, 1, &remote, 1, 0), EFAULT);
}

static int attack_vm_read(int argc, char **argv)
{
	return with_target(argc, argv, vm_read_one);
}

static int mem_write_one(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	return answer(open(path, O_RDWR | O_CLOEXEC));
}

static int attack_mem_write(int argc, char **argv)
{
	return with_target(argc, argv, mem_write_one);
}

static int pidfd_getfd_one(pid_t pid)
{
	int handle = syscall(SYS_pidfd_open, pid, 0);
	return handle < 0 ? errno : answer(syscall(SYS_pidfd_getfd, handle, 0, 0));
}

static int attack_pidfd_getfd(int argc, char **argv)
{
	return with_target(argc, argv, pidfd_getfd_one);
}

/* What a raised limit of another would be; asks for none. */
static int prlimit_one(pid_t pid)
{
	struct rlimit limit;
	if (prlimit(pid, RLIMIT_CORE, NULL, &limit) < 0)
		return errno;
	return answer(prlimit(pid, RLIMIT_CORE, &limit, NULL));
}

static int attack_prlimit(int argc, char **argv)
{
	return with_target(argc, argv, prlimit_one);
}

static int kill_one(pid_t pid)
{
	return answer(kill(pid, 0));
}

static int attack_kill(int argc, char **argv)
{
	return with_target(argc, argv, kill_one);
}

/* Forks COUNT children that live at once; the first refusal is the answer. */
static int attack_forks(int argc, char **argv)
{
	int count = atoi(argument(argc, argv, "64")), error = 0, made = 0;
	pid_t *children = calloc(count, sizeof *children);
	if (!children)
		return ENOMEM;
	while (made < count && (children[made] = victim()) > 0)
		made++;
	if (made < count)
		error = errno;
	printf("forks: %d of %d\n", made, count);
	while (made > 0)
		bury(children[--made]);
	free(children);
	return error;
}

const struct attack process_attacks[] = {
	{"unshare-user", attack_unshare_user, "enter a new user namespace"},
	{"unshare-mount", attack_unshare_mount, "enter a new mount namespace"},
	{"unshare-net", attack_unshare_net, "enter a new network namespace"},
	{"unshare", attack_unshare, "enter a new namespace KIND, as /proc/PID/ns names it"},
	{"clone", attack_clone, "clone into a new namespace KIND"},
	{"userns-mount", attack_userns_mount, "mount in a new user namespace"},
	{"userns-net", attack_userns_net, "reach raw sockets in a new user namespace"},
	{"clone-user", attack_clone_user, "clone into a new user namespace"},
	{"clone3-user", attack_clone3_user, "the same by clone3"},
	{"setns", attack_setns, "join the namespace PATH (its own uts)"},
	{"ptrace", attack_ptrace, "attach to PID (a child)"},
	{"seize", attack_seize, "seize PID (a child)"},
	{"traceme", attack_traceme, "be traced by its parent"},
	{"kcmp", attack_kcmp, "compare descriptors with PID (a child)"},
	{"prlimit", attack_prlimit, "set a limit of PID (a child) to what it is"},
	{"proc-read", attack_proc_read, "read FILE (environ) or link of /proc/PID (self)"},
	{"vm-write", attack_vm_write, "write the memory of PID (a child)"},
	{"vm-read", attack_vm_read, "read the memory of PID (a child)"},
	{"mem-write", attack_mem_write, "open /proc/PID/mem for writing"},
	{"pidfd-getfd", attack_pidfd_getfd, "take a descriptor of PID (a child)"},
	{"kill", attack_kill, "signal PID (a child) with 0"},
	{"forks", attack_forks, "have COUNT children at once"},
	{NULL, NULL, NULL},
};
