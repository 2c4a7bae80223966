/**
 * `volumes` and `tmpfs` of a service. Absolute paths of binds are paths on the nodes. A relative one is beside the compose
 * file, on the machine of the user: its content travels. A `..` in a container's path is refused: it has no use but to leave where it says it is.
 */
import { posix } from 'node:path';
import { propagationSchema, recursionSchema, SUBPATH_PATTERN, type MountWish, type Propagation, type Seed } from '#model/stack.js';
import {
  defined,
  entriesOf,
  isNull,
  itemsOf,
  readBoolean,
  readChoice,
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
import { objectAt } from './key-table.js';
import { SERVICE } from './key-table-service.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { parseBytes } from './units.js';

const MAX_PATH_LENGTH = 4096;
const PROPAGATIONS = propagationSchema.options;
/** Linux keeps 2^32 − 1 for "no change" (chown(2)). */
const MAX_OWNER_ID = 0xffff_fffe;
const ANONYMOUS_HINT = 'name the volume, e.g. "data:/data", and declare it under the top-level "volumes"';

export function readVolumes(c: Context, field: Field, draft: ServiceDraft): void {
  if (isNull(field.value)) return;
  for (const item of itemsOf(c, field, 'a list of volumes') ?? []) {
    add(draft, item, readLong(c, item, draft));
  }
}

export function readTmpfs(c: Context, field: Field, draft: ServiceDraft): void {
  if (isNull(field.value)) return;
  for (const item of itemsOf(c, field) ?? []) add(draft, item, readTmpfsText(c, item));
}

function add(draft: ServiceDraft, field: Field, mount: MountWish | undefined): void {
  if (mount) draft.mounts.push({ mount, at: field.at, path: field.path });
}

/** The absolute, normalised path in the container. */
export function containerPath(c: Context, field: Field, path: string): string | undefined {
  if (!/^\/[^\0\n\r]*$/.test(path) || path.length > MAX_PATH_LENGTH)
    return void reject(c, field, `expected an absolute path in the container, found ${quote(path)}`);
  if (path.split('/').includes('..')) return void reject(c, field, `a path in the container cannot contain "..", found ${quote(path)}`);
  const clean = posix.normalize(path).replace(/(?<=.)\/$/, '');
  return clean === '/' ? void reject(c, field, 'nothing can be mounted at / of a container') : clean;
}

function nodePath(c: Context, field: Field, source: string): string | undefined {
  if (/^\/[^\0\n\r]*$/.test(source) && source.length <= MAX_PATH_LENGTH) return source;
  return void reject(c, field, `expected a path on the node, found ${quote(source)}`);
}

/** undefined: that it is not declared has been told. */
const volumeName = (draft: ServiceDraft, key: string): string | undefined => draft.project.volumes.get(key)?.wish.name;

interface Source {
  text: string;
  field: Field;
}

interface LongMount {
  type?: MountWish['type'];
  source?: Source;
  target?: string;
  readOnly?: boolean;
  propagation?: Propagation;
  propagated?: Field;
  recursive?: { field: Field; value: MountWish['recursive'] };
  createHostPath?: boolean;
  nocopy?: boolean;
  subpath?: string;
  tmpfs?: { field: Field; sizeBytes?: number; mode?: number };
}

const MOUNT = objectAt(SERVICE, 'volumes');

const TMPFS_KEYS: KeyTable<{ sizeBytes?: number; mode?: number }> = {
  shape: objectAt(MOUNT, 'tmpfs'),
  keys: {
    size: (c, field, tmpfs) => void (tmpfs.sizeBytes = readUnit(c, field, parseBytes, 'a size like 64m', 1)),
    mode: (c, field, tmpfs) => void (tmpfs.mode = readPermissions(c, field)),
  },
};

const BIND_KEYS: KeyTable<LongMount> = {
  shape: objectAt(MOUNT, 'bind'),
  keys: {
    create_host_path: (c, field, m) => void (m.createHostPath = readBoolean(c, field)),
    recursive: (c, field, m) => void (m.recursive = { field, value: readChoice(c, field, recursionSchema.options) }),
    propagation: (c, field, m) => {
      m.propagation = readChoice(c, field, PROPAGATIONS);
      m.propagated = field;
    },
    selinux: () => undefined,
  },
};
const VOLUME_KEYS: KeyTable<LongMount> = {
  shape: objectAt(MOUNT, 'volume'),
  keys: {
    nocopy: (c, field, m) => void (m.nocopy = readBoolean(c, field)),
    subpath: (c, field, m) =>
      void (m.subpath = readMatching(c, field, SUBPATH_PATTERN, 'a path in the volume: relative, and without ".."')?.replace(/\/+$/, '')),
  },
};

const MOUNT_KEYS: KeyTable<LongMount> = {
  shape: MOUNT,
  keys: {
    type: (c, field, m) => void (m.type = readChoice(c, field, ['volume', 'bind', 'tmpfs'])),
    source: (c, field, m) => {
      const text = readString(c, field);
      if (text !== undefined) m.source = { text, field };
    },
    target: (c, field, m) => {
      const text = readString(c, field, 'an absolute path in the container');
      if (text !== undefined) m.target = containerPath(c, field, text);
    },
    consistency: () => undefined,
    bind: (c, field, m) => readByTable(c, field, BIND_KEYS, m),
    volume: (c, field, m) => readByTable(c, field, VOLUME_KEYS, m),
    read_only: (c, field, m) => void (m.readOnly = readBoolean(c, field)),
    tmpfs: (c, field, m) => {
      m.tmpfs = { field };
      readByTable(c, field, TMPFS_KEYS, m.tmpfs);
    },
  },
};

/** Octal, as YAML 1.2 writes it (0o1777) or as people do (1777, "01777"): a number of permission bits is never meant in decimal. */
export function readPermissions(c: Context, field: Field): number | undefined {
  return readUnit(
    c,
    field,
    (text) => (/^(0o)?[0-7]{1,5}$/.test(text) ? parseInt(text.replace('0o', ''), 8) : undefined),
    'permission bits in octal, like "1777"',
    0,
    0o7777,
  );
}

/** The file is made on the node, where the names of the container mean nothing. */
export function readOwner(c: Context, field: Field, what: string): number | undefined {
  const text = readText(c, field, `a ${what} id`);
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text) && Number(text) <= MAX_OWNER_ID) return Number(text);
  return void reject(c, field, `expected the number of a ${what}, found ${quote(text)}`, 'names are known in the container only');
}

const SEED_KEYS = ['seed', 'uid', 'gid'];

/** `x-weft` of a mount: `seed: true` gives each task a copy of its own, which is the owner's that is named. */
function readSeed(c: Context, field: Field): Seed | undefined {
  const seed: Seed = {};
  let isSeed = false;
  for (const entry of entriesOf(c, field) ?? []) {
    if (entry.key === 'seed') isSeed = readBoolean(c, entry) ?? false;
    else if (entry.key === 'uid' || entry.key === 'gid') seed[entry.key] = readOwner(c, entry, entry.key === 'uid' ? 'user' : 'group');
    else report(c, entry.at, entry.path, `${quote(entry.key)} is not a key of x-weft on a mount`, `it has ${SEED_KEYS.join(', ')}`);
  }
  if (isSeed) return Object.fromEntries(Object.entries(seed).filter(([, value]) => value !== undefined));
  if (Object.keys(seed).length > 0) reject(c, field, '"uid" and "gid" are of a copy', 'add "seed: true"');
  return undefined;
}

/** A file or directory from beside the compose file. Known by its path from the project, so that it is the same for everybody. */
function treeMount(
  c: Context,
  draft: ServiceDraft,
  { text, field: from }: Source,
  seed?: Seed,
): Pick<MountWish, 'type' | 'source' | 'seed'> {
  const source = posix.relative(c.projectDirectory, text) || '.';
  draft.project.trees.set(source, { kind: 'tree', key: source, from: { file: text }, at: from.value.at, path: from.path });
  return { type: 'tree', source, ...(seed ? { seed } : {}) };
}

const isBeside = ({ value }: Field): boolean => value.kind === 'scalar' && value.beside === true;

function readLong(c: Context, field: Field, draft: ServiceDraft): MountWish | undefined {
  const m: LongMount = {};
  readByTable(c, field, MOUNT_KEYS, m);
  const given = new Set((entriesOf(c, field) ?? []).map((entry) => entry.key));
  const { type, target, readOnly = false } = m;
  if (type === undefined || target === undefined) return undefined;
  if (type !== 'tmpfs' && m.tmpfs) reject(c, m.tmpfs.field, `"tmpfs" is for type tmpfs, this is a ${type}`);
  if (type === 'tmpfs') {
    if (m.source) reject(c, m.source.field, 'a tmpfs has no source');
    const { sizeBytes, mode } = m.tmpfs ?? {};
    return { type, target, readOnly, ...(sizeBytes === undefined ? {} : { sizeBytes }), ...(mode === undefined ? {} : { mode }) };
  }
  if (!given.has('source')) return void reject(c, field, `a ${type} needs a source`, type === 'volume' ? ANONYMOUS_HINT : undefined);
  if (!m.source) return undefined;
  const { text, field: from } = m.source;
  const weft = (entriesOf(c, field) ?? []).find((entry) => entry.key === 'x-weft');
  const seed = weft && readSeed(c, weft);
  if (type === 'bind' && isBeside(from) && m.propagated)
    reject(c, m.propagated, 'nothing is ever mounted in a file or directory that travels', 'remove it, or name a path on the node');
  if (type === 'bind' && isBeside(from) && m.recursive)
    reject(c, m.recursive.field, 'nothing is ever mounted in a file or directory that travels', 'remove it, or name a path on the node');
  if (type === 'bind' && isBeside(from)) return { ...treeMount(c, draft, m.source, seed), target, readOnly: !seed || readOnly };
  if (seed && weft) reject(c, weft, 'only a file or directory from beside the compose file can be a seed', 'write its source as ./…');
  const source = type === 'bind' ? nodePath(c, from, text) : volumeName(draft, text);
  if (!readOnly && (m.recursive?.value === 'readonly' || m.recursive?.value === 'writable'))
    reject(c, m.recursive.field, `"${m.recursive.value}" is about a mount that is read-only`, 'add "read_only: true"');
  const more =
    type === 'bind'
      ? { propagation: m.propagation, recursive: m.recursive?.value, createHostPath: m.createHostPath || undefined }
      : { nocopy: m.nocopy || undefined, subpath: m.subpath };
  return source === undefined ? undefined : { type, source, target, readOnly, ...defined(more) };
}

/** `/run` or `/run:size=64m,mode=1777,ro`. */
function readTmpfsText(c: Context, field: Field): MountWish | undefined {
  const text = readText(c, field, 'a path in the container');
  if (text === undefined) return undefined;
  const colon = text.indexOf(':');
  const target = containerPath(c, field, colon < 0 ? text : text.slice(0, colon));
  const mount: Partial<MountWish> = { readOnly: false };
  for (const option of colon < 0 ? [] : text.slice(colon + 1).split(',')) {
    if (!applyTmpfsOption(mount, option))
      return void reject(c, field, `expected the options size=…, mode=…, ro or rw, found ${quote(option)}`);
  }
  return target === undefined ? undefined : { ...mount, type: 'tmpfs', target, readOnly: mount.readOnly ?? false };
}

function applyTmpfsOption(mount: Partial<MountWish>, option: string): boolean {
  const [name, value] = option.split('=', 2);
  if (option === 'ro' || option === 'rw') mount.readOnly = option === 'ro';
  else if (name === 'size' && value !== undefined) mount.sizeBytes = parseBytes(value) || undefined;
  else if (name === 'mode' && value !== undefined && /^[0-7]{1,5}$/.test(value) && parseInt(value, 8) <= 0o7777)
    mount.mode = parseInt(value, 8);
  else return false;
  return name !== 'size' || mount.sizeBytes !== undefined;
}
