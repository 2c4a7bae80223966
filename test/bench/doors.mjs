/**
 * What a way costs beside the straight one, for one TCP stream: a virtual address beside the task's own, and the routing mesh (a
 * node that passes the connection on) beside the task's own node. All in one run, in turns; ratios count.
 */
import { KernelReconciler } from '../../dist/libs/linux/reconciler.js';
import { LinuxKernel } from '../../dist/libs/linux/linux-kernel.js';
import { macOfIp, macOfNode } from '../../dist/libs/base/address.js';
import { taskNamespace } from '../../dist/libs/overlay/names.js';
import { nodeKernel } from '../../dist/libs/overlay/node-kernel.js';
import { inTurns, makeHostsOnSwitch, removeHosts, stream } from './hosts.mjs';
import { median } from './lab.mjs';

const ROUNDS = 15;
const MTU = 1500;
const OVERHEAD_BYTES = 50;
const PORT = 5201;
const prefix = `wtd${process.pid}`;
const networkId = 'abcdef02';
const VIP = '10.98.0.200';

const NODES = [1, 2].map((index) => ({
  index,
  id: `${index}`.repeat(8),
  ns: `${prefix}-n${index}`,
  address: `192.168.79.${index}`,
  taskId: `${process.pid.toString(16).padStart(8, '0')}d00${index}`,
  ip: `10.98.0.${index}0`,
}));
const OUTSIDE = { ns: `${prefix}-out`, address: '192.168.79.100' };

function view(node) {
  const [, server] = NODES;
  const mark = (n) => (n === server ? { published: true } : {});
  const endpoints = NODES.flatMap((n) => [
    { networkId, ipv4: n.ip, mac: macOfIp(n.ip), nodeId: n.id, vtep: n.address, taskId: n.taskId, ...mark(n) },
    { networkId, ipv4: `10.98.0.25${n.index}`, mac: macOfNode(n.index), nodeId: n.id, vtep: n.address },
  ]);
  const own = { networkId, ipv4: node.ip, mac: macOfIp(node.ip), aliases: [] };
  return {
    tasks: [{ id: node.taskId, nodeId: node.id, desired: 'run', container: {}, ports: [], endpoints: [own] }],
    networks: [
      {
        id: networkId,
        name: 'bench',
        stack: 'bench',
        key: 'bench',
        driver: 'overlay',
        internal: false,
        subnet: '10.98.0.0/24',
        gateway: '10.98.0.1',
        vni: 5098,
        mtu: MTU - OVERHEAD_BYTES,
        nodeAddress: `10.98.0.25${node.index}`,
      },
    ],
    endpoints,
    names: [],
    vips: [{ networkId, service: 'web', ipv4: VIP, backends: [server.ip] }],
    publications: [
      {
        stack: 'bench',
        service: 'web',
        protocol: 'tcp',
        published: PORT,
        target: PORT,
        backends: [{ taskId: server.taskId, nodeId: server.id, networkId, ipv4: server.ip }],
      },
    ],
    members: NODES.map((n) => ({ id: n.id, name: n.ns, address: n.address, kind: 'node', index: n.index })),
    settings: { vxlanPort: 4789, wireguardPort: 51820, guardedTcpPorts: [7702] },
  };
}

/** Rows { name, value, unit, ratio, note }. */
export async function benchDoors() {
  const reconcilers = NODES.map((n) => new KernelReconciler({ kernel: new LinuxKernel({ enter: n.ns }) }));
  try {
    await makeHostsOnSwitch([...NODES, OUTSIDE], `${prefix}-lan`, MTU);
    for (const [i, n] of NODES.entries()) {
      const { failed } = await reconcilers[i].set(nodeKernel(view(n), { nodeId: n.id, address: n.address }));
      if (failed.length > 0) throw new Error(failed.map((f) => f.error).join('; '));
    }
    const [client, server] = NODES;
    const [from, to] = [taskNamespace(client.taskId), taskNamespace(server.taskId)];
    const [straight, vip, own, mesh] = await inTurns(
      [
        () => stream(from, to, server.ip),
        () => stream(from, to, VIP),
        () => stream(OUTSIDE.ns, to, server.address),
        () => stream(OUTSIDE.ns, to, client.address),
      ],
      ROUNDS,
    );
    const ratio = (a, b) => median(a.map((figure, round) => figure / b[round]));
    return [
      { name: 'task to task on another node', value: median(straight), unit: 'Gb/s' },
      { name: '  by its virtual address', value: median(vip), unit: 'Gb/s', ratio: ratio(vip, straight), note: 'aim 0.9' },
      { name: 'from outside, by the task’s own node', value: median(own), unit: 'Gb/s' },
      { name: '  by another node', value: median(mesh), unit: 'Gb/s', ratio: ratio(mesh, own), note: 'aim 0.9' },
      { name: '  by another node, to task to task', value: median(mesh), unit: 'Gb/s', ratio: ratio(mesh, straight) },
    ];
  } finally {
    for (const r of reconcilers) await r.removeAll().catch(() => undefined);
    await removeHosts(prefix);
  }
}
