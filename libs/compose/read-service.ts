/** A service, by its table of keys. */
import { HOSTNAME_PATTERN } from '#model/names.js';
import { isGlobal } from '#model/service-mode.js';
import type { Service } from '#model/stack.js';
import { CAPABILITIES } from './capabilities.js';
import {
  describe,
  entriesOf,
  isNull,
  itemsOf,
  readBoolean,
  readChoice,
  readInteger,
  readMatching,
  readString,
  readText,
  readUnit,
  reject,
  report,
  type Context,
  type Field,
} from './context.js';
import type { ProjectDraft, ServiceDraft } from './draft.js';
import { faultOfReference } from './image-reference.js';
import { quote } from './issue.js';
import { objectAt } from './key-table.js';
import { SERVICE } from './key-table-service.js';
import { DEPLOY } from './key-table-parts.js';
import { nearest } from './nearest.js';
import { readMaking, readPullPolicy } from './read-making.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { CGROUP_KEYS, checkCgroup, readPids } from './read-cgroup.js';
import { DEVICE_KEYS } from './read-devices.js';
import { readExpose, readExtraHosts, readResolverOptions, readResolvers, readSearchDomains, readServiceLabels } from './read-discovery.js';
import {
  checkJob,
  readDependencies,
  readHealthcheck,
  readMode,
  readRestart,
  readRestartPolicy,
  readRollbackConfig,
  readUpdateConfig,
  readWeft,
  restartOf,
} from './read-lifecycle.js';
import { checkFileTargets, readFileMounts } from './read-files.js';
import { readHooks, readUser } from './read-hooks.js';
import { readLogging } from './read-logging.js';
import { readVolumes, readTmpfs } from './read-mounts.js';
import { checkMode, readExternalLinks, readLinks, readNetworkMode } from './read-modes.js';
import { placeServiceMac, readAttachments, readServiceMac } from './read-networks.js';
import { readEnvironment, readLabels, readUniqueList } from './read-pairs.js';
import { readPlacement, readPlatform } from './read-placement.js';
import { readPorts } from './read-ports.js';
import { readVolumesFrom } from './read-volumes-from.js';
import { checkProcess, PROCESS_KEYS } from './read-process.js';
import { readSecurity } from './read-security.js';
import { parseBytes, parseDurationMs, parseNanoCpus } from './units.js';

const MAX_REPLICAS = 10_000;
const MAX_STOP_GRACE_MS = 3_600_000;
/** A DNS label (RFC 1035 §2.3.4). */
const MAX_LABEL_LENGTH = 63;

const RESOURCES = objectAt(DEPLOY, 'resources');

const LIMITS_KEYS: KeyTable<NonNullable<Service['container']['limits']>> = {
  shape: objectAt(RESOURCES, 'limits'),
  keys: {
    cpus: (c, field, limits) => void (limits.nanoCpus = readUnit(c, field, parseNanoCpus, 'a number of CPUs like "0.5"', 1)),
    memory: (c, field, limits) => void (limits.memoryBytes = readUnit(c, field, parseBytes, 'a size like 64m', 1)),
    pids: (c, field, limits) => void (limits.pids = readPids(c, field)),
  },
};

const RESERVATIONS_KEYS: KeyTable<NonNullable<Service['reservations']>> = {
  shape: objectAt(RESOURCES, 'reservations'),
  keys: {
    cpus: (c, field, found) => void (found.nanoCpus = readUnit(c, field, parseNanoCpus, 'a number of CPUs like "0.5"', 1)),
    memory: (c, field, found) => void (found.memoryBytes = readUnit(c, field, parseBytes, 'a size like 64m', 1)),
  },
};

const RESOURCES_KEYS: KeyTable<ServiceDraft> = {
  shape: RESOURCES,
  keys: {
    limits: (c, field, service) => {
      if (isNull(field.value)) return;
      const limits = { ...service.container.limits };
      readByTable(c, field, LIMITS_KEYS, limits);
      service.container.limits = limits;
    },
    reservations: (c, field, service) => {
      if (isNull(field.value)) return;
      service.reservations = { ...service.reservations };
      readByTable(c, field, RESERVATIONS_KEYS, service.reservations);
    },
  },
};

const DEPLOY_KEYS: KeyTable<ServiceDraft> = {
  shape: DEPLOY,
  keys: {
    placement: readPlacement,
    endpoint_mode: (c, field, { traits }) => void (traits.endpointMode = readChoice(c, field, ['vip', 'dnsrr'])),
    labels: (c, field, service) => readServiceLabels(c, field, service),
    mode: readMode,
    update_config: readUpdateConfig,
    rollback_config: readRollbackConfig,
    restart_policy: readRestartPolicy,
    replicas: (c, field, service) => readReplicas(c, field, (found) => void (service.replicas = found)),
    resources: (c, field, service) => {
      if (!isNull(field.value)) readByTable(c, field, RESOURCES_KEYS, service);
    },
  },
};

/** Every key of a service in the Compose Specification. */
const SERVICE_KEYS: KeyTable<ServiceDraft> = {
  shape: SERVICE,
  keys: {
    // Their work is done in the model.
    profiles: () => undefined,
    // It is about what `up` shows, and ours shows no logs.
    attach: () => undefined,
    image: (c, field, { container }) => {
      const text = readString(c, field, 'the name of an image');
      const fault = text === undefined ? undefined : faultOfReference(text);
      if (fault) reject(c, field, `${quote(text ?? '')} is not the name of an image: ${fault}`);
      else container.image = text;
    },
    build: (_, field, draft) => void (draft.build = field),
    develop: (_, field, draft) => void (draft.develop = field),
    pull_policy: (c, field, draft) => void (draft.pull = readPullPolicy(c, field)),
    platform: (c, field, { container }) => void (container.platform = readPlatform(c, field)),
    command: (c, field, { container }) => void (container.command = readCommand(c, field)),
    entrypoint: (c, field, { container }) => void (container.entrypoint = readCommand(c, field)),
    environment: (c, field, { container }) => void (container.environment = readEnvironment(c, field)),
    networks: readAttachments,
    network_mode: readNetworkMode,
    mac_address: readServiceMac,
    links: (c, field, service) => void (service.links = [...(service.links ?? []), ...readLinks(c, field)]),
    external_links: (c, field, service) => void (service.links = [...(service.links ?? []), ...readExternalLinks(c, field)]),
    ports: readPorts,
    volumes: readVolumes,
    volumes_from: readVolumesFrom,
    tmpfs: readTmpfs,
    configs: (c, field, service) => readFileMounts(c, field, service, 'config'),
    secrets: (c, field, service) => readFileMounts(c, field, service, 'secret'),
    deploy: (c, field, service) => {
      if (!isNull(field.value)) readByTable(c, field, DEPLOY_KEYS, service);
    },
    healthcheck: readHealthcheck,
    restart: readRestart,
    depends_on: readDependencies,
    scale: (c, field, service) => readReplicas(c, field, (found) => void (service.scale = found)),
    container_name: readContainerName,
    hostname: (c, field, { container }) =>
      void (container.hostname = readMatching(c, field, HOSTNAME_PATTERN, 'a host name: letters, digits, "-", "_" and "."')),
    domainname: (c, field, { container }) =>
      void (container.domainname = readMatching(c, field, HOSTNAME_PATTERN, 'a domain like "example.org"')),
    dns: (c, field, { container }) => void (container.dns = readResolvers(c, field)),
    dns_search: (c, field, { container }) => void (container.dnsSearch = readSearchDomains(c, field)),
    dns_opt: (c, field, { container }) => void (container.dnsOptions = readResolverOptions(c, field)),
    extra_hosts: (c, field, { container }) => void (container.extraHosts = isNull(field.value) ? undefined : readExtraHosts(c, field)),
    expose: (c, field, { traits }) => void (traits.expose = isNull(field.value) ? undefined : readExpose(c, field)),
    user: (c, field, { container }) => void (container.user = readUser(c, field)),
    working_dir: (c, field, { container }) => void (container.workingDir = readWorkingDir(c, field)),
    labels: (c, field, { container }) => void (container.labels = readLabels(c, field)),
    cap_add: (c, field, { container }) => void (container.capAdd = readCapabilities(c, field)),
    cap_drop: (c, field, { container }) => void (container.capDrop = readCapabilities(c, field)),
    read_only: (c, field, { container }) => void (container.readOnlyRootfs = readBoolean(c, field)),
    ...PROCESS_KEYS,
    ...CGROUP_KEYS,
    ...DEVICE_KEYS,
    security_opt: readSecurity,
    logging: readLogging,
    post_start: (c, field, { container }) => void (container.postStart = readHooks(c, field)),
    pre_stop: (c, field, { container }) => void (container.preStop = readHooks(c, field)),
    stop_signal: (c, field, { container }) => void (container.stopSignal = readSignal(c, field)),
    stop_grace_period: (c, field, { container }) =>
      void (container.stopGraceMs = readUnit(
        c,
        field,
        parseDurationMs,
        'a time like "10s" or "1m30s", one hour at most',
        0,
        MAX_STOP_GRACE_MS,
      )),
  },
};

/** Tasks have it as their name: a host name on Linux, and a label of DNS. */
function readContainerName(c: Context, field: Field, { container, project }: ServiceDraft): void {
  const name = readMatching(c, field, HOSTNAME_PATTERN, 'a host name: letters, digits, "-", "_" and "."');
  if (name === undefined) return;
  if (name.length > MAX_LABEL_LENGTH) return reject(c, field, `a name of a container has at most ${MAX_LABEL_LENGTH} characters`);
  const twin = [...project.services.values()].find((s) => s.container.containerName?.toLowerCase() === name.toLowerCase());
  if (twin) return reject(c, field, `the container of the service ${quote(twin.name)} has this name already`);
  container.containerName = name;
}

/** null keeps what the image says; an empty list or string empties it. */
function readCommand(c: Context, field: Field): string[] | undefined {
  if (isNull(field.value)) return undefined;
  const words = (itemsOf(c, field) ?? []).map((item) => noNul(c, item, readText(c, item)));
  return words.every((word) => word !== undefined) ? words : undefined;
}

function noNul(c: Context, field: Field, text: string | undefined): string | undefined {
  return text?.includes('\0') ? void reject(c, field, 'a command cannot hold a NUL character') : text;
}

function readReplicas(c: Context, field: Field, set: (found: { count: number; at: Field['at'] }) => void): void {
  const count = readInteger(c, field, 0, MAX_REPLICAS);
  if (count !== undefined) set({ count, at: field.at });
}

function readWorkingDir(c: Context, field: Field): string | undefined {
  return readMatching(c, field, /^\/[^\0\n\r]{0,4095}$/, 'an absolute path in the container');
}

function readSignal(c: Context, field: Field): string | undefined {
  const text = readText(c, field, 'a signal');
  return text === undefined || /^(SIG)?[A-Z0-9+]{1,16}$/.test(text)
    ? text
    : void reject(c, field, `expected a signal like SIGTERM, found ${quote(text)}`);
}

/** As `NET_ADMIN`: upper case, without `CAP_`. */
function readCapabilities(c: Context, field: Field): string[] {
  if (isNull(field.value)) return [];
  return readUniqueList(c, field, (_, item) => {
    const text = readString(c, item, 'a capability like NET_ADMIN');
    if (text === undefined) return undefined;
    const name = text.toUpperCase().replace(/^CAP_/, '');
    if (name === 'ALL' || CAPABILITIES.includes(name)) return name;
    const near = CAPABILITIES.find(
      (known) =>
        known.toLowerCase() ===
        nearest(
          name,
          CAPABILITIES.map((k) => k.toLowerCase()),
        ),
    );
    return void reject(c, item, `${quote(text)} is not a capability`, near && `did you mean "${near}"?`);
  });
}

export function readService(c: Context, entry: Field & { key: string }, project: ProjectDraft): void {
  const draft: ServiceDraft = {
    project,
    name: entry.key,
    container: {},
    networks: new Map(),
    ports: [],
    traits: {},
    mounts: [],
    files: [],
  };
  checkServiceName(c, entry, project);
  if (entry.value.kind !== 'map') return reject(c, entry, `expected a service, a map, found ${describe(entry.value)}`);
  readByTable(c, entry, SERVICE_KEYS, draft);
  readWeft(c, entry, draft);
  readMaking(c, entry, draft);
  checkJob(c, entry, draft);
  checkFileTargets(c, draft);
  const replicas = draft.replicas?.count ?? draft.scale?.count ?? 1;
  if (draft.container.containerName === undefined) checkTaskName(c, entry, project.name, replicas);
  checkMode(c, draft);
  checkContainer(c, entry, draft);
  placeServiceMac(c, draft);
  const nameField = (entriesOf(c, entry) ?? []).find(({ key }) => key === 'container_name');
  if (isGlobal(draft) && nameField)
    report(c, nameField.at, nameField.path, 'the tasks of a global service cannot have one name', 'leave "container_name" out');
  if (isGlobal(draft) && draft.replicas)
    report(
      c,
      draft.replicas.at,
      `${entry.path}.deploy.replicas`,
      'a global service has one task on every node, whatever the replicas',
      'remove one of the two',
    );
  project.ports.push(...draft.ports);
  project.services.set(entry.key, finish(draft, replicas));
}

/** What only the keys of a container together can say. */
function checkContainer(c: Context, service: Field, draft: ServiceDraft): void {
  const given = new Map((entriesOf(c, service) ?? []).map((entry) => [entry.key, entry]));
  checkCgroup(c, draft, (key) => given.get(key));
  checkProcess(c, draft, (key) => given.get(key));
}

function finish(draft: ServiceDraft, replicas: number): Service {
  const { container } = draft;
  const wish = Object.fromEntries(Object.entries(container).filter(([, value]) => value !== undefined));
  return {
    name: draft.name,
    // What is missing or wrong has been told: such a stack is never handed out.
    container: {
      image: '',
      environment: {},
      labels: {},
      readOnlyRootfs: false,
      capAdd: [],
      capDrop: [],
      stopGraceMs: 10_000,
      ...wish,
      mounts: draft.mounts.map((m) => m.mount),
      ...(draft.files.length > 0 ? { files: draft.files.map((f) => f.file) } : {}),
    },
    replicas,
    networks: Object.fromEntries(draft.networks),
    ports: draft.ports.map((p) => p.port),
    ...(draft.networkMode ? { networkMode: draft.networkMode.mode } : {}),
    ...(draft.links && draft.links.length > 0 ? { links: draft.links } : {}),
    ...Object.fromEntries(Object.entries(draft.traits).filter(([, value]) => value !== undefined)),
    ...lifecycleOf(draft),
  };
}

/** What was said of it; what was not is left out, so that a file without it makes the same stack as before. */
function lifecycleOf(draft: ServiceDraft): Partial<Service> {
  const { dependsOn, mode, placement, reservations, update, rollback, onPartition } = draft;
  const found: Partial<Service> = { restart: restartOf(draft), dependsOn, mode, placement, reservations, update, rollback, onPartition };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

/** Names are looked up without regard to case (RFC 1035 §2.3.3), and each is a DNS label. */
function checkServiceName(c: Context, entry: Field & { key: string }, project: ProjectDraft): void {
  if (!HOSTNAME_PATTERN.test(entry.key))
    report(c, entry.at, entry.path, `the service's name must be a host name, found ${quote(entry.key)}`, 'it cannot end with "-"');
  const twin = project.names.get(entry.key.toLowerCase());
  project.names.set(entry.key.toLowerCase(), twin ?? entry.key);
  if (twin !== undefined)
    report(c, entry.at, entry.path, `this name differs from the service ${quote(twin)} in case only: both would resolve to the same`);
}

function checkTaskName(c: Context, entry: Field & { key: string }, project: string, replicas: number): void {
  const longest = `${project}-${entry.key}-${Math.max(1, replicas)}`;
  if (longest.length <= MAX_LABEL_LENGTH) return;
  report(
    c,
    entry.at,
    entry.path,
    `its containers would be named ${quote(longest)}: longer than the ${MAX_LABEL_LENGTH} characters of a host name`,
    'shorten the name of the service or of the stack',
  );
}
