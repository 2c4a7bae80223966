/** Processes added to a running container: real containerd only. */
import { jest } from '@jest/globals';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecRequest } from '#runtime/runtime.js';
import { makeBusyboxArchive } from './busybox-archive.js';
import { until } from './containerd-process.js';
import { textOf } from './contract.js';
import { RealHarness, chunked } from './real-harness.js';

/** Each case starts real processes, on a machine that may be busy. */
jest.setTimeout(60_000);

let h: RealHarness;
let id: string;
beforeAll(async () => {
  h = await RealHarness.start();
  const image = await h.runtime.importImage(
    chunked(await makeBusyboxArchive({ name: 'exec:1', format: 'oci', config: { Env: ['FROM=image', 'PATH=/bin'], WorkingDir: '/var' } })),
  );
  id = await h.run({ image: image[0]?.name ?? '', command: ['sleep', '100000'], env: { OWN: 'container' }, capDrop: ['CHOWN'] });
}, 60_000);
afterAll(() => h?.destroy(), 60_000);

const exec = (argv: string[], changes: Partial<ExecRequest> = {}) => h.runtime.exec({ containerId: id, argv, tty: false, ...changes });
const sh = async (script: string, changes: Partial<ExecRequest> = {}) => {
  const session = await exec(['sh', '-c', script], changes);
  const [stdout, stderr, code] = await Promise.all([textOf(session.stdout), textOf(session.stderr), session.exited]);
  return { stdout, stderr, code };
};
/** FIFOs of commands that have ended are gone. */
const fifos = () => readdirSync(join(h.containerd.directory, 'weft/exec'));

test('streams are apart, the exit code is its own', async () => {
  expect(await sh('echo out; echo err >&2; exit 42')).toEqual({ stdout: 'out\n', stderr: 'err\n', code: 42 });
});

test('it is like the container: environment, directory, capabilities, filter', async () => {
  const { stdout } = await sh('env; pwd; cat /proc/self/status');
  expect(stdout.split('\n')).toEqual(
    expect.arrayContaining([
      'FROM=image',
      'OWN=container',
      '/var',
      'CapBnd:\t00000000a80425fa',
      'CapEff:\t00000000a80425fa',
      'Seccomp:\t2',
    ]),
  );
});

test('environment, directory and user can be given', async () => {
  const { stdout } = await sh('echo $OWN $NEW $HOME; pwd; id -u; id -G; grep CapEff /proc/self/status', {
    env: { OWN: 'exec', NEW: 'x' },
    workingDir: '/tmp',
    user: 'guest',
  });
  expect(stdout).toBe('exec x /home/guest\n/tmp\n1000\n1000 2000\nCapEff:\t0000000000000000\n');
  expect((await sh('id -u; id -g', { user: '5:6' })).stdout).toBe('5\n6\n');
});

test('a user that the container made itself', async () => {
  await sh('echo late:x:3000:3001::/:/bin/sh >> /etc/passwd');
  expect((await sh('id -u; id -g', { user: 'late' })).stdout).toBe('3000\n3001\n');
  await expect(exec(['true'], { user: 'missing' })).rejects.toMatchObject({ code: 'BAD_VALUE' });
});

test('the container cannot send us out of its root for the names of users', async () => {
  await sh('mv /etc/passwd /etc/p; ln -s /proc/1/root/../../../etc/passwd /etc/passwd');
  await expect(exec(['true'], { user: 'daemon' })).rejects.toMatchObject({ code: 'BAD_VALUE' });
  await sh('rm /etc/passwd; mv /etc/p /etc/passwd');
});

test('much output arrives whole, to a slow reader too', async () => {
  const session = await exec(['sh', '-c', 'seq 1 400000']);
  let bytes = 0;
  let last = '';
  let slow = 5;
  for await (const chunk of session.stdout as AsyncIterable<Buffer>) {
    if (slow-- > 0) await new Promise((resolve) => setTimeout(resolve, 100));
    bytes += chunk.length;
    last = chunk.toString().slice(-7);
  }
  expect(bytes).toBe(2_688_895);
  expect(last).toBe('400000\n');
  expect(await session.exited).toBe(0);
});

test('the end is kept for a reader that comes after it', async () => {
  const session = await exec(['sh', '-c', 'seq 1 9000; echo last']);
  expect(await session.exited).toBe(0);
  expect((await textOf(session.stdout)).endsWith('9000\nlast\n')).toBe(true);
});

test('much input arrives whole', async () => {
  const session = await exec(['wc', '-c']);
  const chunk = Buffer.alloc(100_000, 'x');
  for (let i = 0; i < 20; i++) session.stdin.write(chunk);
  session.stdin.end();
  expect(await textOf(session.stdout)).toBe('2000000\n');
});

test('a process that does not read its input still ends', async () => {
  const session = await exec(['true']);
  session.stdin.write(Buffer.alloc(1_000_000));
  expect(await session.exited).toBe(0);
});

test('a reader that goes away does not stop the process', async () => {
  const session = await exec(['sh', '-c', 'seq 1 200000; exit 3']);
  session.stdout.destroy();
  expect(await session.exited).toBe(3);
});

test('a background process that keeps the output open delays the end no longer than the shim does', async () => {
  const started = performance.now();
  const session = await exec(['sh', '-c', 'sleep 100000 & echo started']);
  expect(await textOf(session.stdout)).toBe('started\n');
  expect(await session.exited).toBe(0);
  expect(performance.now() - started).toBeLessThan(10_000);
});

describe('with a terminal', () => {
  test('size from the start, and resized', async () => {
    const session = await exec(['sh', '-c', 'stty size; read x; stty size'], { tty: true, size: { columns: 91, rows: 31 } });
    let output = '';
    session.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await until(() => output.includes('31 91'), 'first size');
    await session.resize(120, 40);
    session.stdin.write('\n');
    expect(await session.exited).toBe(0);
    await until(() => output.includes('40 120'), `second size in ${JSON.stringify(output)}`);
  });

  test('an interactive shell: echo, line editing by the terminal, exit code', async () => {
    const session = await exec(['sh'], { tty: true });
    session.stdin.write('tty; echo oops >&2\n');
    session.stdin.write('exit 6\n');
    const output = await textOf(session.stdout);
    expect(output).toContain('/dev/pts/');
    expect(output).toContain('oops\r\n');
    expect(await session.exited).toBe(6);
    expect(await textOf(session.stderr)).toBe('');
  });

  test('control-C interrupts', async () => {
    const session = await exec(['sh', '-c', 'trap "exit 9" INT; echo ready; while :; do sleep 0.05; done'], { tty: true });
    let output = '';
    session.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await until(() => output.includes('ready'), 'the command is ready');
    session.stdin.write('\x03');
    expect(await session.exited).toBe(9);
  });
});

test.each([
  [['no-such-program'], 127, /no-such-program/],
  [['/no/such/program'], 127, /no such file/],
  [['/etc/passwd'], 126, /permission denied/i],
])('%s cannot be run, and the exit code says how', async (argv, exit, why) => {
  await expect(exec(argv)).rejects.toMatchObject({ exit, why: expect.stringMatching(why) });
});

test('an empty command', async () => {
  await expect(exec([])).rejects.toMatchObject({ code: 'BAD_VALUE' });
});

test('many at once, and nothing is left of them', async () => {
  const results = await Promise.all(Array.from({ length: 8 }, (_, i) => sh(`echo ${i}; exit ${i}`)));
  expect(results.map((r) => [r.stdout, r.code])).toEqual(Array.from({ length: 8 }, (_, i) => [`${i}\n`, i]));
  await until(() => fifos().length === 0, `FIFOs are removed: ${fifos().join()}`);
});

test('removing the container ends its commands', async () => {
  const other = await h.run({ command: ['sleep', '100000'] });
  const session = await h.runtime.exec({ containerId: other, argv: ['sleep', '100000'], tty: false });
  await h.runtime.remove(other);
  expect(await session.exited).toBe(137);
  await until(() => fifos().length === 0, 'FIFOs are removed');
});
