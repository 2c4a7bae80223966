/**
 * Three stock Debian hosts in a LAN, each made a node by the code that the agent has for it, with real packets from kernel to kernel:
 * overlay, encrypted by the kernel's WireGuard, ipvlan l2 and l3, macvlan on a VLAN, and SCTP.
 */
import { eventually, pause } from '../cluster/cluster.js';
import { ClusterModel, testId, type ModelNode, type ModelTask } from '../fixtures/netns-views.js';
import type { Machine, Said } from './machine.js';
import { boot, onAll } from './machines.js';

/** An emulated machine on a busy host is slow in everything. */
const SETTLE_MS = 120_000;
const CASE_MS = 900_000;
const BOOT_MS = 1_800_000;
const MARK = 'weft-payload-in-clear';
const SECRET_VNI = 4201;
const TCP = 6;
const SCTP = 132;

const node = (i: number): ModelNode => ({ id: `${i}`.repeat(8), name: `node${i}`, address: `10.77.0.${i}`, octet: 250 + i });
const nodes = [1, 2, 3].map(node) as [ModelNode, ModelNode, ModelNode];
const [n1, n2, n3] = nodes;
const cluster = new ClusterModel();
cluster.nodes = nodes;
cluster.networks = [
  { id: 'aaaaaaaa', key: 'open', base: '10.90.0', vni: 4200 },
  { id: 'bbbbbbbb', key: 'secret', base: '10.91.0', vni: SECRET_VNI, options: { encrypted: true } },
  { id: 'cccccccc', key: 'flat', base: '10.77.0', vni: 4202, driver: 'ipvlan', gateway: '10.77.0.254', options: { parent: 'eth0' } },
  { id: 'dddddddd', key: 'tagged', base: '10.50.0', vni: 4203, driver: 'macvlan', options: { parent: 'eth0.50' } },
  { id: 'eeeeeeee', key: 'routed', base: '10.79.0', vni: 4204, driver: 'ipvlan', options: { parent: 'eth1', ipvlanMode: 'l3' } },
];
const sctp = [{ target: 38412, published: 38412, protocol: 'sctp' as const }];
const tasks: Omit<ModelTask, 'id'>[] = [
  { name: 'a', node: n1, on: { open: 10, secret: 10 }, ports: sctp },
  { name: 'b', node: n2, on: { open: 11, secret: 11 }, ports: sctp },
  { name: 'c', node: n3, on: { open: 12 } },
  { name: 'flat1', node: n1, on: { flat: 130 } },
  { name: 'flat2', node: n2, on: { flat: 131 } },
  { name: 'tagged1', node: n1, on: { tagged: 10 } },
  { name: 'tagged2', node: n2, on: { tagged: 11 } },
  { name: 'routed1', node: n1, on: { routed: 10 } },
  { name: 'routed2', node: n1, on: { routed: 11 } },
];
cluster.tasks = tasks.map((t, i) => ({ id: testId(7000 + i), ...t }));
cluster.vips = [{ network: 'open', octet: 200, service: 'ab', tasks: ['a', 'b'] }];

let machines: Machine[] = [];
let stop = (): Promise<void> => Promise.resolve();

const machineOf = (n: ModelNode): Machine => machines[nodes.indexOf(n)] as Machine;
const task = (name: string): ModelTask => cluster.tasks.find((t) => t.name === name) as ModelTask;
const ns = (name: string): string => `weft-${task(name).id.slice(0, 12)}`;
/** Runs a program of the machine in the network of a task. */
const inTask = (name: string, ...argv: string[]): Promise<Said> =>
  machineOf(task(name).node).try(['nsenter', `--net=/run/netns/${ns(name)}`, '--', ...argv]);
const host = async (m: Machine, verb: string, input = ''): Promise<unknown> =>
  JSON.parse(await m.run(['node', '/opt/weft/bundles/host.mjs', verb], { input, timeoutMs: CASE_MS }));

async function apply(): Promise<void> {
  const failed = await onAll(machines, (m) => {
    const n = nodes[m.number - 1] as ModelNode;
    return host(m, 'set', JSON.stringify({ id: n.id, address: n.address, view: cluster.view(n) }));
  });
  expect(failed).toEqual([[], [], []]);
}

/** Sockets by number (2 AF_INET, 1 SOCK_STREAM; RFC 6458 §4 for SCTP): a server that tells who it is and who asked, and a client. */
const SERVER = `my ($proto, $port, $name, $ready) = @ARGV;
socket(S,2,1,$proto) or die $!; setsockopt(S,1,2,1) if $proto == 6; bind(S,pack('S n a4 x8',2,$port,"\\0" x 4)) or die $!; listen(S,9);
open(R,">$ready"); close R;
while ($p = accept(C,S)) { syswrite(C, "$name saw ".join('.',unpack('x4 C4',$p))."\\n"); close C }`;
const CLIENT = `my ($proto, $port, $to) = @ARGV; alarm 10; socket(S,2,1,$proto) or die $!;
connect(S,pack('S n C4 x8',2,$port,split(/\\./,$to))) or die $!; sysread(S,$_,99); print`;

async function serve(name: string, proto: number, port: number, says = name): Promise<void> {
  const ready = `/run/ready-${name}-${port}`;
  const m = machineOf(task(name).node);
  const argv = ['perl', '-e', SERVER, String(proto), String(port), says, ready];
  await m.run(['systemd-run', '-q', 'nsenter', `--net=/run/netns/${ns(name)}`, ...argv]);
  await eventually(SETTLE_MS, () => m.run(['test', '-e', ready]));
}
const client = (proto: number, port: number, to: string): string[] => ['perl', '-e', CLIENT, String(proto), String(port), to];
/** Asks until the answer is as expected. */
const answers = (ask: () => Promise<Said>, expected: RegExp | string): Promise<void> =>
  eventually(SETTLE_MS, async () => {
    const { stdout, stderr } = await ask();
    expect(stdout || stderr).toMatch(expected);
  });
const asks = (from: string, to: string, port = 80, proto = TCP) => inTask(from, ...client(proto, port, to));
const address = (name: string, network: string): string => cluster.addressOf(name, network);

/** What passes on a machine's eth0 while `act` runs, with its content in ASCII. */
async function onTheWire(m: Machine, filter: string, act: () => Promise<unknown>): Promise<string> {
  await m.run(['rm', '-f', '/tmp/wire.log']);
  const capture = `exec tcpdump -Z root -i eth0 -n -U -w /tmp/wire.pcap '${filter}' 2>/tmp/wire.log`;
  await m.run(['systemd-run', '-q', '--collect', '--unit=wire', 'sh', '-c', capture]);
  await eventually(SETTLE_MS, async () => expect(await m.run(['cat', '/tmp/wire.log'])).toContain('listening on'));
  await act();
  await pause(2000);
  await m.run(['systemctl', 'kill', '-s', 'INT', 'wire']);
  await eventually(SETTLE_MS, async () => expect((await m.try(['systemctl', 'is-active', 'wire'])).stdout).not.toMatch(/^active/));
  return m.run(['tcpdump', '-n', '-e', '-A', '-r', '/tmp/wire.pcap']);
}

beforeAll(async () => {
  ({ machines, stop } = await boot(3));
  const keys = await onAll(machines, (m) => host(m, 'keys'));
  nodes.forEach((n, i) => (n.wireguard = keys[i] as NonNullable<ModelNode['wireguard']>));
  await apply();
  for (const { name } of tasks) await serve(name, TCP, 80, name === 'b' ? `${MARK} b` : name);
}, BOOT_MS);
afterAll(() => stop(), 60_000);

it(
  'a stock kernel has all that nodes tell of',
  async () => {
    expect(await host(machineOf(n3), 'features')).toEqual({ made: ['macvlan', 'ipvlan', 'vlan'], sctp: true, wireguard: 'kernel' });
  },
  CASE_MS,
);

it(
  'an overlay joins three hosts, and shows on the wire what is said',
  async () => {
    await answers(() => asks('c', address('a', 'open')), `a saw ${address('c', 'open')}`);
    await answers(() => asks('a', address('c', 'open')), `c saw ${address('a', 'open')}`);
    const wire = await onTheWire(machineOf(n2), 'udp', () =>
      answers(() => asks('c', address('b', 'open')), `b saw ${address('c', 'open')}`),
    );
    expect(wire).toContain(MARK);
  },
  CASE_MS,
);

it(
  'an encrypted network is carried by the WireGuard of the kernel, and shows nothing on the wire',
  async () => {
    const [from, to] = [address('a', 'secret'), address('b', 'secret')];
    const wire = await onTheWire(machineOf(n2), 'udp or tcp', () => answers(() => asks('a', to), `${MARK} b saw ${from}`));
    expect(wire).toMatch(/\.7706 > .*\.7706: UDP/);
    expect(wire).not.toContain(MARK);
    expect(wire).not.toMatch(/10\.91\.0\./);
    expect(wire).not.toContain(`vni ${SECRET_VNI}`);
    expect(await machineOf(n1).run(['ip', '-o', 'link', 'show', 'type', 'wireguard'])).toMatch(/wfw[0-9a-f]{10}/);
  },
  CASE_MS,
);

it(
  'ipvlan l2 joins tasks of two hosts and the LAN, with the MAC of the host',
  async () => {
    const [one, two] = [address('flat1', 'flat'), address('flat2', 'flat')];
    await answers(() => asks('flat1', two), `flat2 saw ${one}`);
    await answers(() => asks('flat2', one), `flat1 saw ${two}`);
    await answers(() => machineOf(n3).try(client(TCP, 80, one)), `flat1 saw ${n3.address}`);
    expect(await machineOf(n3).run(['ip', 'neigh', 'show', one])).toContain('02:76:6d:00:00:01');
  },
  CASE_MS,
);

it(
  'ipvlan l3 joins tasks of a host without ARP, and the LAN by a route of the site',
  async () => {
    const [one, two] = [address('routed1', 'routed'), address('routed2', 'routed')];
    await answers(() => asks('routed1', two), `routed2 saw ${one}`);
    await machineOf(n2).run(['ip', 'route', 'add', '10.79.0.0/24', 'via', '10.78.0.1', 'dev', 'eth1']);
    await answers(() => machineOf(n2).try(client(TCP, 80, one)), 'routed1 saw 10.78.0.2');
    expect((await inTask('routed1', 'ip', 'neigh')).stdout).not.toContain(two);
  },
  CASE_MS,
);

it(
  'macvlan on a VLAN made for it joins tasks of two hosts by tagged frames, and a machine of the VLAN',
  async () => {
    const [one, two] = [address('tagged1', 'tagged'), address('tagged2', 'tagged')];
    const wire = await onTheWire(machineOf(n2), 'vlan 50', () => answers(() => asks('tagged1', two), `tagged2 saw ${one}`));
    expect(wire).toMatch(/802\.1Q.*vlan 50/);
    const lines = ['link add link eth0 name v50 type vlan id 50', 'addr add 10.50.0.200/24 dev v50', 'link set v50 up'];
    await machineOf(n3).run(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
    await answers(() => machineOf(n3).try(client(TCP, 80, two)), 'tagged2 saw 10.50.0.200');
  },
  CASE_MS,
);

it(
  'SCTP goes over an overlay, by the address of a service, and by a published port of every host with the client’s own address',
  async () => {
    for (const name of ['a', 'b']) await serve(name, SCTP, 38_412);
    await answers(() => asks('c', address('a', 'open'), 38_412, SCTP), `a saw ${address('c', 'open')}`);
    await answers(() => asks('c', '10.90.0.200', 38_412, SCTP), /^[ab] saw 10\.90\.0\.12/);
    for (const n of nodes) await answers(() => machineOf(n3).try(client(SCTP, 38_412, n.address)), /^[ab] saw 10\./);
    // Of the LAN, but of no node: its own address is seen.
    await machineOf(n3).run(['sh', '-c', 'ip netns add out && ip link add link eth0 name out0 netns out type macvlan mode bridge']);
    await machineOf(n3).run(['sh', '-c', 'ip -n out addr add 10.77.0.99/24 dev out0 && ip -n out link set out0 up']);
    const outside = (to: string) => machineOf(n3).try(['ip', 'netns', 'exec', 'out', ...client(SCTP, 38_412, to)]);
    for (const n of [n1, n2]) await answers(() => outside(n.address), /^[ab] saw 10\.77\.0\.99/);
  },
  CASE_MS,
);

it(
  'leaves nothing behind',
  async () => {
    cluster.tasks = [];
    cluster.vips = [];
    await apply();
    for (const m of machines) expect((await m.run(['ip', '-o', 'link'])).match(/wf[bxvsl][0-9a-f]+/g)).toBeNull();
  },
  CASE_MS,
);
