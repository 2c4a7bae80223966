/** Names and balancing as containers see them: VIPs, round-robin, affinity, draining, SRV, resolvers, files. */
import { spawn, type ChildProcess } from 'node:child_process';
import { startDnsResponder } from '../fixtures/dns-responder.js';
import { eventually, pause, TestCluster, type TaskLine } from './cluster.js';

/** A name server of the test's, which knows one name. */
let resolver = '';

const SHOP = (replicas: number): string => `
name: disc
services:
  web:
    image: weft-demo
    networks: [front]
    expose: [80, "53/udp"]
    deploy: { replicas: ${replicas}, labels: { weft.drain: 700ms } }
  flat:
    image: weft-demo
    networks: [front]
    expose: [80]
    deploy: { replicas: 2, endpoint_mode: dnsrr, labels: { weft.dns-ttl: 30s } }
  sticky:
    image: weft-demo
    networks: [front]
    deploy: { replicas: 3, labels: { weft.affinity: client } }
  client:
    image: weft-demo
    networks: [front]
    domainname: corp.example
    dns: ["${resolver}"]
    dns_search: [corp.example]
    dns_opt: [timeout:1, attempts:2]
    extra_hosts: ["old:192.0.2.7", "node:host-gateway"]
    deploy: { replicas: 2 }
  vault:
    image: weft-demo
    networks: [dark]
networks:
  front: {}
  dark: { internal: true }
`;

/** One connection a request, as fast as they are answered; prints what came of each. */
const LOAD = `
const [host] = process.argv.slice(1);
const http = require('node:http');
let on = true;
process.on('SIGTERM', () => (on = false));
const once = () => new Promise((done) => {
  const began = new Date();
  let phase = 'connecting';
  const request = http.get({ host, path: '/cgi-bin/index.cgi', agent: false, timeout: 5000 }, (answer) => {
    let text = '';
    phase = 'reading';
    answer.on('data', (part) => (text += part));
    answer.on('end', () => done(answer.statusCode === 200 ? text.split(' ')[0] : 'status ' + answer.statusCode));
  });
  request.on('timeout', () => request.destroy(new Error('timeout')));
  request.on('socket', (socket) => socket.on('connect', () => (phase = 'waiting for an answer, port ' + socket.localPort)));
  request.on('error', (error) => done('error ' + error.message + ' while ' + phase + ', begun at ' + began.toISOString()));
});
(async () => { while (on) { console.log(await once()); await new Promise((r) => setTimeout(r, 5)); } })();
`;

class Load {
  readonly #child: ChildProcess;
  readonly #out: Buffer[] = [];

  constructor(netns: string, host: string) {
    this.#child = spawn('nsenter', [`--net=/run/netns/${netns}`, '--', process.execPath, '-e', LOAD, host], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child.stdout?.on('data', (b: Buffer) => this.#out.push(b));
  }

  get lines(): string[] {
    return Buffer.concat(this.#out).toString().trim().split('\n').filter(Boolean);
  }

  async stop(): Promise<string[]> {
    const ended = new Promise<void>((resolve) => this.#child.once('close', () => resolve()));
    this.#child.kill('SIGTERM');
    await ended;
    return this.lines;
  }
}

describe('discovery', () => {
  const cluster = new TestCluster('ds');
  let tasks: TaskLine[] = [];
  const of = (service: string): TaskLine[] => tasks.filter((t) => t.service === service);
  const addressesOf = (service: string, network = 'front'): string[] =>
    of(service)
      .map((t) => t.addresses[network] ?? '')
      .sort();
  const inside = async (service: string, script: string, index = 1): Promise<string> =>
    (await cluster.tryCtl(['exec', '-T', '-p', 'disc', '--index', String(index), service, 'sh', '-c', script])).stdout;
  const dig = (task: TaskLine | undefined, ...args: string[]): string =>
    cluster.inTask(task?.id ?? '', 'dig', '+tries=1', '+time=3', '@127.0.0.11', ...args).stdout;
  /** Addresses that a task's resolver gives for a name. */
  const asked = (service: string, name: string): string[] => dig(of(service)[0], '+short', name).trim().split('\n').filter(Boolean).sort();

  let responder: ChildProcess | undefined;

  beforeAll(async () => {
    await cluster.up(2);
    resolver = (await cluster.json<{ address: string }[]>('node', 'ls'))[0]?.address ?? '';
    responder = await startDnsResponder(cluster.netns('node1'), resolver, { 'myself.corp.example': '127.0.0.1' });
    cluster.write('disc.yaml', SHOP(3));
    await cluster.ctl('up', '-f', 'disc.yaml');
    tasks = await cluster.tasks('disc');
  }, 240_000);
  afterAll(async () => {
    responder?.kill();
    await cluster.down();
  }, 120_000);

  it('a service is one virtual address, or all its tasks with endpoint_mode dnsrr; tasks.<service> is all tasks', async () => {
    const [vip] = asked('client', 'web');
    expect(addressesOf('web')).not.toContain(vip);
    expect(asked('client', 'web.disc')).toEqual([vip]);
    expect(asked('client', 'tasks.web')).toEqual(addressesOf('web'));
    expect(asked('client', 'flat')).toEqual(addressesOf('flat'));
    expect(dig(of('client')[0], '+noall', '+answer', 'flat')).toMatch(/^flat\.\s+30\s+IN\s+A\s/m);
  }, 60_000);

  it('a virtual address is every task for a client, and the same one for each client with affinity', async () => {
    const saw = async (service: string, times: number, index: number) =>
      new Set((await inside('client', `for i in $(seq ${times}); do wget -qO- http://${service}/; done`, index)).match(/^\S+/gm));
    expect([...(await saw('web', 40, 1))].sort()).toEqual(['disc-web-1', 'disc-web-2', 'disc-web-3']);
    for (const index of [1, 2]) expect((await saw('sticky', 12, index)).size).toBe(1);
  }, 60_000);

  it('services are found by SRV records, with the addresses of their targets', () => {
    const [client] = of('client');
    expect(dig(client, '+short', 'SRV', '_80._tcp.web')).toBe('0 0 80 web.\n');
    expect(dig(client, '+short', 'SRV', '_53._udp.web')).toBe('0 0 53 web.\n');
    const flat = dig(client, 'SRV', '_flat._tcp');
    for (const n of [1, 2]) expect(flat).toMatch(new RegExp(`SRV\\s+0 1 80 disc-flat-${n}\\.`));
    for (const address of addressesOf('flat')) expect(flat).toContain(address);
  });

  it('what a service says of resolver, domain and hosts stands in its files', async () => {
    expect(await inside('client', 'cat /etc/resolv.conf')).toBe(
      'nameserver 127.0.0.11\nsearch corp.example\noptions timeout:1 attempts:2 ndots:0\n',
    );
    const hosts = await inside('client', 'cat /etc/hosts');
    expect(hosts).toContain('192.0.2.7\told\n');
    expect(hosts).toMatch(/\tdisc-client-1\.corp\.example disc-client-1\n/);
    expect(hosts).toMatch(/^10\.\d+\.\d+\.1\tnode$/m);
    expect(await inside('client', 'cat /proc/sys/kernel/domainname')).toBe('corp.example\n');
    const gateway = /^(\S+)\tnode$/m.exec(hosts)?.[1] ?? '';
    expect(cluster.inTask(of('client')[0]?.id ?? '', 'ping', '-nq', '-c', '1', '-W', '2', gateway).code).toBe(0);
  }, 30_000);

  it("a task's own name servers are asked, and its search domains make a short name one that they know", async () => {
    for (const index of [1, 2]) {
      expect(dig(of('client')[index - 1], '+short', 'myself.corp.example')).toBe('127.0.0.1\n');
      expect(await inside('client', 'wget -qO- http://myself/', index)).toMatch(new RegExp(`^disc-client-${index} saw `));
    }
    expect(asked('client', 'myself')).toEqual([]);
  }, 30_000);

  it('a task on internal networks only gets SERVFAIL for names from outside, and nothing of other networks', () => {
    const [vault] = of('vault');
    expect(dig(vault, 'example.com')).toContain('status: SERVFAIL');
    expect(dig(vault, 'web')).toContain('status: NXDOMAIN');
    expect(dig(vault, '+short', 'vault')).toMatch(/^10\.\S+\n$/);
    expect(dig(vault, 'ANY', 'vault')).toContain('RFC8482');
  });

  it('no request is lost while a replica is stopped, and what it serves goes on through the drain', async () => {
    const [vip = ''] = asked('client', 'web');
    const loads = of('client').map((t) => new Load(cluster.taskNetns(t.id), vip));
    await eventually(20_000, () => loads.forEach((load) => expect(load.lines.length).toBeGreaterThan(20)));
    cluster.write('disc.yaml', SHOP(1));
    const began = Date.now();
    await cluster.ctl('up', '-f', 'disc.yaml');
    await pause(1_000);
    const lines = await Promise.all(loads.map((load) => load.stop()));
    const lost = lines.flat().filter((line) => !/^disc-web-\d$/.test(line));
    expect({ lost, because: lost.length > 0 && cluster.warnings(began) }).toEqual({ lost: [], because: false });
    expect(new Set(lines.flat().slice(-5))).toEqual(new Set(['disc-web-1']));
    expect(new Set(lines.flat()).size).toBeGreaterThan(1);
    tasks = await cluster.tasks('disc');
  }, 120_000);

  it('refuses, rather than to be silent, while nothing is behind a virtual address', async () => {
    const [vip = ''] = asked('client', 'web');
    process.kill(cluster.pidOf(of('web')[0]?.id ?? ''), 'SIGKILL');
    const began = Date.now();
    const tried = cluster.inTask(of('client')[0]?.id ?? '', 'timeout', '5', 'busybox', 'nc', vip, '80');
    expect(tried.code).not.toBe(124);
    expect(Date.now() - began).toBeLessThan(4_000);
    await eventually(30_000, async () => expect(await inside('client', 'wget -qO- http://web/')).toMatch(/^disc-web-1 saw /));
  }, 60_000);

  it('the endpoint mode changes under running tasks', async () => {
    const before = of('flat').map((t) => t.id);
    cluster.write('disc.yaml', SHOP(1).replace('endpoint_mode: dnsrr', 'endpoint_mode: vip'));
    await cluster.ctl('up', '-f', 'disc.yaml');
    await eventually(20_000, async () => {
      const found = asked('client', 'flat');
      expect(found).toHaveLength(1);
      expect(addressesOf('flat')).not.toContain(found[0]);
    });
    expect((await cluster.tasks('disc')).filter((t) => t.service === 'flat').map((t) => t.id)).toEqual(before);
    expect(await inside('client', 'wget -qO- http://flat/')).toMatch(/^disc-flat-\d saw /);
  }, 60_000);
});
