/* Attacks that run what was written: every way from bytes to code that the kernel has. */
#include "attack.h"
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

/* How `execute` names the program. */
enum way { BY_PATH, BY_DESCRIPTOR, BY_PROC };

/* Runs a program with the argument `nothing`; its exit code tells whether the kernel ran it. */
static int execute(enum way way, int file, const char *path)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0) {
		char *args[] = {"hostile", "nothing", NULL}, *env[] = {NULL}, link[64];
		snprintf(link, sizeof link, "/proc/self/fd/%d", file);
		if (way == BY_DESCRIPTOR)
			syscall(SYS_execveat, file, "", args, env, AT_EMPTY_PATH);
		else
			execve(way == BY_PROC ? link : path, args, env);
		_exit(errno);
	}
	return outcome(child);
}

static int copy(const char *source, int to)
{
	char block[65536];
	int from = open(source, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return errno;
	for (ssize_t length; (length = read(from, block, sizeof block)) != 0;)
		if (length < 0 || write(to, block, length) != length)
			return errno ? errno : EIO;
	close(from);
	return 0;
}

/* Writes a copy of `source` to `path`. ETXTBSY is ours to avoid: the writer is closed. */
static int drop(const char *source, const char *path)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (file < 0)
		return errno;
	int error = copy(source, file);
	close(file);
	return error;
}

static const char itself[] = "/proc/self/exe";

static int attack_exec(int argc, char **argv)
{
	return execute(BY_PATH, -1, argument(argc, argv, "/bin/hostile"));
}

static int attack_write_exec(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-dropped");
	int error = drop(itself, path);
	if (!error)
		error = execute(BY_PATH, -1, path);
	unlink(path);
	return error;
}

static int attack_shm_exec(int argc, char **argv)
{
	char *path[] = {"/dev/shm/hostile-dropped", NULL};
	return attack_write_exec(1, path);
}

/* Written under one name, executed under another. */
static int moved(int argc, char **argv, int (*move)(const char *, const char *))
{
	const char *from = argument(argc, argv, "/tmp/hostile-moved");
	const char *to = argc > 1 ? argv[1] : "/bin/hostile-moved";
	int error = drop(itself, from);
	if (!error)
		error = answer(move(from, to));
	if (!error)
		error = execute(BY_PATH, -1, to);
	unlink(from);
	unlink(to);
	return error;
}

static int attack_rename_exec(int argc, char **argv)
{
	return moved(argc, argv, rename);
}

static int attack_link_exec(int argc, char **argv)
{
	return moved(argc, argv, link);
}

static int attack_symlink_exec(int argc, char **argv)
{
	return moved(argc, argv, symlink);
}

/* A file that has no name when it is run: unlinked, or never linked. */
static int nameless(int writer, const char *path, enum way way)
{
	char link[64];
	if (writer < 0)
		return errno;
	int error = copy(itself, writer);
	snprintf(link, sizeof link, "/proc/self/fd/%d", writer);
	int reader = open(link, O_RDONLY | O_CLOEXEC);
	if (!error && reader < 0)
		error = errno;
	close(writer);
	if (path)
		unlink(path);
	return error ? error : execute(way, reader, NULL);
}

static int attack_deleted_exec(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-deleted");
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	return nameless(file, path, BY_DESCRIPTOR);
}

static int attack_proc_fd_exec(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-open");
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	return nameless(file, path, BY_PROC);
}

static int attack_tmpfile_exec(int argc, char **argv)
{
	int file = open(argument(argc, argv, "/tmp"), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0755);
	return nameless(file, NULL, BY_DESCRIPTOR);
}

static int attack_memfd_exec(int argc, char **argv)
{
	int file = memfd_create("hostile", MFD_CLOEXEC);
	if (file < 0)
		return errno;
	int error = copy(itself, file);
	return error ? error : execute(BY_DESCRIPTOR, file, NULL);
}

/* The one kind of memfd that `restricted` leaves: born without the x bit, sealed against it. */
static int attack_sealed_memfd_exec(int argc, char **argv)
{
	int file = memfd_create("hostile", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	if (file < 0)
		return errno;
	int error = copy(itself, file);
	fchmod(file, 0755);
	return error ? error : execute(BY_DESCRIPTOR, file, NULL);
}

static int write_script(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (file < 0)
		return errno;
	int error = answer(write(file, text, strlen(text)));
	close(file);
	return error;
}

/* Executes a written script; the kernel reads its first line. */
static int attack_script_exec(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-script");
	int error = write_script(path, "#!/bin/busybox sh\nexit 0\n");
	if (!error)
		error = execute(BY_PATH, -1, path);
	unlink(path);
	return error;
}

/* Has an interpreter of the image read a written script. */
static int attack_interpret(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-script");
	int error = write_script(path, "exit 0\n");
	pid_t child = error ? -1 : fork();
	if (child == 0) {
		execl("/bin/busybox", "sh", path, NULL);
		_exit(errno);
	}
	if (!error)
		error = child < 0 ? errno : outcome(child);
	unlink(path);
	return error;
}

/* Has the image's loader do its work; it says on standard error what we do not want to read. */
static int load(char *const *args)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0) {
		close(2);
		execv(args[0], args);
		_exit(errno);
	}
	int error = outcome(child);
	/* 1 and 127 are what the program and the loader answer where the bytes did not run. */
	return error == 127 || error == 1 ? EACCES : error;
}

static int load_dropped(const char *source, const char *path, char *const *args)
{
	int error = drop(source, path);
	if (!error)
		error = load(args);
	unlink(path);
	return error;
}

/* A memfd that can never be executed, with SOURCE in it; its name in /proc goes to `path`. */
static int sealed_memfd(const char *source, char *path, size_t length)
{
	int file = memfd_create("hostile", MFD_NOEXEC_SEAL);
	if (file < 0)
		return errno;
	snprintf(path, length, "/proc/self/fd/%d", file);
	return copy(source, file);
}

#define LOADER "/lib64/ld-linux-x86-64.so.2"

static int attack_loader(int argc, char **argv)
{
	char *path = argc > 0 ? argv[0] : "/tmp/hostile-dynamic";
	char *args[] = {LOADER, path, "nothing", NULL};
	return load_dropped("/bin/hostile-dynamic", path, args);
}

static int attack_preload(int argc, char **argv)
{
	char *path = argc > 0 ? argv[0] : "/tmp/hostile-library.so";
	char *args[] = {LOADER, "--preload", path, "/bin/hostile-dynamic", NULL};
	return load_dropped("/lib/hostile-library.so", path, args);
}

static int attack_loader_memfd(int argc, char **argv)
{
	char path[64], *args[] = {LOADER, path, "nothing", NULL};
	int error = sealed_memfd("/bin/hostile-dynamic", path, sizeof path);
	return error ? error : load(args);
}

static int attack_preload_memfd(int argc, char **argv)
{
	char path[64], *args[] = {LOADER, "--preload", path, "/bin/hostile-dynamic", NULL};
	int error = sealed_memfd("/lib/hostile-library.so", path, sizeof path);
	return error ? error : load(args);
}

/* Maps a written file as code: execution without execve. */
static int attack_map_exec(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-mapped");
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (file < 0)
		return errno;
	int error = answer(ftruncate(file, 4096));
	if (!error && mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) == MAP_FAILED)
		error = errno;
	unlink(path);
	return error;
}

/* The same in two steps: mapped as data, made code later. */
static int attack_map_late(int argc, char **argv)
{
	const char *path = argument(argc, argv, "/tmp/hostile-mapped");
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (file < 0)
		return errno;
	int error = answer(ftruncate(file, 4096));
	void *page = error ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
	if (!error)
		error = page == MAP_FAILED ? errno : answer(mprotect(page, 4096, PROT_READ | PROT_EXEC));
	unlink(path);
	return error;
}

/* Calls what it wrote into `page`: a lone `ret`. */
static int call_written(void *page, int late)
{
	if (page == MAP_FAILED)
		return errno;
	*(unsigned char *)page = 0xc3;
	if (late && mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0)
		return errno;
	((void (*)(void))page)();
	return 0;
}

static int attack_map_memfd(int argc, char **argv)
{
	int file = memfd_create("hostile", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	if (file < 0 || ftruncate(file, 4096) < 0)
		return errno;
	int all = PROT_READ | PROT_WRITE | PROT_EXEC;
	return call_written(mmap(NULL, 4096, all, MAP_SHARED, file, 0), 0);
}

static int attack_map_anonymous(int argc, char **argv)
{
	int all = PROT_READ | PROT_WRITE | PROT_EXEC, kind = MAP_PRIVATE | MAP_ANONYMOUS;
	return call_written(mmap(NULL, 4096, all, kind, -1, 0), 0);
}

static int attack_mprotect(int argc, char **argv)
{
	int kind = MAP_PRIVATE | MAP_ANONYMOUS;
	return call_written(mmap(NULL, 4096, PROT_READ | PROT_WRITE, kind, -1, 0), 1);
}

static int attack_shmat_exec(int argc, char **argv)
{
	int segment = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0700);
	if (segment < 0)
		return errno;
	void *page = shmat(segment, NULL, SHM_EXEC);
	shmctl(segment, IPC_RMID, NULL);
	return call_written(page, 0);
}

/* Worked when a set-uid-root program of the image really ran as root. */
static int attack_setuid_exec(int argc, char **argv)
{
	pid_t child = fork();
	if (child < 0)
		return errno;
	if (child == 0) {
		execl(argument(argc, argv, "/bin/hostile-setuid"), "hostile", "euid-zero", NULL);
		_exit(errno);
	}
	return outcome(child);
}

const struct attack execute_attacks[] = {
	{"exec", attack_exec, "execute PATH"},
	{"write-exec", attack_write_exec, "write a program to PATH and execute it"},
	{"shm-exec", attack_shm_exec, "the same in /dev/shm"},
	{"rename-exec", attack_rename_exec, "write it to FROM, move it to TO (/bin), execute it"},
	{"link-exec", attack_link_exec, "the same by a hard link"},
	{"symlink-exec", attack_symlink_exec, "the same by a symbolic link"},
	{"deleted-exec", attack_deleted_exec, "execute a written PATH after its name is gone"},
	{"proc-fd-exec", attack_proc_fd_exec, "the same through /proc/self/fd"},
	{"tmpfile-exec", attack_tmpfile_exec, "execute a file of DIRECTORY that never had a name"},
	{"memfd-exec", attack_memfd_exec, "execute a program that is in no file"},
	{"memfd-noexec", attack_sealed_memfd_exec, "the same, of a memfd sealed against it"},
	{"script-exec", attack_script_exec, "write a script to PATH and execute it"},
	{"interpret", attack_interpret, "have sh read a script written to PATH"},
	{"loader", attack_loader, "have ld.so run a program written to PATH"},
	{"preload", attack_preload, "have ld.so load a library written to PATH"},
	{"loader-memfd", attack_loader_memfd, "have ld.so run a memfd that is sealed against it"},
	{"preload-memfd", attack_preload_memfd, "have ld.so load such a memfd"},
	{"map-exec", attack_map_exec, "map a written file PATH as code"},
	{"map-late", attack_map_late, "map it as data and make that code"},
	{"map-memfd", attack_map_memfd, "run code in a mapped memfd"},
	{"map-anonymous", attack_map_anonymous, "run code in memory that is writable too"},
	{"mprotect", attack_mprotect, "run code in memory that was writable"},
	{"shmat-exec", attack_shmat_exec, "run code in a System V segment"},
	{"setuid-exec", attack_setuid_exec, "become root through a set-uid program"},
	{NULL, NULL, NULL},
};
