import { mkdtemp, readFile, readdir, rm, stat, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parsePiece, remarkLine } from './log-file.js';
import { LogWriter } from './log-writer.js';

const STAMP = '2026-01-31T12:00:00.123Z';
const lineOf = (text: string): Buffer => Buffer.from(`${STAMP} stdout F ${text}\n`);

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-log-writer-'));
  file = join(directory, 'logs', 'a.log');
});
afterEach(() => rm(directory, { recursive: true }));

function append(writer: LogWriter, line: Buffer): void {
  writer.sink.append(line, 0, line.length);
  writer.commit();
}

const linesOf = async (path: string): Promise<string[]> => (await readFile(path, 'utf8')).split('\n').slice(0, -1);

describe('the file of a log', () => {
  it('writes soon by itself, and at once on flush', async () => {
    const writer = new LogWriter({ file, maxBytes: 1e6, maxFiles: 3 });
    await writer.open();
    append(writer, lineOf('one'));
    await writer.flush();
    append(writer, lineOf('two'));
    append(writer, lineOf('three'));
    expect(await linesOf(file)).toHaveLength(1);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await linesOf(file)).toHaveLength(3);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await writer.close();
  });

  it('rotates between lines, keeps so many files, and loses none of the newest lines', async () => {
    const writer = new LogWriter({ file, maxBytes: 5_000, maxFiles: 3 });
    await writer.open();
    for (let i = 0; i < 1_000; i++) {
      append(writer, lineOf(`line ${i}`));
      if (i % 100 === 0) await writer.flush();
    }
    await writer.close();
    expect((await readdir(join(directory, 'logs'))).sort()).toEqual(['a.log', 'a.log.1', 'a.log.2']);
    const numbers: number[] = [];
    for (const path of [`${file}.2`, `${file}.1`, file]) {
      expect((await stat(path)).size).toBeLessThanOrEqual(5_000);
      for (const line of await linesOf(path)) numbers.push(Number(parsePiece(Buffer.from(line))?.text.toString().slice(5)));
    }
    expect(numbers.length).toBeGreaterThan(200);
    expect(numbers).toEqual(numbers.map((_, i) => 1_000 - numbers.length + i));
  });

  it('keeps one file only, if asked, and drops those that are too many', async () => {
    await mkdir(join(directory, 'logs'));
    await writeFile(`${file}.7`, 'old');
    const writer = new LogWriter({ file, maxBytes: 4_096, maxFiles: 1 });
    await writer.open();
    for (let i = 0; i < 300; i++) append(writer, lineOf(`line ${i}`));
    await writer.close();
    expect(await readdir(join(directory, 'logs'))).toEqual(['a.log']);
    expect((await linesOf(file)).at(-1)).toContain('line 299');
  });

  it('writes a line that is longer than a file may be', async () => {
    const writer = new LogWriter({ file, maxBytes: 4_096, maxFiles: 3 });
    await writer.open();
    for (let i = 0; i < 3; i++) append(writer, lineOf('z'.repeat(6_000)));
    await writer.close();
    for (const path of [`${file}.2`, `${file}.1`, file]) expect(await linesOf(path)).toHaveLength(1);
  });

  it('ends a line that a crash cut short', async () => {
    await mkdir(join(directory, 'logs'));
    await writeFile(file, `${STAMP} stdout F half a li`);
    const writer = new LogWriter({ file, maxBytes: 1e6, maxFiles: 3 });
    await writer.open();
    writer.remark('gap', new Date(STAMP));
    await writer.close();
    expect(await readFile(file, 'utf8')).toBe(`${STAMP} stdout F half a li\n${remarkLine(STAMP, 'gap').toString()}`);
  });

  it('says to stop reading while the disk is behind, and to go on afterwards', async () => {
    const told: boolean[] = [];
    const writer = new LogWriter({ file, maxBytes: 1e9, maxFiles: 3, onPressure: (behind) => told.push(behind) });
    await writer.open();
    const large = lineOf('p'.repeat(100_000));
    for (let i = 0; i < 30; i++) append(writer, large);
    expect(told).toEqual([true]);
    await writer.flush();
    expect(told).toEqual([true, false]);
    await writer.close();
    expect((await stat(file)).size).toBe(30 * large.length);
  });

  it('drops what cannot be written, does not stall, and remarks on it later', async () => {
    const errors: unknown[] = [];
    const writer = new LogWriter({ file, maxBytes: 4_096, maxFiles: 3, onError: (error) => errors.push(error) });
    await writer.open();
    // Rotation cannot rename onto a directory that is not empty.
    await mkdir(join(`${file}.2`, 'x'), { recursive: true });
    await mkdir(join(`${file}.1`, 'x'), { recursive: true });
    for (let i = 0; i < 100; i++) append(writer, lineOf(`lost ${i}`));
    await writer.flush();
    expect(errors).toHaveLength(1);
    expect(writer.lostBytes).toBeGreaterThan(0);
    append(writer, lineOf('dropped without a try'));
    await writer.flush();
    expect(errors).toHaveLength(1);
    for (const n of [1, 2]) await rm(`${file}.${n}`, { recursive: true });
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    append(writer, lineOf('found'));
    await writer.close();
    expect(writer.lostBytes).toBe(0);
    const lines = [...(await linesOf(`${file}.1`).catch(() => [])), ...(await linesOf(file))];
    expect(lines.some((line) => / weft F --- \d+ bytes of log could not be written/.test(line))).toBe(true);
    expect(lines.at(-1)).toContain('found');
  });

  it('removes all its files and nothing else', async () => {
    const writer = new LogWriter({ file, maxBytes: 4_096, maxFiles: 3 });
    await writer.open();
    for (let i = 0; i < 300; i++) append(writer, lineOf(`line ${i}`));
    await writer.close();
    await writeFile(`${file}.other`, '');
    await writer.remove();
    expect(await readdir(join(directory, 'logs'))).toEqual(['a.log.other']);
  });
});
