/* Makes calls under filters and tells what the kernel did with each.
 *
 * stdin: four 32-bit numbers (instructions of the older filter, of the newer one, whether the newer
 * one gets a listener, calls), both programs, and for each call its entry (0 syscall, 1 int 0x80),
 * its number and six arguments, 64 bits each. stdout: for each call an outcome and a value, 64 bits
 * each.
 *
 * Each call is made by a thread of a new process. Only that thread is filtered; the other watches,
 * answers its notifications, and needs no call that a filter could deny the caller. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RETURNED, NOTIFIED, TRAPPED, THREAD_KILLED, PROCESS_KILLED, FAULT, NO_FILTER };

struct call { uint64_t entry, number, args[6]; };
struct outcome { volatile int64_t what, value; };

/* What the supervisor answers: an errno that no call here gives. */
#define ANSWER ENOANO

static struct sock_filter program[2][65536];
static uint32_t length[2], listens;
static struct call call;
static struct { volatile int tid, listener, done; struct outcome outcome; } *shared;

static void finish(int what, int64_t value)
{
	shared->outcome.what = what;
	shared->outcome.value = value;
	__sync_synchronize();
	shared->done = 1;
	for (;;)
		__builtin_ia32_pause();
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (number == SIGSYS)
		finish(TRAPPED, info->si_syscall);
	finish(FAULT, number);
}

static int install(int which, unsigned long flags)
{
	struct sock_fprog prog = { length[which], program[which] };
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

static int64_t make(void)
{
	int64_t result = (int64_t)call.number;
	if (call.entry == 1) {
		register long bp asm("r8") = 0;
		asm volatile("int $0x80"
			     : "+a"(result), "+r"(bp)
			     : "b"(call.args[0]), "c"(call.args[1]), "d"(call.args[2]), "S"(call.args[3]), "D"(call.args[4])
			     : "memory", "r9", "r10", "r11");
		return (int32_t)result;
	}
	register uint64_t r10 asm("r10") = call.args[3];
	register uint64_t r8 asm("r8") = call.args[4];
	register uint64_t r9 asm("r9") = call.args[5];
	asm volatile("syscall"
		     : "+a"(result)
		     : "D"(call.args[0]), "S"(call.args[1]), "d"(call.args[2]), "r"(r10), "r"(r8), "r"(r9)
		     : "memory", "rcx", "r11");
	return result;
}

static void *caller(void *unused)
{
	(void)unused;
	shared->listener = -1;
	if (length[0] && install(0, 0))
		finish(NO_FILTER, errno);
	if (length[1]) {
		int fd = install(1, listens ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0);
		if (fd < 0)
			finish(NO_FILTER, errno);
		if (listens)
			shared->listener = fd;
	}
	shared->tid = 1;
	int64_t result = make();
	finish(shared->done == 2 ? NOTIFIED : RETURNED, result);
	return NULL;
}

static void answer(int listener)
{
	struct seccomp_notif asked = { 0 };
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked))
		return;
	int same = asked.data.nr == (int)call.number && !memcmp(asked.data.args, call.args, sizeof call.args);
	struct seccomp_notif_resp said = { .id = asked.id, .error = same ? -ANSWER : -EXDEV };
	shared->done = 2;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &said);
}

static int threads(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	int count = 2;
	while (status && fgets(line, sizeof line, status))
		if (sscanf(line, "Threads: %d", &count) == 1)
			break;
	if (status)
		fclose(status);
	return count;
}

static void watch(void)
{
	pthread_t thread;
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	sigaction(SIGSYS, &act, NULL);
	sigaction(SIGSEGV, &act, NULL);
	pthread_create(&thread, NULL, caller, NULL);
	for (;;) {
		if (shared->done == 1)
			_exit(0);
		if (shared->tid && shared->listener >= 0) {
			struct pollfd ready = { shared->listener, POLLIN, 0 };
			if (poll(&ready, 1, 0) == 1 && ready.revents & POLLIN)
				answer(shared->listener);
		}
		if (shared->tid && threads() == 1 && shared->done != 1) {
			shared->outcome.what = THREAD_KILLED;
			_exit(0);
		}
		sched_yield();
	}
}

int main(void)
{
	uint32_t head[4];
	if (fread(head, sizeof head, 1, stdin) != 1)
		return 2;
	length[0] = head[0], length[1] = head[1], listens = head[2];
	for (int i = 0; i < 2; i++)
		if (fread(program[i], 8, length[i], stdin) != length[i])
			return 2;
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (uint32_t i = 0; i < head[3]; i++) {
		if (fread(&call, sizeof call, 1, stdin) != 1)
			return 2;
		memset((void *)shared, 0, sizeof *shared);
		pid_t child = fork();
		if (child == 0)
			watch();
		int status = 0;
		waitpid(child, &status, 0);
		struct outcome out = { shared->outcome.what, shared->outcome.value };
		if (WIFSIGNALED(status))
			out.what = PROCESS_KILLED, out.value = WTERMSIG(status);
		fwrite((void *)&out, sizeof out, 1, stdout);
	}
	return 0;
}
