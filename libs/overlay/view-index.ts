/** A node's view, looked up by network; what is costly to say of a network is said once. */
import type { EndpointView, NetworkView, VipView } from '#model/node-view.js';
import type { ViewByKind } from '#model/view-state.js';
import type { HostInput } from './host-input.js';
import type { VipRecord } from './vip-table.js';
import { valueOf, vipRecord } from './vip-table.js';

/** The view, looked up by network. */
export interface ViewIndex {
  networks: Map<string, NetworkView>;
  endpoints: Map<string, EndpointView[]>;
  /** Virtual addresses of some networks together; the same object for the same networks. */
  vips: (networkIds: readonly string[]) => VipRecord;
  vips6: (networkIds: readonly string[]) => VipRecord;
  /** Addresses of tasks on nodes that live, sorted. */
  flows: Map<string, string[]>;
}

export function indexView(view: ViewByKind, host: Pick<HostInput, 'nodeId'>): ViewIndex {
  const networks = new Map([...view.networks].sort((a, b) => compare(a.key, b.key) || compare(a.id, b.id)).map((n) => [n.id, n]));
  const endpoints = groupBy(view.endpoints, (e) => e.networkId);
  const vips = groupBy(view.vips, (v) => v.networkId);
  const flows = new Map<string, string[]>();
  for (const [id, list] of endpoints)
    flows.set(
      id,
      list
        .filter((e) => e.taskId !== undefined && !e.lost)
        .flatMap((e) => [e.ipv4, ...(e.ipv6 === undefined ? [] : [e.ipv6])])
        .sort(),
    );
  // A `bridge` network ends at the node: of its services, only the tasks here can be reached.
  const reachable = (backends: string[], id: string) => {
    if (networks.get(id)?.driver !== 'bridge') return backends;
    const here = new Set((endpoints.get(id) ?? []).filter((e) => e.nodeId === host.nodeId).flatMap((e) => [e.ipv4, e.ipv6]));
    return backends.filter((b) => here.has(b));
  };
  return {
    networks,
    endpoints,
    flows,
    vips: sharedRecords((id) =>
      (vips.get(id) ?? []).map((v) => {
        const backends = reachable(v.backends, id);
        return [v.ipv4, backends === v.backends ? rememberedValue(v) : valueOf({ ...v, backends })];
      }),
    ),
    vips6: sharedRecords((id) =>
      (vips.get(id) ?? []).flatMap(({ ipv6, backends6 = [], affinity }) =>
        ipv6 === undefined ? [] : [[ipv6, valueOf({ backends: reachable(backends6, id), affinity })]],
      ),
    ),
  };
}

/** Views share what has not changed: of thousands of virtual addresses, the text of one is made anew. */
const values = new WeakMap<VipView, string>();
function rememberedValue(v: VipView): string {
  const value = values.get(v) ?? valueOf(v);
  values.set(v, value);
  return value;
}

function sharedRecords(vipsOf: (networkId: string) => [address: string, value: string][]): (networkIds: readonly string[]) => VipRecord {
  const known = new Map<string, VipRecord>();
  return (networkIds) => {
    const key = networkIds.join();
    const record = known.get(key) ?? vipRecord(networkIds.flatMap(vipsOf));
    known.set(key, record);
    return record;
  };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
}

/** All of them once, in order. */
export const mergeSorted = (lists: readonly (readonly string[])[]): readonly string[] =>
  lists.length === 1 ? (lists[0] ?? []) : [...new Set(lists.flat())].sort();
