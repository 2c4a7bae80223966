import { mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import { silentLog } from '#base/log.js';
import type { Run } from '#linux/runner.js';
import type { VolumeOptions } from '#model/volume-options.js';
import { makeTask, withTempDir } from './spec-kit.js';
import { mountArgv, mountPoints, VolumeMounts } from './volume-mounts.js';

const NFS: VolumeOptions = { type: 'nfs', device: ':/export', options: ['addr=nas', 'nolock', 'ro'] };
const TMPFS: VolumeOptions = { type: 'tmpfs', device: 'tmpfs', options: ['size=1m', 'mode=0700'] };

/** Says what would be run: what really mounts is in test/netns and test/cluster. */
function rig(dir: string, fails?: string) {
  const ran: string[][] = [];
  const run: Run = async (argv) => {
    ran.push([...argv]);
    if (fails !== undefined) throw new WeftError('COMMAND_FAILED', { what: 'mount failed', why: fails });
    return { stdout: '', stderr: '', exitCode: 0 };
  };
  const mounts = new VolumeMounts({
    dir,
    nodeName: 'n1',
    run,
    log: silentLog,
    resolve: async (host) => (host === 'nas' ? '10.0.0.9' : ''),
  });
  return { ran, mounts };
}

describe('mounts of volumes', () => {
  it('are asked of mount(8) in words that nothing else can be read into', () => {
    expect(mountArgv(TMPFS, '/m')).toEqual(['mount', '-t', 'tmpfs', '-o', 'size=1m,mode=0700', '--', 'tmpfs', '/m']);
    expect(mountArgv({ ...TMPFS, options: [] }, '/m')).toEqual(['mount', '-t', 'tmpfs', '--', 'tmpfs', '/m']);
    // The kernel takes addresses only: the name in addr= is looked up.
    expect(mountArgv(NFS, '/m', '10.0.0.9')).toEqual(['mount', '-i', '-t', 'nfs', '-o', 'nolock,ro,addr=10.0.0.9', '--', ':/export', '/m']);
  });

  it('are read off the kernel, odd names too', () => {
    const text = '24 1 0:22 / /proc rw - proc proc rw\n25 1 0:23 / /run/a\\040b\\134c rw shared:1 - tmpfs tmpfs rw\n';
    expect([...mountPoints(text)]).toEqual(['/proc', '/run/a b\\c']);
  });

  it('have a place of their own for each name and set of options', () =>
    withTempDir(async (dir) => {
      const { mounts, ran } = rig(dir);
      const first = await mounts.hold('t1', 'shop_data', NFS);
      expect(first.startsWith(join(dir, 'shop_data@'))).toBe(true);
      expect(await mounts.hold('t2', 'shop_data', { ...NFS, options: ['addr=nas'] })).not.toBe(first);
      expect(ran.map((argv) => argv.at(0))).toEqual(['mount', 'mount']);
      expect(ran[0]).toEqual(mountArgv(NFS, first, '10.0.0.9'));
      await expect(mounts.hold('t1', '../x', NFS)).rejects.toMatchObject({ code: 'BAD_NAME' });
    }));

  it('go when the last task that needs them has gone, and their place with them', () =>
    withTempDir(async (dir) => {
      const { mounts } = rig(dir);
      await mounts.hold('t1', 'v', TMPFS);
      await mounts.hold('t2', 'v', TMPFS);
      await mounts.release('t1');
      expect(await readdir(dir)).toHaveLength(1);
      await mounts.release('t2');
      expect(await readdir(dir)).toEqual([]);
      await mounts.release('t2');
    }));

  it('that nobody needs are found after a restart; those of tasks that are here stay', () =>
    withTempDir(async (dir) => {
      const mount = { type: 'volume', source: 'v', target: '/v', readOnly: false, volumeOptions: TMPFS } as const;
      const task = makeTask('aaaaaaaa', { container: { ...makeTask('aaaaaaaa').container, mounts: [mount] } });
      const path = await rig(dir).mounts.hold(task.id, 'v', TMPFS);
      await mkdir(join(dir, 'old@0123456789abcdef'));
      const { mounts } = rig(dir);
      mounts.adopt(task);
      await mounts.sweep([task], () => true);
      expect(await readdir(dir)).toEqual([path.slice(dir.length + 1)]);
      // Its container still runs although it is wanted no more.
      await mounts.sweep([], () => true);
      expect(await readdir(dir)).toHaveLength(1);
      await mounts.sweep([], () => false);
      expect(await readdir(dir)).toEqual([]);
    }));

  it('that fail say which volume, which device, and why', () =>
    withTempDir(async (dir) => {
      await expect(rig(dir, 'ended with 32: Connection refused').mounts.hold('t1', 'v', NFS)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        what: 'volume v cannot be mounted on node n1: nfs :/export (addr=nas, nolock, ro)',
        why: 'ended with 32: Connection refused',
      });
    }));

  it('of a part of a volume are by an open handle, below the volume whatever is in it, and go with the task', () =>
    withTempDir(async (dir) => {
      const root = join(dir, 'volume');
      const { mounts, ran } = rig(join(dir, 'mounts'));
      await mkdir(join(root, 'sub'), { recursive: true });
      await writeFile(join(root, 'file'), '');
      await symlink('/etc', join(root, 'away'));
      await symlink('../../../../sub', join(root, 'back'));
      const part = (subpath: string) => mounts.holdPart('t1', { name: 'v', root, subpath }, '/d');
      const path = await part('sub');
      expect(ran).toEqual([['mount', '-c', '--bind', '--', expect.stringMatching(new RegExp(`^/proc/${process.pid}/fd/\\d+$`)), path]]);
      expect((await stat(path)).isDirectory()).toBe(true);
      expect((await stat(await part('file'))).isFile()).toBe(true);
      // Absolute and climbing links end at the volume.
      expect((await stat(await part('back'))).isDirectory()).toBe(true);
      for (const gone of ['away/passwd', 'none', 'sub/none'])
        await expect(part(gone)).rejects.toMatchObject({ code: 'NOT_FOUND', what: `volume v has no "${gone}" in it on node n1` });
      await mounts.release('t1');
      expect(await readdir(join(dir, 'mounts'))).toEqual([]);
    }));
});
