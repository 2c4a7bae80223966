/** Bad input gets one clear error, of at most a few lines, and changes nothing. */
import { spawn } from 'node:child_process';
import { eventually, TestCluster } from './cluster.js';

const cluster = new TestCluster('ba');
const service = (extra: string): string => `name: bad\nservices:\n  web:\n    image: weft-demo\n${extra}`;

beforeAll(async () => {
  await cluster.up(2);
  cluster.write('good.yaml', 'name: good\nservices:\n  web:\n    image: weft-demo\n    ports: ["8080:80"]\n');
  await cluster.ctl('up', '-f', 'good.yaml');
}, 180_000);
afterAll(() => cluster.down(), 60_000);

/** `up` of this text fails with exit 1, says all of `words` on stderr without a stack trace, and leaves no stack behind. */
async function refused(text: string, ...words: (string | RegExp)[]): Promise<void> {
  cluster.write('bad.yaml', text);
  const { code, stderr, stdout } = await cluster.tryCtl(['up', '-f', 'bad.yaml', '--timeout', '15']);
  expect({ code, stderr }).toMatchObject({ code: 1 });
  for (const word of words) expect(stderr).toMatch(word);
  expect(stderr + stdout).not.toMatch(/\n\s+at .*\.(js|ts):\d/);
  expect((await cluster.json<{ name: string }[]>('ls')).map((s) => s.name)).toEqual(['good']);
  expect((await cluster.json<{ name: string }[]>('network', 'ls')).map((n) => n.name)).toEqual(['good_default']);
}

it.each([
  ['YAML that does not parse', 'name: bad\nservices: {web: [}\n', [/bad\.yaml:2:\d+/]],
  ['an unknown key, with the nearest one', service('    imagee: x\n'), [/bad\.yaml:5:5/, /image/]],
  ['a key of Compose that Weft refuses', service('    storage_opt: { size: 1G }\n'), [/bad\.yaml:5:5/, /storage_opt/]],
  ['a name with a newline', 'name: "ba\\nd"\nservices:\n  web:\n    image: weft-demo\n', [/bad\.yaml:1:\d+/]],
  ['a service name with a newline', 'name: bad\nservices:\n  "we\\nb":\n    image: weft-demo\n', [/bad\.yaml:3:\d+/]],
  [
    'an alias that is an nft injection',
    service('    networks:\n      default:\n        aliases: ["x; flush ruleset"]\n'),
    [/bad\.yaml:7:\d+/],
  ],
  ['an unknown image', 'name: bad\nservices:\n  web:\n    image: 127.0.0.1:1/nosuch:1\n', [/nosuch/]],
  ['a port that another stack publishes, with its holder', service('    ports: ["8080:80"]\n'), [/8080/, /good/]],
  ['a port of the cluster itself', service('    ports: ["7702:80"]\n'), [/7702/]],
  [
    'a subnet that clashes with another network',
    service('networks:\n  default:\n    ipam:\n      config: [{subnet: 10.128.0.0/24}]\n'),
    [/10\.128\.0\.0/, /good_default/],
  ],
  [
    'a subnet too small for the replicas',
    service('    deploy: {replicas: 20}\nnetworks:\n  default:\n    ipam:\n      config: [{subnet: 172.31.7.0/29}]\n'),
    [/172\.31\.7\.0\/29|bad_default/],
  ],
  [
    'a network that ends at the node, for tasks that may run on two',
    service('    networks: [local]\n    deploy: {replicas: 2}\nnetworks:\n  local: {driver: bridge}\n'),
    [/bad\.yaml:8:19: network bad_local cannot join web/, /their 2 tasks may run on 2 nodes/, /hint: .*driver overlay.*node\.hostname ==/],
  ],
  ['an undeclared network', service('    networks: [nowhere]\n'), [/bad\.yaml:5:\d+/, /nowhere/]],
  [
    'a constraint that no node meets, with the count of nodes',
    service('    deploy: {placement: {constraints: [node.labels.disk == ssd]}}\n'),
    [/can ever run service web/, /2 nodes: 2 not node\.labels\.disk == ssd/],
  ],
  [
    'a node that is unknown',
    service('    deploy: {placement: {constraints: [node.hostname == node9]}}\n'),
    [/2 nodes: 2 not node\.hostname == node9/],
  ],
  [
    'a reservation above any node',
    service('    deploy: {resources: {reservations: {memory: 900T}}}\n'),
    [/can ever run service web/, /2 nodes: 2 too little memory/],
  ],
  [
    'services that wait for one another',
    service('    depends_on: [db]\n  db:\n    image: weft-demo\n    depends_on: [web]\n'),
    [/web/, /db/],
  ],
  ['replicas below zero', service('    deploy: {replicas: -1}\n'), [/bad\.yaml:5:\d+/]],
] as [string, string, RegExp[]][])('up refuses %s', async (_what, text, words) => refused(text, ...words), 60_000);

it('up refuses a subnet that clashes with a route of a node, naming node and route', async () => {
  expect(cluster.onNode('node2', 'ip', 'route', 'add', '172.30.0.0/16', 'dev', 'eth0').code).toBe(0);
  try {
    await new Promise((resolve) => setTimeout(resolve, 500));
    await refusedEventually(
      service('networks:\n  default:\n    ipam:\n      config: [{subnet: 172.30.5.0/24}]\n'),
      /172\.30\.0\.0\/16/,
      /node2/,
    );
  } finally {
    cluster.onNode('node2', 'ip', 'route', 'del', '172.30.0.0/16', 'dev', 'eth0');
  }
}, 120_000);

it('up refuses a port that something on a node listens on, naming node and process', async () => {
  const netns = `--net=/run/netns/${cluster.netns('node1')}`;
  const listener = spawn('nsenter', [netns, '--', 'busybox', 'httpd', '-f', '-p', '9191', '-h', '/tmp'], { stdio: 'ignore' });
  try {
    await refusedEventually(service('    ports: ["9191:80"]\n'), /9191/, /node1/);
  } finally {
    listener.kill();
  }
}, 120_000);

it('up refuses ipvlan where no node has it, with its place', async () => {
  const nodes = JSON.parse(await cluster.ctl('node', 'inspect', 'node1')) as { facts: { features?: string[] } }[];
  cluster.write(
    'lan.yaml',
    service(
      '    networks: [lan]\nnetworks:\n  lan: {driver: ipvlan, driver_opts: {parent: eth0}, ipam: {config: [{subnet: 203.0.113.0/24}]}}\n',
    ),
  );
  const { code, stderr } = await cluster.tryCtl(['up', '-f', 'lan.yaml', '--dry-run']);
  const lack = /lan\.yaml:7:17: network bad_lan \(ipvlan\) can be on no node[^]*hint: .*modprobe ipvlan/;
  expect([code, stderr]).toEqual(nodes[0]?.facts.features?.includes('ipvlan') ? [0, expect.anything()] : [1, expect.stringMatching(lack)]);
}, 30_000);

/** Facts of nodes travel every so often: retry while the controller does not know yet. Nothing must ever have been created. */
async function refusedEventually(text: string, ...words: RegExp[]): Promise<void> {
  cluster.write('bad.yaml', text);
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { code, stderr } = await cluster.tryCtl(['up', '-f', 'bad.yaml', '--dry-run']);
    if (code === 1) {
      for (const word of words) expect(stderr).toMatch(word);
      break;
    }
    if (Date.now() > deadline) throw new Error('it was never refused');
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  await refused(text, ...words);
}

it('an archive that is no image is refused', async () => {
  cluster.write('noise.tar', 'this is not a tar archive, and no image either\n'.repeat(500));
  const { code, stderr } = await cluster.tryCtl(['image', 'load', 'noise.tar']);
  expect(code).toBe(1);
  expect(stderr).toMatch(/noise\.tar|archive|image/);
  expect((await cluster.tryCtl(['image', 'load', 'nosuchfile.tar'])).stderr).toMatch(/nosuchfile\.tar/);
}, 30_000);

it.each([
  [['down', '-p', 'nosuch'], 1, /nosuch/],
  [['logs', '-p', 'nosuch'], 1, /nosuch/],
  [['exec', '-T', '-p', 'nosuch', 'web', 'true'], 1, /nosuch/],
  [['exec', '-T', '-p', 'good', 'nosuch', 'true'], 1, /nosuch/],
  [['network', 'inspect', 'nosuch'], 1, /nosuch/],
  ...['inspect', 'drain', 'pause', 'activate', 'accept', 'rotate-keys', 'rm', 'rm --force', 'update --label-add a=b'].map(
    (verb): [string[], number, RegExp] => [['node', ...verb.split(' '), 'nosuch'], 1, /there is no node "?nosuch"?[^]*ctl node ls/],
  ),
  [['scale', '-p', 'good', 'web=-1'], [1, 2], /web=-1|replicas/],
  [['scale', '-p', 'good', 'nosuch=1'], 1, /nosuch/],
  [['up', '-f', 'good.yaml', '--scale', 'web=-1'], [1, 2], /web=-1|replicas/],
  [['up', '-f', 'nosuchfile.yaml'], 1, /nosuchfile\.yaml/],
  [['up', '-p', 'Bad\nName', '-f', 'good.yaml'], [1, 2], /name/i],
  [['nosuchcommand'], 2, /nosuchcommand/],
  [['ps', '--nosuchflag'], 2, /nosuchflag/],
  [['ps', '--format', 'yaml'], 2, /format/],
] as [string[], number | number[], RegExp][])(
  'ctl %j says what is wrong',
  async (args, expected, words) => {
    const { code, stderr, stdout } = await cluster.tryCtl(args);
    expect({ args, code, stderr }).toMatchObject({ args, code: Array.isArray(expected) ? expect.any(Number) : expected });
    expect([expected].flat()).toContain(code);
    expect(stderr).toMatch(words);
    expect(stdout).toBe('');
  },
  30_000,
);

it('a failed up says what is running and what is not', async () => {
  cluster.write(
    'half.yaml',
    'name: half\nservices:\n  ok:\n    image: weft-demo\n  broken:\n    image: weft-demo\n    command: ["/nosuchprogram"]\n',
  );
  const { code, stderr } = await cluster.tryCtl(['up', '-f', 'half.yaml', '--timeout', '10']);
  expect(code).toBe(1);
  expect(stderr).toMatch(/broken/);
  expect(stderr).toMatch(/nosuchprogram/);
  expect(stderr).toMatch(/ok/);
  await cluster.ctl('down', '-p', 'half');
}, 90_000);

describe('what cannot run now says why, in up and in ps', () => {
  const said = async (): Promise<string> => (await cluster.tryCtl(['ps', '-p', 'waits'])).stderr;
  const WAITING = `
name: waits
services:
  agent: { image: weft-demo, deploy: { mode: global, placement: { constraints: [node.labels.disk == ssd] } } }
  later: { image: weft-demo, depends_on: { agent: { condition: service_healthy } } }
  apart: { image: weft-demo, deploy: { replicas: 3, placement: { max_replicas_per_node: 1 } } }
  doors: { image: weft-demo, ports: [{ target: 80, published: 8181, mode: host }], deploy: { replicas: 3 } }
`;
  afterAll(async () => {
    await cluster.tryCtl(['node', 'activate', 'node2']);
    await cluster.tryCtl(['down', '-p', 'waits']);
  }, 60_000);

  it('a global service that no node fits is up, with a warning', async () => {
    const why = 'on no node (2 nodes: 2 not node.labels.disk == ssd)';
    cluster.write('agent.yaml', WAITING.replace(/^ {2}(later|apart|doors):.*\n/gm, ''));
    expect((await cluster.tryCtl(['up', '-f', 'agent.yaml', '--dry-run'])).stdout).toContain(why);
    const { code, stderr } = await cluster.tryCtl(['up', '-f', 'agent.yaml']);
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining(`warning: agent: ${why}`) });
    expect(await said()).toContain(`agent: ${why}`);
    expect((await cluster.tryCtl(['ps'])).stderr).toBe(`waits/agent: ${why}\n`);
  }, 60_000);

  it('dependencies, limits and host ports: an up gives up with all reasons', async () => {
    cluster.write('waits.yaml', WAITING);
    const { code, stderr } = await cluster.tryCtl(['up', '-f', 'waits.yaml']);
    const reasons = [
      'later: waits for agent to be healthy: it is on no node (2 nodes: 2 not node.labels.disk == ssd)',
      'apart: no node can take it (2 nodes: 2 at max_replicas_per_node)',
      'doors: no node can take it (2 nodes: 2 with another task on host port 8181/tcp)',
    ];
    expect({ code, stderr }).toMatchObject({ code: 1 });
    for (const reason of reasons) expect(stderr).toContain(reason);
    const listed = await said();
    for (const reason of reasons) expect(listed).toContain(reason);
  }, 90_000);

  it('a drained node is named as that, and a label lets a global service begin', async () => {
    const { stderr } = await cluster.tryCtl(['node', 'drain', 'node2']);
    expect(stderr).toMatch(/^node node2 is drained: its tasks go elsewhere$/m);
    expect(stderr).toMatch(
      /^warning: waits-apart-\d has no other place, and stops: no node can take it \(2 nodes: 1 at max_replicas_per_node, 1 drained\)$/m,
    );
    await eventually(30_000, async () => {
      const [node] = await cluster.json<{ tasks: number; left: string }[]>('node', 'ls').then((all) => all.slice(1));
      expect(node).toMatchObject({ tasks: 0, left: '' });
    });
    await eventually(30_000, async () =>
      expect(await said()).toContain('apart: no node can take it (2 nodes: 1 at max_replicas_per_node, 1 drained)'),
    );
    await cluster.ctl('node', 'update', 'node1', '--label-add', 'disk=ssd');
    await eventually(30_000, async () => expect((await cluster.tasks('waits')).filter((t) => t.service === 'agent')).toHaveLength(1));
  }, 90_000);
});
