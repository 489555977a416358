/* strain: what a container does to wear its supervisor out, and counts: the test compares.
 *
 *     strain hammer PROCESSES COUNT     each springs a tripwire so often; COUNT 0: until SIGTERM
 *     strain execute PROCESSES COUNT PATH   each forks and executes PATH so often
 *     strain both PROCESSES PATH        half of them do the one, half the other, until SIGTERM
 *     strain fork PROCESSES COUNT       each forks children that end at once
 *     strain signals COUNT FLAG         a tripwire under signals at 1 kHz; FLAG 1: SA_RESTART
 *     strain scribble                   an innocent call under a name that changes all the time
 *     strain await                      one tripwire for each SIGUSR1, one execution for each SIGUSR2,
 *                                       and a line for each
 *     strain later VERB...              the same, once SIGUSR1 has come
 *     strain once                       springs one tripwire, says what came of it
 *
 * Each prints one line at its end: what it did, and how often the kernel answered what.
 */
#include "attack.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

struct counts {
	unsigned long calls, eperm, enosys, eintr, other, executed, refused;
};

static struct counts *counts;
static volatile sig_atomic_t over;

static void end(int number)
{
	over = 1;
}

static void add(unsigned long *count)
{
	__atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
}

static int spring(void)
{
	long got = syscall(SYS_keyctl, 0, -3, 1);
	int code = got < 0 ? errno : 0;
	add(&counts->calls);
	add(code == EPERM    ? &counts->eperm
	    : code == ENOSYS ? &counts->enosys
	    : code == EINTR  ? &counts->eintr
			     : &counts->other);
	return code;
}

static void execute(const char *path)
{
	pid_t child = vfork();
	if (child == 0) {
		execl(path, path, "nothing", NULL);
		_exit(111);
	}
	int status = 0;
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	add(WIFEXITED(status) && WEXITSTATUS(status) != 111 ? &counts->executed : &counts->refused);
}

static void work(int number, unsigned long count, const char *path, int mixed)
{
	for (unsigned long i = 0; !over && (count == 0 || i < count); i++)
		if (path && (!mixed || number % 2))
			execute(path);
		else
			spring();
}

static void children(int processes, unsigned long count, const char *path, int mixed)
{
	for (int number = 0; number < processes; number++)
		if (fork() == 0) {
			work(number, count, path, mixed);
			_exit(0);
		}
	/* A signal for all of them comes here: only the first process gets it from the runtime. */
	for (int told = 0; waitpid(-1, NULL, 0) > 0 || errno == EINTR;)
		if (over && !told) {
			told = 1;
			kill(0, SIGTERM);
		}
}

static void forks(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		if (child > 0 && waitpid(child, NULL, 0) == child)
			add(&counts->executed);
	}
}

static void nothing(int number)
{
}

/* Go's runtime interrupts its threads with SIGURG to have them scheduled. */
static void *prod(void *thread)
{
	struct timespec pause = {.tv_nsec = 1000000};
	while (!over) {
		pthread_kill(*(pthread_t *)thread, SIGURG);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void signals(unsigned long count, int flags)
{
	struct sigaction action = {.sa_handler = nothing, .sa_flags = flags};
	struct itimerval often = {{0, 1000}, {0, 1000}};
	pthread_t self = pthread_self(), other;
	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGURG, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	pthread_create(&other, NULL, prod, &self);
	for (unsigned long i = 0; i < count; i++)
		spring();
	over = 1;
	pthread_join(other, NULL);
}

static int scribble(int argc, char **argv)
{
	char *start = argv[0], *stop = argv[argc - 1] + strlen(argv[argc - 1]);
	static const char bytes[] = "\n\"}\\\x1b[2J\xff\x00/bin/sh,{";
	struct timespec now, begin;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	unsigned seed = getpid();
	do {
		for (char *at = start; at < stop; at++)
			*at = bytes[rand_r(&seed) % sizeof bytes];
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < 20);
	return 0;
}

static void await(void)
{
	sigset_t watched;
	int received = 0;
	sigemptyset(&watched);
	sigaddset(&watched, SIGUSR1);
	sigaddset(&watched, SIGUSR2);
	sigaddset(&watched, SIGTERM);
	sigprocmask(SIG_BLOCK, &watched, NULL);
	puts("awaiting");
	fflush(stdout);
	while (sigwait(&watched, &received) == 0 && received != SIGTERM) {
		unsigned long before = counts->refused;
		if (received == SIGUSR1)
			printf("sprung: errno %s\n", strerrorname_np(spring()));
		else {
			execute("/bin/strain");
			puts(counts->refused > before ? "executed: refused" : "executed: ran");
		}
		fflush(stdout);
	}
}

static void await_signal(int number)
{
	sigset_t watched;
	int received;
	sigemptyset(&watched);
	sigaddset(&watched, number);
	sigprocmask(SIG_BLOCK, &watched, NULL);
	puts("ready");
	fflush(stdout);
	sigwait(&watched, &received);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "later")) {
		await_signal(SIGUSR1);
		argv++;
		argc--;
	}
	const char *verb = argc > 1 ? argv[1] : "once";
	struct timespec begin, now;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	int first = argc > 2 ? atoi(argv[2]) : 1;
	unsigned long second = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	struct sigaction action = {.sa_handler = end};
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGTERM, &action, NULL);
	if (!strcmp(verb, "nothing"))
		return 0;
	if (!strcmp(verb, "scribble"))
		return scribble(argc, argv);
	puts("begun");
	fflush(stdout);
	if (!strcmp(verb, "hammer"))
		children(first, second, NULL, 0);
	else if (!strcmp(verb, "execute") && argc == 5)
		children(first, second, argv[4], 0);
	else if (!strcmp(verb, "both") && argc == 4)
		children(first, 0, argv[3], 1);
	else if (!strcmp(verb, "fork"))
		forks(second);
	else if (!strcmp(verb, "signals"))
		signals(first, second ? SA_RESTART : 0);
	else if (!strcmp(verb, "await"))
		await();
	else
		spring();
	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("strain: calls %lu eperm %lu enosys %lu eintr %lu other %lu executed %lu refused %lu"
	       " micros %ld\n",
	       counts->calls, counts->eperm, counts->enosys, counts->eintr, counts->other,
	       counts->executed, counts->refused,
	       (now.tv_sec - begin.tv_sec) * 1000000 + (now.tv_nsec - begin.tv_nsec) / 1000);
	fflush(stdout);
	return 0;
}
