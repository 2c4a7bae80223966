/**
 * The names and virtual addresses of one network.
 *
 * A service's name, `service.stack` and aliases are its VIP; of a service without one (`endpoint_mode: dnsrr`) the addresses
 * of the tasks that serve. `tasks.service` has all that run, healthy or not, for what must find its peers before it is healthy.
 * A task's own names always are its address. A task in the network of its node has its names on all networks of its stack, and
 * they are the node's address. An endpoint that is being taken away has no name any more.
 */
import { compareAddresses } from '#base/ip.js';
import { HOSTNAME_PATTERN } from '#model/names.js';
import type { NameRecord, VipView } from '#model/node-view.js';
import type { Service } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { hostAddress, hostTasksOf } from './host-tasks.js';
import { runsIn, servesIn } from './serving.js';
import { hasVips } from './wanted-networks.js';

/** As Docker's short container ids. */
const SHORT_ID = 12;

type Ports = NonNullable<NameRecord['ports']>;

/** @param tasks those of the network that the node may see */
export function namesAndVips(state: ClusterState, networkId: string, tasks: readonly Task[]): { names: NameRecord[]; vips: VipView[] } {
  const network = state.networks.get(networkId);
  if (!network || network.discovery === false) return { names: [], vips: [] };
  const zone = new Zone();
  const vips = new Map<string, VipView>();
  const serviceOf = (stack: string, name: string) => state.stacks.get(stack)?.spec.services[name];
  for (const { stack, service: name, ipv4, ipv6 } of state.vips.get(networkId)?.values() ?? []) {
    const service = serviceOf(stack, name);
    if (service?.endpointMode === 'dnsrr' || !hasVips(network)) continue;
    const affinity = service?.affinity === undefined ? {} : { affinity: service.affinity };
    const six = ipv6 === undefined ? {} : { ipv6, backends6: [] };
    vips.set(serviceKey(stack, name), { networkId, service: name, ipv4, backends: [], ...six, ...affinity });
    for (const row of zone.rows(name, `${name}.${stack}`)) row.add([ipv4, ipv6], service);
  }
  for (const task of tasks) {
    if (task.desired === 'run') addTask(state, zone, networkId, task, vips.get(serviceKey(task.stack, task.service)));
  }
  for (const task of hostTasksOf(state, network)) addAt(state, zone, task, hostAddress(state, network, task));
  for (const vip of vips.values()) {
    vip.backends.sort(compareAddresses);
    vip.backends6?.sort(compareAddresses);
  }
  return { names: zone.records(networkId), vips: [...vips.values()] };
}

function addTask(state: ClusterState, zone: Zone, networkId: string, task: Task, vip: VipView | undefined): void {
  const endpoint = task.endpoints.find((e) => e.networkId === networkId);
  if (!endpoint || endpoint.leavingSince !== undefined) return;
  const { ipv4, ipv6, aliases } = endpoint;
  const service = state.stacks.get(task.stack)?.spec.services[task.service];
  for (const row of zone.rows(...ownNames(task))) row.add([ipv4, ipv6]);
  const serves = servesIn(state, task);
  for (const row of zone.rows(...aliases)) {
    if (vip) row.add([vip.ipv4, vip.ipv6], service);
    else row.add(serves ? [ipv4, ipv6] : [], service, serves ? task.name : undefined);
  }
  if (!vip) {
    const names = zone.rows(task.service, `${task.service}.${task.stack}`);
    for (const row of names) row.add(serves ? [ipv4, ipv6] : [], service, serves ? task.name : undefined);
  } else if (serves) {
    vip.backends.push(ipv4);
    if (ipv6 !== undefined) vip.backends6?.push(ipv6);
  }
  if (!runsIn(state, task)) return;
  const all = zone.rows(`tasks.${task.service}`, `tasks.${task.service}.${task.stack}`);
  for (const row of all) row.add([ipv4, ipv6], service, task.name);
}

/** A name that is its service's, too (`container_name` often is), stands for the service: its virtual address, and tasks that serve. */
function ownNames({ id, name, service, stack, container }: Task): string[] {
  const ofService = [service, `${service}.${stack}`].map((text) => text.toLowerCase());
  const own = [name, container.hostname, id.slice(0, SHORT_ID)];
  return own.flatMap((text) => (text === undefined || ofService.includes(text.toLowerCase()) ? [] : [text]));
}

/** A task in the network of its node. */
function addAt(state: ClusterState, zone: Zone, task: Task, address: string | undefined): void {
  if (address === undefined || !runsIn(state, task)) return;
  const service = state.stacks.get(task.stack)?.spec.services[task.service];
  for (const row of zone.rows(...ownNames(task))) row.add([address]);
  const all = [`tasks.${task.service}`, `tasks.${task.service}.${task.stack}`];
  const serving = servesIn(state, task) ? [task.service, `${task.service}.${task.stack}`] : [];
  for (const row of zone.rows(...all, ...serving)) row.add([address], service, task.name);
}

/** What one name answers with. */
class Row {
  readonly #addresses = new Set<string>();
  readonly #ports = new Map<string, Ports[number]>();
  readonly #targets = new Set<string>();
  #ttlSeconds: number | undefined;

  /** @param target a task's name: where SRV records point instead of at the name itself */
  add(addresses: readonly (string | undefined)[], service?: Service, target?: string): void {
    for (const address of addresses) if (address !== undefined) this.#addresses.add(address);
    if (target !== undefined) this.#targets.add(target);
    for (const port of portsOf(service)) this.#ports.set(`${port.port}/${port.protocol}/${port.name ?? ''}`, port);
    const ttl = service?.dnsTtlSeconds;
    if (ttl !== undefined) this.#ttlSeconds = Math.min(ttl, this.#ttlSeconds ?? ttl);
  }

  record(networkId: string, name: string): NameRecord {
    return {
      networkId,
      name,
      addresses: [...this.#addresses].sort(compareAddresses),
      ...(this.#ports.size > 0 ? { ports: [...this.#ports].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, port]) => port) } : {}),
      ...(this.#targets.size > 0 && this.#ports.size > 0 ? { targets: [...this.#targets].sort() } : {}),
      ...(this.#ttlSeconds === undefined ? {} : { ttlSeconds: this.#ttlSeconds }),
    };
  }
}

/** Where a service listens: the targets of its published ports, and what it exposes. */
function portsOf(service: Service | undefined): Ports {
  const published = (service?.ports ?? []).map(({ target, protocol, name }) => ({
    port: target,
    protocol,
    ...(name === undefined ? {} : { name: name.toLowerCase() }),
  }));
  return [...published, ...(service?.expose ?? [])];
}

/** Names of one network. DNS knows no case (RFC 4343): neither does this. */
class Zone {
  readonly #rows = new Map<string, Row>();

  /** The rows of these names; what is no host name (a service that ends in "-", say) cannot be asked for and has none. */
  rows(...names: readonly (string | undefined)[]): Row[] {
    return names.flatMap((name) => {
      if (name === undefined || !HOSTNAME_PATTERN.test(name)) return [];
      const key = name.toLowerCase();
      const row = this.#rows.get(key) ?? new Row();
      this.#rows.set(key, row);
      return [row];
    });
  }

  records(networkId: string): NameRecord[] {
    return [...this.#rows].map(([name, row]) => row.record(networkId, name));
  }
}
