/**
 * Where everything of a development cluster lives: names, addresses and paths, all derived from the cluster's name, its
 * size and one subnet. Pure.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { cidrsOverlap, numberToIp, parseCidr } from '#base/address.js';
import { WeftError } from '#base/errors.js';

export const DEV_NAME_PATTERN = /^[a-z0-9]{1,8}$/;
const MAX_NODES = 32;

export interface DevNode {
  /** node1, node2, … */
  name: string;
  /** Its network namespace, in /run/netns. */
  netns: string;
  /** Underlay address. */
  address: string;
  dataDir: string;
  runDir: string;
  containerdNamespace: string;
  /** Whether a controller runs beside the agent. */
  controller: boolean;
}

export interface DevLayout {
  name: string;
  /** The context that `ctl` uses for it. */
  context: string;
  /** What lasts: data and logs. */
  dir: string;
  /** Sockets: short paths, gone after a reboot. */
  runDir: string;
  /** Underlay, e.g. 192.168.140.0/24; the developer's shell is .1 on it, node N is .(10+N). */
  subnet: string;
  gateway: string;
  mtu: number;
  /** The namespace that holds the underlay's bridge, so that nothing but one veth stands in the host's own. */
  lanNetns: string;
  /** The host's end of that veth. */
  hostLink: string;
  /** nft table in the host's namespace for the nodes' way out. */
  natTable: string;
  containerdSocket: string;
  nodes: DevNode[];
}

export interface DevSize {
  nodes: number;
  controllers: number;
  mtu: number;
}

/** @throws USAGE */
export function makeLayout(
  name: string,
  size: DevSize,
  subnet: string,
  base = { lib: '/var/lib/weft-dev', run: '/run/weft-dev' },
): DevLayout {
  checkSize(name, size);
  const dir = join(base.lib, name);
  const runDir = join(base.run, name);
  const first = parseCidr(subnet).base;
  return {
    name,
    context: name === 'dev' ? 'dev' : `dev-${name}`,
    dir,
    runDir,
    subnet,
    gateway: numberToIp(first + 1),
    mtu: size.mtu,
    lanNetns: `weftdev-${name}-lan`,
    hostLink: `weftdev-${name}`.slice(0, 15),
    natTable: `weftdev_${name}`,
    containerdSocket: join(runDir, 'containerd.sock'),
    nodes: Array.from({ length: size.nodes }, (_, i) => ({
      name: `node${i + 1}`,
      netns: `weftdev-${name}-node${i + 1}`,
      address: numberToIp(first + 11 + i),
      dataDir: join(dir, `node${i + 1}`),
      runDir: join(runDir, `node${i + 1}`),
      containerdNamespace: `weft-${name}-node${i + 1}`,
      controller: i < size.controllers,
    })),
  };
}

function checkSize(name: string, size: DevSize): void {
  if (!DEV_NAME_PATTERN.test(name))
    throw new WeftError('USAGE', {
      what: `"${name.slice(0, 32)}" is no name for a development cluster`,
      hint: 'Use 1 to 8 lower-case letters and digits.',
    });
  if (!Number.isInteger(size.nodes) || size.nodes < 1 || size.nodes > MAX_NODES)
    throw new WeftError('USAGE', { what: `a development cluster has 1 to ${MAX_NODES} nodes`, hint: 'Use --nodes 3.' });
  if (!Number.isInteger(size.controllers) || size.controllers < 1 || size.controllers > size.nodes)
    throw new WeftError('USAGE', {
      what: 'a development cluster has at least one controller, and at most one on each node',
      hint: 'Use --controllers 3 with --nodes 3, or leave it out.',
    });
  if (!Number.isInteger(size.mtu) || size.mtu < 1280 || size.mtu > 9000)
    throw new WeftError('USAGE', { what: 'the MTU of the underlay is 1280 to 9000 bytes', hint: 'Use --mtu 1500.' });
}

/**
 * A subnet for the underlay that overlaps none of `taken` (routes of this machine). Starts at a place that depends on the
 * name, so that two clusters that start at once choose differently. @throws SUBNET_CLASH
 */
export function chooseUnderlay(name: string, taken: string[]): string {
  const used = taken.map((text) => parseCidr(text, true));
  const start = createHash('sha256').update(name).digest()[0] as number;
  for (let i = 0; i < 256; i++) {
    const subnet = `192.168.${(start + i) % 256}.0/24`;
    if (!used.some((u) => cidrsOverlap(u, parseCidr(subnet)))) return subnet;
  }
  throw new WeftError('SUBNET_CLASH', {
    what: 'no free subnet for the nodes',
    why: 'every 192.168.x.0/24 overlaps a route of this machine',
  });
}
