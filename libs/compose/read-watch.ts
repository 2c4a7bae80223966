/** `develop.watch` of a service: what is done when files beside the compose file change. */
import { WATCH_ACTIONS, type WatchRule } from './build-wish.js';
import {
  isNull,
  itemsOf,
  readBoolean,
  readChoice,
  readMatching,
  readString,
  readText,
  reject,
  report,
  type Context,
  type Field,
} from './context.js';
import { objectAt } from './key-table.js';
import { SERVICE } from './key-table-service.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { readEnvironment } from './read-pairs.js';

const WATCH = objectAt(objectAt(SERVICE, 'develop'), 'watch');

interface Draft extends Partial<WatchRule> {
  targetAt?: Field;
  execAt?: Field;
}

type Exec = NonNullable<WatchRule['exec']>;

const EXEC_KEYS: KeyTable<Exec> = {
  shape: objectAt(WATCH, 'exec'),
  keys: {
    command: (c, field, exec) =>
      void (exec.command = isNull(field.value) ? [] : (itemsOf(c, field) ?? []).flatMap((item) => readText(c, item) ?? [])),
    user: (c, field, exec) => void (exec.user = readText(c, field)),
    working_dir: (c, field, exec) => void (exec.workingDir = readString(c, field)),
    environment: (c, field, exec) => void (exec.environment = readEnvironment(c, field)),
  },
};

const patterns = (c: Context, field: Field): string[] => (itemsOf(c, field) ?? []).flatMap((item) => readString(c, item) ?? []);

const RULE_KEYS: KeyTable<Draft> = {
  shape: WATCH,
  keys: {
    path: (c, field, rule) => void (rule.path = readMatching(c, field, /^\/[^\0]*$/, 'a path')),
    action: (c, field, rule) => void (rule.action = readChoice(c, field, WATCH_ACTIONS)),
    target: (c, field, rule) => {
      rule.target = readMatching(c, field, /^\/[^\0\n\r]*$/, 'an absolute path in the container');
      rule.targetAt = field;
    },
    include: (c, field, rule) => void (rule.include = patterns(c, field)),
    ignore: (c, field, rule) => void (rule.ignore = patterns(c, field)),
    initial_sync: (c, field, rule) => void (rule.initialSync = readBoolean(c, field) ?? false),
    exec: (c, field, rule) => {
      const exec: Exec = { command: [], environment: {} };
      readByTable(c, field, EXEC_KEYS, exec);
      rule.exec = exec;
      rule.execAt = field;
    },
  },
};

const DEVELOP_KEYS: KeyTable<{ rules: WatchRule[]; hasBuild: boolean }> = {
  shape: objectAt(SERVICE, 'develop'),
  keys: {
    watch: (c, field, draft) => void (draft.rules = (itemsOf(c, field) ?? []).flatMap((item) => readRule(c, item, draft.hasBuild) ?? [])),
  },
};

/** @param hasBuild whether the service says how its image is built */
export function readDevelop(c: Context, field: Field, hasBuild: boolean): WatchRule[] {
  const draft = { rules: [], hasBuild };
  if (!isNull(field.value)) readByTable(c, field, DEVELOP_KEYS, draft);
  return draft.rules;
}

function readRule(c: Context, item: Field, hasBuild: boolean): WatchRule | undefined {
  const draft: Draft = {};
  readByTable(c, item, RULE_KEYS, draft);
  const { action, path, target, exec, include = [], ignore = [], initialSync = false, targetAt, execAt } = draft;
  if (action === undefined || path === undefined) return undefined;
  const syncs = action.startsWith('sync');
  if (syncs && !targetAt) return void reject(c, item, `the action ${action} needs a target`, 'add "target": a path in the container');
  if (action === 'sync+exec' && !exec?.command.length)
    return void reject(c, item, 'the action sync+exec needs a command', 'add "exec: { command: … }"');
  if (action !== 'sync+exec' && execAt) report(c, execAt.at, execAt.path, `the action ${action} runs no command`, 'use sync+exec');
  if (!syncs && targetAt) report(c, targetAt.at, targetAt.path, `the action ${action} copies nothing`, 'remove "target", or use sync');
  if (action === 'rebuild' && !hasBuild) return void reject(c, item, 'there is nothing to rebuild', 'add "build" to the service');
  return { action, path, include, ignore, initialSync, ...(target && syncs ? { target } : {}), ...(exec ? { exec } : {}) };
}
