/** `ctl cp`, from argv to files here and in the twin's container. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SHOP, useRig, type CtlRig } from './rig.contract.js';

const kit = useRig();
const ctl: CtlRig['ctl'] = (...args) => kit.rig.ctl(...args);
const here = (path: string) => join(kit.rig.dir, path);
const there = (path: string) => join(kit.rig.twin.root, path);
const text = (path: string) => readFileSync(path, 'utf8');

beforeEach(async () => {
  kit.rig.twin.root = here('root');
  mkdirSync(there('srv/deep'), { recursive: true });
  writeFileSync(there('srv/a'), 'a');
  writeFileSync(there('srv/deep/b'), 'b');
  symlinkSync('/srv/a', there('link'));
  writeFileSync(here('compose.yaml'), SHOP);
  await ctl('up -d');
});

it('copies a file out: under its name, under another, and what a link leads to', async () => {
  expect(await ctl('cp web:/srv/a .')).toEqual({ code: 0, out: '', err: 'copied shop-web-1:/srv/a to .: 1 entry, 1 B\n' });
  expect((await ctl('cp -q web:srv/a other')).err).toBe('');
  expect((await ctl('cp -L --index 2 web:/link linked')).code).toBe(0);
  expect([text(here('a')), text(here('other')), text(here('linked'))]).toEqual(['a', 'a', 'a']);
  expect(kit.rig.twin.called('copyOut')).toHaveLength(3);
});

it('copies directories out, whole or their content', async () => {
  mkdirSync(here('into'));
  expect((await ctl('cp web:/srv into')).err).toContain('4 entries');
  expect((await ctl('cp web:/srv/. into')).code).toBe(0);
  expect((await ctl('cp shop-web-2:/srv new')).code).toBe(0);
  expect(['into/srv/deep/b', 'into/deep/b', 'new/deep/b'].map((p) => text(here(p)))).toEqual(['b', 'b', 'b']);
});

it('copies in, into every running task or the one that is meant', async () => {
  mkdirSync(here('site'));
  writeFileSync(here('site/index.html'), 'hello');
  expect((await ctl('cp site/. web:/srv')).err).toBe('copied site/. to /srv of shop-web-1, shop-web-2: 1 entry, 5 B\n');
  expect(kit.rig.twin.called('copyIn')).toHaveLength(2);
  expect((await ctl('cp --index 2 -a site web:/srv')).code).toBe(0);
  expect(kit.rig.twin.called('copyIn')[2]?.request).toMatchObject({ directory: '/srv', keepOwners: true });
  expect([text(there('srv/index.html')), text(there('srv/site/index.html'))]).toEqual(['hello', 'hello']);
  // Into what a link leads to.
  symlinkSync('/srv', there('way'));
  expect((await ctl('cp site/index.html db:/way/copy')).code).toBe(0);
  expect(text(there('srv/copy'))).toBe('hello');
});

it('speaks tar on standard input and output', async () => {
  const { code, out } = await ctl('cp web:/srv -');
  expect(code).toBe(0);
  expect(
    execFileSync('tar', ['-t'], { input: Buffer.from(out) })
      .toString()
      .trim()
      .split('\n')
      .sort(),
  ).toEqual(['srv/', 'srv/a', 'srv/deep/', 'srv/deep/b']);
  writeFileSync(here('x'), 'x');
  expect((await ctl('cp - web:/srv', execFileSync('tar', ['-c', 'x'], { cwd: here('.') }))).err).toContain('copied standard input');
  expect(text(there('srv/x'))).toBe('x');
});

it.each([
  ['cp a b', 2, 'neither path is in a service'],
  ['cp web:/a db:/b', 2, 'Use a pipe'],
  ['cp web:/none .', 1, 'shop-web-1 has no /none'],
  ['cp web:/srv/a none/', 1, 'there is no directory none/'],
  ['cp web:/srv/a none/x', 1, 'there is no directory none'],
  ['cp none web:/srv', 1, 'there is no none here'],
  ['cp nobody:/a .', 1, 'stack shop has no task of nobody'],
  ['cp --index 7 web:/a .', 1, 'web has no task 7'],
  ['cp compose.yaml web:/srv/none/', 1, 'there is no directory /srv/none/'],
  ['cp compose.yaml web:/none/deep/file', 1, 'there is no directory /none/deep'],
  ['cp - web:/srv/a', 1, 'has no directory /srv/a'],
  ['cp compose.yaml', 2, 'missing required argument'],
])('%s: %i, %s', async (line, code, says) => {
  expect(await ctl(line)).toMatchObject({ code, out: '', err: expect.stringContaining(says) });
});

it('says what is wrong with an archive, and what was left out', async () => {
  expect(await ctl('cp - web:/srv', 'garbage'.repeat(200))).toMatchObject({
    code: 1,
    err: expect.stringContaining('no whole tar archive'),
  });
  execFileSync('mkfifo', [there('srv/pipe')]);
  expect((await ctl('cp web:/srv copy')).err).toContain('warning: copy/pipe was left out');
  expect(existsSync(here('copy/pipe'))).toBe(false);
});

it('refuses what a container sends to lead us elsewhere', async () => {
  mkdirSync(here('mine'));
  symlinkSync(here('.'), here('mine/srv'));
  // A link of ours: what is called so in the container is not written through it.
  expect(await ctl('cp web:/srv mine')).toMatchObject({ code: 1, err: expect.stringContaining('cannot make the directory srv') });
  expect(existsSync(here('deep'))).toBe(false);
});
