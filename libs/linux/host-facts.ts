/** What a host says about itself: addresses, MTU, routes, listening ports, versions. Ours are left out. */
import { readFile } from 'node:fs/promises';
import { availableParallelism, arch, release, totalmem } from 'node:os';
import { z } from 'zod';
import { canonicalAddress, formatSubnet, parseSubnet } from '#base/ip.js';
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
  'addresses' | 'devices' | 'advertised' | 'underlayMtu' | 'routes' | 'listening' | 'versions' | 'cpus' | 'memoryBytes' | 'platform'
> & {
  /** Device of the underlay address. */
  underlay: string;
};

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
  const [links, routes, routes6, listening, versions] = await Promise.all([
    ask(runner, ['ip', '-j', 'addr', 'show'], linkSchema),
    ask(runner, ['ip', '-j', '-4', '-d', 'route', 'show', 'table', 'all'], routeSchema),
    ask(runner, ['ip', '-j', '-6', '-d', 'route', 'show', 'table', 'all'], routeSchema),
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
  const devices = own.flatMap((l) => (l.ifname === 'lo' || isWire(l.ifname) ? [] : [l.ifname])).sort();
  return {
    addresses: own
      .filter((l) => l.ifname !== 'lo')
      .flatMap((l) =>
        l.addr_info.flatMap((a) => (a.local && !isLinkLocal(a.local) ? [`${canonicalAddress(a.local)}/${a.prefixlen}`] : [])),
      ),
    devices,
    advertised: await listening6(devices),
    underlay: underlay.ifname,
    underlayMtu: underlay.mtu,
    routes: [
      ...new Set([
        ...routes.filter(isHostRoute).map((r) => prefixText(r.dst, 32)),
        ...routes6.filter(isHostRoute).map((r) => prefixText(r.dst, 128)),
      ]),
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

/** fe80::/64 (RFC 4291 §2.5.6): every device has it, and no network can clash with it. */
const isLinkLocal = (text: string): boolean => text.startsWith('fe80:');

const prefixText = (dst: string, whole: number): string => formatSubnet(parseSubnet(dst.includes('/') ? dst : `${dst}/${whole}`, true));

/** Those of `devices` that listen to router advertisements, as hosts do (accept_ra 1; kernel doc, ip-sysctl). */
async function listening6(devices: readonly string[]): Promise<string[]> {
  const values = await Promise.all(devices.map((name) => readFile(`/proc/sys/net/ipv6/conf/${name}/accept_ra`, 'utf8').catch(() => '')));
  return devices.filter((_, i) => values[i]?.trim() === '1');
}

function isHostRoute(r: z.infer<typeof routeSchema>): boolean {
  const ours = r.protocol === String(ROUTE_PROTOCOL) || (r.dev !== undefined && isOurLink(r.dev));
  const plain = !['local', 'broadcast', 'multicast', 'anycast'].includes(r.type ?? 'unicast');
  return plain && !ours && r.dst !== 'default' && r.dev !== 'lo' && !isLinkLocal(r.dst);
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
