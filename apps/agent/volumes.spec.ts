import { mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { prepareMounts, removeVolume } from './volumes.js';
import { withTempDir } from './spec-kit.js';
import type { VolumePart } from './volume-mounts.js';

describe('mounts', () => {
  it('make a named volume once, to be filled from the image while it is empty, and keep what is in it', () =>
    withTempDir(async (dir) => {
      const wish = { type: 'volume', source: 'shop_data', target: '/data', readOnly: false } as const;
      const [mount] = await prepareMounts([wish], dir, 'n1');
      expect(mount).toEqual({ type: 'bind', source: join(dir, 'shop_data'), target: '/data', readOnly: false, seed: true });
      expect((await stat(join(dir, 'shop_data'))).mode & 0o777).toBe(0o755);
      await writeFile(join(dir, 'shop_data', 'kept'), '');
      await prepareMounts([wish], dir, 'n1');
      expect(await readdir(join(dir, 'shop_data'))).toEqual(['kept']);
    }));

  it('begin empty where that is asked for; a path of the node is passed on with its propagation', () =>
    withTempDir(async (dir) => {
      const [volume, bind] = await prepareMounts(
        [
          { type: 'volume', source: 'v', target: '/v', readOnly: false, nocopy: true },
          { type: 'bind', source: dir, target: '/b', readOnly: true, propagation: 'rslave' },
        ],
        dir,
        'n1',
      );
      expect(volume).toMatchObject({ seed: false });
      expect(bind).toEqual({ type: 'bind', source: dir, target: '/b', readOnly: true, propagation: 'rslave' });
    }));

  it('are deleted by name, with what is in them, and nothing else is', () =>
    withTempDir(async (dir) => {
      for (const source of ['v', 'w']) await prepareMounts([{ type: 'volume', source, target: '/v', readOnly: false }], dir, 'n1');
      await writeFile(join(dir, 'v', 'file'), '');
      await removeVolume(dir, 'v');
      await removeVolume(dir, 'v');
      expect(await readdir(dir)).toEqual(['w']);
      expect(() => removeVolume(dir, '../x')).toThrow(expect.objectContaining({ code: 'BAD_NAME' }));
    }));

  it.each(['../etc', 'a/b', '', '.hidden', 'x\ny'])('refuse %j as the name of a volume', (source) =>
    withTempDir((dir) =>
      expect(prepareMounts([{ type: 'volume', source, target: '/d', readOnly: false }], dir, 'n1')).rejects.toMatchObject({
        code: 'BAD_NAME',
      }),
    ),
  );

  it('do not follow a link in place of a volume', () =>
    withTempDir(async (dir) => {
      await symlink('/etc', join(dir, 'v'));
      await expect(prepareMounts([{ type: 'volume', source: 'v', target: '/d', readOnly: false }], dir, 'n1')).rejects.toMatchObject({
        code: 'CONFLICT',
      });
    }));

  it('name node and path of a bind source that is missing', () =>
    withTempDir(async (dir) => {
      const there = join(dir, 'there');
      await mkdir(there);
      const bind = (source: string) => prepareMounts([{ type: 'bind', source, target: '/d', readOnly: true }], dir, 'n1');
      expect(await bind(there)).toEqual([{ type: 'bind', source: there, target: '/d', readOnly: true }]);
      await expect(bind(`${there}/not`)).rejects.toMatchObject({ code: 'NOT_FOUND', what: `node n1 has no ${there}/not to mount` });
    }));

  it('make the directory of a bind where that is asked for, and pass on what becomes of mounts below it', () =>
    withTempDir(async (dir) => {
      const bind = { type: 'bind', source: join(dir, 'a/b'), target: '/d', readOnly: true } as const;
      const [mount] = await prepareMounts([{ ...bind, createHostPath: true, recursive: 'enabled' }], dir, 'n1');
      expect(mount).toEqual({ ...bind, recursive: 'readonly' });
      expect((await stat(join(dir, 'a/b'))).isDirectory()).toBe(true);
      await expect(prepareMounts([{ ...bind, source: '/proc/does/not/exist', createHostPath: true }], dir, 'n1')).rejects.toMatchObject({
        code: 'NOT_FOUND',
        what: 'node n1 has no /proc/does/not/exist to mount',
      });
      expect(await prepareMounts([{ ...bind, recursive: 'disabled' }], dir, 'n1')).toEqual([{ ...bind, recursive: 'disabled' }]);
    }));

  it('of volumes with options are the directory itself, or what was mounted for the task; of a part, that part', () =>
    withTempDir(async (dir) => {
      const held = { hold: async (name: string) => `/m/${name}`, holdPart: async ({ root, subpath }: VolumePart) => `${root}#${subpath}` };
      const volume = { type: 'volume', source: 'v', target: '/d', readOnly: false } as const;
      const prepared = async (more: object) => (await prepareMounts([{ ...volume, ...more }], dir, 'n1', held))[0];
      const local = { type: 'none', device: dir, options: ['bind', 'nosuid', 'ro'] } as const;
      expect(await prepared({ volumeOptions: local })).toEqual({
        type: 'bind',
        source: dir,
        target: '/d',
        readOnly: true,
        seed: false,
        flags: ['nosuid'],
        recursive: 'disabled',
      });
      const tmpfs = { type: 'tmpfs', device: 'tmpfs', options: [] };
      expect(await prepared({ volumeOptions: tmpfs })).toEqual({ type: 'bind', source: '/m/v', target: '/d', readOnly: false, seed: true });
      expect(await prepared({ volumeOptions: tmpfs, subpath: 'x' })).toMatchObject({ source: '/m/v#x', seed: false });
      expect(await prepared({ subpath: 'x' })).toMatchObject({ source: `${join(dir, 'v')}#x` });
      await expect(prepared({ volumeOptions: { ...local, device: join(dir, 'gone') } })).rejects.toMatchObject({
        code: 'NOT_FOUND',
        what: `node n1 has no directory ${dir}/gone, which volume v is`,
      });
    }));

  it('pass on size and mode of a tmpfs', async () => {
    expect(
      await prepareMounts([{ type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 1024, mode: 0o1777 }], '/nowhere', 'n1'),
    ).toEqual([{ type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 1024, mode: 0o1777 }]);
  });
});
