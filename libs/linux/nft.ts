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

/** Digests of table texts that are remembered; then it begins anew. */
const MOST_DIGESTS = 1_000;

/** Remembers, for each table it loaded, what reading it back gave: another reading later is drift. */
export class NftTables {
  readonly #entry: Entry;
  readonly #loaded = new Map<string, { text: string; digest: string | undefined }>();
  /** What reading back gives, by table and text: the tasks of a service have one and the same, which is read once. */
  readonly #digests = new Map<string, Promise<string | undefined>>();

  constructor(entry: Entry) {
    this.#entry = entry;
  }

  /** Loads all of `operations`, which are of one namespace, in one transaction. @throws COMMAND_FAILED; then nothing changed */
  async load(ns: string, operations: readonly TableOperation[]): Promise<void> {
    await this.#entry.exec(ns, ['nft', '-f', '-'], { input: script(operations) });
    for (const o of operations) {
      if (o.op === 'removeTable') this.#loaded.delete(`${ns}|${o.table}`);
      else this.#loaded.set(`${ns}|${o.table}`, { text: o.text, digest: await this.#digestOnce(ns, o.table, o.text) });
    }
  }

  forget(ns: string): void {
    for (const key of this.#loaded.keys()) if (key.startsWith(`${ns}|`)) this.#loaded.delete(key);
  }

  /** The tables of a namespace as they were loaded: a transaction that succeeded put them there. */
  loaded(ns: string): Record<string, string> {
    const prefix = `${ns}|`;
    return Object.fromEntries(
      [...this.#loaded].flatMap(([key, { text }]) => (key.startsWith(prefix) ? [[key.slice(prefix.length), text]] : [])),
    );
  }

  /** Text of each table of ours that is there: as it was loaded, or FOREIGN_TEXT if it reads otherwise now. */
  async observe(ns: string): Promise<Record<string, string>> {
    const tables: Record<string, string> = {};
    for (const table of await this.#list(ns)) {
      const digest = await this.#read(ns, table);
      const loaded = this.#loaded.get(`${ns}|${table}`);
      if (digest !== undefined) tables[table] = loaded?.digest === digest ? loaded.text : FOREIGN_TEXT;
    }
    return tables;
  }

  /** Of a table that was just loaded. */
  #digestOnce(ns: string, table: string, text: string): Promise<string | undefined> {
    const key = createHash('sha256').update(`${table}|${text}`).digest('base64');
    const known = this.#digests.get(key);
    if (known) return known;
    if (this.#digests.size >= MOST_DIGESTS) this.#digests.clear();
    const reading = this.#read(ns, table);
    this.#digests.set(key, reading);
    const forget = () => this.#digests.delete(key);
    reading.then((digest) => digest ?? forget(), forget);
    return reading;
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
