/**
 * From a node's view to the kernel state it calls for. Pure: equal views give equal states, and nothing is remembered.
 *
 * Per network and node: one bridge, and for an overlay one VXLAN device. Each remote endpoint costs three rows: its MAC
 * behind a tunnel end, its MAC behind the VXLAN port of the bridge, and a permanent neighbour on the bridge. Cost:
 * O(endpoints of this node's networks) rows, O(tasks of this node) namespaces.
 */
import { macOfIp, macOfNode } from '#base/address.js';
import type { EndpointView, NetworkView } from '#model/node-view.js';
import { ownsNamespace, type Task } from '#model/task.js';
import type { ViewByKind } from '#model/view-state.js';
import { isChildNetwork, parentDevice, vlanLinks, wireAddresses, wireLinks, wireRoutes, type WiredTask } from './child-network.js';
import type { Address, FdbRow, KernelState, Link, NamespaceState, Neighbour, Route } from './kernel-state.js';
import { addressKey, emptyNamespace, fdbKey, keyed, neighbourKey, NODE_NAMESPACE, peerKey, routeKey, ruleKey } from './kernel-state.js';
import type { HostInput } from './host-input.js';
import type { Mesh } from './mesh.js';
import { meshOf, meshTable } from './mesh.js';
import {
  bridgeName,
  FIREWALL_TABLE,
  DEVICE_TABLE,
  NODE_VIP_TABLE,
  NODE_VIP_TABLE6,
  PORT_GUARD_TABLE,
  spareNamespace,
  taskNamespace,
  vethName,
  vxlanName,
} from './names.js';
import { ipv6Of, prefixOf, subnets4 } from './network-view.js';
import { floodRows, isMulticast } from './multicast.js';
import { tableText } from './nft-text.js';
import { bridgeAddresses6, connectedRoutes6, neighbours6, sysctls6 } from './node-ipv6.js';
import { firewallTable } from './node-firewall.js';
import type { HostModeTask } from './node-ports.js';
import { enteredAt, nodePorts } from './node-ports.js';
import type { PublishedPort } from './published-ports.js';
import { portGuardElements, portGuardTable, type LocalPort } from './port-guard.js';
import { exitOf, taskInterfaces, type TaskInterface } from './task-interfaces.js';
import { spareNamespaceState, taskNamespaceState } from './task-namespace.js';
import type { Tunnel } from './tunnels.js';
import { isEncrypted, tunnelOf } from './tunnels.js';
import { indexView, mergeSorted, type ViewIndex } from './view-index.js';
import { vipChains, vipSets } from './vip-table.js';

/** The whole kernel state that `view` calls for on this node. */
export function nodeKernel(whole: ViewByKind, host: HostInput): KernelState {
  // Without rules frames in clear would be taken in beside the tunnel.
  const tunnel = host.firewall === false ? undefined : tunnelOf(whole, host.nodeId, host.tunnel);
  // Without a tunnel an encrypted network is not there at all: no bridge, no wire, no row.
  const view = tunnel ? whole : withoutNetworks(whole, isEncrypted);
  const index = indexView(view, host);
  const parentOf = (n: NetworkView) => parentDevice(n, host.devices ?? NO_DEVICES);
  const tasks = view.tasks
    .filter((t) => t.nodeId === host.nodeId && ownsNamespace(t))
    .map((task) => ({ task, interfaces: taskInterfaces(task.endpoints, index.networks.values(), parentOf) }));
  const namespaces: Record<string, NamespaceState> = { [NODE_NAMESPACE]: nodeNamespace({ view, host, index, tunnel }, tasks) };
  for (const { task, interfaces } of tasks) {
    const on = interfaces.map((i) => i.network.id);
    namespaces[taskNamespace(task.id)] = taskNamespaceState({
      interfaces,
      vips: index.vips(on),
      vips6: index.vips6(on),
      flows: mergeSorted(on.map((id) => index.flows.get(id) ?? [])),
      sysctls: task.container.sysctls,
    });
  }
  for (let n = 0; n < (host.spares ?? 0); n++) namespaces[spareNamespace(host.nodeId, n)] = spareNamespaceState();
  return { namespaces };
}

const NO_DEVICES: ReadonlySet<string> = new Set();

interface PlacedTask {
  task: Task;
  interfaces: TaskInterface[];
}

function withoutNetworks(view: ViewByKind, isOut: (n: NetworkView) => boolean): ViewByKind {
  const out = new Set(view.networks.filter(isOut).map((n) => n.id));
  if (out.size === 0) return view;
  const stays = ({ networkId }: { networkId: string }) => !out.has(networkId);
  const { networks, endpoints, vips } = view;
  return { ...view, networks: networks.filter((n) => !out.has(n.id)), endpoints: endpoints.filter(stays), vips: vips.filter(stays) };
}

/** Those with an interface that is no port of a bridge. */
function wiredTasks(tasks: readonly PlacedTask[]): WiredTask[] {
  return tasks.flatMap(({ task, interfaces }) => {
    const addresses = interfaces.filter((i) => i.parent !== undefined).map((i) => i.ipv4);
    return addresses.length > 0 ? [{ taskId: task.id, addresses }] : [];
  });
}

interface Scene {
  view: ViewByKind;
  host: HostInput;
  index: ViewIndex;
  tunnel: Tunnel | undefined;
}

function nodeNamespace(scene: Scene, tasks: readonly PlacedTask[]): NamespaceState {
  const { view, host, index, tunnel } = scene;
  const networks = [...index.networks.values()].filter((n) => !isChildNetwork(n));
  const wired = wiredTasks(tasks);
  const published = nodePorts(view.publications, hostModeTasks(tasks, host), host.refusedPorts ?? new Set());
  const ports = tasks.flatMap(guardedPorts);
  const remote = networks.filter((n) => n.driver === 'overlay').flatMap((n) => remoteEndpoints(n, scene));
  const mesh = meshOf({ ...host, networks, endpoints: index.endpoints, members: view.members, endOf: (n, node) => endOf(n, node, scene) });
  return {
    ...emptyNamespace(),
    links: Object.fromEntries([
      ...networks.flatMap((n) => networkLinks(n, scene)),
      ...vlanLinks([...index.networks.values()], host.devices ?? NO_DEVICES),
      ...tasks.flatMap(taskLinks),
      ...wireLinks(wired),
      ...(tunnel?.links ?? []),
    ]),
    addresses: keyed([...networks.flatMap(bridgeAddresses), ...wireAddresses(wired), ...(tunnel?.addresses ?? [])], addressKey),
    routes: keyed([...networks.flatMap(connectedRoutes), ...mesh.routes, ...wireRoutes(wired), ...(tunnel?.routes ?? [])], routeKey),
    rules: keyed(mesh.rules, ruleKey),
    neighbours: keyed(
      [
        ...remote.map(({ network, endpoint }): Neighbour => ({ dev: bridgeName(network.vni), address: endpoint.ipv4, mac: endpoint.mac })),
        ...networks.flatMap((n) => neighbours6(n, index.endpoints.get(n.id) ?? [], mesh.away6.has(n.id))),
        ...mesh.neighbours,
      ],
      neighbourKey,
    ),
    fdb: keyed(
      [
        ...remote.flatMap(({ network, endpoint, end }): FdbRow[] => [
          { dev: vxlanName(network.vni), mac: endpoint.mac, ...end },
          { dev: vxlanName(network.vni), mac: endpoint.mac },
        ]),
        ...networks.flatMap((n) => flooded(n, scene)),
        ...mesh.fdb,
      ],
      fdbKey,
    ),
    peers: keyed(tunnel?.peers ?? [], peerKey),
    sysctls: nodeSysctls(networks, host, mesh),
    ...(host.firewall === false
      ? {}
      : {
          nft: nodeTables(scene, ports, published, mesh, wired),
          vips: nodeVips(networks, index),
          elements: ports.length === 0 ? {} : { [PORT_GUARD_TABLE]: portGuardElements(ports) },
        }),
    flows: mergeSorted([
      ...index.flows.values(),
      udpFlows(published.flatMap((p) => (p.protocol === 'udp' ? [...p.backends, ...(p.backends6 ?? [])].map((b) => b.address) : []))),
    ]),
    doors: [...new Set(published.flatMap((p) => (p.protocol === 'udp' && p.backends.length > 0 ? [p.published] : [])))].sort(
      (x, y) => x - y,
    ),
  };
}

function nodeVips(networks: readonly NetworkView[], index: ViewIndex): NamespaceState['vips'] {
  const ids = [...index.networks.keys()];
  return { [NODE_VIP_TABLE]: index.vips(ids), ...(networks.some(ipv6Of) ? { [NODE_VIP_TABLE6]: index.vips6(ids) } : {}) };
}

/** Flows of UDP know no end: those to a task that takes no more are forgotten, so that the next datagram goes to another. */
const udpFlows = (addresses: readonly string[]): string[] => [...new Set(addresses.map((a) => `udp ${a}`))].sort();

/** An endpoint elsewhere, and the tunnel end that it is behind. */
interface Remote {
  network: NetworkView;
  endpoint: EndpointView;
  end: Pick<FdbRow, 'vtep' | 'via'>;
}

/**
 * Tasks and nodes elsewhere. An address that this node itself holds is never remote, whatever the view says of it; on an
 * encrypted network a node that cannot encrypt is out of reach.
 */
function remoteEndpoints(network: NetworkView, scene: Scene): Remote[] {
  const { host, index } = scene;
  const own = new Set<string | undefined>([network.gateway, network.nodeAddress]);
  const others = (index.endpoints.get(network.id) ?? []).filter(
    (e) => e.nodeId !== host.nodeId && e.vtep !== host.address && !own.has(e.ipv4),
  );
  return others.flatMap((endpoint) => {
    const end = endOf(network, { id: endpoint.nodeId, address: endpoint.vtep }, scene);
    return end ? [{ network, endpoint, end }] : [];
  });
}

/** The tunnel end of a node; none for one that cannot encrypt, on a network that is. */
function endOf(network: NetworkView, node: { id: string; address: string }, { tunnel }: Scene): Remote['end'] | undefined {
  if (!isEncrypted(network)) return { vtep: node.address };
  const vtep = tunnel?.ends.get(node.id);
  return vtep === undefined ? undefined : { vtep, via: tunnel?.dev };
}

/** To every other node with a task on the network. */
function flooded(n: NetworkView, scene: Scene): FdbRow[] {
  const { host, index } = scene;
  const others = (index.endpoints.get(n.id) ?? []).filter((e) => e.nodeId !== host.nodeId && e.vtep !== host.address);
  return floodRows(n, others, (node) => endOf(n, node, scene));
}

function networkLinks(n: NetworkView, { view, host, tunnel }: Scene): [string, Link][] {
  const bridge: [string, Link] = [bridgeName(n.vni), { kind: 'bridge', up: true, mac: bridgeMac(n, view, host), mtu: n.mtu }];
  if (n.driver !== 'overlay') return [bridge];
  const port = view.settings.vxlanPort;
  const link: Link = {
    kind: 'vxlan',
    up: true,
    vni: n.vni,
    port,
    ...(tunnel && isEncrypted(n) ? { local: tunnel.local, under: tunnel.dev } : { local: host.address }),
    mtu: n.mtu,
    bridge: bridgeName(n.vni),
    suppress: true,
    ...(isMulticast(n) ? { multicast: true } : {}),
  };
  return [bridge, [vxlanName(n.vni), link]];
}

/**
 * The gateway address is the same on every node, the MAC is the node's own. From its index, so that it stays when the node gets
 * an address on the network or loses it; what was kept from an older controller may not tell.
 */
function bridgeMac(n: NetworkView, view: ViewByKind, host: HostInput): string {
  const index = view.members.find((m) => m.kind === 'node' && m.id === host.nodeId)?.index;
  return index === undefined ? macOfIp(n.nodeAddress ?? n.gateway) : macOfNode(index);
}

function taskLinks({ task, interfaces }: PlacedTask): [string, Link][] {
  return bridged(interfaces).map((i) => [
    vethName(task.id, i.network.id),
    {
      kind: 'veth',
      up: true,
      mtu: i.network.mtu,
      bridge: bridgeName(i.network.vni),
      // Under br_netfilter a task at its own published port is translated while bridged, and must come back on its port.
      hairpin: task.ports.length > 0,
      peerNamespace: taskNamespace(task.id),
      peerName: i.name,
    },
  ]);
}

const guardedPorts = ({ task, interfaces }: PlacedTask): LocalPort[] =>
  bridged(interfaces).map((i) => ({
    veth: vethName(task.id, i.network.id),
    ipv4: i.ipv4,
    ipv6: i.network.ipv6 && i.ipv6,
    mac: i.mac,
  }));

const bridged = (interfaces: readonly TaskInterface[]): TaskInterface[] => interfaces.filter((i) => i.parent === undefined);

function bridgeAddresses(n: NetworkView): Address[] {
  const dev = bridgeName(n.vni);
  if (n.nodeAddress === undefined) return [];
  return [
    ...subnets4(n).map(({ subnet, gateway }) => ({ dev, address: `${gateway}/${prefixOf(subnet)}` })),
    { dev, address: `${n.nodeAddress}/32` },
    ...bridgeAddresses6(n),
  ];
}

/** The node speaks with its own address: with the gateway's, the answer would go to whichever node is nearest to it. */
function connectedRoutes(n: NetworkView): Route[] {
  const { nodeAddress } = n;
  if (nodeAddress === undefined) return [];
  const dev = bridgeName(n.vni);
  return [...subnets4(n).map(({ subnet }) => ({ table: 'main', destination: subnet, dev, source: nodeAddress })), ...connectedRoutes6(n)];
}

function nodeSysctls(networks: readonly NetworkView[], host: HostInput, mesh: Mesh): Record<string, string> {
  // ip_forward first: writing it resets the other settings of the family (kernel doc, ip-sysctl).
  const sysctls: Record<string, string> = {
    'net.ipv4.ip_forward': '1',
    'net.ipv4.conf.all.rp_filter': '0',
    'net.ipv4.conf.all.send_redirects': '0',
  };
  for (const n of networks) {
    const dev = `net.ipv4.conf.${bridgeName(n.vni)}`;
    sysctls[`${dev}.rp_filter`] = '0';
    sysctls[`${dev}.send_redirects`] = '0';
  }
  return { ...sysctls, ...sysctls6(networks, host.advertised ?? [], mesh.away6) };
}

function nodeTables(
  { view, host, index, tunnel }: Scene,
  ports: readonly LocalPort[],
  published: readonly PublishedPort[],
  mesh: Mesh,
  wires: readonly WiredTask[],
): Record<string, string> {
  const nodes = view.members.filter((m) => m.kind === 'node').map((m) => m.address);
  const six = [...index.networks.values()].some((n) => !isChildNetwork(n) && ipv6Of(n));
  const onDevices = meshTable(mesh);
  return {
    [FIREWALL_TABLE]: firewallTable({
      networks: [...index.networks.values()].filter((n) => !isChildNetwork(n)),
      wires,
      published,
      mesh,
      address: host.address,
      vteps: nodes,
      members: [host.address, ...view.members.map((m) => m.address)],
      vxlanPort: view.settings.vxlanPort,
      wireguardPort: view.settings.wireguardPort,
      tunnel: tunnel?.dev,
      tunnelEnd: tunnel?.local,
      guardedTcpPorts: view.settings.guardedTcpPorts,
    }),
    [PORT_GUARD_TABLE]: portGuardTable(ports, [...index.networks.values()]),
    [NODE_VIP_TABLE]: tableText(vipSets(NODE_VIP_TABLE), vipChains(NODE_VIP_TABLE)),
    ...(six ? { [NODE_VIP_TABLE6]: tableText(vipSets(NODE_VIP_TABLE6), vipChains(NODE_VIP_TABLE6)) } : {}),
    ...(onDevices === undefined ? {} : { [DEVICE_TABLE]: onDevices }),
  };
}

/** The running tasks of this node, by the network that they are left and entered by. */
function hostModeTasks(tasks: readonly PlacedTask[], host: HostInput): HostModeTask[] {
  return tasks.flatMap(({ task, interfaces }) => {
    const door = exitOf(bridged(interfaces));
    return door && isReachable(task, host) ? [{ ports: task.ports, ...enteredAt(door) }] : [];
  });
}

const isReachable = (task: Task, host: HostInput): boolean =>
  host.runningTasks === undefined ? task.desired === 'run' : host.runningTasks.has(task.id);
