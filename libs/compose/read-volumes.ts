/** Named volumes as the file declares them, and `driver_opts` of the driver `local`: Docker's options, checked. */
import { GLOBAL_NAME_PATTERN } from '#model/names.js';
import { faultsOf, VOLUME_TYPES, type VolumeOptions } from '#model/volume-options.js';
import type { VolumeWish } from '#model/stack.js';
import {
  defined,
  entriesOf,
  isNull,
  readBoolean,
  readChoice,
  readMatching,
  readText,
  reject,
  report,
  type Context,
  type Field,
} from './context.js';
import type { ProjectDraft } from './draft.js';
import { quote } from './issue.js';
import { VOLUME } from './key-table.js';
import { nearest } from './nearest.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { checkGlobalName, GLOBAL_NAME_RULE, namedEntries } from './read-networks.js';
import { readLabels } from './read-pairs.js';

interface VolumeDraft {
  wish: Partial<VolumeWish>;
  options?: Field;
  /** The first key that says how the volume is made. */
  making?: Field;
}

const VOLUME_KEYS: KeyTable<VolumeDraft> = {
  shape: VOLUME,
  keys: {
    name: (c, field, { wish }) => void (wish.name = readMatching(c, field, GLOBAL_NAME_PATTERN, GLOBAL_NAME_RULE)),
    driver: (c, field) => void readChoice(c, field, ['local'], 'Weft has no other drivers'),
    driver_opts: (_, field, draft) => {
      if (isNull(field.value)) return;
      draft.options = field;
      draft.making ??= field;
    },
    external: (c, field, { wish }) => void (wish.external = readBoolean(c, field) || undefined),
    labels: (c, field, { wish }) => void (wish.labels = readLabels(c, field)),
  },
};

export function readVolumeWishes(c: Context, field: Field, project: ProjectDraft): void {
  for (const entry of namedEntries(c, field, 'volume')) {
    const draft: VolumeDraft = { wish: {} };
    if (!isNull(entry.value)) readByTable(c, entry, VOLUME_KEYS, draft);
    const options = draft.options && readVolumeOptions(c, draft.options);
    const wish: VolumeWish = { key: entry.key, name: `${project.name}_${entry.key}`, labels: {}, ...defined({ ...draft.wish, options }) };
    if (wish.external && draft.making)
      report(
        c,
        draft.making.at,
        draft.making.path,
        'the volume is external: it is made elsewhere, and that is said there',
        'keep "name" alone beside "external"',
      );
    checkGlobalName(c, entry, wish.name, 'volume', project.volumes);
    project.volumes.set(entry.key, { wish, at: entry.at });
  }
}

const KEYS = ['type', 'o', 'device'] as const;
type OptionKey = (typeof KEYS)[number];

/** Types of file systems that people try, and why Weft does not mount them. */
const REFUSED_TYPES: Readonly<Record<string, string>> = Object.fromEntries([
  ...['cifs', 'smb', 'smb3', 'smbfs'].map((type) => [
    type,
    'its options hold a password, which would be readable for whoever may see the stack',
  ]),
  ...['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'zfs', 'vfat', 'ntfs'].map((type) => [
    type,
    'a block device is of one node and mounted once there',
  ]),
]);
const BIND_HINT = 'mount it on the node yourself, and name the directory: type: none, o: bind, device: /path';

/** undefined: no options at all, or they are wrong and that was told. */
function readVolumeOptions(c: Context, field: Field): VolumeOptions | undefined {
  const given = new Map<OptionKey, Field & { text: string }>();
  for (const entry of entriesOf(c, field, 'a map of options') ?? []) {
    const key = KEYS.find((one) => one === entry.key);
    if (key === undefined) report(c, entry.at, entry.path, ...unknown(entry.key));
    else given.set(key, { ...entry, text: isNull(entry.value) ? '' : (readText(c, entry) ?? '') });
  }
  if (given.size === 0) return undefined;
  const o = given.get('o')?.text ?? '';
  const options = o === '' ? [] : o.split(',');
  const type = readType(c, field, given.get('type'), options);
  if (type === undefined) return undefined;
  const found = { type, device: given.get('device')?.text ?? (type === 'tmpfs' ? 'tmpfs' : ''), options };
  for (const { key, message, hint } of faultsOf(found)) {
    const at = given.get(key);
    if (at) reject(c, at, message, hint);
    else report(c, field.at, field.path, `"${key}": ${message}`, hint);
  }
  return found;
}

function readType(
  c: Context,
  options: Field,
  type: (Field & { text: string }) | undefined,
  o: readonly string[],
): VolumeOptions['type'] | undefined {
  const text = type?.text ?? '';
  const known = VOLUME_TYPES.find((one) => one === text);
  if (known) return known;
  const isBind = o.includes('bind') || o.includes('rbind');
  if ((text === '' || text === 'bind') && isBind) return 'none';
  if (!type)
    return void report(c, options.at, options.path, 'nothing says what is mounted', `add "type": one of ${VOLUME_TYPES.join(', ')}`);
  const why = Object.hasOwn(REFUSED_TYPES, text) ? REFUSED_TYPES[text] : undefined;
  if (why !== undefined) return void reject(c, type, `Weft mounts no ${text}: ${why}`, BIND_HINT);
  return void reject(c, type, `expected one of ${VOLUME_TYPES.join(', ')}, found ${quote(text)}`, BIND_HINT);
}

function unknown(key: string): [message: string, hint: string] {
  if (key === 'size') return ['Weft refuses the option "size": directories of a node have no quota', 'use a tmpfs: type: tmpfs, o: size=…'];
  const near = nearest(key, KEYS);
  return [
    `${quote(key)} is not an option of the driver local`,
    near === undefined ? `it has ${KEYS.join(', ')}` : `did you mean "${near}"?`,
  ];
}
