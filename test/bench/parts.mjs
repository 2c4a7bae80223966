/**
 * What each part of the data plane costs one TCP stream: the same stream through pairs of hosts that differ in one part, in turns and in
 * one run. Ratios are of the stream with that part taken away to the whole: 1.03 says that it costs three hundredths. Where a part is
 * taken away a guard is, too: this is to know what is paid for, not how to run.
 */
import { KernelReconciler } from '../../dist/libs/linux/reconciler.js';
import { LinuxKernel } from '../../dist/libs/linux/linux-kernel.js';
import { run } from '../../dist/libs/linux/runner.js';
import { macOfIp, macOfNode } from '../../dist/libs/base/address.js';
import { taskNamespace } from '../../dist/libs/overlay/names.js';
import { nodeKernel } from '../../dist/libs/overlay/node-kernel.js';
import { enter, inTurns, ip, makeHosts, makeHostsOnSwitch, removeHosts, stream } from './hosts.mjs';
import { median } from './lab.mjs';

const ROUNDS = 11;
const MTU = 1500;
const INNER_MTU = MTU - 50;
const PORT = 5201;
const VNI = 5096;
const SUBNET = '10.96.0.0/24';
const GATEWAY = '10.96.0.1';
const prefix = `wtp${process.pid}`;
const networkId = 'abcdef04';
const taskId = (pair, i) => `${process.pid.toString(16).padStart(8, '0')}${pair.toString(16).padStart(3, '0')}${i}`;
let pairs = 0;

/** Two hosts, called after what they are for. */
function pairOf(name) {
  const number = pairs++;
  return [1, 2].map((index) => ({
    index,
    id: `${index}`.repeat(8),
    ns: `${prefix}-${name}${index}`,
    address: `192.168.76.${index}`,
    taskId: taskId(number, index),
    task: taskNamespace(taskId(number, index)),
    ip: `10.96.0.${index}0`,
    mac: macOfIp(`10.96.0.${index}0`),
  }));
}

/** @param published whether the second host's task is behind a published port */
function view(pair, node, published = false) {
  const [, server] = pair;
  const mark = (n) => (published && n === server ? { published: true } : {});
  const endpoints = pair.flatMap((n) => [
    { networkId, ipv4: n.ip, mac: n.mac, nodeId: n.id, vtep: n.address, taskId: n.taskId, ...mark(n) },
    { networkId, ipv4: `10.96.0.25${n.index}`, mac: macOfNode(n.index), nodeId: n.id, vtep: n.address },
  ]);
  const own = { networkId, ipv4: node.ip, mac: node.mac, aliases: [] };
  const backend = { taskId: server.taskId, nodeId: server.id, networkId, ipv4: server.ip };
  const door = { stack: 'bench', service: 'web', protocol: 'tcp', published: PORT, target: PORT, backends: [backend] };
  return {
    tasks: [{ id: node.taskId, nodeId: node.id, desired: 'run', container: {}, ports: [], endpoints: [own] }],
    networks: [
      {
        ...{ id: networkId, name: 'bench', stack: 'bench', key: 'bench', driver: 'overlay', internal: false },
        ...{ subnet: SUBNET, gateway: GATEWAY, vni: VNI, mtu: INNER_MTU, nodeAddress: `10.96.0.25${node.index}` },
      },
    ],
    endpoints,
    names: [],
    vips: [{ networkId, service: 'web', ipv4: '10.96.0.200', backends: [server.ip] }],
    publications: published ? [door] : [],
    members: pair.map((n) => ({ id: n.id, name: n.ns, address: n.address, kind: 'node', index: n.index })),
    settings: { vxlanPort: 4789, wireguardPort: 51820, guardedTcpPorts: [7702] },
  };
}

const reconcilers = [];

async function makeOurs(pair, published) {
  for (const n of pair) {
    const reconciler = new KernelReconciler({ kernel: new LinuxKernel({ enter: n.ns }) });
    reconcilers.push(reconciler);
    const { failed } = await reconciler.set(nodeKernel(view(pair, n, published), { nodeId: n.id, address: n.address }));
    if (failed.length > 0) throw new Error(failed[0].error);
  }
}

/** Bridge, VXLAN and wire by `ip` alone; with a gateway on the bridge. @param more words for the VXLAN device */
async function makeByHand(pair, more = '') {
  for (const [i, n] of pair.entries()) {
    const other = pair[1 - i];
    const [gatewayMac, otherGatewayMac] = [macOfNode(n.index), macOfNode(other.index)];
    await run(['ip', 'netns', 'add', n.task]);
    await ip(n.ns, [
      `link add hbr address ${gatewayMac} mtu ${INNER_MTU} type bridge mcast_snooping 0`,
      'link set hbr up',
      `addr add ${GATEWAY}/24 dev hbr`,
      `link add hvx mtu ${INNER_MTU} type vxlan id 77 dstport 4789 local ${n.address} nolearning ${more}`,
      'link set hvx master hbr up',
      `link add hveth mtu ${INNER_MTU} type veth peer name eth0 address ${n.mac} mtu ${INNER_MTU} netns ${n.task}`,
      'link set hveth master hbr up',
      `neigh add ${other.ip} lladdr ${other.mac} dev hbr nud permanent`,
    ]);
    const macs = [other.mac, otherGatewayMac];
    const rows = macs.flatMap((mac) => [
      `fdb add ${mac} dev hvx dst ${other.address} self permanent`,
      `fdb add ${mac} dev hvx master static`,
    ]);
    await enter(n.ns, ['bridge', '-batch', '-'], { input: `${rows.join('\n')}\n` });
    await ip(n.task, [
      'link set lo up',
      'link set eth0 up',
      `addr add ${n.ip}/24 dev eth0`,
      `neigh add ${other.ip} lladdr ${other.mac} dev eth0 nud permanent`,
      `route add default via ${GATEWAY}`,
    ]);
  }
}

const removeTable = (table) => async (pair) => {
  const isTasks = table === 'ip weft';
  for (const n of pair) await enter(isTasks ? n.task : n.ns, ['nft', 'delete', 'table', ...table.split(' ')]);
};

const sysctl = (setting) => async (pair) => {
  for (const n of pair) await enter(n.ns, ['sysctl', '-qw', setting]);
};

const TABLES = ['ip weft', 'bridge weft', 'inet weft', 'ip weft_vips'];
const removeAllTables = async (pair) => {
  for (const table of TABLES) await removeTable(table)(pair);
};

async function spread(pair) {
  for (const n of pair) await run(['ip', 'netns', 'exec', n.ns, 'tee', '/sys/class/net/eth0/queues/rx-0/rps_cpus'], { input: '3' });
}

const masquerade = async (pair) => {
  const text = `table ip egress {\n chain leave {\n  type nat hook postrouting priority 100\n  ip saddr ${SUBNET} oifname "eth0" masquerade\n }\n}\n`;
  for (const n of pair) await enter(n.ns, ['nft', '-f', '-'], { input: text });
};

/** Name, how it is made, what is changed. */
const BETWEEN = [
  ['whole', makeOurs],
  ['without the table of each task (names, virtual addresses; tracking there)', makeOurs, removeTable('ip weft')],
  ['without the port guard (own address and MAC)', makeOurs, removeTable('bridge weft')],
  ['without the main table of the nodes', makeOurs, removeTable('inet weft')],
  ['without virtual addresses for the nodes themselves', makeOurs, removeTable('ip weft_vips')],
  ['without any table', makeOurs, removeAllTables],
  ['with bridge-nf-call-iptables', makeOurs, sysctl('net.bridge.bridge-nf-call-iptables=1')],
  ['with RPS on the underlay', makeOurs, spread],
  ['by hand, no rule', makeByHand],
  ['by hand, no rule, VXLAN without UDP checksums', (pair) => makeByHand(pair, 'noudpcsum')],
  ['by hand, with masquerade', makeByHand, masquerade],
];

const ratios = (figures, whole) => median(figures.map((figure, round) => figure / whole[round]));

async function betweenTasks() {
  const made = [];
  for (const [i, [, make, change]] of BETWEEN.entries()) {
    const pair = pairOf(`t${i}-`);
    await makeHosts(pair, MTU);
    await make(pair);
    await change?.(pair);
    made.push(pair);
  }
  const figures = await inTurns(
    made.map(
      ([from, to]) =>
        () =>
          stream(from.task, to.task, to.ip),
    ),
    ROUNDS,
  );
  return BETWEEN.map(([name], i) => ({
    name: `  ${name}`,
    value: median(figures[i]),
    unit: 'Gb/s',
    ratio: ratios(figures[i], figures[0]),
  }));
}

/** From outside: by the task's own node and by another one, ours and by hand (plain routing, nothing translated). */
async function fromOutside() {
  const out = (name) => ({ ns: `${prefix}-${name}`, address: '192.168.76.100' });
  const [ours, hand] = [pairOf('d'), pairOf('h')];
  const [ourClient, handClient] = [out('o1'), out('o2')];
  await makeHostsOnSwitch([...ours, ourClient], `${prefix}-l1`, MTU);
  await makeHostsOnSwitch([...hand, handClient], `${prefix}-l2`, MTU);
  await makeOurs(ours, true);
  await makeByHand(hand);
  for (const n of hand)
    await enter(n.ns, ['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.hbr.rp_filter=0']);
  const [entry, home] = hand;
  // Two addresses of the one task: one is reached by its own node and answered from there, the other by the entry, and answered there.
  const BY_ENTRY = '10.96.0.21';
  await ip(home.task, [
    `addr add ${BY_ENTRY}/32 dev eth0`,
    `route add default via 10.96.0.2 dev eth0 onlink table 7`,
    `neigh add 10.96.0.2 lladdr ${macOfNode(entry.index)} dev eth0 nud permanent`,
    `rule add from ${BY_ENTRY} lookup 7`,
  ]);
  await ip(entry.ns, [`neigh add ${BY_ENTRY} lladdr ${home.mac} dev hbr nud permanent`]);
  await ip(handClient.ns, [`route add ${home.ip} via ${home.address}`, `route add ${BY_ENTRY} via ${entry.address}`]);
  const [a, b] = ours;
  const [own, mesh, handOwn, handMesh] = await inTurns(
    [
      () => stream(ourClient.ns, b.task, b.address),
      () => stream(ourClient.ns, b.task, a.address),
      () => stream(handClient.ns, home.task, home.ip),
      () => stream(handClient.ns, home.task, BY_ENTRY),
    ],
    ROUNDS,
  );
  const row = (name, figures, whole) => ({ name: `  ${name}`, value: median(figures), unit: 'Gb/s', ratio: ratios(figures, whole) });
  return [
    row('published port, by the task’s own node', own, own),
    row('the same by another node', mesh, own),
    row('by hand: routed by the task’s own node', handOwn, own),
    row('by hand: routed by another node over VXLAN, to our own node', handMesh, own),
    row('by hand: over VXLAN, to by hand by the own node', handMesh, handOwn),
    row('by another node: ours to by hand', mesh, handMesh),
  ];
}

/** Rows { name, value, unit, ratio }. */
export async function benchParts() {
  try {
    const tasks = { name: 'task to task on two nodes; ratio to the whole', value: '', unit: '' };
    const outside = { name: 'from outside; ratio to the own node if not said', value: '', unit: '' };
    return [tasks, ...(await betweenTasks()), outside, ...(await fromOutside())];
  } finally {
    for (const r of reconcilers.splice(0)) await r.removeAll().catch(() => undefined);
    for (let n = 0; n < pairs; n++) for (const i of [1, 2]) await run(['ip', 'netns', 'del', taskNamespace(taskId(n, i))], { accept: [1] });
    await removeHosts(prefix);
  }
}
