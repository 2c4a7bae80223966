/**
 * The kernels' part of `ctl network fsck`: every node compares what it holds with what it was told. What it was told is the same
 * everywhere (libs/planner/check-leases.ts), so where no kernel differs, every address is at one owner and behind one node.
 */
import { messageOf } from '#base/errors.js';
import type { Node } from '#model/node.js';
import type { AddressFinding } from '#planner/check-leases.js';
import type { ClusterState } from '#planner/cluster-state.js';
import { standingOf } from '#planner/schedule.js';
import type { KernelFault } from '#rpc/gen/weft/v1/api.js';

export interface KernelReport {
  findings: AddressFinding[];
  /** `node: why`. */
  unasked: string[];
}

/** Kinds of libs/overlay/faults.ts that say where an address is. */
const OF_ADDRESSES = new Set(['namespace', 'link', 'address', 'neighbour', 'fdb']);

/** @param check asks one node for what is wrong in its kernel */
export async function kernelFindings(state: ClusterState, check: (node: Node) => Promise<readonly KernelFault[]>): Promise<KernelReport> {
  const report: KernelReport = { findings: [], unasked: [] };
  await Promise.all(
    [...state.nodes.values()].map(async (node) => {
      const standing = standingOf(state, node.id);
      if (standing !== 'ready') return void report.unasked.push(`${node.name}: it is ${standing}`);
      try {
        const faults = await check(node);
        report.findings.push(...faults.filter((f) => OF_ADDRESSES.has(f.kind)).map((f) => findingOf(state, node, f)));
      } catch (error) {
        report.unasked.push(`${node.name}: ${messageOf(error)}`);
      }
    }),
  );
  report.findings.sort((a, b) => (a.finding < b.finding ? -1 : 1));
  report.unasked.sort();
  return report;
}

/** The keys of addresses and neighbours are `<dev> <address>`, and of a device of a network its name ends with the VNI. */
function findingOf(state: ClusterState, node: Node, { kind, key, text }: KernelFault): AddressFinding {
  const [dev = '', address = ''] = key.split(' ');
  const vni = Number(/^wf[bx](\d+)$/.exec(dev)?.[1] ?? Number.NaN);
  const network = [...state.networks.values()].find((n) => n.vni === vni)?.name ?? '';
  const isNamed = kind === 'address' || kind === 'neighbour';
  return { network, address: isNamed ? (address.split('/')[0] ?? '') : '', finding: `in the kernel of node ${node.name}: ${text}` };
}
