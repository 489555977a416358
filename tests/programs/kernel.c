/* Attacks that ask the kernel for something no ordinary workload needs. None of them harms the
 * machine even where it is permitted: magic numbers are wrong, values are those already set. */
#include "attack.h"
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sys/klog.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/time.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <stddef.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static int attack_bpf(int argc, char **argv)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1,
	};
	return answer(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static int attack_perf(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_TASK_CLOCK,
		.exclude_kernel = 1, .exclude_hv = 1,
	};
	return answer(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static int attack_keyctl(int argc, char **argv)
{
	return answer(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1));
}

static int attack_add_key(int argc, char **argv)
{
	return answer(syscall(SYS_add_key, "user", "mantlet:test", "x", 1,
			      KEY_SPEC_PROCESS_KEYRING));
}

static int attack_request_key(int argc, char **argv)
{
	return answer(syscall(SYS_request_key, "user", "mantlet:test", NULL,
			      KEY_SPEC_PROCESS_KEYRING));
}

static int attack_io_uring(int argc, char **argv)
{
	struct io_uring_params params = {0};
	return answer(syscall(SYS_io_uring_setup, 4, &params));
}

/* Not a module: where loading is permitted the kernel answers ENOEXEC. */
static int attack_init_module(int argc, char **argv)
{
	static char image[64];
	return answer(syscall(SYS_init_module, image, sizeof image, ""));
}

static int attack_finit_module(int argc, char **argv)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	return file < 0 ? errno : answer(syscall(SYS_finit_module, file, "", 0));
}

static int attack_delete_module(int argc, char **argv)
{
	return answer(syscall(SYS_delete_module, "mantlet_no_such_module", O_NONBLOCK));
}

/* Unknown flags: EINVAL where the capability is there, and nothing is loaded or unloaded. */
static int attack_kexec(int argc, char **argv)
{
	return answer(syscall(SYS_kexec_load, 0UL, 0UL, NULL, 0xdeadUL));
}

/* Wrong magic: EINVAL where the capability is there. */
static int attack_reboot(int argc, char **argv)
{
	return answer(syscall(SYS_reboot, 1, 2, 3, NULL));
}

static int attack_swapon(int argc, char **argv)
{
	return answer(swapon("/mantlet/no/such/file", 0));
}

static int attack_userfaultfd(int argc, char **argv)
{
	return answer(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
}

static int attack_personality(int argc, char **argv)
{
	return answer(personality(ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC));
}

static int attack_syslog(int argc, char **argv)
{
	char line[256];
	return answer(klogctl(3, line, sizeof line));
}

/* Sets nothing: both pointers are NULL, but the capability is asked for. */
static int attack_settime(int argc, char **argv)
{
	return answer(syscall(SYS_settimeofday, NULL, NULL));
}

/* To the name it already has. */
static int attack_sethostname(int argc, char **argv)
{
	char name[65] = {0};
	if (gethostname(name, sizeof name - 1) < 0)
		return errno;
	return answer(sethostname(name, strlen(name)));
}

static int attack_raw_socket(int argc, char **argv)
{
	return answer(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
}

static int attack_packet_socket(int argc, char **argv)
{
	return answer(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int attack_alg_socket(int argc, char **argv)
{
	return answer(socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
}

static int attack_vsock(int argc, char **argv)
{
	return answer(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/* A TCP socket and an address of loopback, or of any where `port` is bound. */
static int tcp(int family, const char *port, int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(atoi(port)),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port)),
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int stream = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (stream < 0)
		return errno;
	int error = answer(family == AF_INET ? call(stream, (struct sockaddr *)&four, sizeof four)
					     : call(stream, (struct sockaddr *)&six, sizeof six));
	close(stream);
	/* Nobody listens: the call got as far as the network. */
	return error == ECONNREFUSED ? 0 : error;
}

static int attack_bind4(int argc, char **argv)
{
	return tcp(AF_INET, argument(argc, argv, "0"), bind);
}

static int attack_bind6(int argc, char **argv)
{
	return tcp(AF_INET6, argument(argc, argv, "0"), bind);
}

static int attack_connect4(int argc, char **argv)
{
	return tcp(AF_INET, argument(argc, argv, "1"), connect);
}

static int attack_connect6(int argc, char **argv)
{
	return tcp(AF_INET6, argument(argc, argv, "1"), connect);
}

/* A UNIX stream socket by NAME: `@name` is abstract, a path is not. */
static int unix_socket(const char *name, struct sockaddr_un *address, socklen_t *length)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	strncpy(address->sun_path, name, sizeof address->sun_path - 1);
	*length = offsetof(struct sockaddr_un, sun_path) + strlen(address->sun_path);
	if (*name == '@')
		address->sun_path[0] = 0;
	else
		++*length;
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int attack_connect_unix(int argc, char **argv)
{
	struct sockaddr_un there;
	socklen_t length;
	int stream = unix_socket(argument(argc, argv, "@hostile"), &there, &length);
	return stream < 0 ? errno : answer(connect(stream, (struct sockaddr *)&there, length));
}

/* Listens until it is killed. */
static int attack_listen_unix(int argc, char **argv)
{
	struct sockaddr_un here;
	socklen_t length;
	int stream = unix_socket(argument(argc, argv, "@hostile"), &here, &length);
	if (stream < 0 || bind(stream, (struct sockaddr *)&here, length) < 0 || listen(stream, 8) < 0)
		return errno;
	puts("listening");
	fflush(stdout);
	for (;;)
		pause();
}

const struct attack kernel_attacks[] = {
	{"bpf", attack_bpf, "create a BPF map"},
	{"perf", attack_perf, "open a performance counter on itself"},
	{"keyctl", attack_keyctl, "reach the session keyring"},
	{"add-key", attack_add_key, "add a key to the process keyring"},
	{"request-key", attack_request_key, "ask for a key"},
	{"io-uring", attack_io_uring, "set up an io_uring"},
	{"init-module", attack_init_module, "load bytes as a module"},
	{"finit-module", attack_finit_module, "load a file as a module"},
	{"delete-module", attack_delete_module, "unload a module that is not there"},
	{"kexec", attack_kexec, "kexec_load with unknown flags"},
	{"reboot", attack_reboot, "reboot(2) with wrong magic"},
	{"swapon", attack_swapon, "swap to a file that is not there"},
	{"userfaultfd", attack_userfaultfd, "handle its own page faults"},
	{"personality", attack_personality, "turn address randomisation off"},
	{"syslog", attack_syslog, "read the kernel's log"},
	{"settime", attack_settime, "set the clock (to nothing)"},
	{"sethostname", attack_sethostname, "set the host name (to itself)"},
	{"raw-socket", attack_raw_socket, "open a raw ICMP socket"},
	{"packet-socket", attack_packet_socket, "open a packet socket"},
	{"alg-socket", attack_alg_socket, "open a kernel crypto socket"},
	{"vsock", attack_vsock, "open a socket to the hypervisor"},
	{"bind4", attack_bind4, "bind the TCP port PORT (0) of 127.0.0.1"},
	{"bind6", attack_bind6, "bind the TCP port PORT (0) of ::1"},
	{"connect4", attack_connect4, "connect to the TCP port PORT (1) of 127.0.0.1"},
	{"connect6", attack_connect6, "connect to the TCP port PORT (1) of ::1"},
	{"connect-unix", attack_connect_unix, "connect to the UNIX socket NAME (@hostile)"},
	{"listen-unix", attack_listen_unix, "listen on the UNIX socket NAME (@hostile)"},
	{NULL, NULL, NULL},
};
