import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LineBuffer, LineSplitter } from './line-splitter.js';
import { readLog, type LogEntry, type ReadLogOptions } from './read-log.js';

const START = Date.parse('2026-01-31T12:00:00.000Z');
const stamp = (ms: number): string => new Date(START + ms).toISOString();
const lineOf = (n: number, stream = 'stdout', tag = 'F', text = `line ${n}`): string => `${stamp(n)} ${stream} ${tag} ${text}\n`;
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const linesOf = (from: number, to: number): string =>
  range(from, to)
    .map((n) => lineOf(n))
    .join('');

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-read-log-'));
  file = join(directory, 'a.log');
});
afterEach(() => rm(directory, { recursive: true }));

async function read(options: ReadLogOptions = {}): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const entry of readLog(file, options)) entries.push(entry);
  return entries;
}
const texts = async (options: ReadLogOptions = {}): Promise<string[]> => (await read(options)).map((e) => e.text);
const named = (from: number, to: number): string[] => range(from, to).map((n) => `line ${n}`);

describe('reading a log', () => {
  it('finds nothing where there is no file', async () => {
    expect(await texts()).toEqual([]);
    expect(await texts({ tail: 5 })).toEqual([]);
  });

  it('reads across rotated files, oldest first, with times and streams', async () => {
    await writeFile(`${file}.2`, linesOf(0, 10));
    await writeFile(`${file}.1`, linesOf(10, 20));
    await writeFile(file, linesOf(20, 29) + lineOf(29, 'stderr'));
    const entries = await read();
    expect(entries.map((e) => e.text)).toEqual(named(0, 30));
    expect(entries.at(-1)).toEqual({ at: START + 29, stream: 'stderr', text: 'line 29' });
  });

  it.each([0, 1, 5, 9, 10, 11, 25, 30, 1_000])('gives the last %i entries, across files', async (tail) => {
    await writeFile(`${file}.1`, linesOf(0, 20));
    await writeFile(file, linesOf(20, 30));
    expect(await texts({ tail })).toEqual(named(Math.max(0, 30 - tail), 30));
  });

  it('gives the tail of files of many blocks', async () => {
    const text = 'w'.repeat(1_000);
    await writeFile(
      `${file}.1`,
      range(0, 500)
        .map((n) => lineOf(n, 'stdout', 'F', `${n} ${text}`))
        .join(''),
    );
    await writeFile(
      file,
      range(500, 700)
        .map((n) => lineOf(n, 'stdout', 'F', `${n} ${text}`))
        .join(''),
    );
    expect((await texts({ tail: 300 })).map((t) => Number(t.split(' ')[0]))).toEqual(range(400, 700));
  });

  it('selects by time', async () => {
    await writeFile(`${file}.1`, linesOf(0, 20));
    await writeFile(file, linesOf(20, 30));
    expect(await texts({ sinceMs: START + 15, untilMs: START + 25 })).toEqual(named(15, 25));
    expect(await texts({ sinceMs: START + 15, tail: 100 })).toEqual(named(15, 30));
    expect(await texts({ untilMs: START + 25, tail: 3 })).toEqual(named(22, 25));
  });

  it('joins pieces, also those of two streams that mix, and gives a remark its place', async () => {
    await writeFile(
      file,
      lineOf(1, 'stdout', 'P', 'out1 ') +
        lineOf(2, 'stderr', 'P', 'err1 ') +
        lineOf(3, 'stdout', 'P:c', 'out2 ') +
        lineOf(4, 'stderr', 'F:c', 'err2') +
        lineOf(5, 'stdout', 'F:c', 'out3') +
        lineOf(6, 'stdout', 'P', 'lost') +
        lineOf(7, 'weft', 'F', '--- gap ---') +
        lineOf(8, 'stdout', 'F', 'rest'),
    );
    const all = ['err1 err2', 'out1 out2 out3', 'lost', '--- gap ---', 'rest'];
    expect(await texts()).toEqual(all);
    expect((await read())[1]?.at).toBe(START + 1);
    for (const tail of range(0, 6)) expect(await texts({ tail })).toEqual(all.slice(all.length - tail));
  });

  it('finds the beginning of a long line for the tail, behind lines of another stream', async () => {
    const out = new LineBuffer();
    const [stdout, stderr] = [new LineSplitter('stdout'), new LineSplitter('stderr')];
    for (let i = 0; i < 20; i++) stderr.feed(Buffer.from(`before ${i}\n`), stamp(i), out);
    for (let i = 0; i < 20; i++) {
      stdout.feed(Buffer.alloc(20_000, 'l'), stamp(20 + i), out);
      stderr.feed(Buffer.from(`between ${i}\n`), stamp(20 + i), out);
    }
    stdout.feed(Buffer.from('\n'), stamp(50), out);
    await writeFile(file, out.bytes.subarray(0, out.length));
    expect((await texts({ tail: 1 })).map((t) => t.length)).toEqual([400_000]);
    expect((await texts({ tail: 3 })).map((t) => t.slice(0, 10))).toEqual(['between 18', 'between 19', 'llllllllll']);
  });

  it('gives a line that has not ended, and one that is no log line', async () => {
    await writeFile(file, `${lineOf(1)}${stamp(2)} std\n${lineOf(3, 'stdout', 'P', 'prompt> ')}`);
    expect(await texts()).toEqual(['line 1', `${stamp(2)} std`, 'prompt> ']);
    expect(await texts({ tail: 1 })).toEqual(['prompt> ']);
    expect((await read())[1]).toMatchObject({ at: START + 1, stream: 'weft' });
  });
});

describe('following a log', () => {
  /** Reads in the background; `until(n)` waits for n entries. */
  function follow(options: ReadLogOptions = {}) {
    const stop = new AbortController();
    const got: { text: string; seen: number }[] = [];
    const done = (async () => {
      for await (const entry of readLog(file, { follow: true, signal: stop.signal, ...options }))
        got.push({ text: entry.text, seen: performance.now() });
    })();
    const until = async (n: number): Promise<void> => {
      for (let i = 0; got.length < n && i < 500; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    return { got, until, texts: () => got.map((g) => g.text), stop: () => (stop.abort(), done) };
  }

  it('waits for a file that is not there, then gives lines as they are written', async () => {
    const reader = follow();
    await writeFile(file, linesOf(0, 2));
    await reader.until(2);
    await appendFile(file, `${lineOf(2)}${stamp(3)} stdout F half`);
    await reader.until(3);
    await appendFile(file, ' and half\n');
    await reader.until(4);
    await reader.stop();
    expect(reader.texts()).toEqual([...named(0, 3), 'half and half']);
  });

  it('begins with the tail and sees a new line soon', async () => {
    await writeFile(file, linesOf(0, 10));
    const reader = follow({ tail: 2 });
    await reader.until(2);
    const waits: number[] = [];
    for (const n of range(10, 20)) {
      await appendFile(file, lineOf(n));
      const at = performance.now();
      await reader.until(n - 7);
      waits.push((reader.got.at(-1)?.seen ?? Infinity) - at);
    }
    await reader.stop();
    expect(reader.texts()).toEqual(named(8, 20));
    // The poll is every 100 ms; the middle one is judged, for a busy machine may delay any single one.
    expect(waits.sort((a, b) => a - b)[5]).toBeLessThan(200);
  });

  it('goes on across rotations, several between two looks included', async () => {
    await writeFile(file, linesOf(0, 5));
    const reader = follow();
    await reader.until(5);
    const rotate = async (from: number, to: number): Promise<void> => {
      await rename(`${file}.1`, `${file}.2`).catch(() => undefined);
      await rename(file, `${file}.1`);
      await writeFile(file, linesOf(from, to));
    };
    await appendFile(file, linesOf(5, 7));
    await rotate(7, 10);
    await rotate(10, 12);
    await reader.until(12);
    await rotate(12, 15);
    await reader.until(15);
    await reader.stop();
    expect(reader.texts()).toEqual(named(0, 15));
  });

  it('says so when lines were rotated away unread', async () => {
    await writeFile(file, linesOf(0, 2));
    const reader = follow();
    await reader.until(2);
    await rm(file);
    await writeFile(file, linesOf(5, 6));
    await reader.until(4);
    await reader.stop();
    expect(reader.texts()).toEqual(['line 0', 'line 1', '--- lines were rotated away before they could be read ---', 'line 5']);
  });

  it('ends by itself when the time is past', async () => {
    await writeFile(file, linesOf(0, 10));
    const reader = follow({ untilMs: START + 5 });
    await reader.until(5);
    await reader.stop();
    expect(reader.texts()).toEqual(named(0, 5));
    expect(await texts({ follow: true, untilMs: START + 5 })).toEqual(named(0, 5));
  });
});
