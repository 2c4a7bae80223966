/** Packing and unpacking below a root that a stranger filled: what goes in comes out, and nothing leads out. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { extract, pack, type Header } from 'tar-stream';
import { factsBelow } from './file-facts.js';
import { packTree } from './pack-tree.js';
import { removeBelow, unpackTree, type UnpackOptions } from './unpack-tree.js';

let outside: string;
let root: string;
beforeEach(() => {
  outside = mkdtempSync(join(tmpdir(), `weft-copy-${process.pid}-`));
  root = join(outside, 'root');
  mkdirSync(join(root, 'app/deep'), { recursive: true });
});
afterEach(() => rmSync(outside, { recursive: true }));

const at = (path: string) => join(root, path);
const text = (path: string) => readFileSync(at(path), 'utf8');

/** An archive as a stranger would make it. */
async function* archive(...entries: (Partial<Header> & { name: string; text?: string })[]): AsyncGenerator<Buffer> {
  const tar = pack();
  for (const { text: content, ...header } of entries) tar.entry(header, content ?? '');
  tar.finalize();
  for await (const chunk of tar as unknown as AsyncIterable<Buffer>) yield chunk;
}

const unpack = (source: AsyncIterable<Uint8Array>, more: Partial<UnpackOptions> = {}) =>
  unpackTree(source, { root, into: '/app', ...more });
const packed = (path: string, as: string, follow = false) => packTree({ root, path, follow, as });

async function namesIn(source: AsyncIterable<Buffer>): Promise<string[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(chunk);
  const tar = extract();
  tar.end(Buffer.concat(chunks));
  const names: string[] = [];
  for await (const entry of tar) {
    names.push(`${entry.header.type} ${entry.header.name}`);
    entry.resume();
  }
  return names.sort();
}

describe('there and back', () => {
  it('keeps content, modes, times and links, of any size', async () => {
    const big = 'x'.repeat(700_001);
    writeFileSync(at('app/big'), big);
    writeFileSync(at('app/deep/run.sh'), '#!/bin/sh\n', { mode: 0o755 });
    writeFileSync(at('app/empty'), '');
    symlinkSync('../big', at('app/deep/link'));
    mkdirSync(at('app/closed'), { mode: 0o700 });
    utimesSync(at('app/deep'), 1_000_000, 1_000_000);
    mkdirSync(at('out'));
    const done = await unpack(packed('/app', 'copy'), { into: '/out' });
    expect(done).toEqual({ entries: 7, bytes: big.length + 10, skipped: [] });
    expect(text('out/copy/big')).toBe(big);
    expect(statSync(at('out/copy/deep/run.sh')).mode & 0o777).toBe(0o755);
    expect(statSync(at('out/copy/closed')).mode & 0o777).toBe(0o700);
    expect(statSync(at('out/copy/deep')).mtimeMs).toBe(1_000_000_000);
    expect(readlinkSync(at('out/copy/deep/link'))).toBe('../big');
  });

  it('packs the content alone, one file under another name, and what a link at the end leads to', async () => {
    writeFileSync(at('app/one'), '1');
    symlinkSync('/app/one', at('link'));
    expect(await namesIn(packed('/app', ''))).toEqual(['directory deep/', 'file one']);
    expect(await namesIn(packed('/app/one', 'uno'))).toEqual(['file uno']);
    expect(await namesIn(packed('/link', 'link'))).toEqual(['symlink link']);
    expect(await namesIn(packed('/link', 'link', true))).toEqual(['file link']);
  });

  it('leaves out pipes and sockets, and says so', async () => {
    execFileSync('mkfifo', [at('app/pipe')]);
    const skipped: string[] = [];
    expect(await namesIn(packTree({ root, path: '/app', follow: false, as: 'app', onSkipped: (p) => skipped.push(p) }))).toEqual([
      'directory app/',
      'directory app/deep/',
    ]);
    expect(skipped).toEqual(['app/pipe']);
  });

  it.each([1, 2, 3, 10])('ends when nobody reads any more after %i pieces', async (pieces) => {
    writeFileSync(at('app/big'), 'x'.repeat(5_000_000));
    for (const path of ['/app', '/app/big', '/app/deep']) {
      let seen = 0;
      for await (const _ of packed(path, 'app')) if (++seen >= pieces) break;
      expect(seen).toBeGreaterThan(0);
    }
  });

  it('says what is not there', async () => {
    await expect(namesIn(packed('/none', 'x'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(unpack(archive({ name: 'a' }), { into: '/none' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(factsBelow(root, '/none/of/it', true)).resolves.toBeUndefined();
    await expect(factsBelow(root, '/app/none', true)).resolves.toBeUndefined();
  });
});

describe('unpacking', () => {
  it('replaces files and links, never what a link leads to, and makes directories that are missing', async () => {
    writeFileSync(join(outside, 'secret'), 'secret');
    symlinkSync(join(outside, 'secret'), at('app/file'));
    writeFileSync(at('app/old'), 'old');
    await unpack(archive({ name: 'file', text: 'new' }, { name: './old', text: 'new' }, { name: 'a/b/c', text: 'deep' }));
    expect([text('app/file'), text('app/old'), text('app/a/b/c')]).toEqual(['new', 'new', 'deep']);
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('secret');
  });

  it.each(['../evil', 'a/../../evil', '/../evil', 'a/..'])('refuses %s', async (name) => {
    await expect(unpack(archive({ name, text: 'x' }))).rejects.toMatchObject({ code: 'BAD_VALUE', why: expect.stringContaining('out') });
    expect(existsSync(join(outside, 'evil'))).toBe(false);
    expect(existsSync(at('evil'))).toBe(false);
  });

  it('takes an absolute name as one below the directory', async () => {
    await unpack(archive({ name: '/etc/passwd', text: 'mine' }));
    expect(text('app/etc/passwd')).toBe('mine');
  });

  it.each(['..', '../..', '/', 'out'])('a link %s in the archive leads nowhere but below the root', async (target) => {
    mkdirSync(join(outside, 'out'));
    const linkname = target === 'out' ? join(outside, 'out') : target;
    await unpack(archive({ name: 'way', type: 'symlink', linkname }, { name: 'way/evil', text: 'x' })).catch(() => undefined);
    expect(existsSync(join(outside, 'evil'))).toBe(false);
    expect(existsSync(join(outside, 'out/evil'))).toBe(false);
    expect(existsSync('/evil')).toBe(false);
  });

  it('follows no link at all where that is asked for: a stranger fills a directory of ours', async () => {
    const mine = join(root, 'app');
    const entries = [
      { name: 'way', type: 'symlink' as const, linkname: '..' },
      { name: 'way/evil', text: 'x' },
    ];
    const strict = { root: mine, into: '/', links: 'refuse' as const };
    await expect(unpack(archive(...entries), strict)).rejects.toMatchObject({ code: 'BAD_VALUE' });
    expect(existsSync(at('evil'))).toBe(false);
    expect(lstatSync(join(mine, 'way')).isSymbolicLink()).toBe(true);
    await expect(unpack(archive({ name: 'way', type: 'directory' }), strict)).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  it('makes hard links to what the archive brought, and to nothing outside', async () => {
    await unpack(archive({ name: 'a', text: '1' }, { name: 'b', type: 'link', linkname: 'a' }));
    expect(text('app/b')).toBe('1');
    writeFileSync(at('secret'), 'x');
    const out = archive({ name: 'c', type: 'link', linkname: '../secret' });
    await expect(unpack(out)).rejects.toMatchObject({ code: 'BAD_VALUE' });
    await expect(unpack(archive({ name: 'c', type: 'link', linkname: 'none' }))).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });

  it('keeps what is in the way: directories for files, files for directories', async () => {
    await expect(unpack(archive({ name: 'deep', text: 'x' }))).rejects.toMatchObject({ code: 'CONFLICT' });
    writeFileSync(at('app/file'), '');
    await expect(unpack(archive({ name: 'file', type: 'directory' }))).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(unpack(archive({ name: 'file/below', text: 'x' }))).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  it('leaves out devices, gives no set-user-id where that is asked for, and can make the way', async () => {
    const entries = [
      { name: 'null', type: 'character-device' as const },
      { name: 'run', mode: 0o4755, text: '' },
    ];
    const done = await unpack(archive(...entries), { into: '/new/place', makeParents: true, withoutMode: 0o7000 });
    expect(done).toEqual({ entries: 1, bytes: 0, skipped: ['null'] });
    expect(statSync(at('new/place/run')).mode & 0o7777).toBe(0o755);
  });

  it('tells what is no archive, or none that is whole, and passes on why the source broke off', async () => {
    const bytes = async function* (...parts: Buffer[]) {
      yield* parts;
    };
    await expect(unpack(bytes(Buffer.alloc(600, 'x')))).rejects.toMatchObject({ code: 'BAD_VALUE' });
    const whole: Buffer[] = [];
    for await (const chunk of archive({ name: 'a', text: 'x'.repeat(2000) })) whole.push(chunk);
    await expect(unpack(bytes(Buffer.concat(whole).subarray(0, 1000)))).rejects.toMatchObject({ code: 'BAD_VALUE' });
    const broken = async function* () {
      yield Buffer.concat(whole).subarray(0, 1000);
      throw Object.assign(new Error('gone'), { syscall: 'read', code: 'EIO' });
    };
    await expect(unpack(broken())).rejects.toMatchObject({ why: 'EIO' });
  });
});

describe('removing', () => {
  it('takes a directory with all in it, and what links lead to stays', async () => {
    writeFileSync(at('keep'), '');
    symlinkSync('/keep', at('app/deep/link'));
    chmodSync(at('app/deep'), 0o755);
    await removeBelow(root, '/app/deep');
    expect(existsSync(at('app/deep'))).toBe(false);
    expect(existsSync(at('keep'))).toBe(true);
    await removeBelow(root, '/app/none');
    await expect(removeBelow(root, '/')).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });
});

test('facts of a link and of what it leads to, below the root', async () => {
  writeFileSync(at('app/file'), 'four');
  symlinkSync('/app/file', at('link'));
  expect(await factsBelow(root, '/link', false)).toMatchObject({ kind: 'link', target: '/app/file', path: '/link' });
  expect(await factsBelow(root, '/link', true)).toMatchObject({ kind: 'file', size: 4, path: '/app/file' });
  expect(await factsBelow(root, '/app/..', true)).toMatchObject({ kind: 'directory', path: '/' });
});
