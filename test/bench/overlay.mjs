/**
 * One TCP stream between two tasks on two simulated hosts: through our overlay, and, in the same run, through two peers built
 * by hand on hosts of their own: a bridge, a VXLAN with static rows and a wire, without any rule; and the same with the one rule
 * that lets containers out (masquerade, and with it connection tracking). All have the same MTU, addresses and processors, and
 * take turns. Printed as ratios: absolute figures say more about the machine.
 *
 * Run it alone after `npm run compile`: node test/bench/overlay.mjs
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { LinuxKernel } from '../../dist/libs/linux/linux-kernel.js';
import { KernelReconciler } from '../../dist/libs/linux/reconciler.js';
import { run } from '../../dist/libs/linux/runner.js';
import { macOfIp } from '../../dist/libs/base/address.js';
import { taskNamespace } from '../../dist/libs/overlay/names.js';
import { nodeKernel } from '../../dist/libs/overlay/node-kernel.js';
import { median, printRows } from './lab.mjs';

/** A turn is short, so that many fit into a run: about a third of a second, in iperf3's own notation. */
const BYTES = '400M';
/** Turns go round, each time another first, so that a slow moment of the machine meets all; the median of the rounds' ratios counts. */
const ROUNDS = 21;
const OVERHEAD_BYTES = 50;
/** The sender on one processor and the receiver on another, where there are two: else the scheduler decides who wins. */
const AFFINITY = cpus().length > 1 ? ['-A', '0,1'] : [];
const prefix = `wtb${process.pid}`;
const id = (i) => `${process.pid.toString(16).padStart(8, '0')}beb${i}`;
const hosts = (name, taskOf) =>
  [1, 2].map((i) => ({
    i,
    id: `${i}`.repeat(8),
    ns: `${prefix}-${name}${i}`,
    address: `192.168.78.${i}`,
    task: taskOf(i),
    ip: `10.97.0.${i}0`,
    mac: macOfIp(`10.97.0.${i}0`),
  }));
const NODES = hosts('n', (i) => taskNamespace(id(i)));
const PLAIN = hosts('p', (i) => `${prefix}-pt${i}`);
const MASQUERADING = hosts('m', (i) => `${prefix}-mt${i}`);

const ip = (ns, lines) => run(['ip', '-n', ns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
const enter = (ns, argv, options = {}) => run(['nsenter', `--net=/run/netns/${ns}`, '--', ...argv], { timeoutMs: 60_000, ...options });

/** Two hosts on one wire. */
async function makeHosts(pair, mtu) {
  for (const n of pair) await run(['ip', 'netns', 'add', n.ns]);
  const [a, b] = pair;
  await ip(a.ns, [`link add eth0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${b.ns}`]);
  for (const n of pair) {
    await ip(n.ns, ['link set lo up', 'link set eth0 up', `addr add ${n.address}/24 dev eth0`]);
    await enter(n.ns, ['sysctl', '-qew', 'net.bridge.bridge-nf-call-iptables=0']);
  }
}

/** The view of a network with one task on each host, as the controller would send it. */
function view(node, mtu) {
  const networkId = 'abcdef01';
  const endpoints = NODES.flatMap((n) => [
    { networkId, ipv4: n.ip, mac: n.mac, nodeId: n.id, vtep: n.address, taskId: id(n.i) },
    { networkId, ipv4: `10.97.0.25${n.i}`, mac: macOfIp(`10.97.0.25${n.i}`), nodeId: n.id, vtep: n.address },
  ]);
  const own = endpoints.find((e) => e.taskId === id(node.i));
  const network = {
    id: networkId,
    name: 'bench',
    stack: 'bench',
    key: 'bench',
    driver: 'overlay',
    internal: false,
    subnet: '10.97.0.0/24',
  };
  return {
    tasks: [
      { id: id(node.i), nodeId: node.id, desired: 'run', ports: [], endpoints: [{ networkId, ipv4: own.ipv4, mac: own.mac, aliases: [] }] },
    ],
    networks: [{ ...network, gateway: '10.97.0.1', vni: 5097, mtu, nodeAddress: `10.97.0.25${node.i}` }],
    endpoints,
    names: [],
    vips: [{ networkId, service: 'web', ipv4: '10.97.0.200', backends: NODES.map((n) => n.ip) }],
    members: NODES.map((n) => ({ id: n.id, name: n.ns, address: n.address, kind: 'node' })),
    settings: { vxlanPort: 4789, guardedTcpPorts: [7702] },
  };
}

/** A peer: bridge, VXLAN and wire with `ip` alone, every row static. */
async function makeByHand(pair, mtu) {
  for (const [i, n] of pair.entries()) {
    const other = pair[1 - i];
    await run(['ip', 'netns', 'add', n.task]);
    await ip(n.ns, [
      `link add hbr mtu ${mtu} type bridge`,
      'link set hbr up',
      `link add hvx mtu ${mtu} type vxlan id 77 dstport 4789 local ${n.address} nolearning`,
      'link set hvx master hbr up',
      `link add hveth mtu ${mtu} type veth peer name eth0 address ${n.mac} mtu ${mtu} netns ${n.task}`,
      'link set hveth master hbr up',
    ]);
    const rows = [`fdb add ${other.mac} dev hvx dst ${other.address} self permanent`, `fdb add ${other.mac} dev hvx master static`];
    await enter(n.ns, ['bridge', '-batch', '-'], { input: `${rows.join('\n')}\n` });
    const neighbour = `neigh add ${other.ip} lladdr ${other.mac} dev eth0 nud permanent`;
    await ip(n.task, ['link set lo up', 'link set eth0 up', `addr add ${n.ip}/24 dev eth0`, neighbour]);
  }
}

async function masquerade(pair) {
  const text =
    'table ip egress {\n chain leave {\n  type nat hook postrouting priority 100\n  ip saddr 10.97.0.0/24 oifname "eth0" masquerade\n }\n}\n';
  for (const n of pair) await enter(n.ns, ['nft', '-f', '-'], { input: text });
}

async function makeOurs(reconcilers, mtu) {
  for (const [i, n] of NODES.entries()) {
    const { failed } = await reconcilers[i].set(nodeKernel(view(n, mtu), { nodeId: n.id, address: n.address }));
    if (failed.length > 0) throw new Error(failed.map((f) => f.error).join('; '));
  }
}

/** Gb/s of one TCP stream from the first host's task to the second's. */
async function stream([from, to]) {
  const server = spawn('nsenter', [`--net=/run/netns/${to.task}`, '--', 'iperf3', '-s', '-1', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(server, 'exit');
  await once(server.stdout, 'data');
  const { stdout } = await enter(from.task, ['iperf3', '-J', '-c', to.ip, '-n', BYTES, ...AFFINITY]);
  await ended;
  return JSON.parse(stdout).end.sum_received.bits_per_second / 1e9;
}

/** Medians in Gb/s, and the medians of our ratio to each peer of the same round. */
async function measure(mtu) {
  const inner = mtu - OVERHEAD_BYTES;
  const reconcilers = NODES.map((n) => new KernelReconciler({ kernel: new LinuxKernel({ enter: n.ns }) }));
  const pairs = [NODES, PLAIN, MASQUERADING];
  try {
    for (const pair of pairs) await makeHosts(pair, mtu);
    await makeByHand(PLAIN, inner);
    await makeByHand(MASQUERADING, inner);
    await masquerade(MASQUERADING);
    await makeOurs(reconcilers, inner);
    const figures = pairs.map(() => []);
    for (let round = 0; round < ROUNDS; round++) {
      for (let turn = 0; turn < pairs.length; turn++) {
        const p = (round + turn) % pairs.length;
        figures[p].push(await stream(pairs[p]));
      }
    }
    return figures.map((f) => ({ gbps: median(f), ratio: median(figures[0].map((ours, round) => ours / f[round])) }));
  } finally {
    for (const r of reconcilers) await r.removeAll().catch(() => undefined);
    const { stdout } = await run(['ip', 'netns', 'list']);
    const left = stdout.split('\n').flatMap((line) => (line.startsWith(prefix) ? [line.split(' ')[0]] : []));
    for (const ns of left) await run(['ip', 'netns', 'del', ns]);
  }
}

const NAMES = ['one TCP stream between nodes', '  hand-built VXLAN', '  hand-built VXLAN that masquerades'];

/** Rows { name, value, unit, ratio, note }: the ratio of a peer's row is ours to it. */
export async function benchOverlay() {
  const rows = [];
  for (const mtu of [1500, 9000]) {
    for (const [i, { gbps, ratio }] of (await measure(mtu)).entries()) {
      const name = `${NAMES[i]}, MTU ${mtu - OVERHEAD_BYTES}`;
      rows.push({ name, value: gbps, unit: 'Gb/s', ...(i === 0 ? {} : { ratio, note: 'ratio: weft to it' }) });
    }
  }
  return rows;
}

if (import.meta.url === new URL(process.argv[1] ?? '', 'file:').href)
  printRows('Throughput between tasks on two nodes', await benchOverlay());
