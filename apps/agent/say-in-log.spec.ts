import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { silentLog } from '#base/log.js';
import { readFifo } from '#runtime/fifo.js';
import { sayInLog } from './say-in-log.js';
import { makeTask } from './spec-kit.js';

const ID = 'b'.repeat(16);
let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'weft-say-'));
  execFileSync('mkfifo', [join(dir, 'out'), join(dir, 'err')]);
});
afterEach(() => rm(dir, { recursive: true }));

const layout = { stdio: () => ({ stdin: join(dir, 'in'), stdout: join(dir, 'out'), stderr: join(dir, 'err') }) };
const task = (tty = false) => makeTask(ID, { container: { ...makeTask(ID).container, tty } });

it.each([
  ['err', false],
  ['out', true],
])('lines come into std%s, marked, none longer than a pipe takes at once', async (name, tty) => {
  const reader = readFifo(join(dir, name));
  sayInLog(layout, silentLog, task(tty), 'post_start', `one\n\n  two\r\n${'x'.repeat(5_000)}`);
  reader.drain();
  reader.finish();
  const lines = (await readAll(reader.stream)).split('\n');
  expect(lines.map((line) => line.slice(0, 18))).toEqual(['[post_start] one', '[post_start]   two', '[post_start] xxxxx', '']);
  expect(lines[2]).toHaveLength(4095);
});

it('a pipe that nobody reads, or that is gone, holds nobody up', async () => {
  expect(() => sayInLog(layout, silentLog, task(), 'pre_stop', 'lost')).not.toThrow();
  await rm(join(dir, 'err'));
  expect(() => sayInLog(layout, silentLog, task(), 'pre_stop', 'lost')).not.toThrow();
});
