/**
 * The default system call filter, of the same effect as Docker's: what ordinary programs need is allowed, what reaches into the kernel or out
 * of the container needs the capability it is guarded by, the rest fails with EPERM. runc skips names that its libseccomp does not know,
 * and answers ENOSYS for calls newer than the newest one here, so that C libraries fall back.
 */

const EPERM = 1;
const ENOSYS = 38;
const AF_VSOCK = 40;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: flags of clone(2) that make a namespace. */
const CLONE_NAMESPACE_FLAGS = 0x7e020000;

export interface SeccompArg {
  index: number;
  value: number;
  valueTwo?: number;
  /** SCMP_CMP_… */
  op: string;
}

export interface SeccompRule {
  names: string[];
  /** SCMP_ACT_… */
  action: string;
  errnoRet?: number;
  args?: SeccompArg[];
}

export interface SeccompProfile {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures: string[];
  syscalls: SeccompRule[];
}

/** Allowed to everyone; by what they are about. Braces stand for variants: `stat{,64}` is stat and stat64. */
const ALWAYS = expand(`
  read readv pread64 preadv{,2} write writev pwrite64 pwritev{,2} sendfile{,64} copy_file_range splice tee vmsplice readahead
  open openat{,2} creat close close_range dup dup2 dup3 pipe pipe2 fcntl{,64} flock ioctl lseek _llseek
  stat{,64} lstat{,64} fstat{,64} fstatat64 newfstatat statx statfs{,64} fstatfs{,64} access faccessat{,2} ustat
  getdents{,64} getcwd chdir fchdir chmod fchmod fchmodat{,2} chown{,32} fchown{,32} fchownat lchown{,32} umask
  link linkat unlink unlinkat symlink symlinkat readlink readlinkat rename renameat{,2} mkdir mkdirat rmdir mknod mknodat
  truncate{,64} ftruncate{,64} fallocate fadvise64{,_64} arm_fadvise64_64 sync syncfs sync_file_range{,2} arm_sync_file_range fsync fdatasync cachestat
  utime utimes futimesat utimensat{,_time64} name_to_handle_at
  getxattr{,at} lgetxattr fgetxattr setxattr{,at} lsetxattr fsetxattr listxattr{,at} llistxattr flistxattr removexattr{,at} lremovexattr fremovexattr
  inotify_init{,1} inotify_add_watch inotify_rm_watch fanotify_mark
  select _newselect pselect6{,_time64} poll ppoll{,_time64} epoll_create{,1} epoll_ctl{,_old} epoll_wait{,_old} epoll_pwait{,2} eventfd{,2} signalfd{,4}
  io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents{,_time64}
  mmap{,2} munmap mremap mprotect pkey_alloc pkey_free pkey_mprotect brk madvise mincore msync mlock{,2,all} munlock{,all} remap_file_pages
  memfd_create memfd_secret membarrier map_shadow_stack mseal process_mrelease
  fork vfork execve execveat exit exit_group wait4 waitid waitpid gettid getpid getppid getpgid getpgrp getsid setpgid setsid set_tid_address
  pidfd_open pidfd_send_signal kill tkill tgkill pause restart_syscall rseq futex{,_time64,_waitv,_wake,_wait,_requeue} get_robust_list set_robust_list
  rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait{,_time64} rt_tgsigqueueinfo
  sigaction signal sigaltstack sigpending sigprocmask sigreturn sigsuspend
  getuid{,32} geteuid{,32} getgid{,32} getegid{,32} getgroups{,32} getresuid{,32} getresgid{,32} setuid{,32} setgid{,32} setgroups{,32}
  setreuid{,32} setregid{,32} setresuid{,32} setresgid{,32} setfsuid{,32} setfsgid{,32} capget capset prctl arch_prctl ptrace seccomp
  getrlimit ugetrlimit setrlimit prlimit64 getrusage getpriority setpriority ioprio_get ioprio_set times sysinfo uname getcpu getrandom
  sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_getscheduler sched_setscheduler
  sched_get_priority_max sched_get_priority_min sched_rr_get_interval{,_time64} sched_yield
  time gettimeofday nanosleep clock_getres{,_time64} clock_gettime{,64} clock_nanosleep{,_time64} adjtimex clock_adjtime{,64} alarm getitimer setitimer
  timer_create timer_delete timer_getoverrun timer_gettime{,64} timer_settime{,64} timerfd_create timerfd_gettime{,64} timerfd_settime{,64}
  socketcall socketpair bind listen accept{,4} connect shutdown getsockname getpeername getsockopt setsockopt
  send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg{,_time64}
  ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop{,_time64} shmat shmctl shmdt shmget
  mq_open mq_unlink mq_notify mq_getsetattr mq_timedreceive{,_time64} mq_timedsend{,_time64}
  landlock_create_ruleset landlock_add_rule landlock_restrict_self set_thread_area get_thread_area modify_ldt
  breakpoint cacheflush set_tls
`);

/** Allowed only to a container that was given the capability. */
const BY_CAPABILITY: Readonly<Record<string, string[]>> = {
  CAP_SYS_ADMIN:
    expand(`bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree
    perf_event_open quotactl{,_fd} setdomainname sethostname setns syslog umount{,2} unshare`),
  CAP_SYS_PTRACE: expand('kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev'),
  CAP_SYS_MODULE: expand('delete_module init_module finit_module'),
  CAP_SYS_TIME: expand('settimeofday stime clock_settime{,64}'),
  CAP_SYS_NICE: expand('get_mempolicy mbind set_mempolicy{,_home_node}'),
  CAP_SYS_RAWIO: ['iopl', 'ioperm'],
  CAP_SYS_BOOT: ['reboot'],
  CAP_SYS_CHROOT: ['chroot'],
  CAP_SYS_PACCT: ['acct'],
  CAP_SYS_TTY_CONFIG: ['vhangup'],
  CAP_SYSLOG: ['syslog'],
  CAP_BPF: ['bpf'],
  CAP_PERFMON: ['perf_event_open'],
  CAP_DAC_READ_SEARCH: ['open_by_handle_at'],
};

/** Execution domains of personality(2) that are harmless: Linux, PER_LINUX32, UNAME26, both, and the query. */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

const ARCHITECTURES: Readonly<Record<string, string[]>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};

/** The machine's own first, then those whose programs it runs. @param arch Node's name */
export const architecturesOf = (arch: string): string[] => ARCHITECTURES[arch] ?? [];

function expand(text: string): string[] {
  return text
    .trim()
    .split(/\s+/)
    .flatMap((word) => {
      const match = /^([^{]*)\{([^}]*)\}$/.exec(word);
      return match ? (match[2] as string).split(',').map((suffix) => `${match[1]}${suffix}`) : [word];
    });
}

const allow = (names: string[], args?: SeccompArg[]): SeccompRule => ({ names, action: 'SCMP_ACT_ALLOW', ...(args ? { args } : {}) });

/** The profile for a container with these capabilities, on this architecture (Node's name for it). */
export function defaultSeccompProfile(capabilities: readonly string[], arch: string): SeccompProfile {
  const guarded = new Set(capabilities.flatMap((c) => BY_CAPABILITY[c] ?? []));
  const syscalls = [
    allow([...ALWAYS, ...guarded]),
    ...PERSONALITIES.map((value) => allow(['personality'], [{ index: 0, value, op: 'SCMP_CMP_EQ' }])),
    // A socket to the hypervisor is not of the container's network namespace.
    allow(['socket'], [{ index: 0, value: AF_VSOCK, op: 'SCMP_CMP_NE' }]),
  ];
  if (!guarded.has('clone')) {
    syscalls.push(
      allow(['clone'], [{ index: 0, value: CLONE_NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }]),
      // clone3 has its flags in memory, where a filter cannot look: C libraries fall back to clone on ENOSYS.
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
    );
  }
  return { defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: EPERM, architectures: architecturesOf(arch), syscalls };
}
