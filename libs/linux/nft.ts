/** Loading and reading back nft tables of ours. A table is replaced as a whole, in one transaction: no packet sees half of it. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { OUR_TABLES, TASK_TABLE } from '#overlay/names.js';
import type { Operation } from '#overlay/operation.js';
import type { Entry } from './enter.js';

export type TableOperation = Extract<Operation, { op: 'putTable' | 'removeTable' }>;

/** Text in place of a table's own that says: there is one, and it is not what was loaded. */
export const FOREIGN_TEXT = '# not what was loaded';

/** The script that replaces and removes tables. `add` before `delete`: deleting what is not there would fail all of it. */
export function script(operations: readonly TableOperation[]): string {
  return operations
    .map((o) => {
      const clear = `table ${o.table} {\n}\ndelete table ${o.table}\n`;
      return o.op === 'removeTable' ? clear : `${clear}table ${o.table} {\n${o.text}\n}\n`;
    })
    .join('');
}

/** Remembers, for each table it loaded, what reading it back gave: another reading later is drift. */
export class NftTables {
  readonly #entry: Entry;
  readonly #loaded = new Map<string, { text: string; digest: string | undefined }>();

  constructor(entry: Entry) {
    this.#entry = entry;
  }

  /**
   * Loads all of `operations`, which are of one namespace, in one transaction.
   * @param readBack false if the namespace is about to be observed anyway: then that reading counts
   * @throws COMMAND_FAILED; then nothing changed
   */
  async load(ns: string, operations: readonly TableOperation[], readBack: boolean): Promise<void> {
    await this.#entry.exec(ns, ['nft', '-f', '-'], { input: script(operations) });
    for (const o of operations) {
      if (o.op === 'removeTable') this.#loaded.delete(`${ns}|${o.table}`);
      else this.#loaded.set(`${ns}|${o.table}`, { text: o.text, digest: readBack ? ((await this.#read(ns, o.table)) ?? '') : undefined });
    }
  }

  forget(ns: string): void {
    for (const key of this.#loaded.keys()) if (key.startsWith(`${ns}|`)) this.#loaded.delete(key);
  }

  /** Text of each table of ours that is there: as it was loaded, or FOREIGN_TEXT if it reads otherwise now. */
  async observe(ns: string): Promise<Record<string, string>> {
    const tables: Record<string, string> = {};
    for (const table of await this.#list(ns)) {
      const digest = await this.#read(ns, table);
      const loaded = this.#loaded.get(`${ns}|${table}`);
      if (loaded) loaded.digest ??= digest;
      if (digest !== undefined) tables[table] = loaded?.digest === digest ? loaded.text : FOREIGN_TEXT;
    }
    return tables;
  }

  async #list(ns: string): Promise<string[]> {
    // A task's namespace has one table of ours: reading it tells whether it is there.
    if (ns !== NODE_NAMESPACE) return [TASK_TABLE];
    const { stdout } = await this.#entry.exec(ns, ['nft', 'list', 'tables']);
    const there = new Set(stdout.split('\n').map((line) => line.trim()));
    return OUR_TABLES.filter((table) => there.has(`table ${table}`));
  }

  async #read(ns: string, table: string): Promise<string | undefined> {
    const { stdout, exitCode } = await this.#entry.exec(ns, ['nft', '-j', 'list', 'table', ...table.split(' ')], { accept: [1] });
    return exitCode === 0 ? digestOf(stdout) : undefined;
  }
}

const readbackSchema = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });

/** A digest of `nft -j list table …` that is equal as long as nobody changes the table: no handles, no counts, sets sorted. */
export function digestOf(json: string): string {
  const { nftables } = readbackSchema.parse(JSON.parse(json));
  const objects = nftables.filter((o) => !('metainfo' in o)).map(normal);
  return createHash('sha256').update(JSON.stringify(objects)).digest('hex');
}

function normal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== 'handle' && key !== 'packets' && key !== 'bytes');
  return Object.fromEntries(entries.map(([key, v]) => [key, key === 'elem' && Array.isArray(v) ? sorted(v.map(normal)) : normal(v)]));
}

const sorted = (items: unknown[]): unknown[] => items.map((i) => JSON.stringify(i)).sort();
