/**
 * One TCP stream between two tasks on two simulated hosts: through our overlay, and, in the same run, through two peers built
 * by hand on hosts of their own: a bridge, a VXLAN with static rows and a wire, without any rule; and the same with the one rule
 * that lets containers out (masquerade, and with it connection tracking). All have the same MTU, addresses and processors, and
 * take turns. Printed as ratios: absolute figures say more about the machine.
 *
 * Run it alone after `npm run compile`: node test/bench/overlay.mjs
 */
import { LinuxKernel } from '../../dist/libs/linux/linux-kernel.js';
import { KernelReconciler } from '../../dist/libs/linux/reconciler.js';
import { run } from '../../dist/libs/linux/runner.js';
import { macOfIp } from '../../dist/libs/base/address.js';
import { taskNamespace } from '../../dist/libs/overlay/names.js';
import { nodeKernel } from '../../dist/libs/overlay/node-kernel.js';
import { enter, inTurns, ip, makeHosts, removeHosts, stream } from './hosts.mjs';
import { median, printRows } from './lab.mjs';

/** The median of the rounds' ratios counts. */
const ROUNDS = 21;
const OVERHEAD_BYTES = 50;
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
      {
        id: id(node.i),
        nodeId: node.id,
        desired: 'run',
        container: {},
        ports: [],
        endpoints: [{ networkId, ipv4: own.ipv4, mac: own.mac, aliases: [] }],
      },
    ],
    networks: [{ ...network, gateway: '10.97.0.1', vni: 5097, mtu, nodeAddress: `10.97.0.25${node.i}` }],
    endpoints,
    names: [],
    vips: [{ networkId, service: 'web', ipv4: '10.97.0.200', backends: NODES.map((n) => n.ip) }],
    publications: [],
    members: NODES.map((n) => ({ id: n.id, name: n.ns, address: n.address, kind: 'node', index: n.i })),
    settings: { vxlanPort: 4789, wireguardPort: 51820, guardedTcpPorts: [7702] },
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
    const figures = await inTurns(
      pairs.map(
        ([from, to]) =>
          () =>
            stream(from.task, to.task, to.ip),
      ),
      ROUNDS,
    );
    return figures.map((f) => ({ gbps: median(f), ratio: median(figures[0].map((ours, round) => ours / f[round])) }));
  } finally {
    for (const r of reconcilers) await r.removeAll().catch(() => undefined);
    await removeHosts(prefix);
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
