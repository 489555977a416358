/* The first process of a pod: reaps whatever is handed to it and ends on SIGTERM or SIGINT. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

int main(void)
{
	sigset_t watched;
	sigemptyset(&watched);
	sigaddset(&watched, SIGTERM);
	sigaddset(&watched, SIGINT);
	sigaddset(&watched, SIGCHLD);
	/* Pid 1 gets no signal that it neither handles nor blocks. */
	if (sigprocmask(SIG_BLOCK, &watched, NULL) < 0)
		return EXIT_FAILURE;
	for (;;) {
		int received = 0;
		if (sigwait(&watched, &received) != 0)
			return EXIT_FAILURE;
		if (received == SIGCHLD)
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
		else
			return EXIT_SUCCESS;
	}
}
