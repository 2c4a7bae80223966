/**
 * Reading a kernel: `ip -j`, `bridge -j`, sysctl. Only what is ours is kept (libs/overlay/names.ts says how it is known);
 * what a tool prints is checked before it is believed.
 */
import { z } from 'zod';
import { canonicalAddress } from '#base/ip.js';
import { WeftError } from '#base/errors.js';
import type { Address, ChildLink, FdbRow, Link, NamespaceState, Neighbour, Route, Rule } from '#overlay/kernel-state.js';
import { addressKey, deviceOfSysctl, fdbKey, keyed, NODE_NAMESPACE, neighbourKey, routeKey, ruleKey } from '#overlay/kernel-state.js';
import { isOurLink, isOurNamespace, isSpareNamespace, isTaskLink, isWireguardName, ROUTE_PROTOCOL } from '#overlay/names.js';
import type { Entry } from './enter.js';
import type { SeenTunnel } from './wireguard.js';
import { seeTunnel } from './wireguard.js';

const linkSchema = z.object({
  ifindex: z.number(),
  ifname: z.string(),
  /** Name of what it is a part of, in the same namespace… */
  link: z.string().nullish(),
  /** …or its index in another. */
  link_index: z.number().nullish(),
  link_netnsid: z.number().optional(),
  flags: z.array(z.string()),
  mtu: z.number(),
  master: z.string().optional(),
  address: z.string().optional(),
  linkinfo: z
    .object({
      info_kind: z.string().optional(),
      info_data: z
        .looseObject({
          id: z.number().optional(),
          port: z.number().optional(),
          local: z.string().optional(),
          link: z.string().optional(),
          mode: z.string().optional(),
        })
        .optional(),
      info_slave_data: z
        .looseObject({
          neigh_suppress: z.boolean().optional(),
          learning: z.boolean().optional(),
          hairpin: z.boolean().optional(),
          flood: z.boolean().optional(),
          mcast_flood: z.boolean().optional(),
          bcast_flood: z.boolean().optional(),
        })
        .optional(),
    })
    .optional(),
  addr_info: z.array(z.object({ family: z.string(), local: z.string().optional(), prefixlen: z.number() })),
});
const routeSchema = z.object({
  dst: z.string(),
  gateway: z.string().optional(),
  dev: z.string().optional(),
  table: z.string().optional(),
  prefsrc: z.string().optional(),
  /** IPv6 only. */
  pref: z.string().optional(),
  flags: z.array(z.string()).optional(),
});
const ruleSchema = z.object({
  priority: z.number(),
  src: z.string(),
  fwmark: z.string().optional(),
  fwmask: z.string().optional(),
  iif: z.string().optional(),
  table: z.string().optional(),
  protocol: z.string().optional(),
});
const neighbourSchema = z.object({ dst: z.string(), dev: z.string(), lladdr: z.string().optional() });
const netnsSchema = z.object({ name: z.string(), id: z.number().optional() });
const fdbSchema = z.object({
  mac: z.string(),
  ifname: z.string(),
  dst: z.string().optional(),
  viaIf: z.string().optional(),
  master: z.string().optional(),
  state: z.string().optional(),
});

export type SeenLink = z.infer<typeof linkSchema>;

/** What `ip` says of one namespace. */
export interface Seen {
  /** Every link, others' too: a wire is known by the index of its other end. */
  links: SeenLink[];
  addresses: Address[];
  routes: Route[];
  rules: Rule[];
  neighbours: Neighbour[];
  /** Namespaces of our tasks that this one knows by an id, by that id. */
  taskNamespaces: Map<number, string>;
}

const SHOW = ['addr show', `route show table all proto ${ROUTE_PROTOCOL}`, 'rule show', 'neigh show nud permanent'];
/** Only the node's namespace knows tasks' ones; listing them opens every one there is. */
const SHOW_NODE = [...SHOW, 'netns list'];

/** Lines for an `ip -d -j -batch` that make it tell what `seenIn` reads. */
export const showLines = (ns: string): readonly string[] => (ns === NODE_NAMESPACE ? SHOW_NODE : SHOW);

/**
 * Reads namespace `ns` with one `ip`, and one more for rules of IPv6, which it lists by themselves only.
 * @throws COMMAND_FAILED, CORRUPT
 */
export async function see(entry: Entry, ns: string, rules6 = false): Promise<Seen> {
  const { stdout } = await entry.ip(ns, ['-d', '-j', '-batch', '-'], { input: `${showLines(ns).join('\n')}\n` });
  const seen = seenIn(ns, stdout);
  if (!rules6) return seen;
  const six = await entry.ip(ns, ['-6', '-d', '-j', 'rule', 'show']);
  return { ...seen, rules: [...seen.rules, ...parsed(z.array(ruleSchema), json(six.stdout)).flatMap(ruleOf).map(ofFamily6)] };
}

/** What the `showLines` of a batch printed. @throws KERNEL */
export function seenIn(ns: string, stdout: string): Seen {
  // Of namespaces `ip` says nothing at all while there is no /run/netns: on a host that has made none since it started.
  const [links, routes, rules, neighbours, netns = []] = documents(stdout, [SHOW.length, showLines(ns).length]);
  const seen = parsed(z.array(linkSchema), links);
  const names = new Set(seen.filter(ns === NODE_NAMESPACE ? (l) => isOurLink(l.ifname) : isOurs).map((l) => l.ifname));
  const ours = (name: string) => names.has(name);
  return {
    links: seen,
    addresses: seen.filter((l) => ours(l.ifname) && l.ifname !== 'lo').flatMap(addressesOf),
    routes: parsed(z.array(routeSchema), routes).flatMap((r) => (r.dev !== undefined && ours(r.dev) ? [routeOf(r)] : [])),
    rules: parsed(z.array(ruleSchema), rules).flatMap(ruleOf),
    neighbours: parsed(z.array(neighbourSchema), neighbours).flatMap((n) =>
      ours(n.dev) ? [{ dev: n.dev, address: canonicalAddress(n.dst), mac: n.lladdr ?? '' }] : [],
    ),
    taskNamespaces: new Map(
      parsed(z.array(netnsSchema), netns)
        // One that is about to lose its name of a spare has a task's already.
        .sort((a, b) => Number(isSpareNamespace(b.name)) - Number(isSpareNamespace(a.name)))
        .flatMap((n) => (n.id !== undefined && isOurNamespace(n.name) ? [[n.id, n.name] as const] : [])),
    ),
  };
}

/** The forwarding rows on our VXLAN devices: tunnel ends, and static rows of the bridge. The kernel's own rows are left out. */
export async function seeFdb(entry: Entry): Promise<FdbRow[]> {
  const { stdout } = await entry.exec(NODE_NAMESPACE, ['bridge', '-j', 'fdb', 'show']);
  return parsed(z.array(fdbSchema), json(stdout || '[]')).flatMap((r): FdbRow[] => {
    if (!isOurLink(r.ifname) || !r.ifname.startsWith('wfx')) return [];
    if (r.dst !== undefined) return [{ dev: r.ifname, mac: r.mac, vtep: r.dst, ...(r.viaIf === undefined ? {} : { via: r.viaIf }) }];
    return r.master !== undefined && r.state === 'static' ? [{ dev: r.ifname, mac: r.mac }] : [];
  });
}

/**
 * Values of the sysctls that `wanted` names. One that this kernel does not have counts as being as wanted, since it cannot
 * be set; one of a device of ours that is not `there` is missing, and will be there with the device.
 */
export async function seeSysctls(
  entry: Entry,
  ns: string,
  wanted: Record<string, string>,
  there: (device: string) => boolean,
): Promise<Record<string, string>> {
  const keys = Object.keys(wanted);
  if (keys.length === 0) return {};
  const { stdout } = await entry.exec(ns, ['sysctl', '-e', ...keys], { accept: [1, 255] });
  return sysctlsIn(stdout, wanted, there);
}

/** What `sysctl` printed, with the rules of `seeSysctls`; of a key that it printed twice, the later value. */
export function sysctlsIn(stdout: string, wanted: Record<string, string>, there: (device: string) => boolean): Record<string, string> {
  const waits = (key: string) => {
    const device = deviceOfSysctl(key);
    return device !== undefined && isOurLink(device) && !there(device);
  };
  const values = Object.fromEntries(Object.entries(wanted).filter(([key]) => !waits(key)));
  for (const line of stdout.split('\n')) {
    const at = line.indexOf(' = ');
    if (at > 0)
      values[line.slice(0, at)] = line
        .slice(at + 3)
        .trim()
        .replace(/\s+/g, ' ');
  }
  return values;
}

/** The node's links of ours. @param tasks what was seen in the tasks' namespaces, @param tunnels of the WireGuard devices, by name */
export function nodeLinks(node: Seen, tasks: ReadonlyMap<string, Seen>, tunnels: ReadonlyMap<string, SeenTunnel>): Record<string, Link> {
  return Object.fromEntries(
    node.links
      .filter((l) => isOurLink(l.ifname))
      .flatMap((l): [string, Link][] => {
        if (!isWireguardName(l.ifname)) return [[l.ifname, nodeLink(l, node, tasks)]];
        const tunnel = tunnels.get(l.ifname);
        // A device that nobody answers for is as good as none: it is made anew.
        return tunnel ? [[l.ifname, { kind: 'wireguard', up: isUp(l), mtu: l.mtu, port: tunnel.port, publicKey: tunnel.publicKey }]] : [];
      }),
  );
}

/** The WireGuard devices of the node's namespace, by name. */
export async function seeTunnels(entry: Entry, node: Seen): Promise<Map<string, SeenTunnel>> {
  const tunnels = new Map<string, SeenTunnel>();
  for (const { ifname } of node.links) {
    const tunnel = isWireguardName(ifname) ? await seeTunnel(entry, ifname) : undefined;
    if (tunnel) tunnels.set(ifname, tunnel);
  }
  return tunnels;
}

const CHILD_KINDS: readonly (string | undefined)[] = ['macvlan', 'ipvlan'];
const isChildLink = (l: SeenLink): boolean => CHILD_KINDS.includes(l.linkinfo?.info_kind) && l.link_netnsid !== undefined;
/** In a task's namespace: by name, or since the other end is outside. What a task made for itself is its own. */
const isOurs = (l: SeenLink): boolean =>
  isTaskLink(l.ifname) || isChildLink(l) || (l.linkinfo?.info_kind === 'veth' && l.link_netnsid !== undefined);

/** Whether anything in it is a part of a device of the node's: by itself it cannot tell of which. */
export const hasChildren = (task: Seen): boolean => task.links.some(isChildLink);

/** The interfaces of a task's namespace. @param node what was seen in the node's */
export function taskLinks(task: Seen, node?: Seen): Record<string, Link> {
  return Object.fromEntries(task.links.filter(isOurs).map((l): [string, Link] => [l.ifname, taskLink(l, node)]));
}

function taskLink(l: SeenLink, node: Seen | undefined): Link {
  const up = isUp(l);
  if (l.ifname === 'lo') return { kind: 'loopback', up };
  if (isChildLink(l)) return childLink(l, node);
  return { kind: 'task', up, mac: l.address ?? '', mtu: l.mtu };
}

function childLink(l: SeenLink, node: Seen | undefined): ChildLink {
  const parent = node?.links.find((p) => p.ifindex === l.link_index)?.ifname ?? '';
  const rest = { up: isUp(l), parent, mode: l.linkinfo?.info_data?.mode ?? '', mtu: l.mtu };
  return l.linkinfo?.info_kind === 'ipvlan' ? { kind: 'ipvlan', ...rest } : { kind: 'macvlan', ...rest, mac: l.address ?? '' };
}

/** Rows of a namespace as a state; links, nft and sysctls are put in by the caller. */
export function rowsOf(seen: Seen, fdb: readonly FdbRow[]): Pick<NamespaceState, 'addresses' | 'routes' | 'rules' | 'neighbours' | 'fdb'> {
  return {
    addresses: keyed(seen.addresses, addressKey),
    routes: keyed(seen.routes, routeKey),
    rules: keyed(seen.rules, ruleKey),
    neighbours: keyed(seen.neighbours, neighbourKey),
    fdb: keyed(fdb, fdbKey),
  };
}

function nodeLink(l: SeenLink, node: Seen, tasks: ReadonlyMap<string, Seen>): Link {
  const bridge = l.master ?? '';
  const up = isUp(l);
  const kind = l.linkinfo?.info_kind;
  if (kind === 'vxlan') {
    const data = l.linkinfo?.info_data;
    const port = l.linkinfo?.info_slave_data;
    const suppress = port?.neigh_suppress === true && port.learning === false;
    const under = data?.link === undefined ? {} : { under: data.link };
    const multicast = port?.flood === false && port.mcast_flood === true && port.bcast_flood === true ? { multicast: true as const } : {};
    const ends = { vni: data?.id ?? 0, port: data?.port ?? 0, local: data?.local ?? '', ...under };
    return { kind, up, ...ends, mtu: l.mtu, bridge, suppress, ...multicast };
  }
  if (kind === 'vlan') return { kind, up, parent: l.link ?? '', id: l.linkinfo?.info_data?.id ?? 0 };
  if (kind === 'veth')
    return { kind, up, mtu: l.mtu, bridge, hairpin: l.linkinfo?.info_slave_data?.hairpin === true, ...peerOf(l, node, tasks) };
  return { kind: 'bridge', up, mac: l.address ?? '', mtu: l.mtu };
}

function peerOf(l: SeenLink, node: Seen, tasks: ReadonlyMap<string, Seen>): { peerNamespace: string; peerName: string } {
  const peerNamespace = l.link_netnsid === undefined ? '' : (node.taskNamespaces.get(l.link_netnsid) ?? '');
  const peer = tasks.get(peerNamespace)?.links.find((p) => p.ifindex === l.link_index);
  return { peerNamespace, peerName: peer?.ifname ?? '' };
}

const isUp = (l: SeenLink): boolean => l.flags.includes('UP');

/** Of fe80::/64, which the kernel gives itself (RFC 4291 §2.5.6). */
const LINK_LOCAL = 'fe80:';

function addressesOf(l: SeenLink): Address[] {
  return l.addr_info.flatMap((a) =>
    a.local !== undefined && (a.family === 'inet' || (a.family === 'inet6' && !a.local.startsWith(LINK_LOCAL)))
      ? [{ dev: l.ifname, address: `${canonicalAddress(a.local)}/${a.prefixlen}` }]
      : [],
  );
}

/** `ip` calls the default route of both families so; only those of IPv6 have a preference. */
function destinationOf({ dst, pref }: z.infer<typeof routeSchema>): string {
  if (dst === 'default') return pref === undefined ? 'default' : '::/0';
  const [address = '', prefix = dst.includes(':') ? '128' : '32'] = dst.split('/');
  return `${canonicalAddress(address)}/${prefix}`;
}

function routeOf(r: z.infer<typeof routeSchema>): Route {
  const destination = destinationOf(r);
  return {
    table: r.table ?? 'main',
    destination,
    dev: r.dev ?? '',
    ...(r.gateway === undefined ? {} : { via: canonicalAddress(r.gateway) }),
    ...(r.flags?.includes('onlink') ? { onlink: true as const } : {}),
    ...(r.prefsrc === undefined ? {} : { source: canonicalAddress(r.prefsrc) }),
  };
}

function ruleOf(r: z.infer<typeof ruleSchema>): Rule[] {
  if (r.protocol !== String(ROUTE_PROTOCOL)) return [];
  return [
    {
      priority: r.priority,
      ...(r.src === 'all' ? {} : { from: canonicalAddress(r.src) }),
      ...(r.fwmark === undefined ? {} : { mark: `${r.fwmark}/${r.fwmask ?? '0xffffffff'}` }),
      ...(r.iif === undefined ? {} : { iif: r.iif }),
      table: r.table ?? '',
    },
  ];
}

/** A source address tells the family; without one it is said. */
const ofFamily6 = (r: Rule): Rule => (r.from === undefined ? { ...r, family: 6 } : r);

/** `ip -j -batch` prints one document a line that has anything to say, `[]` or nothing for the others. */
function documents(stdout: string, expected: readonly number[]): unknown[] {
  const lines = stdout.split('\n').filter((line) => line.trim() !== '');
  if (!expected.includes(lines.length))
    throw new WeftError('KERNEL', {
      what: 'cannot read what "ip" printed',
      why: `${lines.length} answers to ${Math.max(...expected)} questions`,
    });
  return lines.map(json);
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('KERNEL', { what: 'cannot read what a network tool printed', why: text.slice(0, 100), cause });
  }
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value ?? []);
  if (result.success) return result.data;
  throw new WeftError('KERNEL', { what: 'a network tool printed something unexpected', why: z.prettifyError(result.error).slice(0, 300) });
}
