/** From a node's view to what its name server answers. Pure; equal views give equal configurations. */
import { DNS_PORT } from '#model/ports.js';
import type { NameRecord, NetworkView } from '#model/node-view.js';
import type { ViewByKind } from '#model/view-state.js';
import { isChildNetwork, resolverOf } from '#overlay/child-network.js';
import type { NameConfig, NetworkNamesConfig, PointerConfig } from '#dns/name-config.js';
import { DEFAULT_TTL_SECONDS } from '#model/name-ttl.js';

export function namesConfig(view: ViewByKind, nodeId: string, upstreams: readonly string[]): NameConfig {
  const tasks = view.tasks.filter((t) => t.nodeId === nodeId);
  return {
    ttlSeconds: view.settings.dnsTtlSeconds ?? DEFAULT_TTL_SECONDS,
    networks: view.networks
      .filter(isAsked)
      .sort(byId)
      .map((n) => networkNames(n, view, tasks)),
    tasks: [...tasks].sort(byId).map((t) => ({
      id: t.id,
      addresses: t.endpoints.flatMap(addressesOf),
      ...(t.container.dns === undefined ? {} : { upstreams: t.container.dns }),
    })),
    upstreams: [...upstreams],
  };
}

const addressesOf = ({ ipv4, ipv6 }: { ipv4: string; ipv6?: string }): string[] => (ipv6 === undefined ? [ipv4] : [ipv4, ipv6]);

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/** Of a network that the node only brings connections to, nobody here can ask. In the site's LAN a node has no address of ours, and is asked by a wire. */
const isAsked = (n: NetworkView): boolean => isChildNetwork(n) || n.nodeAddress !== undefined;

function networkNames(n: NetworkView, view: ViewByKind, tasks: ViewByKind['tasks']): NetworkNamesConfig {
  const records = view.names.filter((r) => r.networkId === n.id).sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    id: n.id,
    name: n.name,
    stack: n.stack,
    internal: n.internal,
    listen: { address: resolverOf(n), port: DNS_PORT },
    subnet: n.subnet,
    ...moreSubnets(n),
    // The node asks its own gateway address from that very address.
    nodeAddresses: isChildNetwork(n) ? [] : [...(n.nodeAddress === undefined ? [] : [n.nodeAddress]), n.gateway],
    clients: tasks.flatMap((t) => t.endpoints.filter((e) => e.networkId === n.id).flatMap(addressesOf)).sort(),
    records: records.map(({ networkId: _, ...record }) => record),
    ptr: pointers(n, view, records),
  };
}

function moreSubnets(n: NetworkView): { moreSubnets?: string[] } {
  const more = [...(n.moreSubnets ?? []), ...(n.ipv6 ? [n.ipv6] : [])].map((s) => s.subnet);
  return more.length > 0 ? { moreSubnets: more } : {};
}

/** An address is called after its task; a virtual one after its service. */
function pointers(n: NetworkView, view: ViewByKind, records: readonly NameRecord[]): PointerConfig[] {
  const ofTasks = view.endpoints.filter((e) => e.networkId === n.id && e.taskId !== undefined);
  const alone = new Map<string, string[]>();
  for (const { name, addresses } of records) {
    // One of each family at most.
    if (new Set(addresses.map((a) => a.includes(':'))).size < addresses.length) continue;
    for (const address of addresses) alone.set(address, [...(alone.get(address) ?? []), name]);
  }
  const tasks = ofTasks.flatMap(addressesOf).flatMap((address) => {
    const name = taskNameAmong(alone.get(address) ?? []);
    return name === undefined ? [] : [{ address, name }];
  });
  const services = view.vips
    .filter((v) => v.networkId === n.id)
    .flatMap((v) => addressesOf(v).map((address) => ({ address, name: v.service })));
  return [...tasks, ...services].sort((a, b) => (a.address < b.address ? -1 : 1));
}

/** `<stack>-<service>-<slot>` where it is among them; else the longest that is a plain name. */
function taskNameAmong(names: readonly string[]): string | undefined {
  const plain = names.filter((name) => !name.includes('.')).sort((a, b) => b.length - a.length || (a < b ? -1 : 1));
  return plain.find((name) => /-\d+$/.test(name)) ?? plain[0] ?? names[0];
}
