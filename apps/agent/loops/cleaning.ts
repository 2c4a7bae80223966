/**
 * Sweeps up after tasks that are gone: their secrets at once; their files and logs a minute after the container was removed
 * (so that a last `ctl logs` still finds something). It only touches what the ledger says this agent made. Volumes are never touched.
 */
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '#base/clock.js';
import type { Stop } from '#base/dispose.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { Task } from '#model/task.js';
import type { LogKeeperVerbs } from '#logs/keeper-client.js';
import { removeContainerFiles } from '../container-files.js';
import type { FileMounts } from '../contents/file-mounts.js';
import type { TreeMounts } from '../contents/tree-mounts.js';
import type { Layout } from '../layout.js';
import type { Ledger } from '../ledger.js';
import type { VolumeMounts } from '../volume-mounts.js';

const PASS_MS = 10_000;
const KEEP_MS = 60_000;

export interface CleaningOptions {
  ledger: Ledger;
  layout: Layout;
  keeper: Pick<LogKeeperVerbs, 'close'>;
  fileMounts: Pick<FileMounts, 'sweep'>;
  treeMounts: Pick<TreeMounts, 'sweep'>;
  volumeMounts: Pick<VolumeMounts, 'sweep'>;
  /** Those in the view. */
  desired: () => readonly Task[];
  /** Whether a task still has a place here: in the view, as a container, or being worked on. */
  isAlive: (taskId: string) => boolean;
  clock: Clock;
  log: Log;
}

export function startCleaning(options: CleaningOptions): Stop {
  const timer = setInterval(() => {
    sweep(options).catch((error: unknown) => options.log.warn({ error: messageOf(error) }, 'could not clean up after tasks that are gone'));
  }, PASS_MS);
  return () => clearInterval(timer);
}

/** One pass; returns the ids it swept. */
export async function sweep(options: CleaningOptions): Promise<string[]> {
  const { ledger, layout, keeper, isAlive, clock, log } = options;
  await options.fileMounts.sweep(isAlive);
  await options.treeMounts.sweep(options.desired());
  await options.volumeMounts.sweep(options.desired(), isAlive);
  const swept: string[] = [];
  for (const id of ledger.ids()) {
    const entry = ledger.get(id);
    if (!entry || isAlive(id)) continue;
    if (entry.removedAt === undefined) {
      // It left without our seeing it (containers removed by hand, a view accepted anew): its minute begins now.
      ledger.note(id, { ...entry, removedAt: clock.now() });
      continue;
    }
    if (clock.now() - entry.removedAt < KEEP_MS) continue;
    await keeper.close(id, { remove: true });
    await removeContainerFiles(layout.taskDir(id));
    await rm(dirname(layout.logFile(id)), { recursive: true, force: true });
    ledger.forget(id);
    swept.push(id);
    log.info({ task: entry.name, id }, 'cleaned up what a removed task left');
  }
  return swept;
}
