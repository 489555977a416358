/* A program that is served by another process: fuse FOLDER PROGRAM
 *
 * In a mount namespace of its own, mounts a file system at FOLDER whose only file, `program`, has the
 * content of PROGRAM, opens it as descriptor 7, makes FOLDER its working directory, says the pid of
 * the process that serves it, and executes it. Nothing is cached of attributes: to ask for one is to ask
 * that process. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILE_NODE = 2, LARGEST = 1 << 17 };

static int device, content;
static struct stat what;

static void need(int holds, const char *name) {
	if (!holds) {
		perror(name);
		exit(1);
	}
}

static void attributes(uint64_t node, struct fuse_attr *out) {
	memset(out, 0, sizeof *out);
	out->ino = node;
	out->nlink = 1;
	out->blksize = 4096;
	out->mode = node == FILE_NODE ? S_IFREG | 0755 : S_IFDIR | 0755;
	out->size = node == FILE_NODE ? what.st_size : 0;
}

static void answer(uint64_t unique, int error, const void *bytes, size_t size) {
	struct fuse_out_header head = {sizeof head + size, error, unique};
	struct iovec parts[] = {{&head, sizeof head}, {(void *)bytes, size}};
	/* ENOENT: whoever asked was interrupted. */
	need(writev(device, parts, size ? 2 : 1) >= 0 || errno == ENOENT, "answer");
}

static void serve(const struct fuse_in_header *in, const void *request) {
	static char block[LARGEST];
	switch (in->opcode) {
	case FUSE_INIT: {
		struct fuse_init_out out = {.major = 7, .minor = 31, .max_write = 4096};
		return answer(in->unique, 0, &out, sizeof out);
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out out = {.nodeid = FILE_NODE, .generation = 1};
		if (strcmp(request, "program"))
			return answer(in->unique, -ENOENT, NULL, 0);
		attributes(FILE_NODE, &out.attr);
		return answer(in->unique, 0, &out, sizeof out);
	}
	case FUSE_GETATTR: {
		struct fuse_attr_out out = {0};
		attributes(in->nodeid, &out.attr);
		return answer(in->unique, 0, &out, sizeof out);
	}
	case FUSE_OPEN: {
		struct fuse_open_out out = {0};
		return answer(in->unique, 0, &out, sizeof out);
	}
	case FUSE_READ: {
		const struct fuse_read_in *read = request;
		size_t size = read->size < LARGEST ? read->size : LARGEST;
		ssize_t count = pread(content, block, size, read->offset);
		return answer(in->unique, count < 0 ? -errno : 0, block, count < 0 ? 0 : count);
	}
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		return answer(in->unique, 0, NULL, 0);
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		return answer(in->unique, -ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv) {
	static char buffer[LARGEST + 4096];
	char options[128], path[4096];
	need(argc == 3, "usage");
	content = open(argv[2], O_RDONLY | O_CLOEXEC);
	need(content >= 0 && fstat(content, &what) == 0, argv[2]);
	need(unshare(CLONE_NEWNS) == 0, "unshare");
	need(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
	device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	need(device >= 0, "/dev/fuse");
	sprintf(options, "fd=%d,rootmode=40755,user_id=0,group_id=0", device);
	need(mount("fuse", argv[1], "fuse", MS_NODEV, options) == 0, "mount");

	pid_t parent = getpid(), child = fork();
	need(child >= 0, "fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			return 1;
		for (;;) {
			ssize_t count = read(device, buffer, sizeof buffer);
			if (count < 0 && errno == ENODEV)
				return 0;
			need(count >= 0 || errno == ENOENT || errno == EINTR, "read");
			if (count > 0)
				serve((void *)buffer, buffer + sizeof(struct fuse_in_header));
		}
	}
	need(chdir(argv[1]) == 0, argv[1]);
	need(dup2(open("program", O_RDONLY), 7) == 7, "program");
	snprintf(path, sizeof path, "%s/program", argv[1]);
	printf("%d\n", child);
	fflush(stdout);
	execl(path, path, "60", NULL);
	need(0, path);
}
