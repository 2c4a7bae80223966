/** `post_start`, `pre_stop`: commands that are run in a service's containers. */
import type { Hook } from '#model/container-keys.js';
import { isNull, itemsOf, readBoolean, readMatching, readText, reject, type Context, type Field } from './context.js';
import { HOOK } from './key-table-parts.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { readEnvironment } from './read-pairs.js';

const USER = /^[a-zA-Z0-9_.-]+(:[a-zA-Z0-9_.-]+)?$/;

const HOOK_KEYS: KeyTable<Partial<Hook>> = {
  shape: HOOK,
  keys: {
    command: (c, field, hook) => void (hook.command = readWords(c, field)),
    user: (c, field, hook) => void (hook.user = readUser(c, field)),
    privileged: (c, field, hook) => void (hook.privileged = readBoolean(c, field)),
    working_dir: (c, field, hook) =>
      void (hook.workingDir = readMatching(c, field, /^\/[^\0\n\r]{0,4095}$/, 'an absolute path in the container')),
    environment: (c, field, hook) => void (hook.environment = readEnvironment(c, field)),
  },
};

export function readHooks(c: Context, field: Field): Hook[] | undefined {
  if (isNull(field.value)) return undefined;
  return (itemsOf(c, field) ?? []).flatMap((item): Hook[] => {
    const hook: Partial<Hook> = {};
    readByTable(c, item, HOOK_KEYS, hook);
    const { command, ...more } = hook;
    return command ? [{ ...(Object.fromEntries(Object.entries(more).filter(([, v]) => v !== undefined)) as typeof more), command }] : [];
  });
}

function readWords(c: Context, field: Field): string[] | undefined {
  const words = isNull(field.value) ? [] : (itemsOf(c, field) ?? []).map((item) => readText(c, item) ?? '');
  if (words.length === 0 || words[0] === '') return void reject(c, field, 'the hook names no command');
  return words.some((word) => word.includes('\0')) ? void reject(c, field, 'a command cannot hold a NUL character') : words;
}

/** `USER[:GROUP]`, of a service or of a command in its containers. */
export function readUser(c: Context, field: Field): string | undefined {
  const text = readText(c, field, 'a user');
  return text === undefined || USER.test(text)
    ? text
    : void reject(c, field, `expected USER[:GROUP], names or numbers, found "${text.slice(0, 64)}"`);
}
