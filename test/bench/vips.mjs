/**
 * Virtual addresses: how long 30,000 take to be loaded into a task's namespace, and how long a change of one takes among them;
 * in the kernel alone, and from the node's view on.
 */
import { KernelReconciler } from '#linux/reconciler.js';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { NftSessions } from '#linux/nft-sessions.js';
import { emptyNamespace } from '#overlay/kernel-state.js';
import { NODE_VIP_TABLE } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { median, sh } from './lab.mjs';

const COUNT = 30_000;
const CHANGES = 15;
const NETNS = `weftbench-vips-${process.pid}`;
const NETWORK = 'aaaaaaaa';
const ME = { nodeId: 'bbbbbbbb', address: '192.0.2.1' };

const address = (base, i) => `10.${base}.${i >> 8}.${i & 255}`;

/** Views share what has not changed, as in an agent. */
const known = new Map();

/** As the view of a node without tasks has them; `change` gives one of them another set of backends. */
function view(change) {
  const vip = (i) => {
    const made = i === 7 ? undefined : known.get(i);
    if (made) return made;
    known.set(i, vipOf(i));
    return known.get(i);
  };
  const vipOf = (i) => ({
    networkId: NETWORK,
    service: `s${i}`,
    ipv4: address(128, i),
    backends: [0, 1].map((n) => address(64 + n, i === 7 ? (i + change) % 250 : i)),
  });
  return {
    tasks: [],
    networks: [
      {
        id: NETWORK,
        name: 'bench',
        stack: 'bench',
        key: 'bench',
        driver: 'overlay',
        internal: false,
        subnet: '10.0.0.0/8',
        gateway: '10.0.0.1',
        vni: 4097,
        mtu: 1450,
        nodeAddress: '10.0.0.2',
      },
    ],
    endpoints: [],
    names: [],
    vips: Array.from({ length: COUNT }, (_, i) => vip(i)),
    publications: [],
    members: [],
    settings: { vxlanPort: 4789, guardedTcpPorts: [] },
  };
}

/** Only the table of virtual addresses. */
function stateFrom(of) {
  const state = nodeKernel(of, ME);
  const node = state.namespaces[''];
  return { namespaces: { '': { ...emptyNamespace(), nft: { [NODE_VIP_TABLE]: node.nft[NODE_VIP_TABLE] }, vips: node.vips } } };
}

async function timed(work) {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

export async function benchVips() {
  sh('ip', ['netns', 'add', NETNS]);
  // As an agent has it, in its helper.
  const sessions = new NftSessions();
  try {
    const kernel = new LinuxKernel({ enter: NETNS, sessions });
    const reconciler = new KernelReconciler({ kernel });
    await reconciler.set({ namespaces: { '': emptyNamespace() } });
    const first = stateFrom(view(0));
    const loadMs = await timed(() => reconciler.set(first));
    const whole = [];
    const inKernel = [];
    const apply = kernel.apply.bind(kernel);
    kernel.apply = async (operations) => {
      const began = performance.now();
      const result = await apply(operations.filter((o) => o.op === 'setVips'));
      inKernel.push(performance.now() - began);
      return result;
    };
    for (let i = 1; i <= CHANGES; i++) {
      const next = view(i);
      whole.push(
        await timed(async () => {
          const { failed } = await reconciler.set(stateFrom(next));
          if (failed.length > 0) throw new Error(failed[0].error);
        }),
      );
    }
    return [
      { name: `${COUNT} virtual addresses loaded`, value: loadMs, unit: 'ms', note: 'at most 1000' },
      { name: 'one of them changed, in the kernel', value: median(inKernel), unit: 'ms', note: 'at most 10' },
      { name: 'one of them changed, from the view on', value: median(whole), unit: 'ms', note: `median of ${CHANGES}` },
    ];
  } finally {
    sessions.stop();
    sh('ip', ['netns', 'del', NETNS]);
  }
}
