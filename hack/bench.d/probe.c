/*
 * The measured workload, run inside a container:
 *
 *   probe calls        nanoseconds of getppid, and of open + close, medians over batches, one line
 *   probe tripwire N   nanoseconds of each of N refused calls of mount(2), back to back, one a line
 *   probe killed N     nanoseconds from each of N children's call of mount(2) to the child's end
 *   probe execs N      microseconds of fork, execve of /bin/true and wait, median of N, one line
 *   probe work         medians over batches, one line: nanoseconds of getppid and of open + close, microseconds of
 *                      fork, execve and wait, and of one request that a server answers over loopback
 *   probe pulse N      waits; at each SIGUSR1 calls mount(2) N times
 *   probe tripwire-and-stay   calls mount(2) once, then waits
 *   probe stay         waits to be killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES = 31, HOT = 50000, OPENS = 4000, MOST = 4096 };

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, count, sizeof *values, ascending);
	return values[count / 2];
}

/* Medians of so many calls a batch, in nanoseconds. */
static int few_calls(int many, int openings, double *hot_median, double *opens_median)
{
	double hot[BATCHES], opens[BATCHES];
	for (int batch = 0; batch < BATCHES; batch++) {
		long begin = now();
		for (int i = 0; i < many; i++)
			syscall(SYS_getppid);
		hot[batch] = (double)(now() - begin) / many;
		begin = now();
		for (int i = 0; i < openings; i++) {
			int fd = open("/etc/passwd", O_RDONLY);
			if (fd < 0) {
				perror("/etc/passwd");
				return 1;
			}
			close(fd);
		}
		opens[batch] = (double)(now() - begin) / openings;
	}
	*hot_median = median(hot, BATCHES);
	*opens_median = median(opens, BATCHES);
	return 0;
}

static int calls(void)
{
	double hot, opens;
	if (few_calls(HOT, OPENS, &hot, &opens) != 0)
		return 1;
	printf("%.1f %.1f\n", hot, opens);
	return 0;
}

static int tripwire(int count)
{
	static long spent[MOST];
	if (count < 1 || count > MOST)
		return 2;
	for (int i = 0; i < count; i++) {
		long begin = now();
		long result = syscall(SYS_mount, "none", "/", "none", 0, 0);
		spent[i] = now() - begin;
		if (result != -1 || errno != EPERM) {
			perror("mount was not refused with EPERM");
			return 1;
		}
	}
	for (int i = 0; i < count; i++)
		printf("%ld\n", spent[i]);
	return 0;
}

static long trip(void)
{
	return syscall(SYS_mount, "none", "/", "none", 0, 0);
}

static int killed(int count)
{
	long *begin = mmap(NULL, sizeof *begin, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (begin == MAP_FAILED)
		return 1;
	for (int i = 0; i < count; i++) {
		int status;
		pid_t child = fork();
		if (child == 0) {
			*begin = now();
			trip();
			_exit(0);
		}
		waitpid(child, &status, 0);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
			fprintf(stderr, "the child was not killed: %x\n", status);
			return 1;
		}
		printf("%ld\n", now() - *begin);
	}
	return 0;
}

/* The median of so many, in microseconds; below 0: it failed. */
static double spent_on_execs(int count)
{
	static double spent[MOST];
	if (count < 1 || count > MOST)
		return -1;
	for (int i = 0; i < count; i++) {
		int status;
		long begin = now();
		pid_t child = fork();
		if (child == 0) {
			execl("/bin/true", "true", NULL);
			_exit(127);
		}
		waitpid(child, &status, 0);
		spent[i] = (now() - begin) / 1000.0;
		if (status != 0) {
			fprintf(stderr, "/bin/true: status %x\n", status);
			return -1;
		}
	}
	return median(spent, count);
}

static int execs(int count)
{
	double spent = spent_on_execs(count);
	if (spent < 0)
		return 1;
	printf("%.1f\n", spent);
	return 0;
}

/* Answers each connection with a file. */
static void serve(int listener)
{
	char buffer[4096];
	for (;;) {
		int client = accept(listener, NULL, NULL);
		if (client < 0 || read(client, buffer, sizeof buffer) < 0)
			_exit(1);
		int fd = open("/etc/passwd", O_RDONLY);
		ssize_t length = read(fd, buffer, sizeof buffer);
		if (length < 0 || write(client, buffer, length) < 0)
			_exit(1);
		close(fd);
		close(client);
	}
}

/* The median of so many requests, in microseconds; below 0: it failed. */
static double spent_on_requests(int count)
{
	static double spent[MOST];
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 8) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
		perror("no server");
		return -1;
	}
	pid_t server = fork();
	if (server == 0)
		serve(listener);
	for (int i = 0; i < count; i++) {
		char buffer[4096];
		long begin = now();
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&address, size) != 0 || write(fd, "GET", 3) != 3) {
			perror("no request");
			return -1;
		}
		while (read(fd, buffer, sizeof buffer) > 0)
			;
		close(fd);
		spent[i] = (now() - begin) / 1000.0;
	}
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return median(spent, count);
}

static int work(void)
{
	double hot, opens, execs, requests;
	if (few_calls(1000, 200, &hot, &opens) != 0)
		return 1;
	execs = spent_on_execs(100);
	requests = spent_on_requests(300);
	if (execs < 0 || requests < 0)
		return 1;
	printf("%.1f %.1f %.1f %.1f\n", hot, opens, execs, requests);
	return 0;
}

static int pulse(int count)
{
	sigset_t asked;
	int signal;
	sigemptyset(&asked);
	sigaddset(&asked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &asked, NULL);
	while (sigwait(&asked, &signal) == 0)
		for (int i = 0; i < count; i++)
			trip();
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "calls") == 0)
		return calls();
	if (argc == 3 && strcmp(argv[1], "tripwire") == 0)
		return tripwire(atoi(argv[2]));
	if (argc == 3 && strcmp(argv[1], "killed") == 0)
		return killed(atoi(argv[2]));
	if (argc == 3 && strcmp(argv[1], "execs") == 0)
		return execs(atoi(argv[2]));
	if (argc == 2 && strcmp(argv[1], "work") == 0)
		return work();
	if (argc == 3 && strcmp(argv[1], "pulse") == 0)
		return pulse(atoi(argv[2]));
	if (argc == 2 && strcmp(argv[1], "tripwire-and-stay") == 0) {
		trip();
		for (;;)
			pause();
	}
	if (argc == 2 && strcmp(argv[1], "stay") == 0)
		for (;;)
			pause();
	fprintf(stderr, "usage: probe calls | tripwire N | killed N | execs N | work | pulse N | tripwire-and-stay | stay\n");
	return 2;
}
