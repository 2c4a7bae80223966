/** Limits of a service's containers as the short keys say them: CPU, memory, processes, block devices. */
import type { RuntimeKeys } from '#model/container-keys.js';
import type { Service } from '#model/stack.js';
import {
  entriesOf,
  isNull,
  itemsOf,
  readBoolean,
  readInteger,
  readMatching,
  readUnit,
  reject,
  type Context,
  type Field,
} from './context.js';
import type { ServiceDraft } from './draft.js';
import { objectAt } from './key-table.js';
import { SERVICE } from './key-table-service.js';
import { readByTable, type KeyTable, type ReadKey } from './read-by-table.js';
import { parseBytes, parseNanoCpus } from './units.js';

type Cgroup = NonNullable<RuntimeKeys['cgroup']>;
type BlockIo = NonNullable<Cgroup['blockIo']>;

/** The kernel's (PID_MAX_LIMIT). */
const MAX_PIDS = 4_194_304;
const SIZE = 'a size like 64m';

const put = ({ container }: ServiceDraft, more: Cgroup): void => void (container.cgroup = { ...container.cgroup, ...more });
const limit = ({ container }: ServiceDraft, more: NonNullable<Service['container']['limits']>): void =>
  void (container.limits = { ...container.limits, ...more });

/** A count that a key says; 0 means as in Docker: no such limit. */
const unlessZero = (value: number | undefined): number | undefined => (value === 0 ? undefined : value);

export const CGROUP_KEYS: Readonly<Record<string, ReadKey<ServiceDraft>>> = {
  cpus: (c, field, draft) => limit(draft, { nanoCpus: unlessZero(readUnit(c, field, parseNanoCpus, 'a number of CPUs like "0.5"', 0)) }),
  mem_limit: (c, field, draft) => limit(draft, { memoryBytes: unlessZero(readUnit(c, field, parseBytes, SIZE, 0)) }),
  pids_limit: (c, field, draft) => limit(draft, { pids: readPids(c, field) }),
  mem_reservation: (c, field, draft) => {
    const memoryBytes = unlessZero(readUnit(c, field, parseBytes, SIZE, 0));
    if (memoryBytes !== undefined) draft.reservations = { ...draft.reservations, memoryBytes };
  },
  memswap_limit: (c, field, draft) => put(draft, { memorySwapBytes: unlessZero(readUnit(c, field, signedBytes, `${SIZE}, or -1`, -1)) }),
  mem_swappiness: (c, field, draft) => put(draft, { memorySwappiness: readInteger(c, field, 0, 100) }),
  oom_kill_disable: (c, field, draft) => put(draft, { oomKillDisable: readBoolean(c, field) || undefined }),
  cpu_shares: (c, field, draft) => put(draft, { cpuShares: readShares(c, field) }),
  cpu_quota: (c, field, draft) => put(draft, { cpuQuotaUs: readQuota(c, field) }),
  cpu_period: (c, field, draft) => put(draft, { cpuPeriodUs: readInteger(c, field, 1_000, 1_000_000) }),
  cpu_rt_runtime: (c, field, draft) => put(draft, { cpuRtRuntimeUs: readInteger(c, field, 1, Number.MAX_SAFE_INTEGER) }),
  cpu_rt_period: (c, field, draft) => put(draft, { cpuRtPeriodUs: readInteger(c, field, 1, Number.MAX_SAFE_INTEGER) }),
  cpuset: (c, field, draft) => {
    const cpuset = readMatching(c, field, /^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$/, 'CPUs like "0-2,4"');
    put(draft, { cpuset });
  },
  cgroup_parent: (c, field, draft) => {
    const parent = readMatching(
      c,
      field,
      /^(?!.*\.\.(\/|$))\/?[a-zA-Z0-9_.:@-]+(\/[a-zA-Z0-9_.:@-]+)*$/,
      'the path of a cgroup like "batch/low"',
    );
    put(draft, { parent });
  },
  blkio_config: (c, field, draft) => {
    if (isNull(field.value)) return;
    const blockIo: BlockIo = {};
    readByTable(c, field, BLKIO_KEYS, blockIo);
    if (Object.keys(blockIo).length > 0) put(draft, { blockIo });
  },
};

const signedBytes = (text: string): number | undefined => (text === '-1' ? -1 : parseBytes(text));

/** −1 and 0 mean as in Docker: no limit. */
export function readPids(c: Context, field: Field): number | undefined {
  const pids = readInteger(c, field, -1, MAX_PIDS);
  return pids !== undefined && pids > 0 ? pids : undefined;
}

/** The kernel takes 2 to 262,144; 0 is its 1024. */
function readShares(c: Context, field: Field): number | undefined {
  const shares = readInteger(c, field, 0, 262_144);
  return shares === 1 ? void reject(c, field, 'expected a weight from 2 to 262144, found 1') : unlessZero(shares);
}

/** −1 and 0: no limit. */
function readQuota(c: Context, field: Field): number | undefined {
  const quota = readInteger(c, field, -1, Number.MAX_SAFE_INTEGER);
  if (quota === undefined || quota <= 0) return undefined;
  return quota < 1_000 ? void reject(c, field, `the kernel takes no quota below 1000 microseconds, found ${quota}`) : quota;
}

const BLKIO = objectAt(SERVICE, 'blkio_config');
const WEIGHT = [10, 1_000] as const;

const BLKIO_KEYS: KeyTable<BlockIo> = {
  shape: BLKIO,
  keys: {
    weight: (c, field, found) => void (found.weight = readInteger(c, field, ...WEIGHT)),
    weight_device: (c, field, found) => void (found.weightDevice = readPerDevice(c, field, 'weight')),
    device_read_bps: (c, field, found) => void (found.readBps = readPerDevice(c, field, 'rate')),
    device_write_bps: (c, field, found) => void (found.writeBps = readPerDevice(c, field, 'rate')),
    device_read_iops: (c, field, found) => void (found.readIops = readPerDevice(c, field, 'rate')),
    device_write_iops: (c, field, found) => void (found.writeIops = readPerDevice(c, field, 'rate')),
  },
};

/** `[{ path, weight }]` or `[{ path, rate }]`. */
function readPerDevice<K extends 'weight' | 'rate'>(c: Context, field: Field, key: K): ({ path: string } & Record<K, number>)[] {
  return (itemsOf(c, field) ?? []).flatMap((item) => {
    const given = new Map((entriesOf(c, item) ?? []).map((entry) => [entry.key, entry]));
    const [path, amount] = [given.get('path'), given.get(key)];
    if (!path || !amount) {
      reject(c, item, `expected "path" and "${key}"`);
      return [];
    }
    const at = readMatching(c, path, /^\/dev\/[^\0\n\r]{1,4000}$/, 'a block device like /dev/sda');
    const value = key === 'weight' ? readInteger(c, amount, ...WEIGHT) : readUnit(c, amount, parseBytes, 'a rate', 1);
    return at === undefined || value === undefined ? [] : [{ path: at, [key]: value } as { path: string } & Record<K, number>];
  });
}

/** Limits against one another. Read when the whole service is. @param fieldOf the key of the service, if it is given */
export function checkCgroup(c: Context, { container, reservations }: ServiceDraft, fieldOf: (key: string) => Field | undefined): void {
  const { cgroup = {}, limits = {} } = container;
  const tell = (key: string, message: string, hint?: string): void => {
    const field = fieldOf(key) ?? fieldOf('deploy');
    if (field) reject(c, field, message, hint);
  };
  if (limits.nanoCpus !== undefined && (cgroup.cpuQuotaUs !== undefined || cgroup.cpuPeriodUs !== undefined))
    tell(cgroup.cpuQuotaUs === undefined ? 'cpu_period' : 'cpu_quota', 'the limit of CPUs says this already', 'leave one of the two out');
  const { memoryBytes } = limits;
  const { memorySwapBytes: swap } = cgroup;
  if (swap !== undefined && swap > 0 && memoryBytes === undefined)
    tell('memswap_limit', 'it needs a limit of memory, too', 'add "mem_limit"');
  if (swap !== undefined && swap > 0 && memoryBytes !== undefined && swap < memoryBytes)
    tell('memswap_limit', `memory and swap together (${swap} bytes) are less than the limit of memory (${memoryBytes} bytes)`);
  const reserved = reservations?.memoryBytes;
  if (reserved !== undefined && memoryBytes !== undefined && reserved > memoryBytes)
    tell('mem_reservation', `the reservation of memory (${reserved} bytes) is more than the limit (${memoryBytes} bytes)`);
}
