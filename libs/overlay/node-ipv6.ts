/**
 * What a network with IPv6 adds to a node, beside what node-kernel.ts makes for IPv4: addresses and routes of its bridge, permanent
 * neighbours, sysctls. The bridge has no link-local address: its neighbours are all known, so it never has to ask for one.
 */
import type { EndpointView, NetworkView } from '#model/node-view.js';
import type { Address, Neighbour, Route } from './kernel-state.js';
import { bridgeName } from './names.js';
import { ipv6Of, prefixOf } from './network-view.js';

export function bridgeAddresses6(n: NetworkView): Address[] {
  const six = ipv6Of(n);
  if (!six) return [];
  const dev = bridgeName(n.vni);
  return [
    { dev, address: `${six.gateway}/${prefixOf(six.subnet)}` },
    { dev, address: `${six.nodeAddress}/128` },
  ];
}

export function connectedRoutes6(n: NetworkView): Route[] {
  const six = ipv6Of(n);
  return six ? [{ table: 'main', destination: six.subnet, dev: bridgeName(n.vni), source: six.nodeAddress }] : [];
}

/**
 * Every endpoint, the node's own tasks too: for what is sent on to a task, Linux asks with a link-local source (RFC 4861 §7.2.2), and
 * the bridge has none. What is known needs no asking, and nobody can answer in another's stead.
 * @param isAway this node has no address there, but brings connections to tasks by IPv6
 */
export function neighbours6(n: NetworkView, endpoints: readonly EndpointView[], isAway = false): Neighbour[] {
  const six = ipv6Of(n);
  if (!six && !isAway) return [];
  const own = new Set([six?.gateway, six?.nodeAddress]);
  return endpoints.flatMap((e) =>
    e.ipv6 === undefined || own.has(e.ipv6) ? [] : [{ dev: bridgeName(n.vni), address: e.ipv6, mac: e.mac }],
  );
}

/**
 * A network without IPv6 has it off. With the first that has it the node becomes a router, and a router does not listen to others:
 * a host whose own default route was advertised must be told to go on listening first (accept_ra 2; kernel doc, ip-sysctl).
 * @param advertised devices of the host that listen to router advertisements (accept_ra 1)
 * @param away ids of networks that connections are brought to by IPv6
 */
export function sysctls6(
  networks: readonly NetworkView[],
  advertised: readonly string[],
  away: ReadonlySet<string> = new Set(),
): Record<string, string> {
  const sysctls: Record<string, string> = {};
  const isOn = (n: NetworkView): boolean => ipv6Of(n) !== undefined || away.has(n.id);
  if (networks.some(isOn)) {
    // A dot in a device's name is a slash in the key's dotted form (sysctl(8)).
    for (const device of advertised) sysctls[`net.ipv6.conf.${device.replaceAll('.', '/')}.accept_ra`] = '2';
    sysctls['net.ipv6.conf.all.forwarding'] = '1';
  }
  for (const n of networks) {
    const conf = `net.ipv6.conf.${bridgeName(n.vni)}`;
    sysctls[`${conf}.disable_ipv6`] = isOn(n) ? '0' : '1';
    if (isOn(n)) Object.assign(sysctls, { [`${conf}.accept_ra`]: '0', [`${conf}.accept_redirects`]: '0' });
  }
  return sysctls;
}
