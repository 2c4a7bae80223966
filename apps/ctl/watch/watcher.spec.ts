/** The watcher, from files here to the containers of the API's twin, which are one directory. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { WatchRule } from '#compose/build-wish.js';
import { withApi } from '../connection.js';
import { loadProject } from '../project.js';
import { fastClock, SHOP, useRig } from '../rig.contract.js';
import type { Shell } from '../shell.js';
import { Watcher } from './watcher.js';

const kit = useRig();
const here = (path: string) => join(kit.rig.dir, path);
const there = (path: string) => join(kit.rig.twin.root, path);

beforeEach(async () => {
  kit.rig.twin.root = here('root');
  mkdirSync(there('app'), { recursive: true });
  mkdirSync(here('src/deep'), { recursive: true });
  writeFileSync(here('src/old'), 'old');
  writeFileSync(here('compose.yaml'), SHOP);
  await kit.rig.ctl('up -d');
});

const rule = (more: Partial<WatchRule>): WatchRule => ({
  action: 'sync',
  path: here('src'),
  target: '/app',
  include: [],
  ignore: [],
  initialSync: false,
  ...more,
});

/** Watches `web` while `use` runs; `until` waits for something to be so. */
async function watching(
  rules: WatchRule[],
  use: (tools: {
    until: (is: () => boolean) => Promise<void>;
    said: () => string;
    rebuilt: string[];
    ids: (service: string) => string[];
  }) => Promise<void>,
): Promise<void> {
  const stderr = new PassThrough();
  let text = '';
  stderr.on('data', (chunk) => (text += String(chunk)));
  const shell: Shell = {
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr,
    env: { WEFT_CONFIG_DIR: here('config'), HOME: kit.rig.dir },
    cwd: kit.rig.dir,
    clock: fastClock,
    setExitCode: () => undefined,
    setRaw: () => undefined,
    onSignal: () => () => undefined,
  };
  const ending = new AbortController();
  const rebuilt: string[] = [];
  const ids = (service: string): string[] => kit.rig.twin.rows('shop').flatMap(({ task }) => (task?.service === service ? [task.id] : []));
  const { stack } = await loadProject(shell, {});
  await withApi(shell, undefined, async (connection) => {
    const rebuild = async (services: readonly string[]): Promise<void> => void rebuilt.push(...services);
    const watcher = new Watcher({ shell, connection, stack, rebuild, quiet: false });
    await watcher.begin(new Map([['web', rules]]), new Map());
    const running = watcher.run(ending.signal);
    const until = async (is: () => boolean): Promise<void> => {
      for (let tries = 0; !is(); tries++) {
        if (tries > 500) throw new Error(`it never came: ${text}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    try {
      await use({ until, said: () => text, rebuilt, ids });
    } finally {
      ending.abort();
      await running;
    }
  });
}

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');

it('copies what changes, takes away what is gone, and leaves alone what was there', () =>
  watching([rule({ ignore: ['*.tmp'] })], async ({ until, said }) => {
    writeFileSync(here('src/deep/new'), 'new');
    writeFileSync(here('src/x.tmp'), 'x');
    await until(() => read(there('app/deep/new')) === 'new');
    await until(() => said().includes('web: copied deep/new to /app of 2 task(s)\n'));
    rmSync(here('src/deep/new'));
    await until(() => !existsSync(there('app/deep/new')));
    expect([existsSync(there('app/old')), existsSync(there('app/x.tmp'))]).toEqual([false, false]);
  }));

it('initial_sync copies what is there to begin with', () =>
  watching([rule({ initialSync: true })], ({ until }) => until(() => read(there('app/old')) === 'old')));

it('sync+exec runs its command in every task, and tells when it fails', () =>
  watching([rule({ action: 'sync+exec', exec: { command: ['reload'], environment: { A: '1' } } })], async ({ until, said }) => {
    writeFileSync(here('src/old'), 'changed');
    await until(() => said().includes('web: ran reload in shop-web-2'));
    expect(read(there('app/old'))).toBe('changed');
    expect(kit.rig.twin.execInput[0]?.message?.value).toMatchObject({ argv: ['reload'], env: { A: '1' } });
    expect(said()).toContain('warning: reload ended with 42 in shop-web-1');
  }));

it('restart starts the tasks again in their containers, which keep what was copied; then those that depend on them with restart: true', () => {
  const conf = rule({ action: 'restart', path: here('conf') });
  delete conf.target;
  const after = 'depends_on: { web: { condition: service_started, restart: true } }';
  writeFileSync(here('compose.yaml'), SHOP.replace('db: { ', `db: { ${after}, `));
  return watching([rule({}), conf], async ({ until, said, ids }) => {
    writeFileSync(here('src/old'), 'changed');
    await until(() => said().includes('of 2 task(s)'));
    const copies = kit.rig.twin.called('copyIn').length;
    writeFileSync(here('conf'), 'x');
    await until(() => said().includes('db: restarted 1 task(s)\n'));
    expect(said()).toContain('web: restarting\nweb: restarted 2 task(s)\ndb: restarting\n');
    expect(kit.rig.twin.called('restartTasks').map(({ request }) => (request as { tasks: string[] }).tasks)).toEqual([
      ids('web'),
      ids('db'),
    ]);
    // Long enough for it to look for new containers: there is none.
    const begun = Date.now();
    await until(() => Date.now() - begun > 300);
    expect(kit.rig.twin.called('copyIn')).toHaveLength(copies);
    expect(said()).not.toContain('again to');
  });
});

it('sync+restart copies first; a new task is given what was copied, and restarted once', () =>
  watching([rule({ action: 'sync+restart' })], async ({ until, said, ids }) => {
    writeFileSync(here('src/old'), 'changed');
    await until(() => said().includes('web: restarted 2 task(s)\n'));
    expect(read(there('app/old'))).toBe('changed');
    expect(said()).toMatch(/copied old to \/app of 2 task\(s\)\nweb: restarting\nweb: restarted 2/);
    const before = ids('web');
    rmSync(there('app/old'));
    const shop = kit.rig.twin.stacks.get('shop');
    if (shop) shop.generation++;
    await until(() => said().split('web: restarted 1 task(s)\n').length === 3);
    expect(said()).toContain('web: copied old again to /app of shop-web-1, which is new\nweb: restarted 1 task(s)\n');
    expect(read(there('app/old'))).toBe('changed');
    expect(ids('web').filter((id) => before.includes(id))).toEqual([]);
    expect(ids('web').map((id) => kit.rig.twin.restarted.get(id))).toEqual([1, 1]);
  }));

it('what is not started again in time is told', () =>
  watching([rule({ action: 'sync+restart' })], async ({ until, said }) => {
    kit.rig.twin.restarted.set = () => new Map();
    writeFileSync(here('src/old'), 'changed');
    await until(() => said().includes('warning: web: shop-web-1, shop-web-2 did not start again in time: shop-web-1 is running'));
  }));

it('a container that was started again gets what was copied again, and its command is run', () =>
  watching([rule({ action: 'sync+exec', exec: { command: ['reload'], environment: {} } })], async ({ until, said }) => {
    writeFileSync(here('src/old'), 'changed');
    await until(() => said().includes('web: ran reload in shop-web-2'));
    // It crashed, and its policy starts it again: perhaps from its image.
    rmSync(there('app/old'));
    kit.rig.twin.restarts++;
    await until(() => said().includes('web: copied old again to /app of shop-web-2, which was started again\n'));
    expect(read(there('app/old'))).toBe('changed');
    await until(() => kit.rig.twin.execInput.length >= 4);
  }));

it('a new container that cannot be given its files is told of once, and tried again', () =>
  watching([rule({})], async ({ until, said }) => {
    writeFileSync(here('src/old'), 'changed');
    await until(() => said().includes('of 2 task(s)'));
    rmSync(there('app'), { recursive: true });
    writeFileSync(there('app'), 'a file where a directory should be');
    kit.rig.twin.restarts++;
    await until(() => said().split('warning: web: ').length > 2);
    const told = said();
    rmSync(there('app'));
    await until(() => read(there('app/old')) === 'changed');
    await until(() => said().includes('shop-web-2, which was started again'));
    expect(said().split('warning: web: ')).toHaveLength(told.split('warning: web: ').length);
  }));

it('rebuild has the image built, and goes on when that fails', () =>
  watching([rule({ action: 'rebuild' })], async ({ until, rebuilt }) => {
    writeFileSync(here('src/old'), 'changed');
    await until(() => rebuilt.length > 0);
    expect(rebuilt).toEqual(['web']);
    expect(existsSync(there('app/old'))).toBe(false);
  }));

it('what a copy fails with is told, and the watching goes on', () =>
  watching([rule({ target: '/app/old/below' })], async ({ until, said }) => {
    writeFileSync(there('app/old'), 'a file where a directory should be');
    writeFileSync(here('src/old'), 'changed');
    await until(() => said().includes('warning: web: '));
    rmSync(there('app/old'));
    writeFileSync(here('src/old'), 'again');
    await until(() => read(there('app/old/below/old')) === 'again');
  }));
