/** `devices`, `device_cgroup_rules`: device nodes of the node a task runs on. */
import { posix } from 'node:path';
import { DEVICE_RULE_PATTERN, type DeviceWish } from '#model/container-keys.js';
import { entriesOf, isNull, itemsOf, readString, reject, type Context, type Field } from './context.js';
import type { ServiceDraft } from './draft.js';
import { quote } from './issue.js';
import type { ReadKey } from './read-by-table.js';
import { readUniqueList } from './read-pairs.js';

export const DEVICE_KEYS: Readonly<Record<string, ReadKey<ServiceDraft>>> = {
  devices: (c, field, { container }) => {
    if (!isNull(field.value)) container.devices = (itemsOf(c, field) ?? []).flatMap((item) => readDevice(c, item) ?? []);
  },
  device_cgroup_rules: (c, field, { container }) => {
    if (!isNull(field.value)) container.deviceRules = readUniqueList(c, field, readRule);
  },
};

function readDevice(c: Context, field: Field): DeviceWish | undefined {
  const found: Record<string, string | undefined> = {};
  for (const entry of entriesOf(c, field) ?? []) found[entry.key] = readString(c, entry);
  const { source, target = source, permissions = 'rwm' } = found;
  if (source === undefined || target === undefined) return undefined;
  if (/^[a-z0-9.-]+\.[a-z]+\/[^=]+=/.test(source))
    return void reject(
      c,
      field,
      `${quote(source)} is a device of the Container Device Interface, which Weft does not read`,
      'name the device files',
    );
  for (const path of [source, target])
    if (!/^\/[^\0\n\r]{1,4000}$/.test(path) || path.split('/').includes('..'))
      return void reject(c, field, `expected an absolute path without "..", found ${quote(path)}`);
  return { source: posix.normalize(source), target: posix.normalize(target), permissions };
}

function readRule(c: Context, field: Field): string | undefined {
  const text = readString(c, field, 'a rule like "c 1:3 mr"');
  const rule = text?.trim().replace(/\s+/g, ' ');
  if (rule === undefined || DEVICE_RULE_PATTERN.test(rule)) return rule;
  return void reject(c, field, `expected a rule like "c 1:3 mr" (type, numbers, permissions), found ${quote(text ?? '')}`);
}
