//! Named sets of system calls, pinned by data version: a profile that says `groups: 2026.1` means
//! the same calls whatever mantlet reads it. Names follow systemd.exec(5) where systemd has the
//! set; where ours holds fewer calls, the comment says which and why.
//!
//! A version is never edited once released: a new one is added beside it.

/// The data version that profiles are written against today.
pub const CURRENT: &str = "2026.1";

/// Data versions this build can read.
pub const VERSIONS: &[&str] = &[CURRENT];

/// Calls by which a container could lay something over /proc.
pub const MOUNTING: [&str; 5] = ["mount", "move_mount", "open_tree", "fsmount", "pivot_root"];

/// Set names of `version`, without the `@`.
#[must_use]
pub fn names(version: &str) -> Vec<&'static str> {
    table(version).iter().map(|(name, _)| *name).collect()
}

/// System calls of the set `name` (without the `@`), or none where the version has no such set.
#[must_use]
pub fn members(version: &str, name: &str) -> Option<Vec<&'static str>> {
    let (_, text) = table(version).iter().find(|(n, _)| *n == name)?;
    Some(text.split_ascii_whitespace().collect())
}

fn table(version: &str) -> &'static [(&'static str, &'static str)] {
    if version == CURRENT { V2026_1 } else { &[] }
}

/// Sorted by name. Calls that the machine's architecture lacks are passed over silently.
const V2026_1: &[(&str, &str)] = &[
    (
        "aio",
        "io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit",
    ),
    (
        "basic-io",
        "close close_range dup dup2 dup3 lseek _llseek pread64 preadv preadv2 pwrite64 pwritev \
         pwritev2 read readv write writev",
    ),
    ("bpf", "bpf"),
    (
        "chown",
        "chown chown32 fchown fchown32 fchownat lchown lchown32",
    ),
    // systemd's @clock: setting it. Reading it is in @default.
    (
        "clock",
        "adjtimex clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday stime",
    ),
    (
        "cpu-emulation",
        "modify_ldt subpage_prot switch_endian vm86 vm86old",
    ),
    // pidfd_getfd and process_vm_* read and change other processes just as ptrace does. systemd
    // has them in @process and @ipc.
    (
        "debug",
        "kcmp lookup_dcookie perf_event_open pidfd_getfd process_vm_readv process_vm_writev ptrace \
         rtas s390_runtime_instr sys_debug_setcontext",
    ),
    // What every program needs to start, allocate, read clocks and its own identity, and end.
    (
        "default",
        "arch_prctl brk cachestat clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
         clock_nanosleep clock_nanosleep_time64 execve exit exit_group futex futex_requeue \
         futex_time64 futex_wait futex_waitv futex_wake get_robust_list get_thread_area getcpu \
         getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp \
         getpid getppid getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getsid \
         gettid gettimeofday getuid getuid32 madvise map_shadow_stack membarrier mmap mmap2 \
         mprotect mremap munmap nanosleep pause prlimit64 restart_syscall riscv_flush_icache \
         rseq rt_sigreturn sched_getaffinity sched_yield set_robust_list \
         set_thread_area set_tid_address set_tls sigreturn time ugetrlimit uname",
    ),
    (
        "file-system",
        "access chdir chmod creat faccessat faccessat2 fallocate fchdir fchmod fchmodat fchmodat2 \
         fcntl fcntl64 fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 \
         fstatfs fstatfs64 ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr \
         inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lgetxattr link linkat \
         listxattr llistxattr lremovexattr lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat \
         name_to_handle_at newfstatat oldfstat oldlstat oldstat open openat openat2 readlink \
         readlinkat removexattr rename renameat renameat2 rmdir setxattr stat stat64 statfs \
         statfs64 statx symlink symlinkat truncate truncate64 umask unlink unlinkat utime utimensat \
         utimensat_time64 utimes",
    ),
    // Opening a file by its number passes over every directory's permissions and, with
    // DAC_READ_SEARCH, over the container's root (the attack known as shocker).
    ("handles", "open_by_handle_at"),
    (
        "io-event",
        "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 \
         epoll_wait epoll_wait_old eventfd eventfd2 poll ppoll ppoll_time64 pselect6 \
         pselect6_time64 select",
    ),
    (
        "io-uring",
        "io_uring_enter io_uring_register io_uring_setup",
    ),
    // Without memfd_create and process_vm_*: they are in @memfd and @debug.
    (
        "ipc",
        "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend \
         mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 semctl semget semop \
         semtimedop semtimedop_time64 shmat shmctl shmdt shmget",
    ),
    ("keyring", "add_key keyctl request_key"),
    ("known", KNOWN_2026_1),
    ("memfd", "memfd_create memfd_secret"),
    ("memlock", "mlock mlock2 mlockall munlock munlockall"),
    (
        "module",
        "create_module delete_module finit_module get_kernel_syms init_module query_module",
    ),
    // systemd's set, and pivot_root and chroot stay out: chroot is used by well-behaved servers.
    (
        "mount",
        "fsconfig fsmount fsopen fspick listmount mount mount_setattr move_mount open_tree \
         open_tree_attr pivot_root statmount umount umount2",
    ),
    // clone with CLONE_NEW* flags belongs here too; a profile says so by a condition.
    ("namespaces", "setns unshare"),
    (
        "network-io",
        "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom \
         recvmmsg recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socket \
         socketcall socketpair",
    ),
    (
        "obsolete",
        "_sysctl afs_syscall bdflush break create_module ftime get_kernel_syms getpmsg gtty idle \
         lock mpx prof profil putpmsg query_module security sgetmask ssetmask stty sysfs tuxcall \
         ulimit uselib ustat vserver",
    ),
    ("pkey", "pkey_alloc pkey_free pkey_mprotect"),
    // What asks for more privilege than a container's root should have.
    (
        "privileged",
        "acct fanotify_init fanotify_mark lookup_dcookie nfsservctl quotactl quotactl_fd \
         sethostname setdomainname syslog vhangup",
    ),
    // systemd's @process less setns and unshare (@namespaces).
    (
        "process",
        "capget clone clone3 execveat fork getrusage kill pidfd_open pidfd_send_signal prctl \
         process_madvise process_mrelease rt_sigqueueinfo rt_tgsigqueueinfo setpgid setsid \
         swapcontext sysinfo tgkill times tkill vfork wait4 waitid waitpid",
    ),
    (
        "raw-io",
        "ioperm iopl pciconfig_iobase pciconfig_read pciconfig_write s390_pci_mmio_read s390_pci_mmio_write",
    ),
    ("reboot", "kexec_file_load kexec_load reboot"),
    (
        "resources",
        "get_mempolicy getpriority ioprio_get ioprio_set mbind migrate_pages move_pages \
         sched_get_priority_max sched_get_priority_min sched_getattr sched_getparam \
         sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity \
         sched_setattr sched_setparam sched_setscheduler set_mempolicy set_mempolicy_home_node \
         setpriority setrlimit",
    ),
    (
        "sandbox",
        "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
    ),
    (
        "setuid",
        "setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid \
         setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32",
    ),
    (
        "signal",
        "rt_sigaction rt_sigpending rt_sigprocmask rt_sigsuspend rt_sigtimedwait \
         rt_sigtimedwait_time64 sigaction sigaltstack signal signalfd signalfd4 sigpending \
         sigprocmask sigsuspend",
    ),
    ("swap", "swapoff swapon"),
    (
        "sync",
        "arm_sync_file_range fdatasync fsync msync sync sync_file_range sync_file_range2 syncfs",
    ),
    // systemd's, of the sets here that go into it and the calls that it lists besides; less what @debug, @handles,
    // @io-uring, @keyring, @memfd, @namespaces and @userfault hold, and less personality(2), which turns address
    // randomisation off.
    (
        "system-service",
        "_llseek _newselect accept accept4 access alarm arch_prctl arm_fadvise64_64 \
         arm_sync_file_range bind brk cacheflush cachestat capget capset chdir chmod chown \
         chown32 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep \
         clock_nanosleep_time64 clone clone3 close close_range connect copy_file_range creat dup \
         dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 \
         epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat \
         faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown \
         fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr \
         fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex \
         futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_mempolicy \
         get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 \
         geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid \
         getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 \
         getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 \
         getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel \
         io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl \
         ioprio_get ioprio_set ipc kill lchown lchown32 lgetxattr link linkat listen listxattr \
         llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack mbind \
         membarrier migrate_pages mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 \
         move_pages mprotect mq_getsetattr mq_notify mq_open mq_timedreceive \
         mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl msgget \
         msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat \
         nice oldfstat oldlstat oldolduname oldstat olduname open openat openat2 pause pidfd_open \
         pidfd_send_signal pipe pipe2 poll ppoll ppoll_time64 prctl pread64 preadv preadv2 \
         prlimit64 process_madvise process_mrelease pselect6 pselect6_time64 pwrite64 pwritev \
         pwritev2 read readahead readdir readlink readlinkat readv recv recvfrom recvmmsg \
         recvmmsg_time64 recvmsg remap_file_pages removexattr rename renameat renameat2 \
         restart_syscall riscv_flush_icache rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask \
         rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 \
         rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity \
         sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval \
         sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam \
         sched_setscheduler sched_yield select semctl semget semop semtimedop semtimedop_time64 \
         send sendfile sendfile64 sendmmsg sendmsg sendto set_mempolicy set_mempolicy_home_node \
         set_robust_list set_thread_area set_tid_address set_tls setfsgid setfsgid32 setfsuid \
         setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid \
         setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit \
         setsid setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaction \
         sigaltstack signal signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend socket \
         socketcall socketpair splice stat stat64 statfs statfs64 statx swapcontext symlink \
         symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee tgkill time \
         timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime \
         timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime \
         timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat \
         utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev",
    ),
    (
        "timer",
        "alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime \
         timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime \
         timerfd_gettime64 timerfd_settime timerfd_settime64 times",
    ),
    // Lets a thread stop another in the middle of a kernel copy: the tool that makes kernel races
    // winnable.
    ("userfault", "userfaultfd"),
    // Moving data between descriptors without copying it.
    (
        "zero-copy",
        "copy_file_range fadvise64 fadvise64_64 mincore readahead remap_file_pages sendfile \
         sendfile64 splice tee vmsplice",
    ),
];

/// Every call that this data version knows: one denied of these answers EPERM, a younger one
/// ENOSYS, which is how a C library learns that it must use the older way.
const KNOWN_2026_1: &str = "\
accept accept4 access acct add_key adjtimex afs_syscall alarm arch_prctl bind bpf brk cachestat \
capget capset chdir chmod chown chroot clock_adjtime clock_getres clock_gettime clock_nanosleep \
clock_settime clone clone3 close close_range connect copy_file_range creat create_module \
delete_module dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait \
epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat \
faccessat2 fadvise64 fallocate fanotify_init fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown \
fchownat fcntl fdatasync fgetxattr finit_module flistxattr flock fork fremovexattr fsconfig \
fsetxattr fsmount fsopen fspick fstat fstatfs fsync ftruncate futex futex_requeue futex_wait \
futex_waitv futex_wake futimesat get_kernel_syms get_mempolicy get_robust_list get_thread_area \
getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid \
getpgrp getpid getpmsg getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid \
getsockname getsockopt gettid gettimeofday getuid getxattr init_module inotify_add_watch \
inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents \
io_setup io_submit io_uring_enter io_uring_register io_uring_setup ioctl ioperm iopl ioprio_get \
ioprio_set kcmp kexec_file_load kexec_load keyctl kill landlock_add_rule landlock_create_ruleset \
landlock_restrict_self lchown lgetxattr link linkat listen listxattr llistxattr lookup_dcookie \
lremovexattr lseek lsetxattr lstat madvise map_shadow_stack mbind membarrier memfd_create \
memfd_secret migrate_pages mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap \
modify_ldt mount mount_setattr move_mount move_pages mprotect mq_getsetattr mq_notify mq_open \
mq_timedreceive mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall \
munmap name_to_handle_at nanosleep newfstatat nfsservctl open open_by_handle_at open_tree openat \
openat2 pause perf_event_open personality pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 \
pivot_root pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 \
process_madvise process_mrelease process_vm_readv process_vm_writev pselect6 ptrace putpmsg \
pwrite64 pwritev pwritev2 query_module quotactl quotactl_fd read readahead readlink readlinkat \
readv reboot recvfrom recvmmsg recvmsg remap_file_pages removexattr rename renameat renameat2 \
request_key restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo \
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max \
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield \
seccomp security select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto \
set_mempolicy set_mempolicy_home_node set_robust_list set_thread_area set_tid_address setdomainname \
setfsgid setfsuid setgid setgroups sethostname setitimer setns setpgid setpriority setregid \
setresgid setresuid setreuid setrlimit setsid setsockopt settimeofday setuid setxattr shmat shmctl \
shmdt shmget shutdown sigaltstack signalfd signalfd4 socket socketpair splice stat statfs statx \
swapoff swapon symlink symlinkat sync sync_file_range syncfs sysfs sysinfo syslog _sysctl tee \
tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create \
timerfd_gettime timerfd_settime times tkill truncate tuxcall umask umount2 uname unlink unlinkat \
unshare uselib userfaultfd ustat utime utimensat utimes vfork vhangup vmsplice vserver wait4 waitid \
write writev";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::table::{Lookup, lookup};

    #[test]
    fn every_call_that_this_build_can_name_is_known_to_the_current_version() {
        let known = members(CURRENT, "known").unwrap();
        let arch = libseccomp::ScmpArch::native();
        for number in 0..1024 {
            if let Ok(name) = libseccomp::ScmpSyscall::from(number).get_name_by_arch(arch) {
                assert!(
                    known.contains(&name.as_str()),
                    "{name} is missing from @known"
                );
            }
        }
    }

    #[test]
    fn every_known_call_has_a_number_here_or_on_another_architecture() {
        for name in members(CURRENT, "known").unwrap() {
            assert!(
                !matches!(lookup(name), Lookup::Unknown),
                "{name} is misspelt"
            );
        }
    }

    #[test]
    fn the_set_for_services_has_those_it_is_made_of_and_none_that_reaches_further() {
        let of = |set: &str| members(CURRENT, set).unwrap();
        let services = of("system-service");
        for set in "aio basic-io chown default file-system io-event ipc memlock network-io process resources setuid \
                    signal sync timer"
            .split_ascii_whitespace()
        {
            for name in of(set) {
                assert!(services.contains(&name), "{name} of @{set}");
            }
        }
        for set in "bpf clock debug handles io-uring keyring memfd module mount namespaces obsolete privileged raw-io \
                    reboot sandbox swap userfault"
            .split_ascii_whitespace()
        {
            for name in of(set) {
                assert!(!services.contains(&name), "{name} of @{set}");
            }
        }
    }

    #[test]
    fn a_numbered_member_of_any_set_is_known() {
        let known = members(CURRENT, "known").unwrap();
        for set in names(CURRENT) {
            for name in members(CURRENT, set).unwrap() {
                if let Lookup::Number(_) = lookup(name) {
                    assert!(
                        known.contains(&name),
                        "{name} of @{set} is missing from @known"
                    );
                }
            }
        }
    }
}
