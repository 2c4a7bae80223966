/**
 * What a kernel holds of ours, as ONE plain value. The same type says what should be (node-kernel.ts makes it from a
 * node's view) and what is (libs/linux reads it); diff.ts turns the difference into operations.
 *
 * Every collection is a record by identity: two entries with one key cannot be in a kernel at the same time.
 */
import type { VipRecord } from './vip-table.js';

/** The node's own network namespace; every other key of `namespaces` is a name below /run/netns. */
export const NODE_NAMESPACE = '';

export interface KernelState {
  namespaces: Record<string, NamespaceState>;
}

export interface NamespaceState {
  /** By name. */
  links: Record<string, Link>;
  /** By `<dev> <address>/<prefix>`. */
  addresses: Record<string, Address>;
  /** By `<table> <destination>`. */
  routes: Record<string, Route>;
  /** By priority, and device of a rule that names one. */
  rules: Record<string, Rule>;
  /** Permanent neighbours, by `<dev> <address>`. */
  neighbours: Record<string, Neighbour>;
  /** By `<dev> <mac> <vxlan|bridge>`; with the tunnel end behind it where the MAC is all zero. */
  fdb: Record<string, FdbRow>;
  /** WireGuard peers, by `<dev> <public key>`. */
  peers: Record<string, Peer>;
  /** Key in dotted form → value with single spaces. Set, never unset. */
  sysctls: Record<string, string>;
  /** `<family> <table>` → the text inside the table's braces. */
  nft: Record<string, string>;
  /** Table of `nft` → what is in its maps of virtual addresses. Empty if left out. */
  vips: Record<string, VipRecord>;
  /** Table of `nft` → set → what is in it, as nft writes it, where that changes element by element (port-guard.ts). Empty ones are left out. */
  elements: Record<string, Record<string, readonly string[]>>;
  /**
   * Addresses that connection tracking may have bound flows to; when one leaves, its flows are forgotten. `udp <address>`: only
   * those of UDP, which would otherwise go on to a task that takes no more. Sorted.
   */
  flows: readonly string[];
  /** Published UDP ports. When one is new, flows to it from before are forgotten: tracked as untranslated, they would never end. Sorted. */
  doors: readonly number[];
}

export type Link = LoopbackLink | BridgeLink | VxlanLink | VlanLink | VethLink | TaskLink | ChildLink | WireguardLink;
/** An interface of a task that is a part of a device of the node. */
export type ChildLink = MacvlanLink | IpvlanLink;

export interface LoopbackLink {
  kind: 'loopback';
  up: boolean;
}
export interface BridgeLink {
  kind: 'bridge';
  up: boolean;
  mac: string;
  /** Bytes. */
  mtu: number;
}
/** Static VXLAN (RFC 7348): nothing is learned, and nothing is flooded but on a multicast network. */
export interface VxlanLink {
  kind: 'vxlan';
  up: boolean;
  vni: number;
  /** UDP. */
  port: number;
  /** Underlay address of this node; of an encrypted network, its address inside the tunnels. */
  local: string;
  /** The device that it is bound to, and goes with. */
  under?: string;
  mtu: number;
  /** The bridge it is a port of; '' if none. */
  bridge: string;
  /** Port flags `neigh_suppress on learning off`. */
  suppress: boolean;
  /** Port flags `flood off mcast_flood on bcast_flood on`: the network is multicast. */
  multicast?: true;
}
/** IEEE 802.1Q: one VLAN of a device of the host. */
export interface VlanLink {
  kind: 'vlan';
  up: boolean;
  parent: string;
  /** 1 … 4094. */
  id: number;
}
/** The node's end of a task's wire. Making it makes the task's end too, and so does removing. */
export interface VethLink {
  kind: 'veth';
  up: boolean;
  mtu: number;
  /** The bridge it is a port of; '' if none. */
  bridge: string;
  /** The port may send a frame back where it came from. */
  hairpin: boolean;
  /** '' if the other end is nowhere we know. */
  peerNamespace: string;
  peerName: string;
}
/** The task's end. */
export interface TaskLink {
  kind: 'task';
  up: boolean;
  mac: string;
  mtu: number;
}
/** In a task's namespace; made from the node's, where its parent is, and gone with that. */
export interface MacvlanLink {
  kind: 'macvlan';
  up: boolean;
  /** Device of the node's namespace; '' if it is nowhere we know. */
  parent: string;
  mode: string;
  mac: string;
  mtu: number;
}
/** The same, with the parent's MAC. */
export interface IpvlanLink {
  kind: 'ipvlan';
  up: boolean;
  parent: string;
  mode: string;
  mtu: number;
}

export const isChild = (link: Link | undefined): link is ChildLink => link?.kind === 'macvlan' || link?.kind === 'ipvlan';

/** The kernel's, or wireguard-go's tun device where the kernel has none: to whoever uses it they are the same. */
export interface WireguardLink {
  kind: 'wireguard';
  up: boolean;
  mtu: number;
  /** UDP. */
  port: number;
  /** Tells which private key it holds. */
  publicKey: string;
}

export interface Address {
  dev: string;
  /** `a.b.c.d/p`, or IPv6 in canonical text; always without the kernel's own connected route (`noprefixroute`): ours carries the right source. */
  address: string;
}

export interface Route {
  /** `main` or a number. */
  table: string;
  /** A prefix of either family, or `default` (IPv4's; IPv6's is `::/0`). */
  destination: string;
  dev: string;
  /** Gateway; on-link if left out. */
  via?: string;
  /** The gateway is on the link, whatever the routes say. */
  onlink?: true;
  /** Preferred source. */
  source?: string;
}

export interface Rule {
  priority: number;
  /** Source address; any if left out. */
  from?: string;
  /** `<value>/<mask>` of the packet's mark, in hex. */
  mark?: string;
  /** Device that it came in by. */
  iif?: string;
  /** Of IPv6, where no `from` tells; its priority is no rule's of IPv4. */
  family?: 6;
  table: string;
}

export interface Neighbour {
  dev: string;
  address: string;
  mac: string;
}

/**
 * `vtep` set: behind that tunnel end (the VXLAN device's own table). Not set: behind this port of the bridge (static). The
 * all-zero MAC stands for what no other row is for, and may have a row for each tunnel end.
 */
export interface FdbRow {
  dev: string;
  mac: string;
  vtep?: string;
  /** The only device that may carry it there. */
  via?: string;
}

/** A node at the other end of a WireGuard device. */
export interface Peer {
  dev: string;
  publicKey: string;
  /** `a.b.c.d:port`. */
  endpoint: string;
  /** The one address that may come from it and goes to it: `a.b.c.d/32`. */
  allowed: string;
  /** Names the pre-shared key, and does not tell it; '' for none. */
  presharedKey: string;
  /** Seconds between signs of life, so that a session is there before it is needed; 0 for none. */
  keepaliveS: number;
}

export const addressKey = (a: Address): string => `${a.dev} ${a.address}`;
export const routeKey = (r: Route): string => `${r.table} ${r.destination}`;
export const ruleKey = (r: Rule): string => (r.iif === undefined ? `${r.priority}` : `${r.priority} ${r.iif}`);
export const isRule6 = (r: Rule): boolean => r.family === 6 || (r.from ?? '').includes(':');
export const neighbourKey = (n: Neighbour): string => `${n.dev} ${n.address}`;
export const fdbKey = (f: FdbRow): string =>
  `${f.dev} ${f.mac} ${f.vtep === undefined ? 'bridge' : 'vxlan'}${isForEverybody(f) ? ` ${f.vtep}` : ''}`;
/** A row of head-end replication. */
export const isForEverybody = (f: FdbRow): boolean => f.mac === '00:00:00:00:00:00';

export const peerKey = (p: Peer): string => `${p.dev} ${p.publicKey}`;

/** The device that a sysctl is of (`net.ipv4.conf.<device>.…`); it comes and goes with it. */
export const deviceOfSysctl = (key: string): string | undefined => /^net\.ipv[46]\.(?:conf|neigh)\.([^.]+)\./.exec(key)?.[1];

export function emptyNamespace(): NamespaceState {
  return {
    links: {},
    addresses: {},
    routes: {},
    rules: {},
    neighbours: {},
    fdb: {},
    peers: {},
    sysctls: {},
    nft: {},
    vips: {},
    elements: {},
    flows: [],
    doors: [],
  };
}

export const emptyKernel = (): KernelState => ({ namespaces: { [NODE_NAMESPACE]: emptyNamespace() } });

/** A record by the key that `keyOf` gives. */
export function keyed<T>(items: readonly T[], keyOf: (item: T) => string): Record<string, T> {
  return Object.fromEntries(items.map((item) => [keyOf(item), item]));
}
