import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer as gather } from 'node:stream/consumers';
import { pack, type Header } from 'tar-stream';
import { ManualClock } from '#base/manual-clock.js';
import { WeftError } from '#base/errors.js';
import { run } from '#linux/runner.js';
import type { MountWish } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { TreeMounts } from './tree-mounts.js';

type Entry = [header: Partial<Header> & { name: string }, content?: string];

async function archiveOf(...entries: Entry[]): Promise<Buffer> {
  const tar = pack();
  const whole = gather(tar);
  for (const [header, content] of entries) tar.entry(header, content ?? '');
  tar.finalize();
  return whole;
}

const ROOT: Entry = [{ name: 'root', type: 'directory', mode: 0o755 }];
const idOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('files from beside a compose file, on a node', () => {
  let dir: string;
  let fetches: number;
  let archives: Map<string, Buffer>;
  let clock: ManualClock;
  let mounts: TreeMounts;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'weft-trees-'));
    fetches = 0;
    archives = new Map();
    clock = new ManualClock();
    mounts = new TreeMounts({
      fetch: async function* (_kind, id) {
        fetches++;
        const bytes = archives.get(id);
        if (!bytes) throw new WeftError('UNAVAILABLE', 'nobody answers');
        for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
      },
      treesDir: join(dir, 'trees'),
      seedsDir: (id) => join(dir, 'tasks', id, 'seeds'),
      run,
      clock,
    });
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const known = (archive: Buffer): string => {
    archives.set(idOf(archive), archive);
    return idOf(archive);
  };
  const task = (contentId: string, parts: Partial<MountWish> = {}, id = 'ab'.repeat(8)) =>
    ({
      id,
      container: { mounts: [{ type: 'tree', source: 'conf', target: '/conf', readOnly: true, contentId, ...parts }] },
    }) as unknown as Task;

  it('are unpacked with their modes and links, once for all tasks, and mounted read-only', async () => {
    const id = known(
      await archiveOf(
        [{ name: 'root', type: 'directory', mode: 0o555 }],
        [{ name: 'root/a', mode: 0o640 }, 'one'],
        [{ name: 'root/link', type: 'symlink', linkname: 'sub/run.sh' }],
        [{ name: 'root/sub', type: 'directory', mode: 0o750 }],
        [{ name: 'root/sub/run.sh', mode: 0o755 }, 'two'.repeat(1000)],
      ),
    );
    const [first, second] = await Promise.all([mounts.prepare(task(id)), mounts.prepare(task(id, { readOnly: false }, 'cd'.repeat(8)))]);
    expect(first).toEqual(second);
    expect(first).toMatchObject([{ type: 'bind', target: '/conf', readOnly: true }]);
    expect(fetches).toBe(1);
    const root = first[0]?.source ?? '';
    expect(readdirSync(root).sort()).toEqual(['a', 'link', 'sub']);
    expect(['', 'a', 'sub', 'sub/run.sh'].map((path) => (statSync(join(root, path)).mode & 0o7777).toString(8))).toEqual([
      '555',
      '640',
      '750',
      '755',
    ]);
    expect(readlinkSync(join(root, 'link'))).toBe('sub/run.sh');
    expect(readFileSync(join(root, 'link'), 'utf8')).toBe('two'.repeat(1000));
  });

  it('may be one file', async () => {
    const id = known(await archiveOf([{ name: 'root', mode: 0o600 }, 'alone']));
    const [mount] = await mounts.prepare(task(id));
    expect(readFileSync(mount?.source ?? '', 'utf8')).toBe('alone');
    expect(statSync(mount?.source ?? '').mode & 0o777).toBe(0o600);
  });

  it('that are a seed are copied for each task, and stay the task’s', async () => {
    const id = known(await archiveOf(ROOT, [{ name: 'root/a', mode: 0o644 }, 'one']));
    const seed = { seed: { uid: process.getuid?.() ?? 0 }, readOnly: false };
    const [own] = await mounts.prepare(task(id, seed));
    const [others] = await mounts.prepare(task(id, seed, 'cd'.repeat(8)));
    expect(own).toMatchObject({ readOnly: false });
    expect(own?.source).not.toBe(others?.source);
    writeFileSync(join(own?.source ?? '', 'a'), 'written');
    expect(await mounts.prepare(task(id, seed))).toEqual([own]);
    expect(readFileSync(join(own?.source ?? '', 'a'), 'utf8')).toBe('written');
    expect(readFileSync(join(others?.source ?? '', 'a'), 'utf8')).toBe('one');
    expect(fetches).toBe(1);
  });

  it('go when no task has mounted them for ten minutes', async () => {
    const id = known(await archiveOf(ROOT));
    await mounts.prepare(task(id));
    const left = () => readdirSync(join(dir, 'trees'));
    await mounts.sweep([task(id)]);
    await mounts.sweep([]);
    await clock.advance(10 * 60_000 - 1);
    await mounts.sweep([]);
    expect(left()).toEqual([id]);
    await mounts.sweep([task(id)]);
    await clock.advance(10 * 60_000);
    await mounts.sweep([]);
    expect(left()).toEqual([id]);
    await clock.advance(10 * 60_000);
    await mounts.sweep([]);
    expect(left()).toEqual([]);
  });

  it.each<[string, string, Entry[]]>([
    ['no entries', 'it is empty', []],
    ['a name outside', 'it names', [[{ name: '../evil' }, 'x']]],
    ['a name that climbs', 'it names', [ROOT, [{ name: 'root/../../evil' }, 'x']]],
    ['an absolute name', 'it names', [[{ name: '/root' }, 'x']]],
    [
      'a file in a link',
      'is in no directory',
      [ROOT, [{ name: 'root/l', type: 'symlink', linkname: '.' }], [{ name: 'root/l/evil' }, 'x']],
    ],
    ['a link out', 'a link leads to', [ROOT, [{ name: 'root/l', type: 'symlink', linkname: '../../etc/passwd' }]]],
    ['an absolute link', 'a link leads to', [ROOT, [{ name: 'root/l', type: 'symlink', linkname: '/etc/passwd' }]]],
    ['a device', 'an entry of type', [ROOT, [{ name: 'root/d', type: 'character-device' }]]],
    ['a hard link', 'an entry of type', [ROOT, [{ name: 'root/d', type: 'link', linkname: '/etc/passwd' }]]],
    ['one name twice', 'EEXIST', [ROOT, [{ name: 'root/a' }, 'x'], [{ name: 'root/a' }, 'y']]],
  ])('with %s are not believed, and nothing of them stays', async (_what, why, entries) => {
    const id = known(await archiveOf(...entries));
    await expect(mounts.prepare(task(id))).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining(why) });
    expect(readdirSync(join(dir, 'trees'))).toEqual([]);
    expect(lstatSync(dir).isDirectory() && !existsSync(join(dir, 'evil'))).toBe(true);
  });

  it('that are not what was asked for are not believed; what cannot be fetched is tried again', async () => {
    const archive = await archiveOf(ROOT, [{ name: 'root/a' }, 'one']);
    const id = '7'.repeat(64);
    archives.set(id, archive);
    await expect(mounts.prepare(task(id))).rejects.toThrow('not what its id says');
    await expect(mounts.prepare(task(idOf(archive)))).rejects.toThrow('nobody answers');
    known(archive);
    expect(await mounts.prepare(task(idOf(archive)))).toHaveLength(1);
    await expect(mounts.prepare(task('../../etc'))).rejects.toMatchObject({ code: 'CORRUPT' });
  });
});
