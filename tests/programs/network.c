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

static socklen_t abstract(struct sockaddr_un *address, const char *name)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	strncpy(address->sun_path + 1, name, sizeof address->sun_path - 2);
	return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
}

/* Listens on the abstract address NAME until it is killed. */
static int listen_abstract(int argc, char **argv)
{
	struct sockaddr_un address;
	socklen_t length = abstract(&address, argument(argc, argv, "hostile"));
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 8) < 0)
		return errno;
	puts("listening");
	fflush(stdout);
	for (;;)
		close(accept(listener, NULL, NULL));
}

static int attack_abstract(int argc, char **argv)
{
	struct sockaddr_un address;
	socklen_t length = abstract(&address, argument(argc, argv, "hostile"));
	int stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (stream < 0)
		return errno;
	return answer(connect(stream, (struct sockaddr *)&address, length));
}

const struct attack network_attacks[] = {
	{"raw-socket", attack_raw_socket, "open a raw ICMP socket"},
	{"packet-socket", attack_packet_socket, "open a packet socket"},
	{"alg-socket", attack_alg_socket, "open a kernel crypto socket"},
	{"vsock", attack_vsock, "open a socket to the hypervisor"},
	{"family", attack_family, "open a socket of FAMILY and TYPE, numbers"},
	{"audit", attack_audit, "ask the kernel's audit for its state"},
	{"uevent", attack_uevent, "forge an event of the kernel's"},
	{"abstract", attack_abstract, "connect to the abstract address NAME"},
	{"listen-abstract", listen_abstract, "(ordinary) listen on the abstract address NAME"},
	{NULL, NULL, NULL},
};
