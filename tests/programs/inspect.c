/* Facts about the process that asks, straight from the kernel, in lines that tests read. */
#include "attack.h"
#include <dirent.h>
#include <limits.h>
#include <sys/resource.h>

static int print_file(const char *path, char from, char to)
{
	FILE *file = fopen(path, "r");
	if (!file)
		return errno;
	for (int c; (c = getc(file)) != EOF;)
		putchar(c == from ? to : c);
	fclose(file);
	return 0;
}

/* NUMBER TARGET, one line for each descriptor but the one that lists them. */
static int print_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return errno;
	for (struct dirent *entry; (entry = readdir(dir));) {
		char target[PATH_MAX];
		ssize_t length;
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(dir))
			continue;
		length = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
		target[length < 0 ? 0 : length] = 0;
		printf("%s %s\n", entry->d_name, target);
	}
	closedir(dir);
	return 0;
}

/* NAME SOFT HARD for the limits that mantlet moves; "unlimited" is 2^64-1. */
static int print_limits(void)
{
	static const struct { const char *name; int resource; } limits[] = {
		{"NOFILE", RLIMIT_NOFILE}, {"AS", RLIMIT_AS}, {"DATA", RLIMIT_DATA},
		{"FSIZE", RLIMIT_FSIZE}, {"CPU", RLIMIT_CPU}, {"STACK", RLIMIT_STACK},
		{"NPROC", RLIMIT_NPROC}, {"CORE", RLIMIT_CORE},
	};
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		struct rlimit value;
		if (getrlimit(limits[i].resource, &value) < 0)
			return errno;
		printf("%s %llu %llu\n", limits[i].name, (unsigned long long)value.rlim_cur,
		       (unsigned long long)value.rlim_max);
	}
	return 0;
}

/* NUMBER blocked|ignored for each signal that is not in its default state. */
static int print_signals(void)
{
	sigset_t blocked;
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	for (int number = 1; number < NSIG; number++) {
		struct sigaction action;
		if (sigismember(&blocked, number) == 1)
			printf("%d blocked\n", number);
		if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			printf("%d ignored\n", number);
	}
	return 0;
}

static int print_cwd(void)
{
	char path[PATH_MAX];
	if (!getcwd(path, sizeof path))
		return errno;
	puts(path);
	return 0;
}

int inspect(const char *name, int argc, char **argv)
{
	if (!strcmp(name, "status"))
		return print_file("/proc/self/status", 0, 0);
	if (!strcmp(name, "env"))
		return print_file("/proc/self/environ", 0, '\n');
	if (!strcmp(name, "argv"))
		return print_file("/proc/self/cmdline", 0, '\n');
	if (!strcmp(name, "mounts"))
		return print_file("/proc/self/mountinfo", 0, 0);
	if (!strcmp(name, "cgroup"))
		return print_file("/proc/self/cgroup", 0, 0);
	if (!strcmp(name, "read"))
		return print_file(argument(argc, argv, "/dev/null"), 0, 0);
	if (!strcmp(name, "fds"))
		return print_descriptors();
	if (!strcmp(name, "limits"))
		return print_limits();
	if (!strcmp(name, "signals"))
		return print_signals();
	if (!strcmp(name, "cwd"))
		return print_cwd();
	return -1;
}
