/**
 * Every driver and mode on three nodes with real containers: who reaches whom, all pairs, at every port, by name and by address.
 * What is expected is computed from the stack files and from where the tasks are; it holds again after each thing that may
 * happen to a cluster.
 */
import { eventually, PingFlood, TestCluster, type TaskLine } from './cluster.js';
import type { Outcome } from './ctl-lister.js';
import { observedCells } from './observed-reachability.js';
import { differences, expectedCells, onlyWrong, placesOf, readWorld, type World } from './reachability.js';

const cluster = new TestCluster('mo');
const SETTLE_MS = 30_000;

/** Addresses of the simulated LAN that nobody has: the nodes are at its beginning. */
const lanOf = (node: string): string => {
  const [a, b, c] = node.split('.');
  return `{ subnet: ${a}.${b}.${c}.0/24, ip_range: ${a}.${b}.${c}.192/27, gateway: ${a}.${b}.${c}.1 }`;
};

const BOTH = 'entrypoint: [httpd, -f, -p, "[::]:80", -h, /www]';

/** @param web, hub more keys of these services @param front how web is on that network */
const modes = (lan: string, { web = '', hub = '', front = '{}' } = {}): string => `
name: modes
networks:
  front: {}
  dark: { internal: true }
  sealed: { driver_opts: { encrypted: "true" } }
  six: { enable_ipv6: true }
  local: { driver: bridge }
  lan: { driver: macvlan, driver_opts: { parent: eth0 }, ipam: { config: [${lan}] } }
  shared: { external: true }
services:
  web: { image: weft-demo, networks: { front: ${front} }, ports: ["18080:80"], deploy: { replicas: 2 }${web} }
  hub:
    image: weft-demo
    ${BOTH}
    networks: [dark, front, sealed, shared, six]${hub}
  side: { image: weft-demo, network_mode: "service:hub", command: [httpd, -f, -p, "81", -h, /www] }
  vault: { image: weft-demo, networks: [dark], deploy: { replicas: 2 } }
  safe: { image: weft-demo, networks: [sealed], deploy: { replicas: 2 } }
  dual: { image: weft-demo, ${BOTH}, networks: [six], deploy: { replicas: 2 } }
  near: { image: weft-demo, networks: [local], deploy: { placement: { constraints: [node.hostname == node1] } } }
  beside: { image: weft-demo, networks: [local], deploy: { placement: { constraints: [node.hostname == node1] } } }
  plain: { image: weft-demo, network_mode: bridge, ports: ["18100-18101:80-81"] }
  linked: { image: weft-demo, network_mode: bridge, links: [plain] }
  onhost: { image: weft-demo, network_mode: host, user: root, command: [httpd, -f, -p, "81", -h, /www] }
  alone: { image: weft-demo, network_mode: none }
  site: { image: weft-demo, networks: [lan], deploy: { replicas: 2 } }
`;

const UPDATED = { web: ', labels: { v: "2" }', hub: '\n    labels: { v: "2" }' };

const GUESTS = `
name: guests
networks:
  shared: { external: true }
services:
  guest: { image: weft-demo, networks: [shared] }
  lodger: { image: weft-demo, network_mode: "container:guests-guest-1", command: [httpd, -f, -p, "81", -h, /www] }
`;

let nodes: { name: string; address: string }[] = [];
let lan = '';
let world: World;

async function refresh(): Promise<void> {
  world = readWorld([modes(lan), GUESTS], await placesOf(cluster, ['modes', 'guests']), nodes);
}
const all = (service: string): TaskLine[] => world.tasks.filter((t) => t.service === service);
const one = (service: string): TaskLine => {
  const [found] = all(service);
  if (!found) throw new Error(`no task of ${service}`);
  return found;
};
const exec = (service: string, ...argv: string[]): Promise<Outcome> => cluster.tryCtl(['exec', '-T', '-p', 'modes', service, ...argv]);
const asks = async (service: string, url: string): Promise<string> =>
  (await exec(service, 'timeout', '3', 'wget', '-qO-', url)).stdout.trim();
const up = (text: string): Promise<string> => {
  cluster.write('modes.yaml', text);
  return cluster.ctl('up', '-f', 'modes.yaml');
};

/** Which tasks there are, where, and under which addresses. */
const whoIsWhere = (): string => JSON.stringify(world.tasks.map(({ id, node, addresses, six }) => [id, node, addresses, six]));

/**
 * All pairs; what is not as expected is looked at again until it is, or the time is over. When a task was replaced meanwhile
 * (on a slow machine an agent that was killed may be missed for so long that its node counts as lost), everything is asked anew.
 */
async function everybodyReachesWhomTheyShould(): Promise<void> {
  for (;;) {
    await eventually(SETTLE_MS, isSettled);
    const before = whoIsWhere();
    const cells = expectedCells(world);
    expect(cells.size).toBeGreaterThan(500);
    let seen = await observedCells(cluster, world, cells);
    const deadline = Date.now() + SETTLE_MS;
    for (let wrong = onlyWrong(cells, seen); wrong.size > 0 && Date.now() < deadline; wrong = onlyWrong(wrong, seen)) {
      await refresh();
      if (whoIsWhere() !== before) break;
      seen = new Map([...seen, ...(await observedCells(cluster, world, wrong))]);
    }
    if (whoIsWhere() === before) return expect(differences(cells, seen)).toEqual([]);
  }
}

const isSettled = async (): Promise<void> => {
  expect((await cluster.json<{ state: string }[]>('node', 'ls')).map((n) => n.state)).toEqual(['ready', 'ready', 'ready']);
  await refresh();
  expect(world.tasks.filter((t) => t.state !== 'running')).toEqual([]);
  expect(world.tasks.filter((t) => Object.values(t.six).includes(''))).toEqual([]);
};

beforeAll(async () => {
  await cluster.up();
  nodes = await cluster.json('node', 'ls');
  lan = lanOf(nodes[0]?.address ?? '');
  await cluster.ctl('network', 'create', '--attachable', 'shared');
  cluster.write('guests.yaml', GUESTS);
  await up(modes(lan));
  await cluster.ctl('up', '-f', 'guests.yaml');
  await refresh();
}, 240_000);
afterAll(() => cluster.down(), 60_000);

/** Nodes without the controller. */
const OTHERS = ['node2', 'node3'] as const;

/** What somebody might do to every node and to the tasks on it, all at once. */
function attack(): void {
  for (const { name } of nodes) {
    const links = cluster.onNode(name, 'ip', '-o', 'link').stdout;
    for (const table of ['inet weft', 'bridge weft', 'ip weft_vips']) cluster.onNode(name, 'nft', 'delete', 'table', ...table.split(' '));
    cluster.onNode(name, 'ip', 'route', 'flush', 'proto', '119');
    cluster.onNode(name, 'ip', 'rule', 'del', 'priority', '900');
    const [bridge] = /wfb\d+/.exec(links) ?? [];
    const wires = [...links.matchAll(/wf[sx]\w+/g)].map(([wire]) => wire);
    for (const link of new Set([bridge ?? '', ...wires.slice(0, 2)])) cluster.onNode(name, 'ip', 'link', 'del', link);
  }
  for (const service of ['web', 'dual', 'plain', 'site']) {
    cluster.inTask(one(service).id, 'nft', 'flush', 'ruleset');
    cluster.inTask(one(service).id, 'ip', 'route', 'flush', 'table', 'main');
  }
}

/** What Docker sets up: everything forwarded is dropped, but for what DOCKER-USER lets through; and br_netfilter asks it about all frames. */
function dropAsDocker(): void {
  const rules = ['-N DOCKER-USER', '-A FORWARD -j DOCKER-USER', '-A DOCKER-USER -j RETURN', '-P FORWARD DROP'];
  for (const { name } of nodes) {
    const done = [
      cluster.onNode(name, 'sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=1'),
      ...rules.map((rule) => cluster.onNode(name, 'iptables-nft', ...rule.split(' '))),
    ];
    expect(done.map((d) => [d.code, d.stderr])).toEqual(done.map(() => [0, '']));
  }
}

describe('everybody reaches whom they should, and nobody else', () => {
  const things: [after: string, happens: () => Promise<unknown>][] = [
    ['the start of all drivers and modes together', () => Promise.resolve()],
    [
      'an agent was killed and came back',
      async () => {
        cluster.kill('/agent/main.js', '/node2/agent');
        await cluster.repair();
      },
    ],
    [
      'the controller was killed and came back',
      async () => {
        cluster.kill('/controller/main.js');
        await cluster.repair();
      },
    ],
    [
      'a node was lost, its tasks ran elsewhere, and it came back',
      async () => {
        const [lost] = OTHERS;
        cluster.cable(lost, 'down');
        await eventually(60_000, async () => {
          await refresh();
          expect(world.tasks.filter((t) => t.node === lost || t.state !== 'running')).toEqual([]);
        });
        cluster.cable(lost, 'up');
      },
    ],
    ['an update', () => up(modes(lan, UPDATED))],
    ['an attack on every kernel', () => Promise.resolve(attack())],
    ["Docker's rules on every node, with bridged frames passing them too", () => Promise.resolve(dropAsDocker())],
  ];
  it.each(things)(
    'after %s',
    async (_, happens) => {
      await happens();
      await everybodyReachesWhomTheyShould();
    },
    180_000,
  );
});

describe('a namespace that is shared', () => {
  it('is the same again when its owner was killed', async () => {
    expect(await asks('side', 'http://127.0.0.1/')).toMatch(/saw .*127\.0\.0\.1/);
    process.kill(cluster.pidOf(one('hub').id), 'SIGKILL');
    await eventually(30_000, async () => expect(await asks('side', 'http://127.0.0.1/')).toMatch(/saw .*127\.0\.0\.1/));
  }, 60_000);
});

describe('names of a running task', () => {
  it('change with the file, and no task is made anew', async () => {
    const ids = world.tasks.map((t) => t.id).sort();
    await up(modes(lan, { ...UPDATED, front: '{ aliases: [desk] }' }));
    await eventually(20_000, async () => expect(await asks('hub', 'http://desk/')).toMatch(/^modes-web-\d saw/));
    await refresh();
    expect(world.tasks.map((t) => t.id).sort()).toEqual(ids);
  }, 60_000);
});

describe('networks of a running task', () => {
  it('come and go by command without a new process, and without a lost packet on the others', async () => {
    const [web, peer] = all('web') as [TaskLine, TaskLine];
    const pid = cluster.pidOf(web.id);
    const reaches = async (): Promise<string> =>
      (await cluster.tryCtl(['exec', '-T', '-p', 'modes', '--index', '1', 'web', 'timeout', '3', 'wget', '-qO-', 'http://vault/'])).stdout;
    expect(await reaches()).toBe('');
    const flood = new PingFlood(cluster.taskNetns(web.id), peer.addresses['front'] ?? '');
    await cluster.ctl('network', 'connect', '--alias', 'reports', '--interface-name', 'lan7', 'modes_dark', web.name);
    await eventually(20_000, async () => expect(await reaches()).toMatch(/^modes-vault-\d saw/));
    await eventually(20_000, async () => expect(await asks('vault', 'http://reports/')).toContain(`${web.name} saw`));
    expect(cluster.inTask(web.id, 'ip', '-o', 'link').stdout).toContain('lan7');
    const again = await cluster.tryCtl(['network', 'connect', 'modes_dark', web.name]);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('on network modes_dark already')]);
    await cluster.ctl('network', 'disconnect', 'modes_dark', web.name);
    await eventually(20_000, () => expect(cluster.inTask(web.id, 'ip', '-o', 'link').stdout).not.toContain('lan7'));
    expect(await reaches()).toBe('');
    await refresh();
    expect([one('web').id, cluster.pidOf(web.id)]).toEqual([web.id, pid]);
    const { sent, received } = await flood.stop();
    expect(sent).toBeGreaterThan(50);
    expect(received).toBeGreaterThanOrEqual(sent - 1);
  }, 120_000);

  it('a network that a command made is joined by command too, and what a command took away comes back with the next up', async () => {
    await cluster.ctl('network', 'connect', 'shared', 'modes/safe');
    await eventually(20_000, async () => expect(await asks('safe', 'http://guest/')).toContain('guests-guest-1 saw'));
    await cluster.ctl('network', 'disconnect', 'shared', 'modes/safe');
    await cluster.ctl('network', 'disconnect', 'modes_sealed', 'modes/safe');
    await eventually(20_000, async () => {
      await refresh();
      expect(all('safe').map((t) => t.addresses)).toEqual([{}, {}]);
    });
    expect(await cluster.ctl('up', '-f', 'modes.yaml')).not.toContain('recreate');
    await eventually(20_000, async () => expect(await asks('safe', 'http://hub/')).toContain('modes-hub-1 saw'));
  }, 90_000);

  it('a task without networks of its own has none to change', async () => {
    const { code, stderr } = await cluster.tryCtl(['network', 'connect', 'modes_dark', 'modes/onhost']);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/cannot be changed[^]*network mode is host/)]);
  }, 30_000);
});
