import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { WeftError } from '#base/errors.js';
import type { FileMount } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { FileMounts } from './file-mounts.js';

const CONFIG = Buffer.from('listen 80;\n');
const CONFIG_ID = createHash('sha256').update(CONFIG).digest('hex');
const SECRET_ID = '5'.repeat(64);

describe('the configs and secrets of a task', () => {
  let dir: string;
  let fetched: string[];
  let contents: Map<string, Buffer>;
  let mounts: FileMounts;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'weft-files-'));
    fetched = [];
    contents = new Map([
      [CONFIG_ID, CONFIG],
      [SECRET_ID, Buffer.from('hunter2')],
    ]);
    mounts = new FileMounts({
      fetch: async function* (kind, id) {
        fetched.push(`${kind}/${id}`);
        const bytes = contents.get(id);
        if (!bytes) throw new WeftError('UNAVAILABLE', 'nobody answers');
        yield bytes.subarray(0, 3);
        yield bytes.subarray(3);
      },
      configsDir: (id) => join(dir, 'tasks', id, 'configs'),
      secretsDir: join(dir, 'secrets'),
      openSecrets: async (path) => void (await mkdir(path, { recursive: true, mode: 0o700 })),
    });
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const task = (...files: FileMount[]) => ({ id: 'ab'.repeat(8), container: { files } }) as Task;
  const config = (parts: Partial<FileMount> = {}): FileMount => ({
    kind: 'config',
    source: 'c',
    contentId: CONFIG_ID,
    target: '/c',
    ...parts,
  });
  const secret = (parts: Partial<FileMount> = {}): FileMount => ({
    kind: 'secret',
    source: 's',
    contentId: SECRET_ID,
    target: '/s',
    ...parts,
  });

  it('are read-only mounts of files with the mode and owner asked for', async () => {
    const found = await mounts.prepare(
      task(config({ mode: 0o4750 }), secret({ target: '/run/secrets/s', mode: 0o400, uid: process.getuid?.() ?? 0 })),
    );
    expect(found).toMatchObject([
      { type: 'bind', target: '/c', readOnly: true },
      { type: 'bind', target: '/run/secrets/s', readOnly: true },
    ]);
    const [c, s] = found.map((m) => m.source ?? '') as [string, string];
    expect(readFileSync(c)).toEqual(CONFIG);
    expect(readFileSync(s, 'utf8')).toBe('hunter2');
    expect(statSync(c).mode & 0o7777).toBe(0o4750);
    expect(statSync(s).mode & 0o7777).toBe(0o400);
    // Whatever its own mode: nobody but root gets to a secret on the node.
    expect(statSync(join(dir, 'secrets')).mode & 0o777).toBe(0o700);
    expect(statSync(dirname(s)).mode & 0o777).toBe(0o700);
    expect(s.startsWith(join(dir, 'secrets'))).toBe(true);
  });

  it('are 0444 unless it is said otherwise', async () => {
    const [c] = await mounts.prepare(task(config()));
    expect(statSync(c?.source ?? '').mode & 0o7777).toBe(0o444);
  });

  it('are not fetched again for a container that is made anew', async () => {
    const first = await mounts.prepare(task(config(), secret()));
    contents.clear();
    expect(await mounts.prepare(task(config(), secret()))).toEqual(first);
    expect(fetched).toEqual([`config/${CONFIG_ID}`, `secret/${SECRET_ID}`]);
  });

  it('fail the task when they cannot be had, and leave nothing half done', async () => {
    contents.delete(SECRET_ID);
    await expect(mounts.prepare(task(secret()))).rejects.toThrow('nobody answers');
    expect(existsSync(join(dir, 'secrets', task().id))).toBe(false);
    contents.set(CONFIG_ID, Buffer.from('something else'));
    await expect(mounts.prepare(task(config()))).rejects.toThrow('not what it should be');
    expect(existsSync(join(dir, 'tasks'))).toBe(false);
    contents.set(SECRET_ID, Buffer.alloc(500_001));
    await expect(mounts.prepare(task(secret()))).rejects.toThrow('larger than any can be');
  });

  it('go with the container: the secrets of a task that is gone, and of those that nobody knows', async () => {
    await mounts.prepare(task(config(), secret()));
    await mkdir(join(dir, 'secrets', 'stranger'));
    await mounts.sweep((id) => id === task().id);
    expect(readdirSync(join(dir, 'secrets'))).toEqual([task().id]);
    await mounts.forget(task().id);
    expect(readdirSync(join(dir, 'secrets'))).toEqual([]);
  });

  it('open the place of the secrets once, and not for configs', async () => {
    let opened = 0;
    const counting = new FileMounts({
      fetch: async function* () {
        yield Buffer.from('x');
      },
      configsDir: (id) => join(dir, 'tasks', id),
      secretsDir: join(dir, 'memory'),
      openSecrets: async (path) => {
        opened++;
        if (opened === 1) throw new WeftError('COMMAND_FAILED', 'no mount');
        await mkdir(path);
      },
    });
    await counting.prepare(task());
    expect(opened).toBe(0);
    await expect(counting.prepare(task(secret()))).rejects.toThrow('no mount');
    await Promise.all([counting.prepare(task(secret())), counting.prepare({ ...task(secret()), id: 'cd'.repeat(8) })]);
    expect(opened).toBe(2);
  });
});
