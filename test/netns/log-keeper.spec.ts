/**
 * The log keeper as the agent runs it: the compiled process, real FIFOs, real kills. (No namespace is needed here; this project is the one
 * that runs as root after a build.)
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { lstat, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { silentLog } from '#base/log.js';
import type { OpenRequest } from '#logs/keeper-protocol.js';
import { readLog, type LogEntry, type ReadLogOptions } from '#logs/read-log.js';
import type { CompanionUp } from '../../apps/agent/companion.js';
import { ensureLogKeeper, type LogKeeper } from '../../apps/agent/log-keeper/ensure.js';

const DIST = resolve('dist/apps/agent/log-keeper');
const WRITER = resolve('test/netns/log-keeper-writer.mjs');

interface Run {
  code: number | null;
  stdout: string;
}

/** Runs a program to its end. */
function run(program: string, args: string[]): Promise<Run> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.once('error', fail);
    child.once('close', (code) => done({ code, stdout }));
  });
}

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
const say = (text: string): void => void process.stdout.write(`      ${text}\n`);

let directory: string;
let keeper: LogKeeper;
let ups: (CompanionUp & { at: number })[];

const start = (extra: { probeMs?: number } = {}): Promise<LogKeeper> =>
  ensureLogKeeper({
    mainPath: join(DIST, 'main.js'),
    control: join(directory, 'run', 'keeper.sock'),
    state: join(directory, 'state'),
    log: silentLog,
    onUp: (up) => ups.push({ ...up, at: performance.now() }),
    ...extra,
  });

const source = (container: string, extra: Partial<OpenRequest> = {}): OpenRequest & { stderr: string } => ({
  container,
  stdout: join(directory, 'fifo', `${container}.out`),
  stderr: join(directory, 'fifo', `${container}.err`),
  file: join(directory, 'logs', container, 'log'),
  ...extra,
});

/** Runs a shell script whose descriptors 3 and 4 are the container's stdout and stderr. */
async function print(container: string, script: string): Promise<void> {
  const { stdout, stderr } = source(container);
  expect((await run('sh', ['-c', `exec 3<>"$1" 4<>"$2"; ${script}`, 'sh', stdout, stderr as string])).code).toBe(0);
}

async function read(container: string, options: ReadLogOptions = {}): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const entry of readLog(source(container).file, options)) entries.push(entry);
  return entries;
}

const pssKib = async (pid: number): Promise<number> =>
  Number(/^Pss:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);

/** Processes whose command line names this test's directory. */
async function processes(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return pids.filter((_, i) => lines[i]?.includes(directory));
}

async function kill9(): Promise<number> {
  const pid = await keeper.pid();
  if (pid === undefined) throw new Error('the keeper does not run');
  process.kill(pid, 'SIGKILL');
  return performance.now();
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (await holds()) return;
    await sleep(20);
  }
  throw new Error(`10 s have passed, and still not: ${what}`);
}

beforeAll(() => {
  if (!existsSync(join(DIST, 'main.js'))) throw new Error(`${DIST}/main.js is missing: run \`npm run build\` first`);
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), `weft-log-keeper-${process.pid}-`));
  ups = [];
  keeper = await start();
});
afterEach(async () => {
  await keeper.kill();
  expect(await processes()).toEqual([]);
  await rm(directory, { recursive: true });
});

it('makes a pipe for input that nobody writes to, and takes it away again', async () => {
  const stdin = join(directory, 'fifo', 'web.in');
  await keeper.open({ ...source('web'), stdin });
  expect((await lstat(stdin)).isFIFO()).toBe(true);
  // It is open nowhere: who reads waits, and is not told that the input ended.
  expect((await run('timeout', ['0.5', 'cat', stdin])).code).toBe(124);
  await keeper.close('web');
  expect(existsSync(stdin)).toBe(false);
});

it('keeps nothing of a container whose log is not wanted, says so once, and does not make it wait', async () => {
  await keeper.open(source('mute', { discard: true }));
  // More than a pipe holds, and over a restart.
  await print('mute', 'head -c 300000 /dev/zero >&3; echo unheard >&4');
  await kill9();
  await until('the keeper is back', () => ups.length > 1);
  await print('mute', 'head -c 300000 /dev/zero >&3; echo unheard >&4');
  await keeper.flush('mute');
  const texts = (await read('mute')).map((entry) => `${entry.stream} ${entry.text.toString()}`);
  expect(texts).toEqual([
    expect.stringMatching(/^weft --- nothing that this container prints is kept/),
    expect.stringMatching(/^weft --- log keeper restarted/),
  ]);
});

describe('what a container prints', () => {
  it('comes out with time and stream, in the order in which it was printed', async () => {
    await keeper.open(source('a'));
    const before = Date.now();
    await print('a', 'for i in 1 2 3 4 5; do echo out $i >&3; sleep 0.06; echo err $i >&4; sleep 0.06; done');
    expect(await keeper.flush('a')).toBe(true);
    const entries = await read('a');
    expect(entries.map((e) => `${e.stream} ${e.text}`)).toEqual([1, 2, 3, 4, 5].flatMap((i) => [`stdout out ${i}`, `stderr err ${i}`]));
    const times = entries.map((e) => e.at);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(before);
    expect(Math.max(...times)).toBeLessThanOrEqual(Date.now());
  });

  it('is there within 200 ms for one who follows', async () => {
    await keeper.open(source('a'));
    const stop = new AbortController();
    const waits: number[] = [];
    const following = (async () => {
      for await (const entry of readLog(source('a').file, { follow: true, signal: stop.signal }))
        waits.push(Date.now() - Number(entry.text));
    })();
    await print('a', 'for i in 1 2 3 4 5 6 7 8 9; do date +%s%3N >&3; sleep 0.13; done');
    await until('all lines are seen', () => waits.length === 9);
    stop.abort();
    await following;
    // The middle one is judged: a busy machine may delay any single one.
    expect(waits.sort((a, b) => a - b)[4]).toBeLessThan(200);
  });

  it('may be longer than a piece, hold any byte, or have no end', async () => {
    await keeper.open(source('a'));
    await print('a', `head -c 50000 /dev/zero | tr '\\0' x >&3; echo >&3; printf 'a\\tb\\r\\n' >&3; printf 'prompt> ' >&3`);
    await keeper.flush('a');
    expect((await read('a')).map((e) => e.text)).toEqual(['x'.repeat(50_000), 'a\tb\r', 'prompt> ']);
    await print('a', 'echo answer >&3');
    await keeper.flush('a');
    expect((await read('a', { tail: 1 }))[0]?.text).toBe('prompt> answer');
  });

  it('rotates, and one who follows misses nothing', async () => {
    await keeper.open(source('a', { maxBytes: 200_000, maxFiles: 3 }));
    const stop = new AbortController();
    let seen = 0;
    let inOrder = true;
    const following = (async () => {
      for await (const entry of readLog(source('a').file, { follow: true, signal: stop.signal })) inOrder &&= entry.text === `${++seen}`;
    })();
    // Slow enough that two looks, 100 ms apart, are never more than two files apart.
    await print('a', 'i=0; for r in $(seq 20); do for l in $(seq 1000); do i=$((i+1)); echo $i; done >&3; sleep 0.05; done');
    await keeper.flush('a');
    await until('all lines are seen', () => seen >= 20_000);
    stop.abort();
    await following;
    expect({ seen, inOrder }).toEqual({ seen: 20_000, inOrder: true });
    const names = (await readdir(join(directory, 'logs', 'a'))).sort();
    expect(names).toEqual(['log', 'log.1', 'log.2']);
    for (const name of names) expect((await stat(join(directory, 'logs', 'a', name))).size).toBeLessThanOrEqual(200_000);
  });
});

describe('opening and closing', () => {
  it('makes FIFOs and files for root only, says the same twice, and refuses other paths', async () => {
    await keeper.open(source('a'));
    await keeper.open(source('a', { maxFiles: 7 }));
    await expect(keeper.open({ ...source('a'), file: join(directory, 'other') })).rejects.toMatchObject({ code: 'CONFLICT' });
    const fifo = await lstat(source('a').stdout);
    expect(fifo.isFIFO()).toBe(true);
    const { mode } = await stat(source('a').file);
    const socket = await stat(join(directory, 'run', 'keeper.sock'));
    expect([fifo.mode, mode, socket.mode].map((m) => (m & 0o777).toString(8))).toEqual(['600', '600', '600']);
    expect(await keeper.list()).toMatchObject([{ container: 'a', maxFiles: 7, maxBytes: 10 * 1024 * 1024 }]);
  });

  it('takes what is still in the pipe before it closes, and removes what it made', async () => {
    await keeper.open(source('a'));
    await keeper.open(source('b'));
    for (const name of ['a', 'b']) await print(name, 'seq 5000 >&3; printf last >&4');
    expect(await keeper.close('a')).toBe(true);
    expect(await keeper.close('a')).toBe(false);
    const texts = (await read('a')).map((e) => e.text);
    expect(texts).toHaveLength(5001);
    expect(texts).toContain('last');
    expect(existsSync(source('a').stdout)).toBe(false);
    await keeper.close('b', { remove: true });
    expect(await readdir(join(directory, 'logs', 'b'))).toEqual([]);
    expect(await keeper.list()).toEqual([]);
  });

  it('refuses a path that is something else, and goes on', async () => {
    await writeFile(join(directory, 'plain'), '');
    await expect(keeper.open({ ...source('a'), stdout: join(directory, 'plain') })).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(keeper.open({ ...source('a'), container: 'a\nb' })).rejects.toMatchObject({ code: 'BAD_VALUE' });
    expect(await keeper.list()).toEqual([]);
  });

  it('answers garbage with an error and stays up', async () => {
    const socket = connect(join(directory, 'run', 'keeper.sock'));
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    socket.write('nonsense\n{"id":1,"verb":"rm"}\n{"id":2,"verb":"list"}\n');
    await until('three answers', () => text.split('\n').length === 4);
    socket.destroy();
    const answers = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: unknown; error?: { code: string } });
    expect(new Map(answers.map((a) => [a.id, a.error?.code]))).toEqual(
      new Map<unknown, unknown>([
        [null, 'BAD_VALUE'],
        [1, 'BAD_VALUE'],
        [2, undefined],
      ]),
    );
    expect(ups).toHaveLength(1);
  });

  it('serves many silent containers, and files all the while', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `idle-${i}`);
    await Promise.all(names.map((name) => keeper.open(source(name))));
    await keeper.open(source('a'));
    await print('a', 'echo alive >&4');
    await keeper.flush('a');
    expect(await read('a')).toMatchObject([{ stream: 'stderr', text: 'alive' }]);
    say(`log keeper with 41 containers: ${((await pssKib((await keeper.pid()) as number)) / 1024).toFixed(1)} MiB PSS`);
    expect(await keeper.list()).toHaveLength(41);
  });
});

describe('when the keeper is killed', () => {
  it('stalls a container that prints 1 MB/s no longer than the restart, loses only what it had in hand, and marks the gap', async () => {
    await keeper.open(source('a', { maxBytes: 100e6 }));
    const writer = run(process.execPath, [WRITER, source('a').stdout, '1000000', '4']);
    await sleep(2_000);
    const killed = await kill9();
    await until('the keeper is back', () => ups.length === 2);
    const restartMs = (ups[1]?.at ?? Infinity) - killed;
    const { lines, longestStallMs } = JSON.parse((await writer).stdout) as { lines: number; longestStallMs: number };
    await keeper.flush('a');

    const entries = await read('a');
    const marks = entries.flatMap((entry, i) => (entry.stream === 'weft' ? [i] : []));
    expect(marks).toHaveLength(1);
    const mark = marks[0] as number;
    expect(entries[mark]?.text).toMatch(/^--- log keeper restarted at \S+; lines may be missing ---$/);
    const numbersOf = (part: LogEntry[]): number[] => part.map((e) => Number(/^#(\d+) \.+$/.exec(e.text)?.[1] ?? NaN));
    const before = numbersOf(entries.slice(0, mark));
    // The line that was cut by the gap may have left its end.
    const after = numbersOf(entries.slice(mark + 1)).filter((n, i) => i > 0 || !Number.isNaN(n));
    expect(before).toEqual(before.map((_, i) => i));
    expect(after).toEqual(after.map((_, i) => lines - after.length + i));
    const lost = lines - before.length - after.length;
    say(
      `kill -9 at 1 MB/s: back after ${restartMs.toFixed(0)} ms, longest stall ${longestStallMs.toFixed(0)} ms, ${lost} of ${lines} lines lost`,
    );
    expect(before.length).toBeGreaterThan(10_000);
    expect(after.length).toBeGreaterThan(10_000);
    expect(longestStallMs).toBeLessThanOrEqual(restartMs + 500);
    // What it may have had in hand: one batch, and more only while the disk is slow. A line is 0.1 ms.
    expect(lost).toBeLessThan(10_000);
  });

  it('loses nothing that is in the pipe', async () => {
    await keeper.open(source('a'));
    const pid = (await keeper.pid()) as number;
    // A stopped keeper reads nothing, so all of this is in the pipe when it dies.
    process.kill(pid, 'SIGSTOP');
    const holder = spawn('sh', ['-c', 'exec 3<>"$1"; seq 1000 >&3; exec sleep 30', 'sh', source('a').stdout], { stdio: 'ignore' });
    await sleep(300);
    await kill9();
    await until('the keeper is back', () => ups.length === 2);
    await keeper.flush('a');
    holder.kill('SIGKILL');
    expect((await read('a')).map((e) => e.text).slice(1)).toEqual(Array.from({ length: 1000 }, (_, i) => `${i + 1}`));
  });

  it('comes back time after time, and a verb asked meanwhile is answered', async () => {
    await Promise.all(['a', 'b', 'c'].map((name) => keeper.open(source(name))));
    for (let i = 2; i <= 4; i++) {
      await kill9();
      expect((await keeper.list()).map((l) => l.container).sort()).toEqual(['a', 'b', 'c']);
      await until('it is up', () => ups.length === i);
    }
    await print('b', 'echo still here >&3');
    await keeper.close('b');
    expect((await read('b')).map((e) => e.stream)).toEqual(['weft', 'weft', 'weft', 'stdout']);
    await kill9();
    expect((await keeper.list()).map((l) => l.container).sort()).toEqual(['a', 'c']);
  });

  it('leaves no mark when it is ended in order, and keeps a line that was half printed', async () => {
    await keeper.open(source('a'));
    const holder = spawn(
      'sh',
      ['-c', 'exec 3<>"$1"; echo one >&3; printf "two " >&3; sleep 2; echo three >&3; exec sleep 30', 'sh', source('a').stdout],
      {
        stdio: 'ignore',
      },
    );
    await sleep(500);
    process.kill((await keeper.pid()) as number, 'SIGTERM');
    await until('the keeper is back', () => ups.length === 2);
    await until('the line is complete', async () => (await keeper.flush('a')) && (await read('a')).some((e) => e.text.includes('three')));
    holder.kill('SIGKILL');
    expect((await read('a')).map((e) => e.text)).toEqual(['one', 'two three']);
  });

  it('forgets a container whose FIFOs are gone, as after a reboot, and starts with a broken state file', async () => {
    await keeper.open(source('a'));
    await keeper.open(source('b'));
    await rm(source('a').stdout);
    await kill9();
    await until('the keeper is back', () => ups.length === 2);
    expect((await keeper.list()).map((l) => l.container)).toEqual(['b']);
    await keeper.stop();
    process.kill((await keeper.pid()) as number, 'SIGKILL');
    await writeFile(join(directory, 'state', 'open-logs.json'), '{"sources": [{');
    keeper = await start();
    expect(await keeper.list()).toEqual([]);
  });
});

describe('beside the agent', () => {
  it('lives on when the agent is killed, and the next agent adopts it', async () => {
    await keeper.kill();
    const script = `import { ensureLogKeeper } from ${JSON.stringify(join(DIST, 'ensure.js'))};
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const [mainPath, control, state, source] = process.argv.slice(1);
      const keeper = await ensureLogKeeper({ mainPath, control, state, log });
      await keeper.open(JSON.parse(source));
      process.kill(process.pid, 'SIGKILL');`;
    const args = [join(DIST, 'main.js'), join(directory, 'run', 'keeper.sock'), join(directory, 'state'), JSON.stringify(source('a'))];
    expect((await run(process.execPath, ['--input-type=module', '-e', script, ...args])).code).toBeNull();
    await print('a', 'echo nobody is watching >&3');
    ups = [];
    keeper = await start();
    expect(ups).toMatchObject([{ adopted: true }]);
    expect(ups[0]?.pid).toBe(await keeper.pid());
    await keeper.flush('a');
    expect((await read('a')).map((e) => `${e.stream} ${e.text}`)).toEqual(['stdout nobody is watching']);
    // The adopted one is watched as well.
    await kill9();
    await until('it is up again', () => ups.length === 2);
    expect(ups[1]).toMatchObject({ adopted: false, restarts: 1 });
  });

  it('is one, however many agents start it at the same moment', async () => {
    await keeper.kill();
    const agents = await Promise.all([start(), start(), start()]);
    keeper = agents[2];
    try {
      // Those that come too late wait for the lock for a moment, and end.
      await until('one is left', async () => (await processes()).length === 1);
      const pid = await keeper.pid();
      expect(await processes()).toEqual([String(pid)]);
      process.kill(pid as number, 'SIGKILL');
      for (const agent of agents) expect(await agent.list()).toEqual([]);
      await until('one is left', async () => (await processes()).length === 1);
    } finally {
      await agents[0].stop();
      await agents[1].stop();
    }
  });

  it('is killed and started again when it lives but is stuck', async () => {
    await keeper.stop();
    keeper = await start({ probeMs: 500 });
    await keeper.open(source('a'));
    const pid = (await keeper.pid()) as number;
    process.kill(pid, 'SIGSTOP');
    await until('another one is up', () => ups.length === 3);
    expect(ups[2]?.pid).not.toBe(pid);
    expect((await keeper.list()).map((l) => l.container)).toEqual(['a']);
  });

  it('says where to look when it does not come up', async () => {
    await keeper.kill();
    const broken = ensureLogKeeper({
      mainPath: join(directory, 'missing.js'),
      control: join(directory, 'c'),
      state: join(directory, 's'),
      log: silentLog,
      startDeadlineMs: 1_500,
    });
    await expect(broken).rejects.toMatchObject({ code: 'UNAVAILABLE', hint: expect.stringContaining('log-keeper.log') });
    expect(await readFile(join(directory, 's', 'log-keeper.log'), 'utf8')).toContain('missing.js');
  });
});

describe('its cost', () => {
  it('keeps up with a flood, and drops nothing but what rotation drops', async () => {
    say(`log keeper without containers: ${((await pssKib((await keeper.pid()) as number)) / 1024).toFixed(1)} MiB PSS`);
    const names = ['a', 'b'];
    await Promise.all(names.map((name) => keeper.open(source(name, { maxBytes: 500e6 }))));
    const begin = performance.now();
    await Promise.all(names.map((name) => print(name, `yes ${'y'.repeat(99)} | head -c 50000000 >&3`)));
    await Promise.all(names.map((name) => keeper.flush(name)));
    const seconds = (performance.now() - begin) / 1000;
    say(`two containers in full flood: ${(100 / seconds).toFixed(0)} MB/s into the log files`);
    for (const name of names) {
      expect((await keeper.list()).find((l) => l.container === name)).toMatchObject({ readBytes: 50e6, lostBytes: 0 });
      expect((await stat(source(name).file)).size).toBe(500_000 * (100 + '2026-01-31T12:00:00.123Z stdout F '.length));
    }
  });

  it('is small for a container that prints 1 MB/s', async () => {
    await keeper.open(source('a'));
    const pid = (await keeper.pid()) as number;
    const cpuMs = async (): Promise<number> => {
      const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
      return (Number(fields[11]) + Number(fields[12])) * 10;
    };
    const before = await cpuMs();
    const { stdout } = await run(process.execPath, [WRITER, source('a').stdout, '1000000', '3']);
    const percent = ((await cpuMs()) - before) / 30;
    const { lines } = JSON.parse(stdout) as { lines: number };
    say(`one container at 1 MB/s (${lines} lines in 3 s): ${percent.toFixed(1)} % of one CPU`);
    expect(percent).toBeLessThan(40);
  });
});

it('keeps its directories to itself', async () => {
  await keeper.open(source('a'));
  for (const path of ['run', 'state', 'fifo', 'logs']) expect(((await stat(join(directory, path))).mode & 0o777).toString(8)).toBe('700');
});
