import { seccompProfileOf, type SeccompPlace } from './seccomp-file.js';

const PLACE: SeccompPlace = { capabilities: ['CAP_CHOWN', 'CAP_SYS_ADMIN'], arch: 'x64', kernel: '5.16.0-1-amd64' };
const rule = (name: string, more: object = {}) => ({ names: [name], action: 'SCMP_ACT_ALLOW', ...more });
const profile = (syscalls: object[], more: object = {}) =>
  seccompProfileOf(JSON.stringify({ defaultAction: 'SCMP_ACT_ERRNO', ...more, syscalls }), PLACE);
const names = (...syscalls: object[]) => profile(syscalls).syscalls.flatMap((one) => one.names);

test('conditions decide which rules count', () => {
  expect(
    names(
      rule('always'),
      rule('has', { includes: { caps: ['CAP_SYS_ADMIN'] } }),
      rule('has-not', { includes: { caps: ['CAP_SYS_ADMIN', 'CAP_BPF'] } }),
      rule('left-out', { excludes: { caps: ['CAP_BPF', 'CAP_CHOWN'] } }),
      rule('here', { includes: { arches: ['amd64', 's390x'] } }),
      rule('elsewhere', { includes: { arches: ['arm64'] } }),
      rule('not-here', { excludes: { arches: ['amd64'] } }),
      rule('new-enough', { includes: { minKernel: '4.8' } }),
      rule('too-old', { includes: { minKernel: '5.17' } }),
      rule('too-new', { excludes: { minKernel: '5.16' } }),
      { name: 'by-name', action: 'SCMP_ACT_ALLOW', args: null },
    ),
  ).toEqual(['always', 'has', 'here', 'new-enough', 'by-name']);
});

test('rules are passed on as they are', () => {
  const args = [{ index: 0, value: 8, valueTwo: 0, op: 'SCMP_CMP_EQ' }];
  expect(profile([rule('personality', { args, errnoRet: 0, comment: 'of the user' })]).syscalls).toEqual([
    { names: ['personality'], action: 'SCMP_ACT_ALLOW', errnoRet: 0, args: [{ index: 0, value: 8, op: 'SCMP_CMP_EQ' }] },
  ]);
});

test('architectures: named, mapped, or those of the machine', () => {
  const map = [
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
  ];
  expect(profile([], { architectures: ['SCMP_ARCH_X86'], archMap: map }).architectures).toEqual(['SCMP_ARCH_X86']);
  expect(profile([], { archMap: map }).architectures).toEqual(['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']);
  expect(profile([]).architectures).toEqual(['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']);
});

test.each(['{', '[]', '{ "defaultAction": "allow" }', '{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": "mkdir" }] }'])(
  '%s is no profile',
  (text) => {
    expect(() => seccompProfileOf(text, PLACE)).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
  },
);
