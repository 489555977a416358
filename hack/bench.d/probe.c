/*
 * The measured workload, run inside a container:
 *
 *   probe calls        nanoseconds of getppid, and of open + close, medians over batches, one line
 *   probe tripwire N   nanoseconds of each of N refused calls of mount(2), back to back, one a line
 *   probe stay         waits to be killed
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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

static int calls(void)
{
	double hot[BATCHES], opens[BATCHES];
	for (int batch = 0; batch < BATCHES; batch++) {
		long begin = now();
		for (int i = 0; i < HOT; i++)
			syscall(SYS_getppid);
		hot[batch] = (double)(now() - begin) / HOT;
		begin = now();
		for (int i = 0; i < OPENS; i++) {
			int fd = open("/etc/passwd", O_RDONLY);
			if (fd < 0) {
				perror("/etc/passwd");
				return 1;
			}
			close(fd);
		}
		opens[batch] = (double)(now() - begin) / OPENS;
	}
	printf("%.1f %.1f\n", median(hot, BATCHES), median(opens, BATCHES));
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

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "calls") == 0)
		return calls();
	if (argc == 3 && strcmp(argv[1], "tripwire") == 0)
		return tripwire(atoi(argv[2]));
	if (argc == 2 && strcmp(argv[1], "stay") == 0)
		for (;;)
			pause();
	fprintf(stderr, "usage: probe calls | tripwire N | stay\n");
	return 2;
}
