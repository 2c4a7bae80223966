/** From a node's view to what its name server answers. Pure; equal views give equal configurations. */
import { DNS_PORT } from '#model/ports.js';
import type { NameRecord, NetworkView } from '#model/node-view.js';
import type { ViewByKind } from '#model/view-state.js';
import { isChildNetwork, resolverOf } from '#overlay/child-network.js';
import { DEFAULT_TTL_SECONDS, type NameConfig, type NetworkNamesConfig, type PointerConfig } from '#dns/name-config.js';

export function namesConfig(view: ViewByKind, nodeId: string, upstreams: readonly string[]): NameConfig {
  const tasks = view.tasks.filter((t) => t.nodeId === nodeId);
  return {
    ttlSeconds: DEFAULT_TTL_SECONDS,
    networks: [...view.networks].sort(byId).map((n) => networkNames(n, view, tasks)),
    tasks: [...tasks].sort(byId).map((t) => ({ id: t.id, addresses: t.endpoints.map((e) => e.ipv4) })),
    upstreams: [...upstreams],
  };
}

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

function networkNames(n: NetworkView, view: ViewByKind, tasks: ViewByKind['tasks']): NetworkNamesConfig {
  const records = view.names.filter((r) => r.networkId === n.id).sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    id: n.id,
    name: n.name,
    stack: n.stack,
    internal: n.internal,
    listen: { address: resolverOf(n), port: DNS_PORT },
    subnet: n.subnet,
    // The node asks its own gateway address from that very address.
    nodeAddresses: isChildNetwork(n) ? [] : [n.nodeAddress, n.gateway],
    clients: tasks.flatMap((t) => t.endpoints.filter((e) => e.networkId === n.id).map((e) => e.ipv4)).sort(),
    records: records.map(({ name, addresses }) => ({ name, addresses })),
    ptr: pointers(n, view, records),
  };
}

/** An address is called after its task; a virtual one after its service. */
function pointers(n: NetworkView, view: ViewByKind, records: readonly NameRecord[]): PointerConfig[] {
  const ofTasks = view.endpoints.filter((e) => e.networkId === n.id && e.taskId !== undefined);
  const alone = new Map<string, string[]>();
  for (const { name, addresses } of records) {
    const [address] = addresses;
    if (addresses.length === 1 && address !== undefined) alone.set(address, [...(alone.get(address) ?? []), name]);
  }
  const tasks = ofTasks.flatMap(({ ipv4 }) => {
    const name = taskNameAmong(alone.get(ipv4) ?? []);
    return name === undefined ? [] : [{ address: ipv4, name }];
  });
  const services = view.vips.filter((v) => v.networkId === n.id).map((v) => ({ address: v.ipv4, name: v.service }));
  return [...tasks, ...services].sort((a, b) => (a.address < b.address ? -1 : 1));
}

/** `<stack>-<service>-<slot>` where it is among them; else the longest that is a plain name. */
function taskNameAmong(names: readonly string[]): string | undefined {
  const plain = names.filter((name) => !name.includes('.')).sort((a, b) => b.length - a.length || (a < b ? -1 : 1));
  return plain.find((name) => /-\d+$/.test(name)) ?? plain[0] ?? names[0];
}
