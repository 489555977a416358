/* Attacks that ask the kernel for something no ordinary workload needs. None of them harms the
 * machine even where it is permitted: magic numbers are wrong, values are those already set. */
#include "attack.h"
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <asm/ldt.h>
#include <linux/fanotify.h>
#include <linux/perf_event.h>
#include <sys/klog.h>
#include <sys/personality.h>
#include <sys/quota.h>
#include <sys/time.h>
#include <sys/timex.h>

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
	/* ENOKEY: it was looked for. */
	return reached(syscall(SYS_request_key, "user", "mantlet:test", NULL,
			       KEY_SPEC_PROCESS_KEYRING), ENOKEY);
}

static int attack_io_uring(int argc, char **argv)
{
	struct io_uring_params params = {0};
	return answer(syscall(SYS_io_uring_setup, 4, &params));
}

/* Not a module, none of that name, unknown flags, wrong magic, no such file: these answers come
 * after the permission. */
CALL(attack_init_module, ENOEXEC, SYS_init_module, "no module at all", 16, "")
CALL(attack_delete_module, ENOENT, SYS_delete_module, "mantlet_no_such_module", O_NONBLOCK)
CALL(attack_kexec, EINVAL, SYS_kexec_load, 0UL, 0UL, NULL, 0xdeadUL)
CALL(attack_kexec_file, EINVAL, SYS_kexec_file_load, -1, -1, 0UL, NULL, 0xdeadUL)
CALL(attack_reboot, EINVAL, SYS_reboot, 1, 2, 3, NULL)
CALL(attack_swapon, ENOENT, SYS_swapon, "/mantlet/no/such/file", 0)
CALL(attack_swapoff, ENOENT, SYS_swapoff, "/mantlet/no/such/file")
CALL(attack_acct, ENOENT, SYS_acct, "/mantlet/no/such/file")

static int attack_finit_module(int argc, char **argv)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	return file < 0 ? errno : reached(syscall(SYS_finit_module, file, "", 0), ENOEXEC);
}

/* Quotas of the disk that a volume lies on. ESRCH: there are none. */
static int attack_quota(int argc, char **argv)
{
	int dir = open(argument(argc, argv, "/volume"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno;
	return reached(syscall(SYS_quotactl_fd, dir, QCMD(Q_QUOTAOFF, USRQUOTA), 0, NULL), ESRCH);
}

/* Asks to change the clock's tick to what it cannot be. */
static int attack_adjtime(int argc, char **argv)
{
	struct timex clock = {.modes = ADJ_TICK, .tick = 1};
	return reached(syscall(SYS_adjtimex, &clock), EINVAL);
}

CALL(attack_iopl, 0, SYS_iopl, 3)
CALL(attack_ioperm, 0, SYS_ioperm, 0x80, 1, 1)
CALL(attack_vhangup, 0, SYS_vhangup)
CALL(attack_fanotify, 0, SYS_fanotify_init, FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY)
CALL(attack_memfd_secret, 0, SYS_memfd_secret, 0)
CALL(attack_join_keyring, 0, SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL)
CALL(attack_ioprio, 0, SYS_ioprio_set, 1, 0, 1 << 13)
CALL(attack_priority, 0, SYS_setpriority, 0, 0, -20)
CALL(attack_setdomainname, 0, SYS_setdomainname, "(none)", 6)

/* A segment of 16 bits below user space: espfix and its kind. */
static int attack_modify_ldt(int argc, char **argv)
{
	struct user_desc entry = {.entry_number = 0, .base_addr = 0, .limit = 0xfff, .contents = 0};
	return answer(syscall(SYS_modify_ldt, 1, &entry, sizeof entry));
}

/* Loads a program, not a mere map: the verifier is what was attacked. */
static int attack_bpf_program(int argc, char **argv)
{
	struct bpf_insn leave[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 2,
		.insns = (unsigned long)leave, .license = (unsigned long)"GPL",
	};
	return answer(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
}

/* Samples the kernel's own addresses. */
static int attack_perf_kernel(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_CPU_CLOCK,
	};
	return answer(syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0));
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
	{"kexec-file", attack_kexec_file, "kexec_file_load with unknown flags"},
	{"swapon", attack_swapon, "swap to a file that is not there"},
	{"swapoff", attack_swapoff, "stop swapping to a file that is not there"},
	{"acct", attack_acct, "account processes into a file that is not there"},
	{"quota", attack_quota, "turn off the quotas of the disk of PATH (/volume)"},
	{"adjtime", attack_adjtime, "set the clock's tick out of bounds"},
	{"iopl", attack_iopl, "reach all I/O ports"},
	{"ioperm", attack_ioperm, "reach one I/O port"},
	{"vhangup", attack_vhangup, "hang up the terminal"},
	{"fanotify", attack_fanotify, "watch and hold up the file accesses of others"},
	{"memfd-secret", attack_memfd_secret, "take memory that the kernel itself cannot read"},
	{"join-keyring", attack_join_keyring, "join a new session keyring"},
	{"ioprio", attack_ioprio, "take real-time disk priority"},
	{"priority", attack_priority, "take the highest priority"},
	{"modify-ldt", attack_modify_ldt, "write a segment of its own"},
	{"bpf-program", attack_bpf_program, "load a BPF program"},
	{"perf-kernel", attack_perf_kernel, "open a counter on a processor, the kernel included"},
	{"setdomainname", attack_setdomainname, "set the domain name"},
	{"userfaultfd", attack_userfaultfd, "handle its own page faults"},
	{"personality", attack_personality, "turn address randomisation off"},
	{"syslog", attack_syslog, "read the kernel's log"},
	{"settime", attack_settime, "set the clock (to nothing)"},
	{"sethostname", attack_sethostname, "set the host name (to itself)"},
	{NULL, NULL, NULL},
};
