/* What every attack of `hostile` shares. An attack returns 0 when it worked, else its errno. */
#ifndef ATTACK_H
#define ATTACK_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct attack {
	const char *name;
	/* argc and argv start after the attack's name; argv ends with NULL. */
	int (*run)(int argc, char **argv);
	/* One line for `hostile list`. */
	const char *what;
};

/* Each table ends with a NULL name. */
extern const struct attack kernel_attacks[];
extern const struct attack file_attacks[];
extern const struct attack mount_attacks[];
extern const struct attack execute_attacks[];
extern const struct attack network_attacks[];
extern const struct attack watching_attacks[];
extern const struct attack process_attacks[];
extern const struct attack self_attacks[];

/* Facts about the caller, shared with `harmless`; -1 where `name` is none of them. */
int inspect(const char *name, int argc, char **argv);

/* The errno of a call that answers -1 on failure. */
static inline int answer(long result)
{
	return result < 0 ? errno : 0;
}

/* The same where `granted` is what the kernel answers a caller that it would have let. */
static inline int reached(long result, int granted)
{
	return result < 0 && errno != granted ? errno : 0;
}

/* An attack that is one system call. */
#define CALL(name, granted, ...)                            \
	static int name(int argc, char **argv)              \
	{                                                   \
		return reached(syscall(__VA_ARGS__), granted); \
	}

/* The first argument, or what stands in for it. */
static inline const char *argument(int argc, char **argv, const char *otherwise)
{
	return argc > 0 ? argv[0] : otherwise;
}

/* Waits for `pid`: its exit code, or 128 + the signal that ended it. */
int outcome(pid_t pid);

/* A child that sleeps until it is killed: a target that is always ours. */
pid_t victim(void);

/* Kills and reaps a victim. */
void bury(pid_t pid);

#endif
