import { mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { prepareMounts } from './volumes.js';
import { withTempDir } from './spec-kit.js';

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

  it('pass on size and mode of a tmpfs', async () => {
    expect(
      await prepareMounts([{ type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 1024, mode: 0o1777 }], '/nowhere', 'n1'),
    ).toEqual([{ type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 1024, mode: 0o1777 }]);
  });
});
