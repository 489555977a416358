/* harmless: what well-behaved programs do, and facts about the process that asks.
 *
 *     harmless work           threads, pipes, sockets, timers, files, fork and exec: "work: ok"
 *     harmless write PATH TEXT | read PATH | sleep SECONDS | exit CODE | echo TEXT...
 *     harmless serve PORT     answers each TCP connection on loopback with what it says
 *     harmless connect PORT   worked when a connection to loopback was made
 *     harmless attempt PATH...  becomes the first that the kernel takes, told to "exit 0"
 *     harmless talk KIND PROGRAM...  becomes PROGRAM with a tcp, unix or pipe as standard input
 *     harmless stay           until SIGTERM, reaping children
 *     harmless status|fds|env|argv|limits|signals|mounts|cgroup|cwd
 */
#include "attack.h"
#include <netinet/in.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>

int outcome(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, 0) < 0)
		return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void must(int good, const char *what)
{
	if (good)
		return;
	printf("work: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *count(void *number)
{
	__atomic_add_fetch((int *)number, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void threads(void)
{
	pthread_t made[8];
	int number = 0;
	for (int i = 0; i < 8; i++)
		must(pthread_create(&made[i], NULL, count, &number) == 0, "thread");
	for (int i = 0; i < 8; i++)
		pthread_join(made[i], NULL);
	must(number == 8, "threads counted");
}

static void waiting(void)
{
	struct itimerspec soon = {.it_value.tv_nsec = 1000000};
	struct epoll_event event = {.events = EPOLLIN};
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), wake = eventfd(1, EFD_CLOEXEC);
	int poller = epoll_create1(EPOLL_CLOEXEC);
	must(timer >= 0 && wake >= 0 && poller >= 0, "timerfd, eventfd, epoll");
	must(timerfd_settime(timer, 0, &soon, NULL) == 0, "timer");
	must(epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event) == 0, "epoll_ctl");
	must(epoll_wait(poller, &event, 1, 5000) == 1, "epoll_wait");
}

static void sockets(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int pair[2], listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte = 0;
	must(listener >= 0, "socket");
	must(bind(listener, (struct sockaddr *)&here, sizeof here) == 0 || errno == EACCES, "bind");
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	must(send(pair[0], "x", 1, MSG_NOSIGNAL) == 1 && recv(pair[1], &byte, 1, 0) == 1, "send");
	must(byte == 'x', "what was sent");
}

static void memory(void)
{
	char *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(page != MAP_FAILED, "mmap");
	memset(page, 7, 1 << 20);
	must(mprotect(page, 4096, PROT_READ) == 0 && munmap(page, 1 << 20) == 0, "mprotect");
}

static void children(void)
{
	int ends[2];
	char line[32] = {0};
	must(pipe(ends) == 0, "pipe");
	pid_t child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		dup2(ends[1], 1);
		execl("/proc/self/exe", "harmless", "echo", "from a child", NULL);
		_exit(127);
	}
	must(outcome(child) == 0, "a child executed");
	must(read(ends[0], line, sizeof line - 1) > 0 && !strcmp(line, "from a child\n"), "its line");
}

static int work(void)
{
	threads();
	waiting();
	sockets();
	memory();
	children();
	puts("work: ok");
	return 0;
}

static int write_text(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (file < 0)
		return errno;
	return write(file, text, strlen(text)) < 0 ? errno : 0;
}

static struct sockaddr_in loopback(const char *port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(atoi(port)),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int serve(const char *port)
{
	struct sockaddr_in here = loopback(port);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	char block[4096];
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 64) < 0)
		return errno;
	puts("serving");
	fflush(stdout);
	for (;;) {
		int peer = accept(listener, NULL, NULL);
		for (ssize_t got; peer >= 0 && (got = read(peer, block, sizeof block)) > 0;)
			if (write(peer, block, got) != got)
				break;
		close(peer);
	}
}

static int connect_to(const char *port)
{
	struct sockaddr_in there = loopback(port);
	int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(stream, (struct sockaddr *)&there, sizeof there) < 0 ? errno : 0;
}

static int attempt(char **paths)
{
	for (; *paths; paths++) {
		char *args[] = {*paths, "exit", "0", NULL}, *env[] = {NULL};
		execve(*paths, args, env);
	}
	return errno;
}

static int connected(void)
{
	struct sockaddr_in here = loopback("0");
	socklen_t size = sizeof here;
	struct sockaddr *any = (struct sockaddr *)&here;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, any, size) < 0 || listen(listener, 1) < 0)
		return -1;
	if (getsockname(listener, any, &size) < 0 || connect(stream, any, size) < 0)
		return -1;
	return stream;
}

static int talk(const char *kind, char **program)
{
	int ends[2] = {-1, -1};
	if (!strcmp(kind, "unix"))
		must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
	else if (!strcmp(kind, "pipe"))
		must(pipe(ends) == 0, "pipe");
	else
		must((ends[0] = connected()) >= 0, "connect");
	if (dup2(ends[0], 0) == 0)
		execvp(program[0], program);
	return errno;
}

static int stay(void)
{
	sigset_t watched;
	int received;
	sigemptyset(&watched);
	sigaddset(&watched, SIGTERM);
	sigaddset(&watched, SIGCHLD);
	sigprocmask(SIG_BLOCK, &watched, NULL);
	puts("staying");
	fflush(stdout);
	while (sigwait(&watched, &received) == 0 && received == SIGCHLD)
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	return 0;
}

static int echo(char **words)
{
	for (; *words; words++)
		printf("%s%c", *words, words[1] ? ' ' : '\n');
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "work";
	const char *first = argc > 2 ? argv[2] : "0";
	int code;
	if (!strcmp(verb, "work"))
		code = work();
	else if (!strcmp(verb, "echo"))
		code = echo(argv + 2);
	else if (!strcmp(verb, "write") && argc == 4)
		code = write_text(first, argv[3]);
	else if (!strcmp(verb, "sleep"))
		code = sleep(atoi(first));
	else if (!strcmp(verb, "exit"))
		code = atoi(first);
	else if (!strcmp(verb, "serve"))
		code = serve(first);
	else if (!strcmp(verb, "connect"))
		code = connect_to(first);
	else if (!strcmp(verb, "attempt"))
		code = attempt(argv + 2);
	else if (!strcmp(verb, "talk") && argc > 3)
		code = talk(first, argv + 3);
	else if (!strcmp(verb, "stay"))
		code = stay();
	else if ((code = inspect(verb, argc - 2, argv + 2)) < 0) {
		fprintf(stderr, "harmless: unknown verb \"%s\"\n", verb);
		return 255;
	}
	if (code != 0 && strcmp(verb, "exit"))
		fprintf(stderr, "harmless: %s: %s\n", verb, strerror(code));
	return code;
}
