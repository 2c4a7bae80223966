/** A service as it runs against what its file says now: which key changed, from what to what. As a person reads it, in Compose's names. */
import type { Service } from '#model/stack.js';
import { changedFiles, changedMounts } from './file-changes.js';
import { sameValue } from './spec-hash.js';

/** What Compose calls it, where it is not the model's name in snake_case. */
const COMPOSE_NAMES: Readonly<Record<string, string>> = {
  imageDigest: 'image digest',
  readOnlyRootfs: 'read_only',
  stopGraceMs: 'stop_grace_period (ms)',
  groups: 'group_add',
  shmBytes: 'shm_size (bytes)',
  deviceRules: 'device_cgroup_rules',
  security: 'security_opt',
  networkMode: 'network mode',
  limits: 'deploy.resources.limits',
  reservations: 'deploy.resources.reservations',
  memoryBytes: 'memory (bytes)',
  nanoCpus: 'cpus (billionths)',
  mode: 'deploy.mode',
  placement: 'deploy.placement',
  placedWith: 'volumes_from',
  update: 'deploy.update_config',
  rollback: 'deploy.rollback_config',
  endpointMode: 'deploy.endpoint_mode',
  onPartition: 'x-weft.on-partition',
};

/** Containers' keys whose values are shown. Others may hold secrets, or texts without end: of those only what changed is named. */
const SHOWN: ReadonlySet<string> = new Set<keyof Service['container']>([
  'image',
  'imageDigest',
  'containerName',
  'logging',
  'platform',
  'hostname',
  'domainname',
  'dns',
  'dnsSearch',
  'dnsOptions',
  'extraHosts',
  'user',
  'workingDir',
  'readOnlyRootfs',
  'capAdd',
  'capDrop',
  'limits',
  'stopSignal',
  'stopGraceMs',
  'command',
  'entrypoint',
  'stdinOpen',
  'init',
  'tty',
  'privileged',
  'groups',
  'shmBytes',
  'sysctls',
  'ulimits',
  'devices',
  'deviceRules',
  'security',
  'namespaces',
  'cgroup',
  'oomScoreAdj',
  'runtime',
]);

/** Besides the container: what makes new tasks of a service when it changes (spec-hash.ts, service-slots.ts). */
const RECREATING = ['restart', 'mode', 'placement', 'reservations', 'onPartition', 'networkMode'] as const satisfies (keyof Service)[];
/** Have words of their own, or cannot change. */
const TOLD_APART = ['name', 'container', 'replicas', 'ports', 'networks', 'links', 'labels'] as const satisfies (keyof Service)[];

/** What makes new tasks of the service; none when its tasks stay. */
export function changesThatRecreate(before: Service, after: Service): string[] {
  return [
    ...fieldsOf(before.container, after.container).flatMap(([name, was, is]) => {
      if (name === 'files') return changedFiles(before.container.files, after.container.files);
      if (name === 'mounts') return changedMounts(before.container.mounts, after.container.mounts);
      return SHOWN.has(name) ? shown(composeName(name), was, is) : [hidden(composeName(name), was, is)];
    }),
    ...RECREATING.flatMap((name) =>
      name === 'networkMode'
        ? shown('network mode', showMode(before), showMode(after))
        : shown(composeName(name), before[name], after[name]),
    ),
  ];
}

/** What is taken over while the tasks run on. */
export function changesInPlace(before: Service, after: Service): string[] {
  const apart: ReadonlySet<string> = new Set<string>([...RECREATING, ...TOLD_APART]);
  return [
    ...told('ports', showPorts, before, after),
    ...told('networks', showNetworks, before, after),
    ...told('links', showLinks, before, after),
    ...(sameValue(before.labels ?? {}, after.labels ?? {}) ? [] : [hidden('deploy.labels', before.labels ?? {}, after.labels ?? {})]),
    ...fieldsOf(before, after)
      .filter(([name]) => !apart.has(name))
      .flatMap(([name, was, is]) => shown(composeName(name), was, is)),
    ...shown('replicas', before.replicas, after.replicas),
  ];
}

/** Every field that is not the same: its name, and both values. */
function fieldsOf(before: object, after: object): [name: string, was: unknown, is: unknown][] {
  const [was, is] = [before as Record<string, unknown>, after as Record<string, unknown>];
  return [...new Set([...Object.keys(was), ...Object.keys(is)])]
    .filter((name) => !sameValue(was[name] ?? null, is[name] ?? null))
    .map((name) => [name, was[name], is[name]]);
}

/** `deploy.update_config.parallelism: 1 → 2`, a line for each innermost field. */
function shown(name: string, was: unknown, is: unknown): string[] {
  if (sameValue(was ?? null, is ?? null)) return [];
  if (!isRecord(was) || !isRecord(is)) return [`${name}: ${showValue(was)} → ${showValue(is)}`];
  return fieldsOf(was, is).flatMap(([key, a, b]) => shown(`${name}.${composeName(key)}`, a, b));
}

/** A field that has words of its own. */
const told = (name: keyof Service, show: (service: Service) => string, before: Service, after: Service): string[] =>
  sameValue(before[name] ?? null, after[name] ?? null) ? [] : [`${composeName(name)}: ${show(before)} → ${show(after)}`];

/** `environment changed (KEY)`. */
function hidden(name: string, was: unknown, is: unknown): string {
  if (!isRecord(was) || !isRecord(is)) return `${name} changed`;
  const names = fieldsOf(was, is).map(([key]) => key);
  return `${name} changed (${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''})`;
}

const composeName = (name: string): string => COMPOSE_NAMES[name] ?? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

const MAX_SHOWN_LENGTH = 60;

function showValue(value: unknown): string {
  if (value === undefined || value === null) return 'unset';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH - 3)}…` : text;
}

function showMode({ networkMode }: Service): string {
  if (!networkMode || networkMode.kind === 'networks') return 'networks';
  if (networkMode.kind === 'service') return `service:${networkMode.service}`;
  return networkMode.kind === 'container' ? `container:${networkMode.container}` : networkMode.kind;
}

const showPorts = (s: Service): string =>
  s.ports
    .map((p) => `${p.hostIp ? `${p.hostIp}:` : ''}${p.published}:${p.target}/${p.protocol}${p.mode === 'host' ? ' (host)' : ''}`)
    .join(', ') || 'none';

const showNetworks = (s: Service): string =>
  Object.entries(s.networks)
    .map(([key, { aliases, ipv4, ipv6, mac, interfaceName, gwPriority, priority }]) => {
      const more = [
        interfaceName && `interface ${interfaceName}`,
        gwPriority && `gw_priority ${gwPriority}`,
        priority && `priority ${priority}`,
      ];
      const notes = [...aliases, ipv4, ipv6, mac, ...more].filter(Boolean);
      return notes.length > 0 ? `${key} (${notes.join(', ')})` : key;
    })
    .join(', ') || 'none';

const showLinks = (s: Service): string => (s.links ?? []).map((l) => `${l.service ?? l.container ?? ''}:${l.alias}`).join(', ') || 'none';
