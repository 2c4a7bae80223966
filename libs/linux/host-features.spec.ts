import { hasSctp } from './host-features.js';

describe('whether the kernel has SCTP', () => {
  const says = (said: Record<string, string>) =>
    hasSctp((file) => {
      const found = Object.keys(said).find((name) => file.endsWith(name));
      return found === undefined ? Promise.reject(new Error('ENOENT')) : Promise.resolve(said[found] ?? '');
    });

  it('is told by the protocols it speaks, what is built in, and the modules that could be loaded', async () => {
    expect(await says({})).toBe(false);
    expect(await says({ protocols: 'protocol  size\nTCP 1\nSCTPv6 1\n' })).toBe(false);
    expect(await says({ protocols: 'protocol  size\nSCTP      1792\n' })).toBe(true);
    expect(await says({ 'modules.builtin': 'kernel/net/sctp/sctp.ko\n' })).toBe(true);
    expect(await says({ 'modules.dep': 'kernel/net/sctp/sctp.ko.xz: kernel/lib/libcrc32c.ko.xz\n' })).toBe(true);
    expect(await says({ 'modules.dep': 'kernel/net/sctp/sctp_diag.ko: kernel/net/sctp/sctp.ko\n' })).toBe(false);
  });
});
