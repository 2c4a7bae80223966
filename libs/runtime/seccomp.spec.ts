import { defaultSeccompProfile } from './seccomp.js';
import type { SeccompRule } from './seccomp.js';

const rulesFor = (name: string, capabilities: string[] = []): SeccompRule[] =>
  defaultSeccompProfile(capabilities, 'x64').syscalls.filter((rule) => rule.names.includes(name));
const allowed = (name: string, capabilities: string[] = []): boolean =>
  rulesFor(name, capabilities).some((rule) => rule.action === 'SCMP_ACT_ALLOW' && !rule.args);

test('what is not named fails with EPERM', () => {
  expect(defaultSeccompProfile([], 'x64')).toMatchObject({ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 1 });
});

test.each(['read', 'openat2', 'execve', 'stat64', 'futex', 'futex_waitv'])('%s is allowed', (name) => {
  expect(allowed(name)).toBe(true);
});

test.each([
  ['mount', 'CAP_SYS_ADMIN'],
  ['umount2', 'CAP_SYS_ADMIN'],
  ['unshare', 'CAP_SYS_ADMIN'],
  ['setns', 'CAP_SYS_ADMIN'],
  ['bpf', 'CAP_BPF'],
  ['bpf', 'CAP_SYS_ADMIN'],
  ['perf_event_open', 'CAP_PERFMON'],
  ['init_module', 'CAP_SYS_MODULE'],
  ['process_vm_readv', 'CAP_SYS_PTRACE'],
  ['clock_settime', 'CAP_SYS_TIME'],
  ['reboot', 'CAP_SYS_BOOT'],
  ['open_by_handle_at', 'CAP_DAC_READ_SEARCH'],
  ['chroot', 'CAP_SYS_CHROOT'],
])('%s needs %s', (name, capability) => {
  expect(rulesFor(name)).toEqual([]);
  expect(allowed(name, [capability])).toBe(true);
});

test.each([
  'kexec_load',
  'keyctl',
  'add_key',
  'request_key',
  'userfaultfd',
  'io_uring_setup',
  'io_uring_enter',
  'swapon',
  'nfsservctl',
  'move_pages',
])('%s is for nobody', (name) => {
  expect(rulesFor(name, ['CAP_SYS_ADMIN'])).toEqual([]);
});

test('clone makes no namespaces; clone3 sends C libraries back to clone', () => {
  expect(rulesFor('clone')).toEqual([
    { names: ['clone'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }] },
  ]);
  expect(rulesFor('clone3')).toEqual([{ names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 }]);
  expect(allowed('clone', ['CAP_SYS_ADMIN']) && allowed('clone3', ['CAP_SYS_ADMIN'])).toBe(true);
  expect(rulesFor('clone3', ['CAP_SYS_ADMIN'])).toHaveLength(1);
});

test('sockets, but none to the hypervisor; no name twice without arguments', () => {
  expect(rulesFor('socket')).toEqual([{ names: ['socket'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: 40, op: 'SCMP_CMP_NE' }] }]);
  const names = defaultSeccompProfile(['CAP_SYS_ADMIN', 'CAP_BPF'], 'x64')
    .syscalls.filter((r) => !r.args)
    .flatMap((r) => r.names);
  expect(new Set(names).size).toBe(names.length);
});

test('architectures', () => {
  expect(defaultSeccompProfile([], 'x64').architectures).toContain('SCMP_ARCH_X86');
  expect(defaultSeccompProfile([], 'arm64').architectures).toEqual(['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']);
});
