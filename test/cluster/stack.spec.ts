/** The first whole path: a Compose file in, nine replicas on three nodes out; reachable by name where they share a network. */
import { cpSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, readQuietly, sh, TestCluster, type TaskLine } from './cluster.js';

const cluster = new TestCluster('st');
let tasks: TaskLine[] = [];
const of = (service: string): TaskLine[] => tasks.filter((t) => t.service === service);
const first = (service: string): TaskLine => of(service)[0] as TaskLine;

/** Processes whose network namespace is one of these: it lives as long as they do, also without a name. */
function pidsInside(inodes: ReadonlySet<number>): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return inodes.has(statSync(`/proc/${pid}/ns/net`).ino);
      } catch {
        // Ended meanwhile, or nobody may look at it.
        return false;
      }
    })
    .map(Number);
}

beforeAll(async () => {
  await cluster.up();
  cpSync(join(process.cwd(), 'deploy/examples/shop.yaml'), join(cluster.dir, 'shop.yaml'));
}, 180_000);
afterAll(() => cluster.down(), 60_000);

describe('ctl up', () => {
  it('prints the plan and changes nothing with --dry-run', async () => {
    const plan = await cluster.ctl('up', '-f', 'shop.yaml', '--dry-run');
    for (const word of ['web', 'orders', 'stock', 'front', 'back']) expect(plan).toContain(word);
    expect(await cluster.json<unknown[]>('ls')).toEqual([]);
  }, 30_000);

  it('runs nine replicas on three nodes and returns when all run', async () => {
    await cluster.ctl('up', '-f', 'shop.yaml');
    tasks = await cluster.tasks('shop');
    expect(tasks.map((t) => t.name).sort()).toEqual([
      'shop-orders-1',
      'shop-orders-2',
      'shop-orders-3',
      'shop-stock-1',
      'shop-stock-2',
      'shop-web-1',
      'shop-web-2',
      'shop-web-3',
      'shop-web-4',
    ]);
    expect(new Set(tasks.map((t) => t.state))).toEqual(new Set(['running']));
    expect(new Set(tasks.map((t) => t.node)).size).toBe(3);
    const addresses = tasks.flatMap((t) => Object.values(t.addresses));
    expect(addresses).toHaveLength(4 + 3 * 2 + 2);
    expect(new Set(addresses).size).toBe(addresses.length);
  }, 90_000);

  it('changes nothing the second time, and says so', async () => {
    const before = await cluster.tasks('shop');
    const { code, stdout, stderr } = await cluster.tryCtl(['up', '-f', 'shop.yaml']);
    expect(code).toBe(0);
    expect(stdout + stderr).toMatch(/nothing to change/i);
    expect((await cluster.tasks('shop')).map((t) => t.id)).toEqual(before.map((t) => t.id));
  }, 60_000);
});

describe('reachability', () => {
  /** One shell in the container asks every name; prints "name ok" or "name no". */
  const reach = async (from: TaskLine, names: string[]): Promise<Record<string, boolean>> => {
    const script = names.map((n) => `timeout 5 wget -qO- http://${n}/ >/dev/null 2>&1 && echo ${n} ok || echo ${n} no`).join('\n');
    const out = await cluster.ctl(
      'exec',
      '-T',
      '-p',
      'shop',
      '--index',
      String(Number(from.name.split('-').pop())),
      from.service,
      'sh',
      '-c',
      script,
    );
    return Object.fromEntries(
      out
        .trim()
        .split('\n')
        .map((line) => [line.split(' ')[0] as string, line.endsWith(' ok')]),
    );
  };
  const networks: Record<string, string[]> = { web: ['front'], orders: ['front', 'back'], stock: ['back'] };
  const shares = (a: string, b: string): boolean => (networks[a] ?? []).some((n) => (networks[b] ?? []).includes(n));

  it('is by name between all that share a network, and nothing on others', async () => {
    for (const from of tasks) {
      const expected = Object.fromEntries([
        ...tasks.map((t) => [t.name, shares(from.service, t.service)] as const),
        ...['web', 'orders', 'stock'].map((s) => [s, shares(from.service, s)] as const),
      ]);
      expect({ from: from.name, reached: await reach(from, Object.keys(expected)) }).toEqual({ from: from.name, reached: expected });
    }
  }, 240_000);

  it('is refused between networks by address too, not only by name', async () => {
    const web = first('web');
    const stock = Object.values(first('stock').addresses)[0] as string;
    expect(cluster.inTask(web.id, 'ping', '-c', '1', '-W', '1', stock).code).not.toBe(0);
  }, 30_000);

  it("shows the task its caller's own address across nodes", async () => {
    const [a, b] = [first('web'), of('orders').find((t) => t.node !== first('web').node) as TaskLine];
    const out = await cluster.ctl('exec', '-T', '-p', 'shop', '--index', '1', 'web', 'wget', '-qO-', `http://${b.name}/`);
    expect(out.trim()).toBe(`${b.name} saw ${a.addresses['front'] ?? Object.values(a.addresses)[0]}`);
  }, 30_000);

  it('resolves aliases, tasks.<service>, reverse names; tells NXDOMAIN from NODATA; refuses nobody on the network', async () => {
    const web = first('web');
    const dig = (...args: string[]) => cluster.inTask(web.id, 'dig', '@127.0.0.11', '+time=2', '+tries=1', ...args).stdout;
    const ordersOnFront = of('orders')
      .map((t) => t.addresses['front'] as string)
      .sort();
    expect(dig('+short', 'tasks.orders').trim().split('\n').sort()).toEqual(ordersOnFront);
    expect(dig('+short', '+tcp', 'tasks.orders').trim().split('\n').sort()).toEqual(ordersOnFront);
    expect(dig('+short', 'api').trim()).toMatch(/^\d+\.\d+\.\d+\.\d+/);
    expect(dig('+short', 'shop-orders-1').trim()).toBe(of('orders').find((t) => t.name === 'shop-orders-1')?.addresses['front']);
    expect(dig('+short', '-x', ordersOnFront[0] as string)).toMatch(/shop-orders-\d/);
    expect(dig('orders', 'AAAA')).toContain('status: NOERROR');
    expect(dig('stock')).toContain('status: NXDOMAIN');
    expect(dig('nosuchname')).toContain('status: NXDOMAIN');
  }, 60_000);

  it("answers the published port on every node where a task runs, with the client's own address, and nothing else is let in", async () => {
    const nodes = await cluster.json<{ name: string; address: string }[]>('node', 'ls');
    for (const node of nodes.filter((n) => of('web').some((t) => t.node === n.name))) {
      const text = await (await fetch(`http://${node.address}:8080/`)).text();
      expect(text).toMatch(/^shop-web-\d saw 192\.168\.\d+\.1$/m);
    }
    // A neighbour on the underlay with a route is no way in: only what is published.
    const web = first('web');
    const address = web.addresses['front'] as string;
    const via = nodes.find((n) => n.name === web.node)?.address as string;
    expect(sh('ip', 'route', 'add', `${address}/32`, 'via', via).code).toBe(0);
    try {
      await expect(fetch(`http://${address}/`, { signal: AbortSignal.timeout(1500) })).rejects.toBeDefined();
    } finally {
      sh('ip', 'route', 'del', `${address}/32`);
    }
  }, 60_000);

  it('every node tells that it has the image that was loaded', async () => {
    await eventually(60_000, async () => {
      const nodes = await cluster.json<{ images: number }[]>('node', 'ls');
      expect(nodes.map((n) => n.images > 0)).toEqual(nodes.map(() => true));
    });
  }, 90_000);

  it("keeps containers away from the cluster's own ports on every member", async () => {
    const nodes = await cluster.json<{ address: string }[]>('node', 'ls');
    const web = first('web');
    for (const { address } of nodes) {
      for (const port of [7700, 7701, 7702, 7704]) {
        const probe = cluster.inTask(web.id, 'busybox', 'timeout', '1', 'busybox', 'nc', '-w', '1', address, String(port));
        expect({ address, port, open: probe.code === 0 }).toEqual({ address, port, open: false });
      }
    }
    // The probe itself works: the published port answers the same way of asking.
    const published = nodes[0]?.address as string;
    expect(
      cluster.inTask(
        web.id,
        'busybox',
        'sh',
        '-c',
        `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox timeout 3 busybox nc -w 2 ${published} 8080`,
      ).stdout,
    ).toContain('saw');
  }, 120_000);
});

describe('ps, logs, exec', () => {
  it('exec passes exit codes, stdin and user; a wrong service is an error', async () => {
    expect((await cluster.tryCtl(['exec', '-T', '-p', 'shop', 'web', 'sh', '-c', 'exit 7'])).code).toBe(7);
    expect((await cluster.tryCtl(['exec', '-T', '-p', 'shop', 'web', 'cat'], { input: 'through\n' })).stdout).toBe('through\n');
    expect((await cluster.ctl('exec', '-T', '-p', 'shop', 'web', 'id', '-un')).trim()).toBe('web');
    expect((await cluster.ctl('exec', '-T', '-p', 'shop', '-u', 'root', 'web', 'id', '-u')).trim()).toBe('0');
    const wrong = await cluster.tryCtl(['exec', '-T', '-p', 'shop', 'nosuch', 'true']);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('nosuch');
  }, 60_000);

  it('exec gives a terminal when asked through one', async () => {
    const r = sh(
      'script',
      '-qec',
      `env WEFT_CONFIG_DIR=${cluster.dir}/config ${process.execPath} ${process.cwd()}/dist/apps/ctl/main.js exec -p shop web tty`,
      '/dev/null',
    );
    expect(r.stdout).toContain('/dev/pts/');
  }, 30_000);

  it('logs come from every replica, stamped, by service', async () => {
    cluster.write(
      'talk.yaml',
      'name: talk\nservices:\n  say:\n    image: weft-demo\n    command: ["sh", "-c", "echo out; echo err >&2; exec sleep 1000"]\n    deploy:\n      replicas: 3\n',
    );
    await cluster.ctl('up', '-f', 'talk.yaml');
    await eventually(10_000, async () => {
      const { stdout } = await cluster.tryCtl(['logs', '-p', 'talk', '--timestamps']);
      for (const n of [1, 2, 3]) {
        expect(stdout).toMatch(new RegExp(`say-${n}\\s.*\\d{4}-\\d\\d-\\d\\dT.*out`));
        expect(stdout).toMatch(new RegExp(`say-${n}\\s.*err`));
      }
    });
    await cluster.ctl('down', '-p', 'talk');
  }, 90_000);

  it('lists are arrays of flat objects for programs', async () => {
    for (const args of [['ls'], ['ps', '-p', 'shop'], ['node', 'ls'], ['network', 'ls'], ['image', 'ls']]) {
      const rows = await cluster.json<Record<string, unknown>[]>(...args);
      expect(rows.length).toBeGreaterThan(0);
      for (const key of Object.keys(rows[0] as object)) expect(key).toMatch(/^[a-z][a-zA-Z0-9]*$/);
    }
  }, 60_000);

  it('a non-root image binds port 80 and pings; a volume keeps what is written', async () => {
    // busybox's ping wants a raw socket; iputils' uses the datagram one that the namespace opens to everybody.
    const asWeb = ['setpriv', '--reuid', '1000', '--regid', '1000', '--clear-groups', 'ping', '-c', '1', '-W', '2'];
    expect(cluster.inTask(first('web').id, ...asWeb, first('orders').addresses['front'] as string).code).toBe(0);
    await cluster.ctl('exec', '-T', '-u', 'root', '-p', 'shop', '--index', '1', 'stock', 'sh', '-c', 'echo kept > /data/file');
    expect(await cluster.ctl('exec', '-T', '-p', 'shop', '--index', '1', 'stock', 'cat', '/data/file')).toBe('kept\n');
  }, 60_000);
});

describe('ctl down', () => {
  it('ends the stack and frees what it had', async () => {
    await cluster.ctl('down', '-p', 'shop');
    expect(await cluster.json<unknown[]>('ls')).toEqual([]);
    expect(await cluster.json<unknown[]>('network', 'ls')).toEqual([]);
    await eventually(10_000, () => {
      for (const t of tasks) expect(existsSync(`/run/netns/${cluster.taskNetns(t.id)}`)).toBe(false);
      for (const node of ['node1', 'node2', 'node3']) expect(cluster.onNode(node, 'ip', '-br', 'link').stdout).not.toMatch(/\bwf[bxv]/);
    });
  }, 60_000);

  it('dev down leaves no process, namespace, device, mount, nft table, cgroup or file behind', async () => {
    await cluster.ctl('up', '-f', 'shop.yaml');
    const left = await cluster.tasks('shop');
    const known = (node: string) => sh('ip', '-n', cluster.netns(node), 'netns', 'list-id').stdout.match(/weft-\S+(?=\))/g) ?? [];
    const nodes = ['node1', 'node2', 'node3'];
    await eventually(5_000, () => {
      for (const node of nodes) expect(known(node).filter((name) => name.startsWith('weft-s'))).toHaveLength(2);
    });
    const spaces = [...nodes.map((node) => cluster.netns(node)), ...left.map((t) => cluster.taskNetns(t.id)), ...nodes.flatMap(known)];
    const inodes = new Set(spaces.map((name) => statSync(`/run/netns/${name}`).ino));
    const inside = () => pidsInside(inodes).map((pid) => `${pid} ${readQuietly(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`);
    expect(inside().join('\n')).toContain('nft monitor');
    await cluster.ctl('dev', 'down', '--name', cluster.name);
    expect(inside()).toEqual([]);
    expect(cluster.pids().map((pid) => `${pid} ${readQuietly(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`)).toEqual([]);
    const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
    expect(namespaces.filter((n) => n.includes(`-${cluster.name}-`) || spaces.includes(n))).toEqual([]);
    expect(sh('ip', '-br', 'link').stdout).not.toContain(`weftdev-${cluster.name}`);
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(`/${cluster.name}/`);
    expect(sh('nft', 'list', 'tables').stdout).not.toContain(cluster.name);
    expect(sh('find', '/sys/fs/cgroup', '-path', `*weft-${cluster.name}-*`).stdout).toBe('');
    for (const path of [cluster.libDir, cluster.runDir, join(cluster.dir, 'config', 'contexts', `dev-${cluster.name}`)])
      expect(existsSync(path)).toBe(false);
    expect(sh('ip', '-j', 'route').stdout).not.toContain(`weftdev-${cluster.name}`);
  }, 120_000);
});
