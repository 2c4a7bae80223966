/**
 * News of what others do to our objects: lines of `ip monitor` and `nft monitor`, read. Everything that is nobody's business
 * here (foreign devices, learnt neighbours, the kernel's own routes) is left out at once, so that a busy host costs nothing.
 */
import type { KernelState, NamespaceState } from '#overlay/kernel-state.js';
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { isOurLink, OUR_TABLES, ROUTE_PROTOCOL } from '#overlay/names.js';

/** Something of ours changed, or may have. */
export interface KernelEvent {
  /** It is gone. */
  isLoss: boolean;
  /** By somebody else for certain: the tool said so. Of others it cannot be told whether we did it. */
  isForeign: boolean;
  /** In the node's namespace, where names are known; otherwise in some task's. */
  isNode: boolean;
  /** Collection of a NamespaceState, with the words by which its entry is known. */
  kind: 'link' | 'address' | 'route' | 'rule' | 'neighbour' | 'fdb' | 'nft';
  words: readonly string[];
  line: string;
}

/** Reports links, addresses, routes, rules and neighbours (forwarding rows too) of this namespace and of those it knows by an id. */
export const IP_MONITOR: readonly string[] = ['ip', 'monitor', 'all-nsid', 'link', 'address', 'route', 'rule', 'neigh'];
/** Reports changes of nft tables of this namespace, and who made them. */
export const NFT_MONITOR: readonly string[] = ['nft', 'monitor'];

const PREFIX = /^\[nsid (current|\d+)\](Deleted )?/;
const LINK = /^\d+: ([^\s:@]+)[^\s:]*: </;
const ADDRESS = /^\d+: (\S+)\s+inet6? (\S+)/;
const RULE = new RegExp(`^(\\d+):\\s.*\\bproto(?:col)? ${ROUTE_PROTOCOL}\\b`);
const ROUTE = new RegExp(`^(\\S+) .*\\bproto ${ROUTE_PROTOCOL}\\b`);
const FDB = /^(?:\S+ )?dev (\S+) lladdr (\S+) .*\bNOARP\b/;
const NEIGHBOUR = /^(\S+) dev (\S+) /;

/** What a line of `ip monitor all-nsid` says of ours; undefined for others' affairs, and for lines that go on with another. */
export function ipEvent(line: string): KernelEvent | undefined {
  const [head, space, deleted] = PREFIX.exec(line) ?? [];
  if (head === undefined) return undefined;
  const rest = line.slice(head.length);
  const base = { isLoss: deleted !== undefined, isForeign: false, isNode: space === 'current', line };
  // Names of devices are looked up in this namespace, whatever namespace the line is of.
  const isOurs = (dev: string) => !base.isNode || isOurLink(dev);
  const link = LINK.exec(rest)?.[1];
  if (link !== undefined) return isOurs(link) ? { ...base, kind: 'link', words: [link] } : undefined;
  const [, dev = '', address = ''] = ADDRESS.exec(rest) ?? [];
  if (dev !== '') return isOurs(dev) && !address.startsWith('fe80:') ? { ...base, kind: 'address', words: [dev, address] } : undefined;
  const priority = RULE.exec(rest)?.[1];
  if (priority !== undefined) return { ...base, kind: 'rule', words: [priority] };
  const destination = ROUTE.exec(rest)?.[1];
  if (destination !== undefined) return { ...base, kind: 'route', words: [destination] };
  return neighbourEvent(rest, base);
}

type Base = Pick<KernelEvent, 'isLoss' | 'isForeign' | 'isNode' | 'line'>;

function neighbourEvent(rest: string, base: Base): KernelEvent | undefined {
  if (!base.isNode) return undefined;
  const [, port = '', mac = ''] = FDB.exec(rest) ?? [];
  if (port !== '') return isOurLink(port) ? { ...base, kind: 'fdb', words: [port, mac] } : undefined;
  const [, address = '', dev = ''] = NEIGHBOUR.exec(rest) ?? [];
  // Learnt ones come and go by the second. One that is in use fails first, and goes when nobody uses it any more.
  const isLoss = base.isLoss || /\bFAILED\b/.test(rest);
  const isOurs = isOurLink(dev) && (isLoss || rest.includes('PERMANENT')) && address !== 'dev';
  return isOurs ? { ...base, isLoss, kind: 'neighbour', words: [dev, address] } : undefined;
}

const OBJECT = /^(?:add|delete|insert|replace|destroy) \S+ (\S+ \S+)/;
/** What `nft monitor` prints when its socket ran over. */
const LOST = '# ERROR: We lost some netlink events';
/** Whether a line of `nft monitor` says that others are missing. */
export const isLost = (line: string): boolean => line.startsWith(LOST);
const GENERATION = /^# new generation \d+ by process (\d+)/;

/** Lines of `nft monitor` come in transactions, each closed by a line that names its maker. */
export class NftEvents {
  readonly #isOwn: (pid: number) => boolean;
  #last: string | undefined;

  /** @param isOwn whether a process was started by us */
  constructor(isOwn: (pid: number) => boolean) {
    this.#isOwn = isOwn;
  }

  take(line: string): KernelEvent | undefined {
    if (isLost(line)) return { isLoss: false, isForeign: true, isNode: true, kind: 'nft', words: [], line };
    const [, pid] = GENERATION.exec(line) ?? [];
    if (pid === undefined) {
      const table = OBJECT.exec(line)?.[1];
      if (table !== undefined && OUR_TABLES.includes(table)) this.#last ??= line;
      return undefined;
    }
    const found = this.#last;
    this.#last = undefined;
    if (found === undefined || this.#isOwn(Number(pid))) return undefined;
    return { isLoss: found.startsWith('delete'), isForeign: true, isNode: true, kind: 'nft', words: [], line: `${found} (process ${pid})` };
  }
}

/**
 * Whether an event tells of the loss of something that `desired` holds: so it was not we who took it. Of tasks' namespaces it is not known
 * which one an event is of: what any of them should have counts. (One that is removed as a whole tells nothing: it loses its id first.)
 */
export function isLossOf(event: KernelEvent, desired: KernelState | undefined): boolean {
  if (!desired || !event.isLoss) return false;
  const { [NODE_NAMESPACE]: node, ...tasks } = desired.namespaces;
  if (event.isNode) return node !== undefined && holds(node, event);
  return Object.values(tasks).some((ns) => holdsInTask(ns, event));
}

function holds(ns: NamespaceState, { kind, words: [first = '', second = ''] }: KernelEvent): boolean {
  switch (kind) {
    case 'link':
      return first in ns.links;
    case 'address':
      return `${first} ${second}` in ns.addresses;
    case 'route':
      return Object.values(ns.routes).some((r) => r.destination === first || r.destination === `${first}/32`);
    case 'rule':
      return Object.values(ns.rules).some((r) => String(r.priority) === first);
    case 'neighbour':
      return `${first} ${second}` in ns.neighbours;
    case 'fdb':
      return Object.values(ns.fdb).some((row) => row.dev === first && row.mac === second);
    case 'nft':
      return true;
  }
}

/**
 * The monitor looks up names of devices in its own namespace: of a task's address, the device is not known. A device that goes takes its
 * addresses along, which tell whose it was, and its routes of IPv6 (those with a preference, RFC 4191), which do not: nor does its name.
 */
function holdsInTask(ns: NamespaceState, event: KernelEvent): boolean {
  if (event.kind === 'address') return Object.keys(ns.addresses).some((key) => key.endsWith(` ${event.words[1] ?? ''}`));
  const isTelling = event.kind === 'rule' || (event.kind === 'route' && !event.line.includes(' pref '));
  return isTelling && holds(ns, event);
}
