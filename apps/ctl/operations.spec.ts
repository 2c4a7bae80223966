/** Commands that operate a running stack, from argv to what the twin was told and what is printed. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SHOP, useRig, type CtlRig } from './rig.contract.js';

const kit = useRig();
const ctl: CtlRig['ctl'] = (...args) => kit.rig.ctl(...args);
const operations = () =>
  kit.rig.twin.called('operateStack').map((call) => (call.request as { operation: { $case: string; value: unknown } }).operation);

beforeEach(async () => {
  writeFileSync(join(kit.rig.dir, 'compose.yaml'), SHOP);
  await ctl('up -d');
});

describe('scale', () => {
  it('says how many, and waits until they run', async () => {
    const { code, out, err } = await ctl('scale web=3 db=1');
    expect({ code, out }).toEqual({ code: 0, out: '' });
    expect(err).toContain('~ change service web: replicas: 2 → 3\n');
    expect(err).toContain('✔ web 3/3 running\n');
    expect(operations()).toEqual([{ $case: 'scale', value: { replicas: { web: 3, db: 1 } } }]);
    expect((await ctl('scale --no-deps web=3')).err).toBe('web: it has 3 already\n');
  });

  it.each([
    ['scale web', 2, 'Write SERVICE=NUMBER'],
    ['scale web=-1', 2, 'does not say how many'],
    ['scale web=1 web=2', 2, 'web is given twice'],
    ['scale', 2, 'missing required argument'],
    ['scale nothing=1', 1, 'stack shop has no service nothing'],
    ['scale -p other web=1', 1, 'there is no stack other'],
  ])('%s: %i, %s', async (line, code, says) => {
    expect(await ctl(line)).toMatchObject({ code, out: '', err: expect.stringContaining(says) });
  });
});

describe('stop, start and restart', () => {
  it('stops, waits until nothing runs, and starts again', async () => {
    const stopped = await ctl('stop -t 3 web');
    expect(stopped).toMatchObject({ code: 0, out: '', err: '~ change service web: stops\n✔ web is stopped\n' });
    expect((await ctl('stop web')).err).toBe('web: it is stopped already\n');
    const started = await ctl('start');
    expect(started.code).toBe(0);
    expect(started.err).toContain('~ change service web: starts\n');
    expect(started.err).toContain('✔ web 2/2 running\n');
    expect((await ctl('start web')).err).toBe('web: it was not stopped\n');
    expect(operations()[0]).toEqual({ $case: 'stop', value: { services: ['web'], graceMs: 3_000 } });
  });

  it('a service that is stopped holds nobody up who starts', async () => {
    await ctl('stop');
    const { code, err } = await ctl('start db');
    expect(code).toBe(0);
    expect(err).toContain('✔ db 1/1 running\n');
  });

  it('restarts one or all, alone or with what depends on it', async () => {
    const { code, err } = await ctl('restart web');
    expect(code).toBe(0);
    expect(err).toContain('± recreate service web: restarts\n');
    await ctl('restart --no-deps -t 0');
    await ctl('restart -d');
    expect(operations().map(({ value }) => value)).toEqual([
      { services: ['web'], graceMs: undefined, alone: false },
      { services: [], graceMs: 0, alone: true },
      { services: [], graceMs: undefined, alone: false },
    ]);
  });

  it('says what is not there', async () => {
    for (const verb of ['stop', 'start', 'restart'])
      expect(await ctl(`${verb} nothing`)).toMatchObject({ code: 1, err: expect.stringContaining('no service nothing') });
    expect((await ctl('stop -t soon')).code).toBe(2);
  });
});

describe('rm', () => {
  /** The keys of two one-offs of web: the first has ended. */
  const twoOneOffs = async (): Promise<[string, string]> => {
    for (const _ of [1, 2]) expect(await ctl('run -d web sleep 1000')).toMatchObject({ code: 0 });
    const { services } = kit.rig.twin.state('shop');
    const [ended = '', runs = ''] = services.filter(({ oneOffOf }) => oneOffOf === 'web').map(({ name }) => name);
    kit.rig.twin.stopped.add(ended);
    return [ended, runs];
  };

  it('removes one-offs that have ended; with -s those that run, too', async () => {
    const [ended, runs] = await twoOneOffs();
    expect(await ctl('rm db')).toMatchObject({ code: 0, out: '', err: 'stack shop: nothing to remove\n' });
    expect(await ctl('rm -f web')).toMatchObject({
      code: 0,
      out: `shop-${ended}-1\n`,
      err: `shop-${runs}-1 runs: -s stops and removes it\n`,
    });
    expect(await ctl(`rm -s shop-${runs}-1`)).toMatchObject({ code: 0, out: `shop-${runs}-1\n`, err: '' });
    expect(await ctl('rm')).toMatchObject({ code: 0, out: '', err: 'stack shop: nothing to remove\n' });
    expect(operations().map(({ value }) => value)).toEqual([{ services: [ended] }, { services: [runs] }]);
    expect(Object.keys(kit.rig.twin.stacks.get('shop')?.stack.services ?? {})).toEqual(['web', 'db']);
  });

  it.each([
    ['rm nothing', 'stack shop has no service or one-off task nothing'],
    ['rm -p other', 'there is no stack other'],
  ])('%s: %s', async (line, says) => expect(await ctl(line)).toMatchObject({ code: 1, out: '', err: expect.stringContaining(says) }));
});

describe('kill', () => {
  it('sends a signal to running tasks', async () => {
    expect(await ctl('kill -s HUP web')).toEqual({ code: 0, out: '', err: 'shop-web-1: sent HUP\nshop-web-2: sent HUP\n' });
    expect((await ctl('kill --index 2 web')).err).toBe('shop-web-2: sent SIGKILL\n');
    expect((await ctl('kill shop-db-1')).err).toBe('shop-db-1: sent SIGKILL\n');
    expect((await ctl('kill')).err.split('\n')).toHaveLength(4);
    expect(await ctl('kill -s NOTHING web')).toMatchObject({ code: 1, err: expect.stringContaining('is not a signal') });
    await ctl('stop');
    expect(await ctl('kill web')).toMatchObject({ code: 1, err: expect.stringContaining('no task of web runs') });
    expect(await ctl('kill')).toMatchObject({ code: 1, err: expect.stringContaining('no task of stack shop runs') });
  });
});

describe('top and stats', () => {
  it('top lists processes by task; a node that does not answer costs its own rows', async () => {
    const { code, out, err } = await ctl('top web');
    expect({ code, err }).toEqual({ code: 0, err: 'warning: shop-web-2 on node2 cannot be looked at: node node2 did not answer\n' });
    expect(out.split('\n').map((line) => line.trim().split(/ {2,}/))).toEqual([
      ['shop-web-1 on node1'],
      ['UID', 'PID', 'PPID', 'STIME', 'TTY', 'TIME', 'CMD'],
      ['web', '4711', '1', '00:00', '?', '00:01:05', 'app --serve?[31m'],
      [''],
    ]);
    expect(JSON.parse((await ctl('top web --format json')).out)).toEqual([
      expect.objectContaining({ task: 'shop-web-1', node: 'node1', user: 'web', pid: 4711, cpuMs: 65_000 }),
    ]);
  });

  it('stats prints one reading, or one after another', async () => {
    const { code, out } = await ctl('stats --no-stream');
    expect(code).toBe(0);
    expect(out.split('\n').map((line) => line.split(/ {2,}/))[1]).toEqual([
      'shop-db-1',
      'node1',
      '12.35%',
      '3.0 MiB / 12.0 MiB',
      '25.00%',
      '1.0 KiB / 2.0 KiB',
      '0 B / 512 B',
      '2',
    ]);
    const rows = JSON.parse((await ctl('stats --no-stream --format json web')).out);
    expect(rows).toMatchObject([{ task: 'shop-web-1', memoryPercent: 25, cpuPercent: 12.35, error: '' }, { task: 'shop-web-2' }]);
    const lines = (await ctl('stats --format json db')).out.trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { task: string }).task)).toEqual(['shop-db-1', 'shop-db-1', 'shop-db-1']);
    expect((await ctl('stats web')).out).toContain('MEM USAGE / LIMIT');
    expect(kit.rig.twin.called('watchStats').at(-1)?.request).toMatchObject({ stack: 'shop', services: ['web'], once: false });
  });
});

describe('events', () => {
  it('prints a line each, for people or for programs, and says which time is meant', async () => {
    expect((await ctl('events --since 2026-01-31T09:00:00Z --until 0s web')).out.split('\n')).toEqual([
      '2026-01-31T10:00:00.000Z task reschedule shop-web-1 (node2): from node1: node node1 was declared dead',
      '2026-01-31T10:00:00.000Z task complete shop-web-1 (node2): exit 0',
      '',
    ]);
    const [request] = kit.rig.twin.called('watchEvents').map((call) => call.request as { since: number; until: number });
    expect(request).toMatchObject({ stack: 'shop', services: ['web'], since: Date.UTC(2026, 0, 31, 9) });
    expect(Math.abs((request?.until ?? 0) - Date.now())).toBeLessThan(60_000);
    const lines = (await ctl('events --json')).out.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([{ action: 'reschedule', exitCode: null }, { exitCode: 0 }]);
    expect((await ctl('events --since soon')).code).toBe(2);
  });
});

describe('port and images', () => {
  it('port prints where a port is published', async () => {
    expect(await ctl('port web 80')).toEqual({ code: 0, out: '0.0.0.0:8080\n', err: '' });
    expect(JSON.parse((await ctl('port --format json --index 2 web 80')).out)).toMatchObject([{ published: 8080, mode: 'ingress' }]);
    expect(await ctl('port --protocol udp web 80')).toMatchObject({ code: 1, err: expect.stringContaining('it publishes 80/tcp') });
    expect(await ctl('port db 5432')).toMatchObject({ code: 1, err: expect.stringContaining('it publishes none') });
    expect(await ctl('port nothing 80')).toMatchObject({ code: 1, err: expect.stringContaining('no task of nothing') });
    expect((await ctl('port web http')).code).toBe(2);
  });

  it('images lists what tasks are made of', async () => {
    const { out } = await ctl('images');
    const cells = out.split('\n').map((line) => line.split(/ {2,}/));
    expect(cells[0]).toEqual(['CONTAINER', 'REPOSITORY', 'TAG', 'DIGEST', 'SIZE', 'NODE']);
    expect(cells).toContainEqual(['shop-web-1', 'app', '1', 'sha256:abababababab', '1.9 MiB', 'node1']);
    expect((await ctl('images -q web')).out).toBe(`sha256:${'ab'.repeat(32)}\n`);
    expect(JSON.parse((await ctl('images --format json db')).out)).toMatchObject([{ repository: 'reg.local:5000/db', tag: 'latest' }]);
    expect((await ctl('images nothing')).code).toBe(1);
  });
});

describe('pull', () => {
  it('fetches what is asked for, and tells what cannot be had', async () => {
    kit.rig.twin.calls.length = 0;
    expect((await ctl('pull web')).code).toBe(0);
    const [first] = kit.rig.twin
      .called('prepareImages')
      .map((call) => call.request as { images: { reference: string; refresh: boolean }[] });
    expect(first?.images).toMatchObject([{ reference: 'app:1', refresh: true }]);
    expect((await ctl('pull -q --policy missing')).err).toBe('');
    expect(await ctl('pull nothing')).toMatchObject({ code: 1, err: expect.stringContaining('no service nothing in the file') });
    writeFileSync(join(kit.rig.dir, 'compose.yaml'), SHOP.replace('app:1', 'nowhere:1'));
    expect((await ctl('pull')).code).toBe(1);
    const ignored = await ctl('pull --ignore-pull-failures');
    expect(ignored).toMatchObject({ code: 0, err: expect.stringContaining('the image of web was not pulled') });
    expect(kit.rig.twin.called('applyStack')).toEqual([]);
  });

  it('takes along what a service depends on', async () => {
    writeFileSync(
      join(kit.rig.dir, 'compose.yaml'),
      'name: shop\nservices:\n  web: { image: "app:1", depends_on: [db] }\n  db: { image: "db:1" }\n  x: { image: "x:1" }\n',
    );
    kit.rig.twin.calls.length = 0;
    await ctl('pull --include-deps web');
    const [first] = kit.rig.twin.called('prepareImages').map((call) => call.request as { images: { reference: string }[] });
    expect(first?.images.map((i) => i.reference)).toEqual(['app:1', 'db:1']);
  });
});

describe('wait', () => {
  it('prints exit codes once all have ended', async () => {
    kit.rig.twin.stopped.add('web');
    expect(await ctl('wait web')).toEqual({ code: 0, out: 'shop-web-1 0\nshop-web-2 0\n', err: '' });
    expect((await ctl('wait --format json web')).out.split('\n')[0]).toBe('{"task":"shop-web-1","node":"node1","exitCode":0}');
    expect(await ctl('wait nothing')).toMatchObject({ code: 1, err: expect.stringContaining('no service nothing') });
    expect(await ctl('wait -p other web')).toMatchObject({ code: 1, err: expect.stringContaining('there is no stack other') });
    expect(await ctl('wait --down-project web db')).toMatchObject({ code: 0, err: 'stack shop is being removed\n' });
  });
});

describe('up --scale and ps', () => {
  it('up --scale says other numbers than the file', async () => {
    expect((await ctl('up --scale web=4 --scale db=0')).code).toBe(0);
    const services = kit.rig.twin.stacks.get('shop')?.stack.services;
    expect([services?.['web']?.replicas, services?.['db']?.replicas]).toEqual([4, 0]);
    expect(await ctl('up --scale nothing=1')).toMatchObject({ code: 1, err: expect.stringContaining('no service nothing to scale') });
    expect((await ctl('up --scale web')).code).toBe(2);
  });

  it('ps says what a service waits for, and can be watched until the stack is gone', async () => {
    kit.rig.twin.stopped.add('web');
    expect((await ctl('ps')).err).toBe('web: stopped\n');
    expect((await ctl('ps db')).err).toBe('');
    const watching = ctl('ps --watch');
    await new Promise((resolve) => setTimeout(resolve, 200));
    kit.rig.twin.stacks.delete('shop');
    const { code, out, err } = await watching;
    expect(code).toBe(0);
    expect(out).toContain('shop-db-1');
    expect(err).toMatch(/web: stopped\n[^]*stack shop is gone\n$/);
    expect(await ctl('ps --watch -p other')).toMatchObject({ code: 1, err: expect.stringContaining('there is no stack "other"') });
  });
});

describe('run and attach', () => {
  const stored = () => Object.keys(kit.rig.twin.stacks.get('shop')?.stack.services ?? {});
  const runs = () => stored().filter((name) => name.includes('-run-'));

  it('runs beside the services, passes streams and the exit code on, and is gone with --rm', async () => {
    const before = stored();
    const { code, out } = await ctl('run --rm -T web echo hi', 'input');
    expect(code).toBe(7);
    expect(out).toMatch(/^this is [0-9a-f]{16}\n$/);
    expect(operations()).toEqual([{ $case: 'removeOneOffs', value: { services: [expect.stringMatching(/^web-run-[0-9a-f]{12}$/)] } }]);
    expect(stored()).toEqual(before);
    expect(kit.rig.twin.execInput.map(({ message }) => message?.$case)).toEqual(['start', 'stdin', 'stdinEnd']);
  });

  it('stays without --rm; -d prints its name and attaches nobody', async () => {
    expect(await ctl('run -d --name mine db')).toMatchObject({ code: 0, out: expect.stringContaining('shop-db-run-') as string });
    expect(runs()).toHaveLength(1);
    expect(kit.rig.twin.execInput).toEqual([]);
  });

  it('when it is lost sight of, says so and leaves it alone', async () => {
    kit.rig.twin.attachEnds = undefined;
    const { code, err } = await ctl('run --rm -T web true');
    expect(code).toBe(1);
    expect(err).toContain('the connection to shop-web-run-');
    expect(err).toContain('nothing was stopped');
    expect(runs()).toHaveLength(1);
  });

  it('what cannot be started is told, and goes', async () => {
    writeFileSync(join(kit.rig.dir, 'compose.yaml'), SHOP.replace('app:1', 'broken:1'));
    const { code, err } = await ctl('run -d web');
    expect(code).toBe(1);
    expect(err).toContain('was not started');
    expect(runs()).toEqual([]);
  });

  it.each([
    ['run', 2, 'missing required argument'],
    ['run nothing', 1, 'there is no service "nothing"'],
    ['run -p 80:80 -P web', 2, 'exclude one another'],
    ['run -p x:y web', 1, '<flags of ctl run>:3'],
    ['run --pull sometimes web', 2, 'pull'],
    ['attach nothing', 1, 'there is no task of nothing'],
    ['attach --detach-keys ctrl-1 web', 2, 'is no key to detach with'],
    ['attach --index 9 web', 1, 'there is no task 9 of web'],
  ])('%s: %i, %s', async (line, code, says) => {
    expect(await ctl(line)).toMatchObject({ code, out: '', err: expect.stringContaining(says) });
  });

  it('attaches to a task of a service, or by its name', async () => {
    expect(await ctl('attach web')).toMatchObject({ code: 7, out: expect.stringContaining('this is ') as string });
    expect((await ctl('attach shop-web-2')).code).toBe(7);
  });
});

describe('rebalance', () => {
  const asked = () => kit.rig.twin.called('rebalance').map((call) => call.request);

  it('prints what would go where and why, and what stays', async () => {
    const [row] = kit.rig.twin.rows('shop');
    const id = row?.task?.id ?? '';
    kit.rig.twin.moves = [
      {
        taskId: id,
        taskName: 'shop-web-1',
        stack: 'shop',
        service: 'web',
        from: 'node1',
        to: 'node2',
        why: 'node1 has 2 of web, node2 has 0',
      },
    ];
    kit.rig.twin.unmoved = [{ stack: 'shop', service: 'db', why: 'its data is on the nodes of its tasks' }];
    const { code, out, err } = await ctl('rebalance --dry-run web db');
    expect({ code, err }).toEqual({ code: 0, err: 'shop/db stays: its data is on the nodes of its tasks\n' });
    expect(out.replace(/ +/g, ' ')).toBe('TASK FROM TO WHY\nshop-web-1 node1 node2 node1 has 2 of web, node2 has 0\n');
    expect(JSON.parse((await ctl('rebalance --dry-run --format json')).out)).toMatchObject([{ id, from: 'node1', to: 'node2' }]);
    expect((await ctl('rebalance --all --detach')).code).toBe(0);
    expect(asked()).toEqual([
      { stack: 'shop', services: ['web', 'db'], dryRun: true },
      { stack: 'shop', services: [], dryRun: true },
      { stack: '', services: [], dryRun: false },
    ]);
  });

  it('a task that the leader did not move after all is told of, and not waited for', async () => {
    const id = kit.rig.twin.rows('shop')[0]?.task?.id ?? '';
    kit.rig.twin.moves = [{ taskId: id, taskName: 'shop-web-1', stack: 'shop', service: 'web', from: 'node1', to: 'node2', why: '' }];
    const { code, err } = await ctl('rebalance');
    expect(code).toBe(0);
    expect(err).toContain('shop-web-1 stays on node1: node2 does not take it any more');
    expect(err).toContain('stack shop is spread: 0 tasks moved\n');
  });

  it('says what is wrong, and when there is nothing to do', async () => {
    expect(await ctl('rebalance')).toEqual({ code: 0, out: '', err: 'nothing to move\n' });
    expect(await ctl('rebalance -p other')).toMatchObject({ code: 1, err: expect.stringContaining('there is no stack other') });
    expect(await ctl('rebalance --all web')).toMatchObject({ code: 2, err: expect.stringContaining('services of which stack?') });
  });
});
