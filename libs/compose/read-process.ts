/** How a container's process is kept: init, terminal, privileges, groups, limits of the process, namespaces, sysctls. */
import { RLIMITS, type RuntimeKeys } from '#model/container-keys.js';
import {
  entriesOf,
  isNull,
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
import type { ServiceDraft } from './draft.js';
import { quote } from './issue.js';
import { nearest } from './nearest.js';
import type { ReadKey } from './read-by-table.js';
import { readLabels, readUniqueList } from './read-pairs.js';
import { checkSysctls, readSysctls } from './read-sysctls.js';
import { parseBytes } from './units.js';

const GROUP = /^[a-zA-Z0-9_.-]{1,64}$/;

export const PROCESS_KEYS: Readonly<Record<string, ReadKey<ServiceDraft>>> = {
  init: (c, field, { container }) => void (container.init = readBoolean(c, field)),
  tty: (c, field, { container }) => void (container.tty = readBoolean(c, field)),
  stdin_open: (c, field, { container }) => void (container.stdinOpen = readBoolean(c, field)),
  privileged: (c, field, { container }) => void (container.privileged = readBoolean(c, field)),
  shm_size: (c, field, { container }) => void (container.shmBytes = readUnit(c, field, parseBytes, 'a size like 64m', 1)),
  oom_score_adj: (c, field, { container }) => void (container.oomScoreAdj = readInteger(c, field, -1000, 1000)),
  annotations: (c, field, { container }) => void (container.annotations = readLabels(c, field)),
  group_add: (c, field, { container }) => {
    if (!isNull(field.value)) container.groups = readUniqueList(c, field, readGroup);
  },
  sysctls: (c, field, draft) => {
    if (!isNull(field.value)) draft.container.sysctls = readSysctls(c, field);
  },
  ulimits: (c, field, { container }) => {
    if (!isNull(field.value)) container.ulimits = readUlimits(c, field);
  },
  runtime: (c, field, { container }) => void (container.runtime = readRuntime(c, field)),
  ipc: (c, field, draft) => {
    // `shareable` says that others may join: nobody can here.
    const ipc = readNamespace(c, field, ['host', 'none', 'private', 'shareable']);
    if (ipc === 'host' || ipc === 'none') share(draft, { ipc });
  },
  pid: (c, field, draft) => {
    if (!isNull(field.value) && readNamespace(c, field, ['host']) === 'host') share(draft, { pid: 'host' });
  },
  uts: (c, field, draft) => {
    if (readNamespace(c, field, ['host']) === 'host') share(draft, { uts: 'host' });
  },
  cgroup: (c, field, draft) => {
    const cgroup = readChoice(c, field, ['host', 'private']);
    if (cgroup) share(draft, { cgroup });
  },
  // No container of Weft has a user namespace: the node's is the only one there is.
  userns_mode: (c, field) => {
    const mode = readString(c, field, 'host');
    if (mode !== undefined && mode !== 'host')
      reject(c, field, `expected "host", found ${quote(mode)}: Weft maps no user ids`, 'give the service a "user" other than root');
  },
};

const share = ({ container }: ServiceDraft, more: NonNullable<RuntimeKeys['namespaces']>): void =>
  void (container.namespaces = { ...container.namespaces, ...more });

function readNamespace<T extends string>(c: Context, field: Field, words: readonly T[]): T | undefined {
  const text = readString(c, field, `one of ${words.join(', ')}`);
  if (text === undefined || text === '') return undefined;
  const word = words.find((w) => w === text);
  if (word === undefined && /^(service|container):/.test(text))
    return void reject(
      c,
      field,
      'the containers of two tasks cannot share this namespace: each is made anew, and moves to another node, by itself',
      'run both programs in one container, or share the node’s with "host"',
    );
  return (
    word ?? void reject(c, field, `expected ${words.length === 1 ? `"${words[0]}"` : `one of ${words.join(', ')}`}, found ${quote(text)}`)
  );
}

function readGroup(c: Context, field: Field): string | undefined {
  const text = readText(c, field, 'a group');
  return text === undefined || GROUP.test(text) ? text : void reject(c, field, `expected a group, name or number, found ${quote(text)}`);
}

function readUlimits(c: Context, field: Field): RuntimeKeys['ulimits'] {
  const limits: [string, { soft: number; hard: number }][] = [];
  for (const entry of entriesOf(c, field) ?? []) {
    if (!(RLIMITS as readonly string[]).includes(entry.key)) {
      const near = nearest(entry.key, RLIMITS);
      report(c, entry.at, entry.path, `${quote(entry.key)} is not a limit of processes`, near && `did you mean "${near}"?`);
      continue;
    }
    const limit = entry.value.kind === 'map' ? readLimits(c, entry) : both(readInteger(c, entry, -1, Number.MAX_SAFE_INTEGER));
    if (limit) limits.push([entry.key, limit]);
  }
  return Object.fromEntries(limits);
}

const both = (value: number | undefined) => (value === undefined ? undefined : { soft: value, hard: value });

function readLimits(c: Context, field: Field): { soft: number; hard: number } | undefined {
  const found: Record<string, number | undefined> = {};
  for (const entry of entriesOf(c, field) ?? [])
    if (entry.key === 'soft' || entry.key === 'hard') found[entry.key] = readInteger(c, entry, -1, Number.MAX_SAFE_INTEGER);
  const { soft, hard } = found;
  if (soft === undefined || hard === undefined) return undefined;
  const isMore = hard >= 0 && (soft < 0 || soft > hard);
  return isMore ? void reject(c, field, `the soft limit ${soft} is more than the hard limit ${hard}`) : { soft, hard };
}

/** containerd's names; Docker's own name of the default one is left out. */
function readRuntime(c: Context, field: Field): string | undefined {
  const text = readMatching(
    c,
    field,
    /^(runc|io\.containerd\.[a-z0-9-]+\.v\d{1,3})$/,
    'runc, or the name of a runtime of containerd like "io.containerd.runsc.v1"',
    'what dockerd calls a runtime is in its own configuration, which Weft does not use',
  );
  return text === 'runc' || text === 'io.containerd.runc.v2' ? undefined : text;
}

/** What contradicts. Read when the whole service is. @param fieldOf the key of the service, if it is given */
export function checkProcess(c: Context, draft: ServiceDraft, fieldOf: (key: string) => Field | undefined): void {
  const { init, privileged, capDrop = [], namespaces = {} } = draft.container;
  const tell = (key: string, isWrong: boolean | undefined, message: string, hint?: string): void => {
    const field = fieldOf(key);
    if (isWrong && field) reject(c, field, message, hint);
  };
  tell('init', init && namespaces.pid === 'host', 'with "pid: host" the init would not be process 1', 'leave one of the two out');
  tell('cap_drop', privileged && capDrop.length > 0, 'a privileged container has every capability', 'leave one of the two out');
  for (const key of ['hostname', 'domainname'])
    tell(key, namespaces.uts === 'host', 'with "uts: host" the names are those of the node', 'leave one of the two out');
  tell('shm_size', namespaces.ipc === 'host' || namespaces.ipc === 'none', 'the service has no shared memory of its own ("ipc")');
  const sysctls = fieldOf('sysctls');
  if (sysctls && draft.container.sysctls) checkSysctls(c, sysctls, draft);
}
