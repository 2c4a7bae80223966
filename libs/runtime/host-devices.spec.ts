import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allDevices, majorOf, minorOf, readBlockDevices, readDevices } from './host-devices.js';

test.each([
  [0x0103n, 1, 3],
  // 20 bits of minor, 12 of major, as in `makedev(259, 1048575)`.
  [(0xfff00n << 12n) | (259n << 8n) | 0xffn, 259, 0xfffff],
  [(0xabcden << 44n) | (0x123n << 8n), 0xabcde123, 0],
])('%s is %i:%i', (rdev, major, minor) => {
  expect([majorOf(rdev), minorOf(rdev)]).toEqual([major, minor]);
});

test('a device, by a link too, under the name that was asked for', async () => {
  const directory = await mkdtemp(join(tmpdir(), `weft-devices-${process.pid}-`));
  const source = join(directory, 'link');
  await symlink('/dev/zero', source);
  const [found, ...more] = await readDevices([{ source, target: '/dev/mine', permissions: 'r' }]);
  expect(found).toEqual({
    node: expect.objectContaining({ path: '/dev/mine', type: 'c', major: 1, minor: 5, fileMode: 0o666 }),
    permissions: 'r',
  });
  expect(more).toEqual([]);
  await rm(directory, { recursive: true });
});

test.each([
  ['/dev/no-such-thing', 'NOT_FOUND'],
  ['/etc/hostname', 'BAD_VALUE'],
  ['/etc/apt', 'NOT_FOUND'],
])('%s is no device', async (source, code) => {
  await expect(readDevices([{ source, target: '/dev/x', permissions: 'r' }])).rejects.toMatchObject({ code });
});

test('all of the machine, less what every container has of its own', async () => {
  const paths = (await allDevices()).map(({ node }) => node.path);
  expect(paths).toEqual(expect.arrayContaining(['/dev/null', '/dev/full']));
  expect(paths.filter((path) => /^\/dev\/(pts|shm|console|mqueue)/.test(path))).toEqual([]);
});

test('paths that are no block devices have no numbers', async () => {
  expect((await readBlockDevices(['/dev/null', '/dev/no-such-disk'])).size).toBe(0);
});
