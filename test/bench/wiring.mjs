/**
 * How long it takes to wire one container: its network namespace with veth, addresses, routes, sysctls and nft tables, as the agent does it
 * (through its command helper, with the processes it keeps), from the node's view to a namespace that was read back. One task after another
 * on one node, and some at once.
 */
import { join } from 'node:path';
import { macOfIp } from '#base/address.js';
import { CommandHelper } from '#linux/helper-client.js';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { makeHosts, removeHosts } from './hosts.mjs';
import { median, pause } from './lab.mjs';

const ONE_BY_ONE = 20;
/** As an agent keeps. */
const SPARES = 2;
const AT_ONCE = 10;
/** One at a time: what an agent does behind a wiring (it reads the node's table back) is no part of the next. */
const BETWEEN_MS = 100;
/** Before what is measured: the first of a kind costs more (nft tables are read back once a text). */
const WARM_UP = 3;
const HELPER = join(process.cwd(), 'dist/apps/agent/command-helper/main.js');
const prefix = `wtw${process.pid}`;
const networkId = 'abcdef03';
const MTU = 1500;
const NODES = [1, 2].map((index) => ({ id: `${index}`.repeat(8), ns: `${prefix}-n${index}`, address: `192.168.80.${index}`, index }));
const [ME] = NODES;

const taskId = (i) => `${process.pid.toString(16).padStart(8, '0')}${i.toString(16).padStart(4, '0')}`;

function endpointOf(i) {
  const ipv4 = `10.99.${i >> 7}.${(i & 127) + 10}`;
  return { networkId, ipv4, mac: macOfIp(ipv4), nodeId: ME.id, vtep: ME.address, taskId: taskId(i) };
}

/** The view of a node with so many tasks, all of one service with a virtual address. */
function view(count) {
  const endpoints = Array.from({ length: count }, (_, i) => endpointOf(i));
  const task = ({ taskId: id, ipv4, mac }) => ({
    id,
    nodeId: ME.id,
    desired: 'run',
    container: {},
    ports: [],
    endpoints: [{ networkId, ipv4, mac, aliases: [] }],
  });
  const network = { id: networkId, name: 'bench', stack: 'bench', key: 'bench', driver: 'overlay', internal: false };
  return {
    tasks: endpoints.map(task),
    networks: [{ ...network, subnet: '10.99.0.0/16', gateway: '10.99.0.1', vni: 5099, mtu: MTU - 50, nodeAddress: '10.99.255.251' }],
    endpoints,
    names: [],
    // Clients are led to those that run, which these do later.
    vips: [{ networkId, service: 'web', ipv4: '10.99.255.200', backends: [endpointOf(0).ipv4] }],
    publications: [],
    members: NODES.map((n) => ({ id: n.id, name: n.ns, address: n.address, kind: 'node', index: n.index })),
    settings: { vxlanPort: 4789, wireguardPort: 51820, guardedTcpPorts: [7702] },
  };
}

/** What a command is for. */
function stepOf(argv, { input = '' } = {}) {
  const words = argv.join(' ');
  if (words.includes('sysctl')) return 'sysctl';
  if (words.includes('nft -j')) return 'nft, reading back';
  if (words.includes('nft')) return 'nft of the task';
  if (input.includes('netns add')) return 'ip, namespace';
  if (input.includes('type veth')) return 'ip, wire';
  return words.includes('ip ') ? 'ip, inside' : words;
}

/** Where the time goes: when each command of a wiring begins, and how long it takes. */
class Steps {
  #began = 0;
  #taken = new Map();

  begin() {
    return (this.#began = performance.now());
  }

  async take(name, work) {
    const began = performance.now();
    const result = await work();
    const times = this.#taken.get(name) ?? [];
    times.push({ after: began - this.#began, took: performance.now() - began });
    this.#taken.set(name, times);
    return result;
  }

  clear() {
    this.#taken.clear();
  }

  rows() {
    const middle = (times, of) => median(times.map((t) => t[of]));
    return [...this.#taken].map(([name, times]) => ({
      name: `  ${name}`,
      value: middle(times, 'took'),
      unit: 'ms',
      note: `begun after ${middle(times, 'after').toFixed(1)}${times.length === ONE_BY_ONE ? '' : `; ${times.length} times in ${ONE_BY_ONE}`}`,
    }));
  }
}

/** Rows { name, value, unit, note }. */
export async function benchWiring() {
  const helper = new CommandHelper([HELPER]);
  const steps = new Steps();
  const tell = (argv, line) => steps.take('nft that is kept', () => helper.sessions.tell(argv, line));
  const runner = (argv, options) => steps.take(stepOf(argv, options), () => helper.run(argv, options));
  const kernel = new LinuxKernel({ enter: ME.ns, runner, sessions: { ...helper.sessions, tell }, standby: helper.standby });
  const reconciler = new KernelReconciler({ kernel });
  const wire = async (count) => {
    const next = view(count);
    const began = steps.begin();
    const { failed } = await reconciler.set(nodeKernel(next, { nodeId: ME.id, address: ME.address, spares: SPARES }));
    if (failed.length > 0) throw new Error(failed[0].error);
    return performance.now() - began;
  };
  try {
    await makeHosts(NODES, MTU);
    for (let count = 0; count <= WARM_UP; count++) await wire(count);
    const each = [];
    steps.clear();
    for (let i = 1; i <= ONE_BY_ONE; i++) {
      await pause(BETWEEN_MS);
      each.push(await wire(WARM_UP + i));
    }
    await pause(BETWEEN_MS);
    const of = steps.rows();
    const together = await wire(WARM_UP + ONE_BY_ONE + AT_ONCE);
    return [
      { name: 'one container wired', value: median(each), unit: 'ms', note: `median of ${ONE_BY_ONE}; at most 10` },
      { name: '  the quickest, the slowest', value: `${Math.min(...each).toFixed(1)}, ${Math.max(...each).toFixed(1)}`, unit: 'ms' },
      ...of,
      { name: `  of ${AT_ONCE} at once, each`, value: together / AT_ONCE, unit: 'ms' },
    ];
  } finally {
    await reconciler.removeAll().catch(() => undefined);
    helper.stop();
    await removeHosts(prefix);
  }
}
