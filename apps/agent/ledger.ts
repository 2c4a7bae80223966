/**
 * What this agent knows of its own past: every task it ever made something for and has not cleaned up yet. After a restart
 * it tells what may be touched: on a machine where several agents share /run/netns, an agent removes only what is in its own ledger.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { decode, encode } from '#model/codec.js';
import { idSchema } from '#model/names.js';
import { hostDisk, LazyFile, type Disk } from './atomic-file.js';

const entrySchema = z.object({
  name: z.string(),
  restarts: z.number().int().min(0).default(0),
  restartsAsked: z.number().int().min(0).optional(),
  startedAt: z.number().optional(),
  exitCode: z.number().int().optional(),
  /** Restarts that the policy counts. */
  tries: z.number().int().min(0).optional(),
  health: z.enum(['starting', 'healthy', 'unhealthy']).optional(),
  /** Its post_start hooks have not ended well yet. */
  hooksPending: z.boolean().optional(),
  /** A restart that somebody asked for, and that has not come to its end yet. */
  restartAsked: z.object({ drainMs: z.number().min(0), graceMs: z.number().min(0).optional(), order: z.number().optional() }).optional(),
  /** It ended and is not started again. */
  done: z.boolean().optional(),
  /** Set when its container was removed for good, ms since the epoch: its files and log follow. */
  removedAt: z.number().optional(),
});
const ledgerSchema = z.object({ tasks: z.record(idSchema, entrySchema).default({}) });

export type LedgerEntry = z.infer<typeof entrySchema>;

const FILE = 'ledger.json';
const WRITE_DELAY_MS = 100;

export class Ledger {
  readonly #tasks: Map<string, LedgerEntry>;
  readonly #file: LazyFile;

  private constructor(path: string, tasks: Map<string, LedgerEntry>, log: Log, disk: Disk) {
    this.#tasks = tasks;
    this.#file = new LazyFile(
      path,
      () => encode({ tasks: Object.fromEntries(this.#tasks) }),
      WRITE_DELAY_MS,
      (error) => log.error({ path, error: messageOf(error) }, 'cannot keep the ledger on disk'),
      disk,
    );
  }

  /** An unreadable ledger counts as empty: then less is cleaned up, never more. */
  static async open(dataDir: string, log: Log, disk: Disk = hostDisk): Promise<Ledger> {
    const path = join(dataDir, FILE);
    const text = await disk.read(path);
    let tasks = new Map<string, LedgerEntry>();
    try {
      if (text !== undefined) tasks = new Map(Object.entries(decode(ledgerSchema, text, path).tasks));
    } catch (error) {
      log.error({ path, error: messageOf(error) }, 'the ledger cannot be read; beginning a new one');
    }
    return new Ledger(path, tasks, log, disk);
  }

  get(taskId: string): LedgerEntry | undefined {
    return this.#tasks.get(taskId);
  }

  ids(): string[] {
    return [...this.#tasks.keys()];
  }

  /** Tasks whose containers were not removed for good. */
  liveIds(): string[] {
    return [...this.#tasks].filter(([, entry]) => entry.removedAt === undefined).map(([id]) => id);
  }

  note(taskId: string, entry: LedgerEntry): void {
    this.#tasks.set(taskId, entry);
    this.#file.touch();
  }

  forget(taskId: string): void {
    if (this.#tasks.delete(taskId)) this.#file.touch();
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }
}
