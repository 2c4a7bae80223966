import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileBelow } from './rootfs-files.js';

let outside: string;
let root: string;
beforeAll(() => {
  outside = mkdtempSync(join(tmpdir(), `weft-rootfs-${process.pid}-`));
  root = join(outside, 'root');
  mkdirSync(join(root, 'etc/deep'), { recursive: true });
  writeFileSync(join(outside, 'secret'), 'secret');
  writeFileSync(join(root, 'etc/file'), 'inside');
  const link = (path: string, target: string) => symlinkSync(target, join(root, path));
  link('etc/relative', 'deep/../file');
  link('etc/absolute', '/etc/file');
  link('up', '../../../../../..');
  link('etc/out', `../../secret`);
  link('etc/out-absolute', join(outside, 'secret'));
  link('dir', '/etc');
  link('chain', 'dir/relative');
  link('loop', 'loop2');
  link('loop2', 'loop');
  link('proc', `/proc/self/root${outside}/secret`);
  execFileSync('mkfifo', [join(root, 'etc/fifo')]);
  writeFileSync(join(root, 'etc/huge'), '');
  truncateSync(join(root, 'etc/huge'), 2 * 1024 * 1024);
});
afterAll(() => rmSync(outside, { recursive: true }));

test.each([
  '/etc/file',
  'etc/file',
  '/etc/./file',
  '/etc/relative',
  '/etc/absolute',
  '/dir/file',
  '/chain',
  '/up/etc/file',
  '/../../etc/file',
  '/etc/deep/../file',
])('%s is inside', async (path) => {
  expect(await readFileBelow(root, path)).toBe('inside');
});

test.each([
  '/etc/none',
  '/none/file',
  '/etc/file/below',
  '/etc',
  '/',
  '',
  '/etc/out',
  '/etc/out-absolute',
  '/up/secret',
  '/loop',
  '/proc',
  '/etc/fifo',
  '/etc/huge',
])('%j gives nothing, and does not hang', async (path) => {
  expect(await readFileBelow(root, path)).toBeUndefined();
});

/** Descriptors of this process that are open below the test's directory: others come and go with the test runner. */
function openBelow(directory: string): string[] {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the descriptor of the listing itself
    }
  });
  return targets.filter((target) => target.startsWith(directory));
}

test('no descriptor stays open', async () => {
  const held = openSync(join(root, 'etc/file'), 'r');
  expect(openBelow(outside)).toHaveLength(1);
  closeSync(held);
  for (let i = 0; i < 20; i++)
    await Promise.all(['/chain', '/loop', '/etc/none', '/etc/fifo', '/up/etc/file'].map((path) => readFileBelow(root, path)));
  expect(openBelow(outside)).toEqual([]);
});

test('a root that is not there is an error', async () => {
  await expect(readFileBelow(join(outside, 'none'), '/etc/file')).rejects.toMatchObject({ code: 'ENOENT' });
});
