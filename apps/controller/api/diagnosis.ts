/** What `ctl network doctor` makes of what nodes and probes said: findings, the worst first, each with its remedy. Pure. */
import type { Finding, Node } from '#model/node.js';
import type { ClusterState } from '#planner/cluster-state.js';
import { standingOf } from '#planner/schedule.js';
import type { CheckKernelResponse, DiagnoseNetworksResponse, NetworkFinding, ProbeResponse } from '#rpc/gen/weft/v1/api.js';

export interface Asked {
  node: Node;
  answer?: CheckKernelResponse;
  error?: string;
  /** Milliseconds since 1970, by the controller's clock. */
  askedAt: number;
  answeredAt: number;
}

export interface PairProbe {
  from: Node;
  to: Node;
  underlay: ProbeResponse;
  /** Bytes. */
  mtu: number;
  /** A packet of that size, not to be fragmented. */
  whole: ProbeResponse | undefined;
  /** A packet of the network's MTU by VXLAN; undefined where they share no network. */
  overlay: ProbeResponse | undefined;
  network: string | undefined;
}

const SKEW_RISK_MS = 1_000;
const SKEW_BROKEN_MS = 60_000;
const RANK: Record<string, number> = { broken: 0, risk: 1, note: 2 };

export function diagnosis(state: ClusterState, asked: readonly Asked[], probes: readonly PairProbe[]): DiagnoseNetworksResponse {
  const findings = [...absent(state), ...asked.flatMap((a) => ofNode(state, a)), ...probes.flatMap(ofPair), ...ofVersions(state)];
  findings.sort((a, b) => (RANK[a.severity] ?? 3) - (RANK[b.severity] ?? 3));
  const tunnelled = probes.filter((p) => p.overlay !== undefined).length;
  const checked = [
    `${asked.length} nodes: kernel against desired state, clock, checksums, firewalls, settings, repairs, versions`,
    `${probes.length} ways between nodes: reachability and MTU with the DF bit; ${tunnelled} of them through VXLAN${
      tunnelled < probes.length ? ' (the others share no network)' : ''
    }`,
  ];
  return { findings, checked };
}

const found = (node: string, severity: Finding['severity'], code: string, what: string, remedy: string): NetworkFinding => ({
  node,
  severity,
  code,
  what,
  remedy,
});

function absent(state: ClusterState): NetworkFinding[] {
  return [...state.nodes.values()].flatMap((node) => {
    const standing = standingOf(state, node.id);
    if (standing === 'ready') return [];
    const remedy =
      standing === 'quarantined' ? `ctl node accept ${node.name}, if the controller is right` : 'Start its agent, or `ctl node rm`.';
    return [found(node.name, 'broken', `node-${standing}`, `the node is ${standing}, and was not looked at`, remedy)];
  });
}

function ofNode(state: ClusterState, { node, answer, error, askedAt, answeredAt }: Asked): NetworkFinding[] {
  const facts = state.facts.get(node.id);
  const own = (facts?.findings ?? []).map((f) => found(node.name, f.severity, f.code, f.what, f.remedy));
  const repairs = facts?.driftRepairs ?? 0;
  if (repairs > 0) {
    const last = facts?.repairs?.at(-1)?.what;
    const what = `${repairs} kernel objects were put back since the agent started${last === undefined ? '' : `; the last: ${last}`}`;
    own.push(found(node.name, 'note', 'drift', what, `Find who changes them: ctl node inspect ${node.name}`));
  }
  if (!answer)
    return [...own, found(node.name, 'broken', 'agent-silent', `the agent does not answer: ${error}`, 'Look at its log and at port 7702.')];
  for (const fault of answer.faults)
    own.push(found(node.name, 'broken', 'kernel', fault.text, 'The agent puts it right within seconds; look again.'));
  const skewMs = Math.abs(answer.at - askedAt) < Math.abs(answer.at - answeredAt) ? answer.at - askedAt : answer.at - answeredAt;
  const isBetween = answer.at >= askedAt && answer.at <= answeredAt;
  if (!isBetween && Math.abs(skewMs) > SKEW_RISK_MS)
    own.push(
      found(
        node.name,
        Math.abs(skewMs) > SKEW_BROKEN_MS ? 'broken' : 'risk',
        'clock-skew',
        `its clock is ${Math.round(Math.abs(skewMs))} ms ${skewMs > 0 ? 'ahead of' : 'behind'} the controller's`,
        'Run a time service (chrony, systemd-timesyncd) on every host.',
      ),
    );
  if (answer.checksumErrors > 0) {
    const what = `${answer.checksumErrors} packets came with a wrong checksum since it started`;
    own.push(
      found(
        node.name,
        'risk',
        'checksum',
        what,
        'If it grows: ethtool -K DEVICE tx-checksum-ip-generic off on the senders’ VXLAN devices.',
      ),
    );
  }
  return own;
}

function ofPair({ from, to, underlay, mtu, whole, overlay, network }: PairProbe): NetworkFinding[] {
  const way = `${from.name} → ${to.name}`;
  if (!underlay.ok && overlay?.ok !== true)
    return [
      found(way, 'broken', 'unreachable', `${to.address} does not answer: ${underlay.why}`, 'Look at the network between the hosts.'),
    ];
  const findings: NetworkFinding[] = [];
  if (whole && !whole.ok)
    findings.push(
      found(
        way,
        'broken',
        'path-mtu',
        `packets of ${mtu} bytes do not pass: ${whole.why}`,
        'Give all hosts the MTU that the network between them carries.',
      ),
    );
  else if (overlay && !overlay.ok)
    findings.push(
      found(
        way,
        'broken',
        'vxlan',
        `the host answers, but nothing comes back through network ${network}: ${overlay.why}`,
        'Let the VXLAN port (UDP 4789 unless set otherwise; the WireGuard port for encrypted networks) pass in both hosts’ firewalls.',
      ),
    );
  return findings;
}

function ofVersions(state: ClusterState): NetworkFinding[] {
  const versions = new Map<string, string[]>();
  for (const node of state.nodes.values()) {
    const version = state.facts.get(node.id)?.versions['agent'] ?? 'unknown';
    versions.set(version, [...(versions.get(version) ?? []), node.name]);
  }
  if (versions.size < 2) return [];
  const what = [...versions].map(([version, names]) => `${version} on ${names.join(', ')}`).join('; ');
  return [found('', 'risk', 'versions', `agents of several versions: ${what}`, 'Bring all nodes to one version.')];
}
