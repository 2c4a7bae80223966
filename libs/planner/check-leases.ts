/**
 * `ctl network fsck`: whether every address of every network has one owner. Looks at the same thing from each side: the leases, the
 * records that say who has which address (tasks, nodes, services), the subnets, and what every node is told.
 */
import { addressToNumber, parseSubnet, subnetHas, subnetsOverlap } from '#base/ip.js';
import type { Lease, Network } from '#model/network.js';
import { addressesOf } from './allocate.js';
import type { ClusterState } from './cluster-state.js';
import { holderOf } from './holders.js';
import { givable, keptAddresses, subnetsOf } from './network-subnets.js';
import { ViewMaker } from './node-view-of.js';

export interface AddressFinding {
  /** Name of the network. */
  network: string;
  /** '' where it is not about one address. */
  address: string;
  finding: string;
}

export interface AddressReport {
  findings: AddressFinding[];
  addresses: number;
  networks: number;
  views: number;
}

interface Claim {
  address: string;
  kind: Lease['kind'];
  owner: string;
}

export function checkLeases(state: ClusterState): AddressReport {
  const findings: AddressFinding[] = [...overlaps(state), ...unreadable(state)];
  let addresses = 0;
  for (const network of state.networks.values()) {
    const claims = claimsOn(state, network);
    addresses += claims.length;
    findings.push(...judge(state, network, claims));
  }
  findings.push(...checkViews(state));
  return { findings, addresses, networks: state.networks.size, views: state.nodes.size };
}

/** What the records say of who has which address. */
function claimsOn(state: ClusterState, network: Network): Claim[] {
  const tasks = state
    .tasksOfNetwork(network.id)
    .flatMap((task) =>
      task.endpoints.flatMap((e) =>
        e.networkId === network.id ? addressesOf(e).map((address): Claim => ({ address, kind: 'task', owner: task.id })) : [],
      ),
    );
  const nodes = [...(state.nodeAddresses.get(network.id)?.values() ?? [])].flatMap((n) =>
    addressesOf(n).map((address): Claim => ({ address, kind: 'node', owner: n.nodeId })),
  );
  const vips = [...(state.vips.get(network.id)?.values() ?? [])].flatMap((v) =>
    addressesOf(v).map((address): Claim => ({ address, kind: 'vip', owner: `${v.stack}/${v.service}` })),
  );
  return [...tasks, ...nodes, ...vips];
}

function judge(state: ClusterState, network: Network, claims: readonly Claim[]): AddressFinding[] {
  const leases = state.leases.get(network.id);
  const found: AddressFinding[] = [];
  const say = (address: string, finding: string) => void found.push({ network: network.name, address, finding });
  const owners = new Map<string, Claim>();
  const kept = keptAddresses(network);
  for (const claim of claims) {
    const { address } = claim;
    const me = holderOf(state, claim);
    const other = owners.get(address);
    if (other) say(address, `${me} and ${holderOf(state, other)} both have it`);
    owners.set(address, claim);
    const lease = leases?.get(address);
    if (!lease) say(address, `${me} has it without a lease`);
    else if (lease.restsUntil !== undefined) say(address, `${me} has it, and its lease says that it rests`);
    else if (lease.kind !== claim.kind || lease.owner !== claim.owner)
      say(address, `${me} has it, and ${holderOf(state, lease)} has the lease`);
    const why = misplaced(network, kept, address);
    if (why !== undefined) say(address, `${me} has it, ${why}`);
  }
  for (const [address, lease] of leases ?? [])
    if (lease.restsUntil === undefined && !owners.has(address)) say(address, `leased to ${holderOf(state, lease)}, which does not have it`);
  return found;
}

function misplaced(network: Network, kept: ReadonlyMap<string, string>, address: string): string | undefined {
  const what = kept.get(address);
  if (what !== undefined) return `and it is ${what}`;
  const home = subnetsOf(network).find((s) => subnetHas(parseSubnet(s.subnet), address));
  if (!home) return 'and it is in no subnet of the network';
  const { first, last } = givable({ ...home, ipRange: undefined });
  const n = addressToNumber(address);
  return n < first || n > last ? 'and no host can have it' : undefined;
}

function overlaps(state: ClusterState): AddressFinding[] {
  const all = [...state.networks.values()].flatMap((n) => subnetsOf(n).map(({ subnet }) => ({ n, subnet })));
  return all.flatMap((a, i) =>
    all
      .slice(i + 1)
      .filter((b) => subnetsOverlap(parseSubnet(a.subnet), parseSubnet(b.subnet)))
      .map((b) => ({ network: a.n.name, address: '', finding: `its subnet ${a.subnet} overlaps ${b.subnet} of ${b.n.name}` })),
  );
}

const unreadable = (state: ClusterState): AddressFinding[] =>
  [...state.corrupt].map(([key, why]) => ({ network: '', address: '', finding: `the record ${key} cannot be read: ${why}` }));

/** What nodes are told must say the same everywhere: one MAC and one node behind an address. */
function checkViews(state: ClusterState): AddressFinding[] {
  const maker = new ViewMaker(state);
  const known = new Map<string, { told: string; by: string }>();
  const found: AddressFinding[] = [];
  for (const node of state.nodes.values()) {
    for (const resource of maker.viewOf(node.id)) {
      if (resource.kind !== 'endpoint') continue;
      const { networkId, mac, vtep, taskId = '' } = resource.value;
      for (const address of addressesOf(resource.value)) {
        const key = `${networkId} ${address}`;
        const told = `${mac} behind ${vtep}${taskId === '' ? '' : ` (task ${state.tasks.get(taskId)?.name ?? taskId})`}`;
        const before = known.get(key);
        if (before && before.told !== told) {
          const network = state.networks.get(networkId)?.name ?? networkId;
          found.push({ network, address, finding: `node ${before.by} is told ${before.told}, node ${node.name} ${told}` });
        } else if (!before) known.set(key, { told, by: node.name });
      }
    }
  }
  return found;
}
