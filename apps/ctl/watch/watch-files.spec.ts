import { mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { difference, lookAt } from './file-tree.js';
import { ignoreBy } from './patterns.js';
import { filesText, placeOf } from './sync.js';

describe('patterns of .dockerignore', () => {
  it.each([
    ['node_modules', ['node_modules', 'node_modules/a/b'], ['src/node_modules', 'node_modules2']],
    ['/node_modules/', ['node_modules/a'], ['a']],
    ['**/node_modules', ['node_modules', 'a/b/node_modules/c'], ['node_module']],
    ['*.log', ['a.log'], ['a/b.log', 'alog']],
    ['**/*.log', ['a.log', 'a/b.log'], ['a.logs']],
    ['a?c', ['abc'], ['ac', 'a/c']],
    ['[ab]x', ['ax', 'bx'], ['cx', 'abx']],
    ['src/**', ['src/a', 'src/a/b'], ['src2/a']],
    ['a.b+c', ['a.b+c'], ['axb+c', 'a.bbc']],
    ['# a', [], ['# a', 'a']],
    ['', [], ['a']],
  ])('%j', (pattern, ignored, kept) => {
    const ignores = ignoreBy([pattern]);
    expect(ignored.filter((path) => !ignores(path))).toEqual([]);
    expect(kept.filter((path) => ignores(path))).toEqual([]);
  });

  it('the last pattern that fits decides', () => {
    const ignores = ignoreBy(['*.md', '!README.md', 'README.md.bak']);
    expect(['a.md', 'README.md', 'README.md.bak'].map(ignores)).toEqual([true, false, true]);
  });
});

describe('a tree of files', () => {
  let dir: string;
  beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'weft-tree-'))));
  afterEach(() => rm(dir, { recursive: true }));

  const all = { ignored: () => false, wanted: () => true };

  it('tells what is new, changed and gone, and leaves out what is ignored', async () => {
    const filter = { ignored: ignoreBy(['skip', '*.tmp']), wanted: (path: string) => !path.endsWith('.md') };
    await mkdir(join(dir, 'a/b'), { recursive: true });
    await mkdir(join(dir, 'skip'));
    for (const name of ['a/one', 'a/b/two', 'three', 'skip/four', 'five.tmp', 'six.md']) await writeFile(join(dir, name), name);
    await symlink('three', join(dir, 'link'));
    const before = await lookAt(dir, filter);
    expect([...before.keys()].sort()).toEqual(['a/b/two', 'a/one', 'link', 'three']);
    expect(difference(before, await lookAt(dir, filter))).toEqual({ changed: [], gone: [] });

    await writeFile(join(dir, 'a/b/two'), 'TWO');
    await writeFile(join(dir, 'new'), '');
    await rm(join(dir, 'three'));
    await writeFile(join(dir, 'skip/four'), 'changed');
    const change = difference(before, await lookAt(dir, filter));
    expect({ changed: change.changed.sort(), gone: change.gone }).toEqual({ changed: ['a/b/two', 'new'], gone: ['three'] });
  });

  it('sees a file that an editor replaces by another of the same size and time', async () => {
    const file = join(dir, 'file');
    await writeFile(file, 'one');
    const before = await lookAt(file, all);
    expect([...before.keys()]).toEqual(['']);
    await writeFile(join(dir, 'other'), 'two');
    await utimes(join(dir, 'other'), 1, 1);
    await rename(join(dir, 'other'), file);
    expect(difference(before, await lookAt(file, all))).toEqual({ changed: [''], gone: [] });
    await rm(file);
    expect(difference(before, await lookAt(file, all))).toEqual({ changed: [], gone: [''] });
  });
});

it('a watched file is its target itself; below a watched directory, names are kept', () => {
  expect(placeOf({ target: '/www/greeting' }, '')).toEqual({ directory: '/www', name: 'greeting' });
  expect(placeOf({ target: '/app' }, 'src/a.js')).toEqual({ directory: '/app', name: 'src/a.js' });
  expect([filesText({ path: '/p/greeting', target: '/t' }, ['']), filesText({ path: '/p', target: '/t' }, ['a', 'b'])]).toEqual([
    'greeting',
    '2 files',
  ]);
});
