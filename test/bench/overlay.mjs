/**
 * One TCP stream between two tasks on two simulated hosts: through our overlay, and, in the same run, through a VXLAN built
 * by hand on two hosts of its own, without any rule. Printed as a ratio: absolute figures say more about the machine.
 *
 * Run it alone after `npm run compile`: node test/bench/overlay.mjs
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { LinuxKernel } from '../../dist/libs/linux/linux-kernel.js';
import { KernelReconciler } from '../../dist/libs/linux/reconciler.js';
import { run } from '../../dist/libs/linux/runner.js';
import { macOfIp } from '../../dist/libs/base/address.js';
import { taskNamespace } from '../../dist/libs/overlay/names.js';
import { nodeKernel } from '../../dist/libs/overlay/node-kernel.js';

const SECONDS = 1.5;
/** Rounds alternate between the two, so that a slow moment of the machine meets both; the median of their ratios counts. */
const ROUNDS = 7;
const OVERHEAD_BYTES = 50;
const prefix = `wtb${process.pid}`;
const hosts = (name) => [1, 2].map((i) => ({ i, id: `${i}`.repeat(8), ns: `${prefix}-${name}${i}`, address: `192.168.78.${i}` }));
const NODES = hosts('n');
const PLAIN = hosts('p');
const id = (i) => `${process.pid.toString(16).padStart(8, '0')}beb${i}`;

const ip = (ns, lines) => run(['ip', '-n', ns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
const enter = (ns, ...argv) => run(['nsenter', `--net=/run/netns/${ns}`, '--', ...argv], { timeoutMs: 60_000 });

/** Two hosts on one wire. */
async function makeHosts(pair, mtu) {
  for (const n of pair) await run(['ip', 'netns', 'add', n.ns]);
  const [a, b] = pair;
  await ip(a.ns, [`link add eth0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${b.ns}`]);
  for (const n of pair) {
    await ip(n.ns, ['link set lo up', 'link set eth0 up', `addr add ${n.address}/24 dev eth0`]);
    await enter(n.ns, 'sysctl', '-qew', 'net.bridge.bridge-nf-call-iptables=0');
  }
}

/** The view of a network with one task on each host, as the controller would send it. */
function view(node, mtu) {
  const networkId = 'abcdef01';
  const endpoints = NODES.flatMap((n) => [
    { networkId, ipv4: `10.97.0.${n.i}0`, mac: macOfIp(`10.97.0.${n.i}0`), nodeId: n.id, vtep: n.address, taskId: id(n.i) },
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
    vips: [],
    members: NODES.map((n) => ({ id: n.id, name: n.ns, address: n.address, kind: 'node' })),
    settings: { vxlanPort: 4789, guardedTcpPorts: [7702] },
  };
}

/** The peer: bridge, VXLAN and veth with `ip` alone, no rules at all. */
async function makeByHand(mtu) {
  for (const [i, n] of PLAIN.entries()) {
    const other = PLAIN[1 - i];
    const task = `${prefix}-h${n.i}`;
    await run(['ip', 'netns', 'add', task]);
    await ip(n.ns, [
      `link add hbr mtu ${mtu} type bridge`,
      'link set hbr up',
      `link add hvx mtu ${mtu} type vxlan id 77 dstport 4789 local ${n.address} remote ${other.address}`,
      'link set hvx master hbr up',
      `link add hveth mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${task}`,
      'link set hveth master hbr up',
    ]);
    await ip(task, ['link set lo up', 'link set eth0 up', `addr add 10.98.0.${n.i}0/24 dev eth0`]);
  }
}

/** Gb/s of one TCP stream from one namespace to a server in another. */
async function stream(from, to, address) {
  const server = spawn('nsenter', [`--net=/run/netns/${to}`, '--', 'iperf3', '-s', '-1', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(server, 'exit');
  await once(server.stdout, 'data');
  const { stdout } = await enter(from, 'iperf3', '-J', '-c', address, '-t', String(SECONDS));
  await ended;
  return JSON.parse(stdout).end.sum_received.bits_per_second / 1e9;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

async function measure(mtu) {
  const inner = mtu - OVERHEAD_BYTES;
  const reconcilers = NODES.map((n) => new KernelReconciler({ kernel: new LinuxKernel({ enter: n.ns }) }));
  try {
    await makeHosts(NODES, mtu);
    await makeHosts(PLAIN, mtu);
    await makeByHand(inner);
    for (const [i, n] of NODES.entries()) {
      const { failed } = await reconcilers[i].set(nodeKernel(view(n, inner), { nodeId: n.id, address: n.address }));
      if (failed.length > 0) throw new Error(failed.map((f) => f.error).join('; '));
    }
    const ours = [];
    const hand = [];
    for (let round = 0; round < ROUNDS; round++) {
      hand.push(await stream(`${prefix}-h1`, `${prefix}-h2`, '10.98.0.20'));
      ours.push(await stream(taskNamespace(id(1)), taskNamespace(id(2)), '10.97.0.20'));
    }
    return { ours: median(ours), hand: median(hand), ratio: median(ours.map((o, i) => o / hand[i])) };
  } finally {
    for (const r of reconcilers) await r.removeAll().catch(() => undefined);
    const { stdout } = await run(['ip', 'netns', 'list']);
    const left = stdout.split('\n').flatMap((line) => (line.startsWith(prefix) ? [line.split(' ')[0]] : []));
    for (const ns of left) await run(['ip', 'netns', 'del', ns]);
  }
}

/** Rows { name, value, unit, ratio }: ratio is ours to the hand-built VXLAN of the same run. */
export async function benchOverlay() {
  const rows = [];
  for (const mtu of [1500, 9000]) {
    const { ours, hand, ratio } = await measure(mtu);
    const round = (n) => Math.round(n * 100) / 100;
    rows.push({
      name: `one TCP stream between nodes, MTU ${mtu - OVERHEAD_BYTES}`,
      value: round(ours),
      unit: 'Gb/s',
      ratio: Math.round(ratio * 1000) / 1000,
    });
    rows.push({ name: `  hand-built VXLAN, MTU ${mtu - OVERHEAD_BYTES}`, value: round(hand), unit: 'Gb/s', ratio: 1 });
  }
  return rows;
}

if (import.meta.url === new URL(process.argv[1] ?? '', 'file:').href) console.table(await benchOverlay());
