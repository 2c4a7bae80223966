/** Addresses that services declare as their own, against the networks of the file and against one another. */
import { addressToNumber, familyOf, isEdge, parseSubnet, subnetHas } from '#base/ip.js';
import { isGlobal } from '#model/service-mode.js';
import type { Service } from '#model/stack.js';
import type { NetworkWish, SubnetWish } from '#model/network-wish.js';
import { report, type Context } from './context.js';
import { formatPlace } from './issue.js';
import type { ProjectDraft, StaticAddress } from './draft.js';

const SHARE = 'leave the address out, or run one task, stopped before its successor starts';

export function checkStatics(c: Context, project: ProjectDraft): void {
  const seen = new Map<string, StaticAddress>();
  for (const one of project.statics) {
    const network = project.networks.get(one.network)?.wish;
    const service = project.services.get(one.service);
    if (!network || !service) continue;
    const why = manyOf(service);
    if (why !== undefined) report(c, one.at, one.path, `${one.text} can belong to one task only, and ${why}`, SHARE);
    if (one.kind === 'address' && !network.external) checkPlace(c, one, network);
    const other = seen.get(`${one.network} ${one.text}`);
    if (other) report(c, one.at, one.path, `${one.text} is already that of ${other.path} at ${formatPlace(other.at)}`);
    else seen.set(`${one.network} ${one.text}`, one);
  }
}

function manyOf(service: Service): string | undefined {
  if (isGlobal(service)) return 'the service is global';
  if (service.replicas > 1) return `the service has ${service.replicas} replicas`;
  return service.update?.order === 'start-first' ? 'with the update order start-first old and new run together' : undefined;
}

function checkPlace(c: Context, one: StaticAddress, network: NetworkWish): void {
  const { at, path, text } = one;
  const family = familyOf(text);
  if (family === 6 && !network.ipv6)
    return report(c, at, path, `the network ${network.key} has no IPv6`, 'say "enable_ipv6: true" on the network');
  const subnets = (network.ipam ?? (network.subnet === undefined ? [] : [{ subnet: network.subnet }])).filter(
    (s) => familyOf(s.subnet) === family,
  );
  if (subnets.length === 0)
    return report(c, at, path, `the subnet of network ${network.key} is not known before it is made`, 'declare it under "ipam"');
  const home = subnets.find((s) => subnetHas(parseSubnet(s.subnet), text));
  if (!home) return report(c, at, path, `${text} is not in ${subnets.map((s) => s.subnet).join(', ')} of network ${network.key}`);
  const why = takenIn(home, text);
  if (why !== undefined) report(c, at, path, `${text} is ${why} of network ${network.key}`);
}

function takenIn(home: SubnetWish, address: string): string | undefined {
  const subnet = parseSubnet(home.subnet);
  const n = addressToNumber(address);
  if (isEdge(subnet, n)) return 'the network or broadcast address';
  const gateway = home.gateway === undefined ? subnet.first + 1n : addressToNumber(home.gateway);
  if (n === gateway) return 'the gateway';
  const name = Object.entries(home.auxAddresses ?? {}).find(([, a]) => a === address)?.[0];
  return name === undefined ? undefined : `kept for ${name} (aux_addresses)`;
}
