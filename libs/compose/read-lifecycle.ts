/** How a service's containers are checked, restarted, ordered, updated: healthcheck, restart, depends_on, parts of deploy. */
import { isJob } from '#model/service-mode.js';
import type { Dependency, Healthcheck, RestartPolicy, UpdatePolicy } from '#model/stack.js';
import {
  entriesOf,
  isNull,
  itemsOf,
  readBoolean,
  readChoice,
  readInteger,
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
import { DEPLOY } from './key-table-parts.js';
import { DEPENDENCY, HEALTHCHECK } from './key-table-service.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { parseDurationMs } from './units.js';

const DAY_MS = 86_400_000;
const MAX_RETRIES = 1_000_000;

const readMs = (c: Context, field: Field, min: number): number | undefined =>
  readUnit(c, field, parseDurationMs, 'a time like "10s" or "1m30s", a day at most', min, DAY_MS);

interface HealthDraft extends Healthcheck {
  disable?: boolean;
}

const HEALTH_KEYS: KeyTable<HealthDraft> = {
  shape: HEALTHCHECK,
  keys: {
    test: (c, field, health) => void (health.test = readTest(c, field)),
    interval: (c, field, health) => void (health.intervalMs = readMs(c, field, 1)),
    timeout: (c, field, health) => void (health.timeoutMs = readMs(c, field, 1)),
    retries: (c, field, health) => void (health.retries = readInteger(c, field, 1, MAX_RETRIES)),
    start_period: (c, field, health) => void (health.startPeriodMs = readMs(c, field, 0)),
    start_interval: (c, field, health) => void (health.startIntervalMs = readMs(c, field, 1)),
    disable: (c, field, health) => void (health.disable = readBoolean(c, field)),
  },
};

function readTest(c: Context, field: Field): string[] | undefined {
  if (isNull(field.value)) return undefined;
  const words = (itemsOf(c, field) ?? []).map((item) => readText(c, item) ?? '');
  if (words.some((word) => word.includes('\0'))) return void reject(c, field, 'a command cannot hold a NUL character');
  if (words.length === 1 && words[0] !== 'NONE') return void reject(c, field, 'the test names no command', 'e.g. ["CMD", "true"]');
  if (words[0] === 'CMD-SHELL' && words.length > 2)
    return void reject(c, field, `CMD-SHELL takes one line, found ${words.length - 1}`, 'use CMD for words, or put the line in one string');
  return words.length === 0 ? undefined : words;
}

export function readHealthcheck(c: Context, field: Field, { container }: ServiceDraft): void {
  if (isNull(field.value)) return;
  const draft: HealthDraft = {};
  readByTable(c, field, HEALTH_KEYS, draft);
  const { disable, ...health } = draft;
  container.healthcheck = disable ? { test: ['NONE'] } : given(health);
}

/** Without the keys that nothing was said of. */
const given = <T extends object>(draft: T): T => Object.fromEntries(Object.entries(draft).filter(([, v]) => v !== undefined)) as T;

/** `restart:`. What `deploy.restart_policy` says counts more, as in Compose. */
export function readRestart(c: Context, field: Field, service: ServiceDraft): void {
  const text = readText(c, field);
  if (text === undefined) return;
  const [word = '', times] = text.split(':');
  if (word === 'no') service.restart = { condition: 'none' };
  else if (word !== 'on-failure') service.restart = { condition: 'any' };
  else if (times === undefined || Number(times) === 0) service.restart = { condition: 'on-failure' };
  else service.restart = { condition: 'on-failure', maxAttempts: Number(times) };
}

const POLICY_KEYS: KeyTable<Partial<RestartPolicy>> = {
  shape: objectAt(DEPLOY, 'restart_policy'),
  keys: {
    condition: (c, field, policy) => void (policy.condition = readChoice(c, field, ['none', 'on-failure', 'any'])),
    delay: (c, field, policy) => void (policy.delayMs = readMs(c, field, 0)),
    max_attempts: (c, field, policy) => void (policy.maxAttempts = readInteger(c, field, 0, MAX_RETRIES) || undefined),
    window: (c, field, policy) => void (policy.windowMs = readMs(c, field, 0) || undefined),
  },
};

export function readRestartPolicy(c: Context, field: Field, service: ServiceDraft): void {
  if (isNull(field.value)) return;
  const draft: Partial<RestartPolicy> = {};
  readByTable(c, field, POLICY_KEYS, draft);
  service.restartPolicy = { condition: 'any', ...given(draft) };
}

interface DependencyDraft extends Partial<Dependency> {
  required?: boolean;
}

const DEPENDENCY_KEYS: KeyTable<DependencyDraft> = {
  shape: DEPENDENCY,
  keys: {
    condition: (c, field, draft) =>
      void (draft.condition = readChoice(c, field, ['service_started', 'service_healthy', 'service_completed_successfully'])),
    restart: (c, field, draft) => void (draft.restart = readBoolean(c, field)),
    required: (c, field, draft) => void (draft.required = readBoolean(c, field)),
  },
};

/** That they are there, and wait for one another in no circle, was checked in the model. */
export function readDependencies(c: Context, field: Field, service: ServiceDraft): void {
  if (isNull(field.value)) return;
  service.dependsOn = {};
  for (const entry of entriesOf(c, field) ?? []) {
    const draft: DependencyDraft = {};
    readByTable(c, entry, DEPENDENCY_KEYS, draft);
    service.dependsOn[entry.key] = { condition: 'service_started', restart: false, required: true, ...given(draft) };
  }
}

const updateKeys = (key: 'update_config' | 'rollback_config'): KeyTable<Partial<UpdatePolicy>> => ({
  shape: objectAt(DEPLOY, key),
  keys: {
    parallelism: (c, field, policy) => void (policy.parallelism = readInteger(c, field, 0, 10_000)),
    delay: (c, field, policy) => void (policy.delayMs = readMs(c, field, 0)),
    monitor: (c, field, policy) => void (policy.monitorMs = readMs(c, field, 0)),
    order: (c, field, policy) => void (policy.order = readChoice(c, field, ['start-first', 'stop-first'])),
    failure_action: (c, field, policy) => void (policy.onFailure = readFailureAction(c, field, key)),
    max_failure_ratio: (c, field, policy) => void (policy.maxFailureRatio = readRatio(c, field)),
  },
});

function readFailureAction(c: Context, field: Field, key: string): UpdatePolicy['onFailure'] | undefined {
  const action = readChoice(c, field, ['pause', 'continue', 'rollback']);
  if (action === 'rollback' && key === 'rollback_config')
    return void reject(c, field, 'a rollback that fails cannot be rolled back', 'use pause or continue');
  return action;
}

function readRatio(c: Context, field: Field): number | undefined {
  const ratio = Number(readText(c, field) ?? 0);
  return ratio >= 0 && ratio <= 1 ? ratio : void reject(c, field, `expected a ratio from 0 to 1, found ${ratio}`);
}

const UPDATE_DEFAULTS: UpdatePolicy = {
  parallelism: 1,
  delayMs: 0,
  order: 'stop-first',
  monitorMs: 5_000,
  maxFailureRatio: 0,
  onFailure: 'pause',
};

const reader = (key: 'update_config' | 'rollback_config', set: (service: ServiceDraft, policy: UpdatePolicy) => void) => {
  const table = updateKeys(key);
  return (c: Context, field: Field, service: ServiceDraft): void => {
    if (isNull(field.value)) return;
    const draft: Partial<UpdatePolicy> = {};
    readByTable(c, field, table, draft);
    set(service, { ...UPDATE_DEFAULTS, ...given(draft) });
  };
};

export const readUpdateConfig = reader('update_config', (service, policy) => void (service.update = policy));
export const readRollbackConfig = reader('rollback_config', (service, policy) => void (service.rollback = policy));

export function readMode(c: Context, field: Field, service: ServiceDraft): void {
  const mode = readChoice(c, field, ['replicated', 'global', 'replicated-job', 'global-job']);
  if (mode !== undefined && mode !== 'replicated') service.mode = mode;
}

const WEFT_KEYS = ['on-partition'];

/** `x-weft` of a service: what Compose has no key for. Of all that begins with `x-`, this alone is not the user's. */
export function readWeft(c: Context, service: Field, draft: ServiceDraft): void {
  const weft = (entriesOf(c, service) ?? []).find((entry) => entry.key === 'x-weft');
  if (!weft || isNull(weft.value)) return;
  for (const entry of entriesOf(c, weft) ?? []) {
    if (entry.key === 'on-partition') draft.onPartition = readChoice(c, entry, ['keep', 'stop']);
    else report(c, entry.at, entry.path, `${quote(entry.key)} is not a key of x-weft of a service`, `it has ${WEFT_KEYS.join(', ')}`);
  }
}

/** A job runs to its end: what ended well is never started again. */
export function checkJob(c: Context, field: Field, service: ServiceDraft): void {
  if (isJob(service) && service.restartPolicy?.condition === 'any')
    reject(c, field, 'a job is not started again when it ended well: its restart policy cannot be "any"', 'use on-failure or none');
}

/** What the file says of restarts. Jobs are tried again until they end well, unless it says no. */
export function restartOf(service: ServiceDraft): RestartPolicy | undefined {
  const policy = service.restartPolicy ?? service.restart;
  if (!isJob(service)) return policy;
  return policy === undefined || policy.condition === 'any' ? { ...policy, condition: 'on-failure' } : policy;
}
