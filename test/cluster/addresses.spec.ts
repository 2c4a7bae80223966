/** Addresses on a live cluster: dual stack, static ones, a network of its own that two stacks share, a small subnet. */
import { spawn } from 'node:child_process';
import { eventually, TestCluster, type TaskLine } from './cluster.js';

const cluster = new TestCluster('ad');

/** Listens on both families. */
const SERVER = 'image: weft-demo\n    entrypoint: [httpd, -f, -p, "[::]:80", -h, /www]';

const SIX = `
services:
  web:
    ${SERVER}
    networks: { front: }
    deploy: { replicas: 3 }
  db:
    ${SERVER}
    networks:
      front: { ipv4_address: 10.66.0.77, ipv6_address: "fd66::77", mac_address: "02:42:ac:42:00:77" }
networks:
  front:
    enable_ipv6: true
    ipam:
      config:
        - { subnet: 10.66.0.0/24, gateway: 10.66.0.254, ip_range: 10.66.0.64/26, aux_addresses: { nas: 10.66.0.65 } }
        - { subnet: "fd66::/64" }
`;

/** Each line with an address asks for what cannot be. */
const BAD = `
services:
  once: { image: weft-demo, networks: { front: { ipv4_address: 10.67.0.11 } } }
  twice: { image: weft-demo, networks: { front: { ipv4_address: 10.67.0.11 } } }
  outside: { image: weft-demo, networks: { front: { ipv4_address: 10.66.0.12 } } }
  many: { image: weft-demo, networks: { front: { ipv4_address: 10.67.0.13 } }, deploy: { replicas: 3 } }
  every: { image: weft-demo, networks: { front: { ipv4_address: 10.67.0.14 } }, deploy: { mode: global } }
  ahead: { image: weft-demo, networks: { front: { ipv4_address: 10.67.0.15 } }, deploy: { update_config: { order: start-first } } }
networks:
  front: { ipam: { config: [{ subnet: 10.67.0.0/24 }] } }
`;

const inside = (task: TaskLine | undefined, script: string): Promise<string> => {
  const [stack = '', service = '', slot = ''] = task?.name.split('-') ?? [];
  return cluster.ctl('exec', '-T', '-p', stack, '--index', slot, service, 'sh', '-c', script);
};

beforeAll(() => cluster.up(), 180_000);
afterAll(() => cluster.down(), 60_000);

describe('a dual-stack network', () => {
  let tasks: TaskLine[] = [];
  const one = (service: string): TaskLine | undefined => tasks.find((t) => t.service === service);

  beforeAll(async () => {
    cluster.write('six.yaml', SIX);
    await cluster.ctl('up', '-p', 'six', '-f', 'six.yaml');
    tasks = await cluster.tasks('six');
  }, 120_000);

  it('gives every task an address of its own from the range, and the static ones to their service', () => {
    expect(one('db')?.addresses).toEqual({ front: '10.66.0.77' });
    const web = tasks.filter((t) => t.service === 'web').map((t) => t.addresses['front'] ?? '');
    expect(new Set(web).size).toBe(3);
    for (const address of web) expect(address).toMatch(/^10\.66\.0\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])$/);
    for (const taken of ['10.66.0.65', '10.66.0.77', '10.66.0.254']) expect(web).not.toContain(taken);
    expect(cluster.inTask(one('db')?.id ?? '', 'ip', 'addr', 'show', 'eth0').stdout).toMatch(/02:42:ac:42:00:77[^]*fd66::77\/64/);
  });

  it('names carry both families', async () => {
    for (const task of tasks.filter((t) => t.service === 'web')) expect(await inside(task, 'nslookup db')).toMatch(/10\.66\.0\.[^]*fd66::/);
  }, 60_000);

  it('a static address twice, outside, or of a service that may have two tasks is refused with its place', async () => {
    cluster.write('bad.yaml', BAD);
    const { code, stderr } = await cluster.tryCtl(['up', '-p', 'bad', '-f', 'bad.yaml']);
    expect(code).toBe(1);
    const lines = [
      /bad\.yaml:4:\d+: services\.twice.*10\.67\.0\.11 is already that of services\.once.* at .*bad\.yaml:3:\d+/,
      /bad\.yaml:5:\d+: .*10\.66\.0\.12 is not in 10\.67\.0\.0\/24/,
      /bad\.yaml:6:\d+: .*10\.67\.0\.13 can belong to one task only, and the service has 3 replicas/,
      /bad\.yaml:7:\d+: .*10\.67\.0\.14 can belong to one task only, and the service is global/,
      /bad\.yaml:8:\d+: .*10\.67\.0\.15 can belong to one task only, and with the update order start-first/,
    ];
    for (const line of lines) expect(stderr).toMatch(line);
    expect((await cluster.json<{ name: string }[]>('ls')).map((s) => s.name)).not.toContain('bad');
  });

  it('more tasks of a service with a static address are refused also where a command asks for them, with the place', async () => {
    const { code, stderr } = await cluster.tryCtl(['up', '-p', 'six', '-f', 'six.yaml', '--scale', 'db=2', '--dry-run']);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/six\.yaml:12:\d+: .*10\.66\.0\.77[^]*2 replicas/)]);
  });

  it('a static address that a task of another stack has is refused with its place and the holder, before anything is changed', async () => {
    const [holder] = tasks.filter((t) => t.service === 'web');
    const address = holder?.addresses['front'] ?? '';
    cluster.write(
      'late.yaml',
      `name: late
services:
  db:
    image: weft-demo
    networks:
      front: { ipv4_address: ${address} }
networks:
  front: { external: true, name: six_front }
`,
    );
    for (const more of [['--dry-run'], []]) {
      const { code, stderr, stdout } = await cluster.tryCtl(['up', '-f', 'late.yaml', ...more]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain(`late.yaml:6:30: service db cannot have ${address}`);
      expect(stderr).toContain(`task ${holder?.name ?? ''} (service six/web, node ${holder?.node ?? ''}) holds it on network six_front`);
      expect(stderr).toMatch(/hint: .*free.*ip_range/);
    }
    expect((await cluster.json<{ name: string }[]>('ls')).map((s) => s.name)).not.toContain('late');
  });
});

describe('a network of its own', () => {
  const guest = (name: string) => `
services:
  ${name}:
    ${SERVER}
    networks: [shared]
networks:
  shared: { external: true }
`;

  it('is asked for with a place when it is missing', async () => {
    cluster.write('a.yaml', guest('left'));
    cluster.write('b.yaml', guest('right'));
    const { code, stderr } = await cluster.tryCtl(['up', '-p', 'a', '-f', 'a.yaml']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/no network shared[^]*ctl network create shared/);
  });

  it('is made with options, and used by two stacks', async () => {
    await cluster.ctl('network', 'create', '--subnet', '10.68.0.0/28', '--ipv6', '-o', 'mtu=1400', '--label', 'team=net', 'shared');
    await cluster.ctl('up', '-p', 'a', '-f', 'a.yaml');
    await cluster.ctl('up', '-p', 'b', '-f', 'b.yaml');
    const [left] = await cluster.tasks('a');
    expect(await inside(left, 'ip link show eth0')).toContain('mtu 1400');
  }, 120_000);
});

describe('a full network', () => {
  /** On a /29 with one node, which has the highest address: without the gateway .2 to .5 are left. */
  const on = (services: string): string => `
x-tight: &tight
  image: weft-demo
  deploy: &place { endpoint_mode: dnsrr, placement: { constraints: [node.hostname == node1] } }
services:
${services}
networks:
  tight: { external: true }
`;
  const up = (stack: string, services: string): string[] => {
    cluster.write(`${stack}.yaml`, on(services));
    return ['up', '-p', stack, '-f', `${stack}.yaml`];
  };
  const addressesOf = async (stack: string) => (await cluster.tasks(stack)).map((t) => t.addresses['tight']).sort();
  const waits = async () => (await cluster.tryCtl(['ps', '-p', 'late'])).stderr;

  it('gives nobody what stacks declared as static, though they are stopped or were never started', async () => {
    await cluster.ctl('network', 'create', '--subnet', '10.69.0.0/29', 'tight');
    const still = `
  db: { <<: *tight, networks: { tight: { ipv4_address: 10.69.0.2 } } }
  spare: { <<: *tight, networks: { tight: { ipv4_address: 10.69.0.3 } }, deploy: { replicas: 0 } }`;
    await cluster.ctl(...up('still', still));
    await cluster.ctl('stop', '-p', 'still');
    await cluster.ctl(...up('crowd', '  one: { <<: *tight, networks: [tight] }'));
    expect(await addressesOf('crowd')).toEqual(['10.69.0.4']);
  }, 60_000);

  it('says who has its addresses to whom waits for one; one that was released rests; a second subnet lets the task go', async () => {
    const full = 'network tight (10.69.0.0/29) has no free address';
    const late = await cluster.tryCtl(up('late', '  two: { <<: *tight, networks: [tight], deploy: { <<: *place, replicas: 2 } }'));
    expect([late.code, late.stderr]).toEqual([
      1,
      expect.stringContaining(`${full}; 3 are held by tasks, 1 by nodes, 0 by services, 0 rest`),
    ]);
    expect(await addressesOf('late')).toEqual(['10.69.0.5']);
    await cluster.ctl('scale', '-p', 'crowd', 'one=0');
    await eventually(20_000, async () =>
      expect(await waits()).toContain(`${full}; 2 are held by tasks, 1 by nodes, 0 by services, 1 rest`),
    );
    await cluster.ctl('network', 'update', '--add-subnet', '10.69.1.0/29', 'tight');
    await eventually(20_000, async () => {
      expect(await addressesOf('late')).toEqual(['10.69.0.5', '10.69.1.2']);
      expect((await cluster.tasks('late')).map((t) => t.state)).toEqual(['running', 'running']);
    });
    const [first, second] = await cluster.tasks('late');
    expect(await inside(first, `wget -qO- http://${second?.addresses['tight']}/`)).toContain(`${second?.name} saw`);
  }, 90_000);
});

describe('ctl network fsck', () => {
  it('finds every address with one owner on a sound cluster, and says so', async () => {
    const { code, stderr } = await cluster.tryCtl(['network', 'fsck']);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/every address has one owner .*what 3 kernels hold/)]);
  }, 30_000);

  it('finds an address that somebody took in a task, which no record knows of', async () => {
    const [task] = await cluster.tasks('a');
    const check = async () => cluster.tryCtl(['network', 'fsck']);
    // The agent puts it right at once, so somebody insists.
    const again = 'while :; do ip addr add 10.68.0.14/28 dev eth0 2>/dev/null; sleep 0.05; done';
    const netns = `--net=/run/netns/${cluster.taskNetns(task?.id ?? '')}`;
    const somebody = spawn('nsenter', [netns, '--', 'sh', '-c', again], { stdio: 'ignore' });
    try {
      await eventually(30_000, async () => {
        const { code, stdout } = await check();
        expect([code, stdout]).toEqual([1, expect.stringMatching(/10\.68\.0\.14 .*in the kernel of node/)]);
      });
    } finally {
      somebody.kill('SIGKILL');
    }
    await eventually(30_000, async () => expect((await check()).code).toBe(0));
  }, 90_000);
});
