/* hostile: one attack step a call, so that a test can ask for each by name.
 *
 *     hostile NAME [ARGUMENT...]   "NAME: worked" and exit code 0, or
 *                                  "NAME: errno EPERM" and the errno's number as exit code, or
 *                                  "NAME: signal 31" and 128 + the signal's number
 *     hostile all NAME...          several in turn, each in a child; exit code: how many worked
 *     hostile list                 every name
 *     hostile leaderless PROGRAM [ARGUMENT...]   executes it after its first thread has ended; exit code:
 *                                  the program's, or the errno's number
 *     hostile nothing              exits with 0; euid-zero: with 0 where the effective user is root;
 *                                  holds-chown: where it holds CAP_CHOWN
 *     hostile status|fds|env|argv|limits|mounts|cwd   facts about itself
 */
#include "attack.h"
#include <linux/capability.h>
#include <pthread.h>

static const struct attack *const tables[] = {
	kernel_attacks, file_attacks, mount_attacks, execute_attacks,
	process_attacks, network_attacks, watching_attacks, self_attacks,
};

static const struct attack *find(const char *name)
{
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		for (const struct attack *attack = tables[i]; attack->name; attack++)
			if (!strcmp(attack->name, name))
				return attack;
	return NULL;
}

static int list(void)
{
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		for (const struct attack *attack = tables[i]; attack->name; attack++)
			printf("%-16s %s\n", attack->name, attack->what);
	return 0;
}

static int report(const struct attack *attack, int argc, char **argv)
{
	int code = attack->run(argc, argv);
	if (code == 0)
		printf("%s: worked\n", attack->name);
	else if (code > 128)
		printf("%s: signal %d\n", attack->name, code - 128);
	else if (strerrorname_np(code))
		printf("%s: errno %s\n", attack->name, strerrorname_np(code));
	else
		printf("%s: errno %d\n", attack->name, code);
	fflush(stdout);
	return code;
}

static int all(char **names)
{
	int worked = 0;
	for (; *names; names++) {
		const struct attack *attack = find(*names);
		char *none[] = {NULL};
		pid_t child = attack ? fork() : -1;
		if (child == 0)
			exit(report(attack, 0, none));
		if (child < 0)
			printf("%s: not tried\n", *names);
		else if (outcome(child) == 0)
			worked++;
	}
	return worked;
}

static int holds(int capability)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	return syscall(SYS_capget, &head, sets) == 0 && sets[0].effective & 1U << capability;
}

static void *execute_later(void *argv)
{
	char **words = argv;
	usleep(100 * 1000);
	execv(words[0], words);
	_exit(errno);
}

/* Its first thread ends, and another one executes the program: for cgroup v1 the process is in no group
 * then, and has no descriptors. */
static void leaderless(char **argv)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, execute_later, argv))
		_exit(errno);
	syscall(SYS_exit, 0);
}

int main(int argc, char **argv)
{
	/* Lines leave whole: a child that is killed must not print its parent's. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2 || !strcmp(argv[1], "list"))
		return list();
	if (!strcmp(argv[1], "all"))
		return all(argv + 2);
	/* What a dropped copy of this program is run with: its exit code is all that is asked. */
	if (!strcmp(argv[1], "leaderless") && argc > 2)
		leaderless(argv + 2);
	if (!strcmp(argv[1], "nothing"))
		return 0;
	if (!strcmp(argv[1], "euid-zero"))
		return geteuid() == 0 ? 0 : EPERM;
	if (!strcmp(argv[1], "holds-chown"))
		return holds(CAP_CHOWN) ? 0 : EPERM;
	const struct attack *attack = find(argv[1]);
	if (attack)
		return report(attack, argc - 2, argv + 2);
	int code = inspect(argv[1], argc - 2, argv + 2);
	if (code >= 0)
		return code;
	fprintf(stderr, "hostile: no attack is called \"%s\"; `hostile list` names them\n", argv[1]);
	return 255;
}
