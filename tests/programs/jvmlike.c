/* jvmlike: what a Java virtual machine does, without one: many threads, code made at run time, a page
 * that stops them all, a performance file in /tmp, signals that a thread waits for, a look at its groups
 * and a child process.
 *
 *     jvmlike LOG    works, writes LOG, prints "jvmlike: ok"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 24

extern char **environ;

static void must(int good, const char *what)
{
	if (good)
		return;
	printf("jvmlike: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The page that threads read at every turn; without rights on it they land in the handler. */
static char *volatile page;
static volatile int stopped, dumped, collected;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static int (*compiled)(void);

static void safepoint(int number, siginfo_t *info, void *context)
{
	if (info->si_addr != page)
		_exit(9);
	__atomic_add_fetch(&stopped, 1, __ATOMIC_SEQ_CST);
	while (mprotect(page, 4096, PROT_READ) != 0)
		;
}

static void *interpreter(void *argument)
{
	char name[16];
	snprintf(name, sizeof name, "worker#%ld", (long)argument);
	prctl(PR_SET_NAME, name);
	long sum = 0;
	for (int i = 0; i < 2000; i++)
		sum += *page + compiled();
	pthread_mutex_lock(&lock);
	collected++;
	pthread_cond_broadcast(&turn);
	pthread_mutex_unlock(&lock);
	return (void *)sum;
}

static void *dispatcher(void *argument)
{
	sigset_t *waited = argument;
	int number = 0;
	prctl(PR_SET_NAME, "Signal Dispatch");
	while (sigwait(waited, &number) == 0) {
		dumped = number == SIGQUIT;
		if (number == SIGTERM || dumped)
			return NULL;
	}
	return NULL;
}

/* int f(void) { return 7; }: written first, executable then, as a JIT that keeps both apart. */
static void compile(void)
{
	static const unsigned char code[] = {0xb8, 7, 0, 0, 0, 0xc3};
	void *room = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(room != MAP_FAILED, "the code cache");
	must(mprotect(room, 4096, PROT_READ | PROT_WRITE) == 0, "write code");
	memcpy(room, code, sizeof code);
	must(mprotect(room, 4096, PROT_READ | PROT_EXEC) == 0, "run code");
	compiled = (int (*)(void))room;
	must(compiled() == 7, "what was compiled");
}

static void performance(char *name, size_t size)
{
	mkdir("/tmp/hsperfdata_app", 0755);
	snprintf(name, size, "/tmp/hsperfdata_app/%d", getpid());
	int file = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	must(file >= 0 && ftruncate(file, 32768) == 0, "the performance file");
	char *data = mmap(NULL, 32768, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	must(data != MAP_FAILED, "map it");
	memcpy(data, "\xca\xfe\xc0\xc0", 4);
	close(file);
}

static void look_around(void)
{
	static const char *const files[] = {
		"/proc/self/maps", "/proc/self/cgroup", "/proc/self/mountinfo", "/proc/meminfo", "/proc/cpuinfo",
		"/sys/devices/system/cpu/online", "/sys/fs/cgroup/cgroup.controllers",
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/etc/passwd", "/dev/urandom",
	};
	char text[4096];
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
		int file = open(files[i], O_RDONLY | O_CLOEXEC);
		/* A virtual machine goes on without; whoever watches this one wants to know. */
		must(file >= 0 || errno == ENOENT, files[i]);
		if (file < 0)
			continue;
		if (read(file, text, sizeof text) < 0)
			must(0, files[i]);
		close(file);
	}
	sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t all;
	must(sched_getaffinity(0, sizeof all, &all) == 0, "processors");
	/* Whether the kernel can stop other threads' instruction streams; old ones cannot. */
	syscall(SYS_membarrier, 0, 0, 0);
}

static void child(void)
{
	char *words[] = {"harmless", "exit", "0", NULL};
	pid_t pid;
	int status = 0;
	must(posix_spawn(&pid, "/bin/harmless", NULL, NULL, words, environ) == 0, "a child");
	must(waitpid(pid, &status, 0) == pid && status == 0, "its end");
}

int main(int argc, char **argv)
{
	char name[64];
	if (argc != 2) {
		puts("jvmlike LOG");
		return 2;
	}
	sigset_t waited;
	sigemptyset(&waited);
	sigaddset(&waited, SIGQUIT);
	sigaddset(&waited, SIGTERM);
	must(pthread_sigmask(SIG_BLOCK, &waited, NULL) == 0, "a mask");
	struct sigaction own = {.sa_sigaction = safepoint, .sa_flags = SA_SIGINFO | SA_RESTART};
	must(sigaction(SIGSEGV, &own, NULL) == 0, "a handler");
	page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(page != MAP_FAILED, "the polling page");
	look_around();
	compile();
	performance(name, sizeof name);
	FILE *log = fopen(argv[1], "a");
	must(log != NULL, "the log");
	pthread_t threads[THREADS], signals;
	must(pthread_create(&signals, NULL, dispatcher, &waited) == 0, "the dispatcher");
	/* Threads land on it at their next turn. */
	must(mprotect(page, 4096, PROT_NONE) == 0, "a safepoint");
	for (long i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, interpreter, (void *)i) == 0, "a thread");
	pthread_mutex_lock(&lock);
	struct timespec soon;
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_sec += 30;
	while (collected < THREADS)
		must(pthread_cond_timedwait(&turn, &lock, &soon) == 0, "all threads");
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < THREADS; i++) {
		void *sum;
		pthread_join(threads[i], &sum);
		must((long)sum == 2000 * 7, "what a thread counted");
	}
	must(stopped > 0, "somebody stopped");
	child();
	must(kill(getpid(), SIGQUIT) == 0, "a signal");
	pthread_join(signals, NULL);
	must(dumped, "a thread dump");
	fprintf(log, "%d threads, stopped\n", THREADS);
	must(fclose(log) == 0 && unlink(name) == 0, "the end");
	rmdir("/tmp/hsperfdata_app");
	puts("jvmlike: ok");
	return 0;
}
