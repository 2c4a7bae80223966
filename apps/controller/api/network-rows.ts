/** What `ctl network ls` and `inspect` show: an auditor's questions. */
import { compareAddresses, parseSubnet, subnetHas } from '#base/ip.js';
import { macOfIp } from '#base/address.js';
import type { Lease, Network } from '#model/network.js';
import type { ClusterState } from '#planner/cluster-state.js';
import { networkMtu } from '#planner/network-mtu.js';
import { subnetsOf, usableAddresses } from '#planner/network-subnets.js';
import { usersOf } from '#planner/network-users.js';
import { doorOf } from '#planner/publications.js';
import type { AddressRow, ExposureRow, NetworkRow } from '#rpc/gen/weft/v1/api.js';
import { networkToWire } from '#rpc/wire.js';

function addressRow(state: ClusterState, networkId: string, address: string, lease: Lease): AddressRow {
  const row = { ipv4: address, kind: lease.kind };
  const resting = lease.restsUntil === undefined ? '' : ' (resting)';
  const own = (record: { ipv4: string } | undefined) => (record ? macOfIp(record.ipv4) : '');
  if (lease.kind === 'node') {
    const name = state.nodes.get(lease.owner)?.name ?? lease.owner;
    return { ...row, owner: name + resting, node: name, mac: own(state.nodeAddresses.get(networkId)?.get(lease.owner)) };
  }
  if (lease.kind === 'vip') return { ...row, owner: (lease.owner.split('/')[1] ?? lease.owner) + resting, node: '', mac: '' };
  const task = state.tasks.get(lease.owner);
  const mac = task?.endpoints.find((e) => e.networkId === networkId)?.mac ?? '';
  return { ...row, owner: (task?.name ?? lease.owner) + resting, node: task ? (state.nodes.get(task.nodeId)?.name ?? '') : '', mac };
}

/** Where addresses of its tasks are translated. */
function natOf(n: Network): string {
  if (n.internal) return 'none: the network is internal, nothing leaves it';
  if (n.driver === 'macvlan' || n.driver === 'ipvlan') return 'none: its tasks are in the LAN of the site';
  const outward = "on each task's own node, to the node's address (masquerade)";
  if (!n.ipv6) return `IPv4 ${outward}; between tasks and nodes none`;
  const six = n.options?.ipv6Routed ? 'IPv6 nowhere: the site routes the subnet' : `IPv6 likewise (NAT66)`;
  return `IPv4 ${outward}; ${six}; between tasks and nodes none`;
}

/**
 * Published ports that lead into the network, and the nodes that answer: all of them, or those of the tasks (`mode: host`, and
 * networks that end at the node). A task of several networks is entered by one of them, and by none that is internal.
 */
function exposures(state: ClusterState, network: Network): ExposureRow[] {
  const names = (ids: Iterable<string>) => [...new Set(ids)].map((id) => state.nodes.get(id)?.name ?? id).sort();
  const tasks = state.tasksOfNetwork(network.id).filter((t) => t.desired === 'run' && doorOf(state, t)?.networkId === network.id);
  const rows = new Map<string, ExposureRow>();
  for (const task of tasks) {
    for (const p of task.ports) {
      const published = `${p.hostIp === undefined ? '' : `${p.hostIp}:`}${p.published}/${p.protocol}`;
      const fellows = tasks.filter((t) => t.stack === task.stack && t.service === task.service);
      const isLocal = p.mode === 'host' || network.driver !== 'overlay';
      const nodes = isLocal ? names(fellows.map((t) => t.nodeId)) : names(state.nodes.keys());
      rows.set(`${task.stack}/${task.service}/${published}`, {
        ...{ stack: task.stack, service: task.service, published, target: `${p.target}/${p.protocol}`, nodes },
      });
    }
  }
  return [...rows.values()].sort((a, b) => (a.published < b.published ? -1 : 1));
}

function networkRow(state: ClusterState, network: Network): NetworkRow {
  const leases = [...(state.leases.get(network.id)?.entries() ?? [])].sort(([a], [b]) => compareAddresses(a, b));
  const subnets = subnetsOf(network).map((s) => ({
    subnet: s.subnet,
    gateway: s.gateway,
    ipRange: s.ipRange ?? '',
    auxAddresses: s.auxAddresses ?? {},
    addressesUsed: leases.filter(([address]) => subnetHas(parseSubnet(s.subnet), address)).length,
  }));
  return {
    network: networkToWire(network),
    mtu: networkMtu(state, network),
    addressesUsed: leases.filter(([address]) => !address.includes(':')).length,
    addressesTotal: usableAddresses(network),
    addresses: leases.map(([address, lease]) => addressRow(state, network.id, address, lease)),
    subnets,
    users: usersOf(state, network),
    nat: natOf(network),
    exposures: exposures(state, network),
  };
}

/** @param stack all when empty */
export const networkRows = (state: ClusterState, stack: string): NetworkRow[] =>
  [...state.networks.values()]
    .filter((n) => stack === '' || n.stack === stack)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((n) => networkRow(state, n));
