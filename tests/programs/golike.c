/* golike: what a Go service does, without Go: one static program, threads by raw clone(2), a scheduler
 * of futexes, a poller of epoll, signals on stacks of their own, and no libc between it and the kernel.
 *
 *     golike PORT N    serves on loopback and asks itself N times: "golike: N answers"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS 6
#define STACK (256 * 1024)

static long call6(long nr, long a, long b, long c, long d, long e, long f)
{
	long answer;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(answer)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return answer;
}
#define CALL(nr, ...) CALL_(SYS_##nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(nr, a, b, c, d, e, f, ...) \
	call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static void say(const char *text)
{
	long length = 0;
	while (text[length])
		length++;
	CALL(write, 1, text, length);
}

static void say_number(long number)
{
	char text[24];
	int at = sizeof text;
	text[--at] = 0;
	do
		text[--at] = '0' + number % 10;
	while ((number /= 10) > 0);
	say(text + at);
}

static long must(long answer, const char *what)
{
	if (answer >= 0)
		return answer;
	say("golike: ");
	say(what);
	say(": errno ");
	say_number(-answer);
	say("\n");
	CALL(exit_group, 1);
	return answer;
}

/* A futex that is raised once and lowered by whoever waits: Go's note. */
static void wake(int *note)
{
	__atomic_store_n(note, 1, __ATOMIC_SEQ_CST);
	CALL(futex, note, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

static void await(int *note)
{
	struct timespec soon = {.tv_sec = 60};
	while (!__atomic_exchange_n(note, 0, __ATOMIC_SEQ_CST))
		CALL(futex, note, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, &soon);
}

static int poller, listener, stop;
static long answers, wanted;
static uint16_t port;
static int notes[THREADS], done, preempted;

static void urgent(int number)
{
	__atomic_add_fetch(&preempted, 1, __ATOMIC_SEQ_CST);
}

/* A thread whose stack and signal stack are pages of ours. */
static long spawn(int (*body)(void *), void *argument)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_SYSVSEM | CLONE_THREAD;
	char *stack = (char *)CALL(mmap, 0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must((long)stack, "a stack");
	/* The wrapper only moves the arguments to the new stack. */
	return clone(body, stack + STACK, flags, argument);
}

static void own_signal_stack(void)
{
	stack_t alternate = {.ss_size = 64 * 1024};
	alternate.ss_sp = (void *)CALL(mmap, 0, alternate.ss_size, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(CALL(sigaltstack, &alternate, 0), "sigaltstack");
}

static int worker(void *argument)
{
	int own = (int)(intptr_t)argument;
	own_signal_stack();
	for (;;) {
		await(&notes[own]);
		if (__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
			break;
		CALL(sched_yield);
		__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	}
	CALL(exit, 0);
	return 0;
}

/* What netpoll does: one epoll for everything, edge triggered. */
static int serve(void *argument)
{
	struct epoll_event ready[16];
	own_signal_stack();
	for (;;) {
		long count = CALL(epoll_pwait, poller, ready, 16, 100, 0, 8);
		if (__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
			break;
		for (long i = 0; i < count; i++) {
			char line[64];
			if (ready[i].data.fd != listener) {
				long got = CALL(read, ready[i].data.fd, line, sizeof line);
				if (got > 0)
					CALL(write, ready[i].data.fd, "pong\n", 5);
				else if (got != -EAGAIN)
					CALL(close, ready[i].data.fd);
				continue;
			}
			for (;;) {
				long peer = CALL(accept4, listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
				if (peer < 0)
					break;
				int yes = 1;
				CALL(setsockopt, peer, IPPROTO_TCP, 1, &yes, sizeof yes);
				struct epoll_event in = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = (int)peer};
				must(CALL(epoll_ctl, poller, EPOLL_CTL_ADD, peer, &in), "epoll_ctl");
			}
		}
	}
	CALL(exit, 0);
	return 0;
}

static void ask(void)
{
	struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port)};
	char line[8] = {0};
	there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	long one = must(CALL(socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
	must(CALL(connect, one, &there, sizeof there), "connect");
	must(CALL(write, one, "ping\n", 5), "ask");
	if (must(CALL(read, one, line, sizeof line), "answer") == 5 && line[1] == 'o')
		answers++;
	CALL(close, one);
}

/* Files that the runtime reads before main: huge pages, the number of processors, the backlog. */
static void look_around(void)
{
	static const char *const files[] = {"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
					    "/proc/sys/net/core/somaxconn", "/etc/hosts", "/etc/resolv.conf",
					    "/no/such/zoneinfo"};
	char text[256];
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
		long file = CALL(openat, AT_FDCWD, files[i], O_RDONLY | O_CLOEXEC);
		if (file == -ENOENT)
			continue;
		/* Go goes on without; whoever watches this one wants to know. */
		must(file, files[i]);
		while (CALL(read, file, text, sizeof text) > 0)
			;
		CALL(close, file);
	}
	must(CALL(sched_getaffinity, 0, sizeof text, text), "processors");
	must(CALL(getrandom, text, 16, 0), "getrandom");
}

static void arena(void)
{
	long size = 64L << 20;
	char *all = (char *)CALL(mmap, 0, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must((long)all, "an arena");
	must(CALL(mprotect, all, 1 << 20, PROT_READ | PROT_WRITE), "a part of it");
	all[4096] = 1;
	must(CALL(madvise, all, 1 << 20, MADV_DONTNEED), "madvise");
	must(CALL(munmap, all, size), "munmap");
}

static void handle(int number, void (*handler)(int))
{
	struct sigaction own = {.sa_handler = handler, .sa_flags = SA_RESTART | SA_ONSTACK};
	/* The one call that a library makes for us: it knows how a handler returns. */
	sigaction(number, &own, 0);
}

static long number(const char *text)
{
	long value = 0;
	while (*text >= '0' && *text <= '9')
		value = value * 10 + *text++ - '0';
	return value;
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {.sin_family = AF_INET};
	int yes = 1;
	if (argc < 3) {
		say("golike PORT N\n");
		return 2;
	}
	port = number(argv[1]);
	wanted = number(argv[2]);
	look_around();
	arena();
	handle(SIGURG, urgent);
	own_signal_stack();
	poller = must(CALL(epoll_create1, EPOLL_CLOEXEC), "epoll");
	int wakes = must(CALL(eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
	struct epoll_event in = {.events = EPOLLIN, .data.fd = wakes};
	must(CALL(epoll_ctl, poller, EPOLL_CTL_ADD, wakes, &in), "epoll_ctl");
	listener = must(CALL(socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
	must(CALL(setsockopt, listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), "setsockopt");
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	here.sin_port = htons(port);
	must(CALL(bind, listener, &here, sizeof here), "bind");
	must(CALL(listen, listener, 128), "listen");
	in.data.fd = listener;
	in.events = EPOLLIN | EPOLLET;
	must(CALL(epoll_ctl, poller, EPOLL_CTL_ADD, listener, &in), "epoll_ctl");
	must(spawn(serve, 0), "the poller's thread");
	long threads[THREADS];
	for (long i = 0; i < THREADS; i++)
		threads[i] = must(spawn(worker, (void *)i), "a thread");
	long pid = CALL(getpid);
	for (long i = 0; i < wanted; i++) {
		ask();
		wake(&notes[i % THREADS]);
		/* Preemption, as Go's since 1.14. */
		must(CALL(tgkill, pid, threads[i % THREADS], SIGURG), "tgkill");
	}
	struct timespec moment = {.tv_nsec = 1000000};
	for (int i = 0; i < 5000 && (__atomic_load_n(&done, __ATOMIC_SEQ_CST) == 0 ||
				     __atomic_load_n(&preempted, __ATOMIC_SEQ_CST) == 0); i++)
		CALL(nanosleep, &moment, 0);
	say("golike: ");
	say_number(answers);
	say(" answers\n");
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < THREADS; i++)
		wake(&notes[i]);
	CALL(exit_group, answers == wanted && done > 0 && preempted > 0 ? 0 : 1);
	return 0;
}
