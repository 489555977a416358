/* Attacks through sockets: families with a history, and addresses without a file's permissions. */
#include "attack.h"
#include <linux/audit.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

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

/* FAMILY, a number. What the kernel lacks answers EAFNOSUPPORT by itself. */
static int attack_family(int argc, char **argv)
{
	int family = atoi(argument(argc, argv, "1"));
	int kind = argc > 1 ? atoi(argv[1]) : SOCK_DGRAM;
	return answer(socket(family, kind | SOCK_CLOEXEC, 0));
}

/* Asks the audit subsystem for its state. */
static int attack_audit(int argc, char **argv)
{
	struct {
		struct nlmsghdr head;
		struct audit_status status;
	} request = {
		.head = {.nlmsg_len = sizeof request, .nlmsg_type = AUDIT_GET,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[512];
	} reply = {0};
	int socket_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
	if (socket_ < 0 || send(socket_, &request, sizeof request, 0) < 0)
		return errno;
	if (recv(socket_, &reply, sizeof reply, 0) < 0)
		return errno;
	return reply.head.nlmsg_type == NLMSG_ERROR ? -reply.error.error : 0;
}

/* Forges an event of the kernel's for every listener in this network namespace. */
static int attack_uevent(int argc, char **argv)
{
	static const char event[] = "add@/mantlet\0ACTION=add\0DEVPATH=/mantlet\0SUBSYSTEM=test";
	struct sockaddr_nl all = {.nl_family = AF_NETLINK, .nl_groups = 1};
	int socket_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	if (socket_ < 0)
		return errno;
	/* ECONNREFUSED: it was sent, and nobody listens. */
	return reached(sendto(socket_, event, sizeof event, 0, (struct sockaddr *)&all, sizeof all),
		       ECONNREFUSED);
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

const struct attack network_attacks[] = {
	{"raw-socket", attack_raw_socket, "open a raw ICMP socket"},
	{"packet-socket", attack_packet_socket, "open a packet socket"},
	{"alg-socket", attack_alg_socket, "open a kernel crypto socket"},
	{"vsock", attack_vsock, "open a socket to the hypervisor"},
	{"family", attack_family, "open a socket of FAMILY and TYPE, numbers"},
	{"audit", attack_audit, "ask the kernel's audit for its state"},
	{"uevent", attack_uevent, "forge an event of the kernel's"},
	{"bind4", attack_bind4, "bind the TCP port PORT (0) of 127.0.0.1"},
	{"bind6", attack_bind6, "bind the TCP port PORT (0) of ::1"},
	{"connect4", attack_connect4, "connect to the TCP port PORT (1) of 127.0.0.1"},
	{"connect6", attack_connect6, "connect to the TCP port PORT (1) of ::1"},
	{"connect-unix", attack_connect_unix, "connect to the UNIX socket NAME (@hostile)"},
	{"listen-unix", attack_listen_unix, "(ordinary) listen on the UNIX socket NAME (@hostile)"},
	{NULL, NULL, NULL},
};
