/** What a host says about itself: addresses, MTU, routes, listening ports, versions. Ours are left out. */
import { availableParallelism, arch, release, totalmem } from 'node:os';
import { z } from 'zod';
import { parseCidr, formatCidr } from '#base/address.js';
import { WeftError } from '#base/errors.js';
import type { NodeFacts } from '#model/node.js';
import { isOurLink, ROUTE_PROTOCOL } from '#overlay/names.js';
import { listeningPorts } from './listening-ports.js';
import type { Run } from './runner.js';
import { run } from './runner.js';

export interface HostFactsOptions {
  /** Underlay address of this host. */
  address: string;
  runner?: Run;
}

export type HostFacts = Pick<
  NodeFacts,
  'addresses' | 'devices' | 'underlayMtu' | 'routes' | 'listening' | 'versions' | 'cpus' | 'memoryBytes' | 'platform'
>;

const linkSchema = z.object({
  ifname: z.string(),
  mtu: z.number(),
  addr_info: z.array(z.object({ family: z.string(), local: z.string().optional(), prefixlen: z.number() })),
});
const routeSchema = z.object({ dst: z.string(), dev: z.string().optional(), type: z.string().optional(), protocol: z.string().optional() });

/** node's names of processors → those of images. */
const ARCHITECTURES: Partial<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  ppc64: 'ppc64le',
  s390x: 's390x',
};

/** Reads the facts of the host (or namespace) this process runs in. @throws BAD_VALUE if no device has `address` */
export async function readHostFacts({ address, runner = run }: HostFactsOptions): Promise<HostFacts> {
  const [links, routes, listening, versions] = await Promise.all([
    ask(runner, ['ip', '-j', '-4', 'addr', 'show'], linkSchema),
    ask(runner, ['ip', '-j', '-4', '-d', 'route', 'show', 'table', 'all'], routeSchema),
    listeningPorts(),
    toolVersions(runner),
  ]);
  const own = links.filter((l) => !isOurLink(l.ifname));
  const underlay = own.find((l) => l.addr_info.some((a) => a.local === address));
  if (!underlay) {
    throw new WeftError('BAD_VALUE', {
      what: `this host has no device with address ${address}`,
      hint: 'Give an address that `ip addr` shows.',
    });
  }
  return {
    addresses: own
      .filter((l) => l.ifname !== 'lo')
      .flatMap((l) => l.addr_info.flatMap((a) => (a.local ? [`${a.local}/${a.prefixlen}`] : []))),
    devices: own.flatMap((l) => (l.ifname === 'lo' || isWire(l.ifname) ? [] : [l.ifname])).sort(),
    underlayMtu: underlay.mtu,
    routes: [
      ...new Set(routes.filter(isHostRoute).map((r) => formatCidr(parseCidr(r.dst.includes('/') ? r.dst : `${r.dst}/32`, true)))),
    ].sort(),
    listening,
    versions,
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    platform: `linux/${ARCHITECTURES[arch()] ?? arch()}`,
  };
}

/** Container tools make and remove these all the time: nobody names one as a parent, and facts should keep still. */
const isWire = (name: string): boolean => name.startsWith('veth');

function isHostRoute(r: z.infer<typeof routeSchema>): boolean {
  const ours = r.protocol === String(ROUTE_PROTOCOL) || (r.dev !== undefined && isOurLink(r.dev));
  const plain = !['local', 'broadcast', 'multicast'].includes(r.type ?? 'unicast');
  return plain && !ours && r.dst !== 'default' && r.dev !== 'lo';
}

async function ask<T>(runner: Run, argv: readonly string[], schema: z.ZodType<T>): Promise<T[]> {
  const { stdout } = await runner(argv);
  return z.array(schema).parse(JSON.parse(stdout.trim() || '[]'));
}

async function toolVersions(runner: Run): Promise<Record<string, string>> {
  const [ip, nft] = await Promise.all([runner(['ip', '-V']), runner(['nft', '--version'])]);
  return {
    kernel: release(),
    iproute2: /iproute2-([\w.]+)/.exec(ip.stdout)?.[1] ?? ip.stdout.trim(),
    nft: /v([\d.]+)/.exec(nft.stdout)?.[1] ?? nft.stdout.trim(),
  };
}
