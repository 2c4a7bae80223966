/** What on a host stands in the way of networks, or will: other tools' firewalls, settings, what the kernel lacks. Reads, changes nothing. */
import { release } from 'node:os';
import { z } from 'zod';
import type { Finding } from '#model/node.js';
import { WIREGUARD_FEATURE } from '#model/tunnel.js';
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { OUR_TABLES } from '#overlay/names.js';
import type { Entry } from './enter.js';

/** What of the firewall is Weft's to do. */
export const FIREWALL_MODES = ['none', 'own', 'own+docker'] as const;
export type FirewallMode = (typeof FIREWALL_MODES)[number];

export interface FindingsInput {
  mode: FirewallMode;
  /** Device of the underlay address. */
  underlay: string;
  features: readonly string[];
  /** Whether we turned forwarding on: until then nobody can have turned it off. */
  forwards: boolean;
}

const SYSCTLS = ['net.ipv4.ip_forward', 'net.bridge.bridge-nf-call-iptables', 'net.ipv4.conf.all.rp_filter'];
/** netdev egress hooks, nft. */
const LEAST_KERNEL = [5, 16] as const;

const chainSchema = z.object({
  family: z.string(),
  table: z.string(),
  name: z.string(),
  hook: z.string().optional(),
  policy: z.string().optional(),
});
type Chain = z.infer<typeof chainSchema>;
const chainsSchema = z.object({ nftables: z.array(z.looseObject({ chain: chainSchema.optional() })) });

export async function readFindings(entry: Entry, input: FindingsInput): Promise<Finding[]> {
  const keys = [...SYSCTLS, `net.ipv4.conf.${input.underlay}.rp_filter`];
  const [chains, sysctls] = await Promise.all([
    entry.exec(NODE_NAMESPACE, ['nft', '-j', 'list', 'chains']),
    entry.exec(NODE_NAMESPACE, ['sysctl', '-e', ...keys], { accept: [1, 255] }),
  ]);
  const listed = chainsSchema.parse(JSON.parse(chains.stdout || '{"nftables":[]}')).nftables.flatMap(({ chain }) => (chain ? [chain] : []));
  const values = new Map(sysctls.stdout.split('\n').map((line) => line.split(' = ') as [string, string]));
  return findingsOf(listed, values, { ...input, kernel: release() });
}

/** Pure: what chains and settings mean. */
export function findingsOf(
  chains: readonly Chain[],
  sysctls: ReadonlyMap<string, string>,
  input: FindingsInput & { kernel: string },
): Finding[] {
  const foreign = chains.filter((c) => !OUR_TABLES.includes(`${c.family} ${c.table}`));
  return [...ofFirewalls(foreign, input.mode), ...ofSettings(sysctls, input), ...ofKernel(input), ...ofMode(input.mode)];
}

function ofFirewalls(foreign: readonly Chain[], mode: FirewallMode): Finding[] {
  const found: Finding[] = [];
  const drops = (hook: string) => foreign.filter((c) => c.hook === hook && c.policy === 'drop');
  for (const c of drops('forward')) {
    const hasDockerUser = foreign.some((d) => d.family === c.family && d.table === c.table && d.name === 'DOCKER-USER');
    found.push(hasDockerUser && mode === 'own+docker' ? handled(c) : forwardDrop(c));
  }
  for (const c of drops('input'))
    found.push({
      code: 'input-drop',
      severity: 'risk',
      what: `table ${c.family} ${c.table} drops what comes in unless a rule of its own lets it`,
      remedy: 'See that it lets in, from the other nodes: UDP 4789 and 7706, TCP 7700 to 7705; and the ports that stacks publish.',
    });
  if (foreign.some((c) => c.table === 'firewalld'))
    found.push({
      code: 'firewalld',
      severity: 'risk',
      what: 'firewalld rejects forwarded packets of devices that are in no zone',
      remedy: 'Put the pools of the cluster into a zone that forwards: firewall-cmd --permanent --zone=trusted --add-source=10.128.0.0/9',
    });
  if (foreign.some((c) => c.name.startsWith('ufw')))
    found.push({
      code: 'ufw',
      severity: 'risk',
      what: 'ufw decides on forwarded packets and on what comes in',
      remedy: 'ufw default allow routed (what must not enter a network, Weft drops itself); ufw allow from each of the other nodes.',
    });
  return found;
}

const forwardDrop = (c: Chain): Finding => ({
  code: 'forward-drop',
  severity: 'broken',
  what: `table ${c.family} ${c.table} drops forwarded packets; an accept of Weft's cannot override that`,
  remedy: `Let packets from and to devices "wfb*" pass in chain ${c.name}, or set its policy to accept.`,
});

const handled = (c: Chain): Finding => ({
  code: 'docker-forward',
  severity: 'note',
  what: `Docker drops forwarded packets (table ${c.family} ${c.table}); rules with the comment "weft" in DOCKER-USER let ours pass`,
  remedy: '',
});

function ofSettings(sysctls: ReadonlyMap<string, string>, { underlay, forwards }: FindingsInput): Finding[] {
  const found: Finding[] = [];
  if (forwards && sysctls.get('net.ipv4.ip_forward') === '0')
    found.push({
      code: 'ip-forward',
      severity: 'broken',
      what: 'forwarding is off: somebody sets net.ipv4.ip_forward to 0',
      remedy: 'Remove the setting from /etc/sysctl.conf, /etc/sysctl.d or the tool that makes it.',
    });
  if (sysctls.get('net.ipv4.conf.all.rp_filter') === '1' || sysctls.get(`net.ipv4.conf.${underlay}.rp_filter`) === '1')
    found.push({
      code: 'rp-filter',
      severity: 'risk',
      what: `the reverse path filter of ${underlay} is strict: answers that come by another device are dropped`,
      remedy: `sysctl -w net.ipv4.conf.${underlay}.rp_filter=2, and in /etc/sysctl.d`,
    });
  if (sysctls.get('net.bridge.bridge-nf-call-iptables') === '1')
    found.push({
      code: 'bridge-netfilter',
      severity: 'note',
      what: 'bridged frames pass the firewall of the host too (br_netfilter): rules of other tools apply to traffic within a network',
      remedy: 'sysctl -w net.bridge.bridge-nf-call-iptables=0, if no other tool needs it.',
    });
  return found;
}

function ofKernel({ features, kernel }: FindingsInput & { kernel: string }): Finding[] {
  const [major = 0, minor = 0] = kernel.split('.').map(Number);
  const isOld = major < LEAST_KERNEL[0] || (major === LEAST_KERNEL[0] && minor < LEAST_KERNEL[1]);
  return [
    ...(isOld
      ? [
          {
            code: 'old-kernel',
            severity: 'broken' as const,
            what: `Linux ${kernel} lacks what networks need`,
            remedy: 'Use Linux 5.16 or newer.',
          },
        ]
      : []),
    ...(features.includes(WIREGUARD_FEATURE)
      ? []
      : [
          {
            code: 'no-encryption',
            severity: 'note' as const,
            what: 'this host takes no part in encrypted networks',
            remedy: 'Install wireguard-tools and, where the kernel lacks WireGuard, wireguard-go; firewall rules must be allowed.',
          },
        ]),
  ];
}

function ofMode(mode: FirewallMode): Finding[] {
  if (mode !== 'none') return [];
  return [
    {
      code: 'firewall-none',
      severity: 'risk',
      what:
        'all firewall rules are left alone: no ports are published and no addresses translated; VXLAN from strangers, spoofed addresses, ' +
        'and the way from tasks to agent, controller and etcd are not guarded; encrypted networks are refused',
      remedy: 'Guard the host yourself, or start the agent with --firewall=own.',
    },
  ];
}
