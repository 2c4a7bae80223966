import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { extract, type Header } from 'tar-stream';
import { packTree, TreeBudget } from './read-tree.js';

async function headersOf(archive: Buffer): Promise<Header[]> {
  const tar = extract();
  Readable.from([archive]).pipe(tar);
  const found: Header[] = [];
  for await (const entry of tar) {
    found.push(entry.header);
    (entry as unknown as Readable).resume();
  }
  return found;
}

describe('files from beside a compose file', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'weft-tree-'))));
  afterEach(() => rmSync(dir, { recursive: true }));
  const write = (name: string, text = name, mode = 0o644) => {
    mkdirSync(join(dir, name, '..'), { recursive: true });
    writeFileSync(join(dir, name), text);
    chmodSync(join(dir, name), mode);
  };
  const packed = () => packTree(dir, new TreeBudget());

  it('are packed with names, modes and links, in order, without owners and times', async () => {
    write('b', 'text', 0o755);
    write('a/deep', 'text', 0o600);
    chmodSync(join(dir, 'a'), 0o750);
    chmodSync(dir, 0o755);
    symlinkSync('a/deep', join(dir, 'c'));
    symlinkSync('../b', join(dir, 'a/up'));
    const { archive } = await packed();
    expect(
      (await headersOf(archive)).map(({ name, mode, type, linkname, uid, mtime }) => [
        name,
        mode,
        type,
        linkname ?? '',
        uid,
        mtime?.getTime(),
      ]),
    ).toEqual([
      ['root', 0o755, 'directory', '', 0, 0],
      ['root/a', 0o750, 'directory', '', 0, 0],
      ['root/a/deep', 0o600, 'file', '', 0, 0],
      ['root/a/up', 0o777, 'symlink', '../b', 0, 0],
      ['root/b', 0o755, 'file', '', 0, 0],
      ['root/c', 0o777, 'symlink', 'a/deep', 0, 0],
    ]);
  });

  it('are the same as long as nothing of them is another', async () => {
    write('a', 'text');
    const { id } = await packed();
    utimesSync(join(dir, 'a'), 1, 1);
    expect((await packed()).id).toBe(id);
    chmodSync(join(dir, 'a'), 0o640);
    const other = (await packed()).id;
    expect(other).not.toBe(id);
    write('a', 'text!', 0o640);
    expect((await packed()).id).not.toBe(other);
  });

  it('may be one file, or a link to one', async () => {
    write('a', 'text');
    symlinkSync(join(dir, 'a'), join(dir, 'link'));
    const [file, link] = await Promise.all(['a', 'link'].map((name) => packTree(join(dir, name), new TreeBudget())));
    expect(file?.id).toBe(link?.id);
    expect((await headersOf(file?.archive ?? Buffer.of())).map((h) => h.name)).toEqual(['root']);
  });

  it('do not lead outside', async () => {
    symlinkSync('../x', join(dir, 'up'));
    await expect(packed()).rejects.toThrow(/the link .*\/up leads to \.\.\/x, outside of what travels/);
    rmSync(join(dir, 'up'));
    symlinkSync('/etc/passwd', join(dir, 'absolute'));
    await expect(packed()).rejects.toThrow('outside of what travels');
  });

  it('are files, directories and links, there, and not too much', async () => {
    await expect(packTree(join(dir, 'gone'), new TreeBudget())).rejects.toThrow(`there is no ${join(dir, 'gone')}`);
    execFileSync('mkfifo', [join(dir, 'pipe')]);
    await expect(packed()).rejects.toThrow('is a pipe: only files, directories and links travel');
    rmSync(join(dir, 'pipe'));
    write('large', '');
    execFileSync('truncate', ['-s', '33M', join(dir, 'large')]);
    const budget = new TreeBudget();
    await packTree(dir, budget);
    await expect(packTree(dir, budget)).rejects.toThrow('at most 64 MiB in all');
  });
});
