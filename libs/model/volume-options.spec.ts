import {
  describeVolumeOptions,
  faultsOf,
  isReadOnly,
  isShared,
  serverOf,
  volumeOptionsSchema,
  type VolumeOptions,
} from './volume-options.js';

const nfs = (device: string, ...options: string[]): VolumeOptions => ({ type: 'nfs', device, options });

describe('options of volumes', () => {
  it.each<VolumeOptions>([
    nfs(':/export', 'addr=10.0.0.1', 'nolock', 'soft', 'rw'),
    nfs(':/export/with space, and comma', 'addr=nas.example.org', 'nfsvers=4.1', 'rsize=8192', 'timeo=14'),
    nfs('nas:/export', 'ro'),
    nfs('[fd00::1]:/export'),
    { type: 'nfs4', device: ':/', options: ['addr=fd00::1', 'proto=tcp6', 'sec=sys', 'noatime'] },
    { type: 'tmpfs', device: 'tmpfs', options: ['size=64m', 'uid=1000', 'gid=1000', 'mode=0700', 'nr_inodes=10k', 'noexec'] },
    { type: 'tmpfs', device: 'tmpfs', options: ['size=10%', 'huge=never'] },
    { type: 'none', device: '/srv/data', options: ['bind'] },
    { type: 'none', device: '/srv/data', options: ['rbind', 'ro', 'nosuid'] },
  ])('%j are taken', (options) => {
    expect(faultsOf(options)).toEqual([]);
    expect(volumeOptionsSchema.parse(options)).toEqual(options);
  });

  it.each<[VolumeOptions, string, string]>([
    [nfs(':/export'), 'o', 'nothing says where the server is'],
    [nfs('/export', 'addr=10.0.0.1'), 'device', 'what the server exports'],
    [nfs(':/a\nb', 'addr=10.0.0.1'), 'device', 'what the server exports'],
    [nfs(':/a\0b', 'addr=10.0.0.1'), 'device', 'what the server exports'],
    [nfs('-o,x:/a', 'addr=10.0.0.1'), 'device', 'what the server exports'],
    [nfs(':/a', 'addr=10.0.0.1\nx'), 'o', 'is not a value that the option addr can have'],
    [nfs(':/a', 'addr=10.0.0.1', 'soft=1'), 'o', 'the option soft has no value'],
    [nfs(':/a', 'addr=10.0.0.1', 'timeo=soon'), 'o', 'is not a value that the option timeo can have'],
    [nfs(':/a', 'addr=10.0.0.1', 'timeo'), 'o', 'is not a value that the option timeo can have'],
    [nfs(':/a', 'addr=10.0.0.1', 'bg'), 'o', 'Weft itself tries'],
    [nfs(':/a', 'addr=10.0.0.1', 'username=x'), 'o', 'is not an option of nfs'],
    [nfs(':/a', 'addr=10.0.0.1', ''), 'o', '"" is not an option'],
    [nfs(':/a', 'addr=10.0.0.1', 'constructor'), 'o', 'is not an option of nfs'],
    [{ type: 'tmpfs', device: 'tmpfs', options: ['size=64m ,exec'] }, 'o', 'is not a value that the option size can have'],
    [{ type: 'tmpfs', device: 'tmpfs', options: ['mode=999'] }, 'o', 'is not a value that the option mode can have'],
    [{ type: 'tmpfs', device: '/dev/sda', options: [] }, 'device', 'a tmpfs has no device'],
    [{ type: 'none', device: '/srv', options: [] }, 'o', 'the type none mounts nothing'],
    [{ type: 'none', device: 'srv', options: ['bind'] }, 'device', 'an absolute path'],
    [{ type: 'none', device: '/srv/../etc', options: ['bind'] }, 'device', 'without ".."'],
    [{ type: 'none', device: '/srv', options: ['bind', 'size=1'] }, 'o', 'is not an option of a directory of the node'],
  ])('%j are refused', (options, key, message) => {
    expect(faultsOf(options)).toContainEqual(expect.objectContaining({ key, message: expect.stringContaining(message) }));
    expect(volumeOptionsSchema.safeParse(options).success).toBe(false);
  });

  it('say where the server is, whether all nodes see the same, and how it reads', () => {
    expect(serverOf(nfs('nas:/export', 'addr=10.0.0.1'))).toBe('10.0.0.1');
    expect(serverOf(nfs('nas:/export'))).toBe('nas');
    expect(serverOf(nfs('[fd00::1]:/export'))).toBe('fd00::1');
    expect(serverOf(nfs(':/export'))).toBeUndefined();
    const tmpfs: VolumeOptions = { type: 'tmpfs', device: 'tmpfs', options: ['size=1m', 'ro'] };
    expect([isShared(nfs(':/a')), isShared(tmpfs), isShared(undefined)]).toEqual([true, false, false]);
    expect([isReadOnly(tmpfs), isReadOnly(nfs(':/a', 'ro', 'rw')), isReadOnly(nfs(':/a'))]).toEqual([true, false, false]);
    expect(describeVolumeOptions(nfs(':/export', 'addr=10.0.0.1', 'ro'))).toBe('nfs :/export (addr=10.0.0.1, ro)');
    expect(describeVolumeOptions(tmpfs)).toBe('tmpfs (size=1m, ro)');
    expect(describeVolumeOptions({ type: 'none', device: '/srv', options: ['bind'] })).toBe('/srv (bind)');
  });
});
