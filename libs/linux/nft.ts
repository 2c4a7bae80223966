/** Loading and reading back nft tables of ours. A table is replaced as a whole, in one transaction: no packet sees half of it. */
import { createHash } from 'node:crypto';
import { NODE_NAMESPACE, type NamespaceState } from '#overlay/kernel-state.js';
import { tableText } from '#overlay/nft-text.js';
import { vipChainLines, vipChainNames, vipScript, vipSets, type VipRecord } from '#overlay/vip-table.js';
import { DEVICE_TABLE, OUR_TABLES, TASK_TABLE, TASK_TABLE6 } from '#overlay/names.js';
import type { Operation } from '#overlay/operation.js';
import type { Entry } from './enter.js';
import {
  digestOf,
  elementsOf,
  guardElementsIn,
  hasVipMaps,
  kindOf,
  objectsOf,
  vipChainsIn,
  vipsIn,
  type NftObject,
} from './nft-readback.js';

export type TableOperation = Extract<Operation, { op: 'putTable' | 'removeTable' | 'setVips' | 'setElements' }>;

/** Text in place of a table's own that says: there is one, and it is not what was loaded. */
export const FOREIGN_TEXT = '# not what was loaded';

/**
 * The script that replaces, removes and changes tables. `add` before `delete`: deleting what is not there would fail all of it.
 * @param isEmpty there are no tables: nothing is deleted, so that nft does not wait at its end until the kernel has freed it
 */
export function script(operations: readonly TableOperation[], isEmpty = false): string {
  return operations
    .map((o) => {
      if (o.op === 'setVips') return vipScript(o.table, o);
      if (o.op === 'setElements') return elementScript(o);
      const clear = isEmpty ? '' : `table ${o.table} {\n}\ndelete table ${o.table}\n`;
      return o.op === 'removeTable' ? clear : `${clear}table ${o.table} {\n${o.text}\n}\n`;
    })
    .join('');
}

function elementScript({ table, set, add, remove }: Extract<TableOperation, { op: 'setElements' }>): string {
  const line = (verb: string, of: readonly string[]) => (of.length === 0 ? '' : `${verb} element ${table} ${set} { ${of.join(', ')} }\n`);
  return line('delete', remove) + line('add', add);
}

/** A longer line is rather given to a process of its own. */
const MOST_LINE_CHARS = 16_384;

/** `nft -i` reads its lines as a person's, and loses other letters (of a comment, say). */
const PLAIN = /^[\n -~]*$/;

/** A script for a process that takes a transaction a line; undefined if it is none for that. */
export function scriptLine(text: string): string | undefined {
  if (text.length > MOST_LINE_CHARS || !PLAIN.test(text)) return undefined;
  const line = inOneLine(text);
  return line.length <= MOST_LINE_CHARS ? line : undefined;
}

const inOneLine = (text: string): string => text.trim().replaceAll('\n', '; ');

/** Name of the copy that is read. */
const PROBE = 'weft_probe';

/** Digests of table texts that are remembered; then it begins anew. */
const MOST_DIGESTS = 1_000;

interface Loaded {
  text: string;
  /** How it reads; undefined if it could not be read. Never rejects. */
  digest: Promise<string | undefined>;
  vips: Map<string, string>;
  /** Of sets that change element by element. */
  elements: Map<string, Set<string>>;
}

/** What is in a namespace's tables of ours. */
export interface SeenTables {
  /** Text of each table: as it was loaded, or FOREIGN_TEXT if it reads otherwise now. */
  texts: Record<string, string>;
  /** The virtual addresses in them, where they make sense. */
  vips: Record<string, VipRecord>;
  elements: NamespaceState['elements'];
}

/**
 * Remembers, for each table it loaded, what reading it back gave: another reading later is drift. What changes element by
 * element (vip-table.ts) is no part of that: it is read for what it says.
 */
export class NftTables {
  readonly #entry: Entry;
  readonly #loaded = new Map<string, Loaded>();
  /** What ends the waiting for tables that were loaded and are still to be read back, by their keys. */
  readonly #unread = new Map<string, { read: () => void; skip: () => void }>();
  /** What reading back gives, by table and text: the tasks of a service have one and the same, which is read once. */
  readonly #digests = new Map<string, Promise<string | undefined>>();
  /** The same of chains beside the text, by table and kind: how they read is learnt when the first of the kind is made. */
  readonly #kinds = new Map<string, string>();

  constructor(entry: Entry) {
    this.#entry = entry;
  }

  /**
   * Loads all of `operations`, which are of one namespace, in one transaction.
   * @param of `isEmpty`: the namespace has no table yet · `isKept`: a process for it waits there
   * @throws COMMAND_FAILED; then nothing changed
   */
  async load(ns: string, operations: readonly TableOperation[], of: { isEmpty?: boolean; isKept?: boolean } = {}): Promise<void> {
    await this.#endReading(ns, operations);
    const text = script(operations, of.isEmpty);
    // Tables of the node change with its tasks, those of a task hardly ever: what is put into one is put there once.
    const isKept = of.isKept === true || ns === NODE_NAMESPACE || operations.every((o) => o.op === 'setVips' || o.op === 'setElements');
    const line = this.#entry.session && isKept ? scriptLine(text) : undefined;
    if (line === undefined || !(await this.#entry.session?.tell(ns, line))) await this.#entry.exec(ns, ['nft', '-f', '-'], { input: text });
    await this.note(ns, operations);
  }

  /**
   * The words of a command that loads `operations` into a namespace just made, which is told by `note` when it has; undefined if they
   * are too much for one.
   */
  static command(operations: readonly TableOperation[]): string[] | undefined {
    const line = inOneLine(script(operations, true));
    return line.length > MOST_LINE_CHARS ? undefined : ['nft', line];
  }

  /** That `operations` were carried out. */
  async note(ns: string, operations: readonly TableOperation[]): Promise<void> {
    for (const o of operations) {
      const key = `${ns}|${o.table}`;
      if (o.op === 'removeTable') this.#loaded.delete(key);
      else if (o.op === 'putTable') await this.#readLater(ns, o);
      else if (o.op === 'setElements') this.#noteElements(ns, o);
      else await this.#noteVips(ns, o);
    }
  }

  /** Begins to read back what was loaded, and does not wait for it: whoever waits for a plan to be carried out need not. */
  readBack(): void {
    for (const { read } of this.#unread.values()) read();
    this.#unread.clear();
  }

  forget(ns: string): void {
    for (const key of this.#unread.keys()) if (key.startsWith(`${ns}|`)) this.#skipReading(key);
    for (const key of this.#loaded.keys()) if (key.startsWith(`${ns}|`)) this.#loaded.delete(key);
  }

  /** The tables of a namespace as they were loaded: a transaction that succeeded put them there. */
  loaded(ns: string): SeenTables {
    const prefix = `${ns}|`;
    const seen: SeenTables = { texts: {}, vips: {}, elements: {} };
    for (const [key, { text, vips, elements }] of this.#loaded) {
      if (!key.startsWith(prefix)) continue;
      const table = key.slice(prefix.length);
      seen.texts[table] = text;
      if (vips.size > 0) seen.vips[table] = Object.fromEntries(vips);
      const held = [...elements].flatMap(([set, of]) => (of.size > 0 ? [[set, [...of].sort()] as const] : []));
      if (held.length > 0) seen.elements[table] = Object.fromEntries(held);
    }
    return seen;
  }

  async observe(ns: string): Promise<SeenTables> {
    this.readBack();
    const seen: SeenTables = { texts: {}, vips: {}, elements: {} };
    for (const table of await this.#list(ns)) {
      const objects = await this.#read(ns, table);
      if (!objects) continue;
      const loaded = this.#loaded.get(`${ns}|${table}`);
      const vips = vipsIn(objects);
      const isAsLoaded = loaded !== undefined && (await loaded.digest) === digestOf(objects);
      const isOurs = isAsLoaded && vips !== undefined && this.#areChainsRight(table, objects);
      seen.texts[table] = isOurs ? loaded.text : FOREIGN_TEXT;
      if (vips && Object.keys(vips).length > 0) seen.vips[table] = vips;
      const elements = guardElementsIn(objects);
      if (Object.keys(elements).length > 0) seen.elements[table] = elements;
    }
    return seen;
  }

  async #readLater(ns: string, { table, text }: Extract<TableOperation, { op: 'putTable' }>): Promise<void> {
    const read = () => this.#digestOnce(ns, table, text).catch(() => undefined);
    const key = `${ns}|${table}`;
    // Of one with maps a copy is read, and there is one copy at a time.
    const digest = hasVipMaps(text)
      ? Promise.resolve(await read())
      : new Promise<string | undefined>((resolve) =>
          this.#unread.set(key, { read: () => void read().then(resolve), skip: () => resolve(undefined) }),
        );
    this.#loaded.set(key, { text, digest, vips: new Map(), elements: new Map() });
  }

  /** Before tables are replaced: what is being read must be what was loaded, and what is still to be read will not be there. */
  async #endReading(ns: string, operations: readonly TableOperation[]): Promise<void> {
    const keys = operations.flatMap((o) => (o.op === 'setVips' || o.op === 'setElements' ? [] : [`${ns}|${o.table}`]));
    const begun = keys.filter((key) => !this.#skipReading(key));
    await Promise.all(begun.map((key) => this.#loaded.get(key)?.digest));
  }

  /** If it has not begun. Should the table stay after all, it counts as a stranger's, and is put anew. */
  #skipReading(key: string): boolean {
    this.#unread.get(key)?.skip();
    return this.#unread.delete(key);
  }

  #noteElements(ns: string, { table, set, add, remove }: Extract<TableOperation, { op: 'setElements' }>): void {
    const elements = this.#loaded.get(`${ns}|${table}`)?.elements;
    const held = elements?.get(set) ?? new Set();
    for (const element of remove) held.delete(element);
    for (const element of add) held.add(element);
    elements?.set(set, held);
  }

  async #noteVips(ns: string, { table, ...update }: Extract<TableOperation, { op: 'setVips' }>): Promise<void> {
    const vips = this.#loaded.get(`${ns}|${table}`)?.vips;
    for (const { address, after } of update.changes) {
      if (after === undefined) vips?.delete(address);
      else vips?.set(address, after);
    }
    const names = vipChainNames(table, update);
    const kinds = new Set(names.map((name) => kindKey(table, name)));
    if ([...kinds].every((kind) => this.#kinds.has(kind))) return;
    const maps = tableText(vipSets(table), []);
    for (const chain of vipChainsIn((await this.#probe(ns, table, maps, names)) ?? []))
      this.#kinds.set(kindKey(table, chain.name), chain.digest);
  }

  /**
   * Reads back how a table with this text would read, from a copy that is there for a moment: reading the table itself would cost
   * by the number of its virtual addresses. The copy has none, so its hooks do nothing that the table's own do not. (A dormant
   * copy would be better still, but nft 1.0.6 prints nonsense for the flags of a table in JSON.)
   */
  async #probe(ns: string, table: string, text: string, chains: readonly string[]): Promise<NftObject[] | undefined> {
    const copy = `${table.split(' ')[0]} ${PROBE}`;
    const clear = `table ${copy} {\n}\ndelete table ${copy}\n`;
    const made = `${clear}table ${copy} {\n${text}\n}\n${chains.flatMap((name) => vipChainLines(copy, name)).join('\n')}\n`;
    await this.#entry.exec(ns, ['nft', '-f', '-'], { input: made });
    try {
      return await this.#read(ns, copy);
    } finally {
      await this.#entry.exec(ns, ['nft', '-f', '-'], { input: clear });
    }
  }

  #areChainsRight(table: string, objects: readonly NftObject[]): boolean {
    const chains = vipChainsIn(objects);
    const refuses = chains.some((c) => c.name.startsWith('empty_'));
    const isEmpty = (elementsOf(objects, 'set', 'empty') ?? []).length === 0;
    return refuses !== isEmpty && chains.every((c) => this.#kinds.get(kindKey(table, c.name)) === c.digest);
  }

  /** Of a table that was just loaded. */
  #digestOnce(ns: string, table: string, text: string): Promise<string | undefined> {
    const key = createHash('sha256').update(`${table}|${text}`).digest('base64');
    const known = this.#digests.get(key);
    if (known) return known;
    if (this.#digests.size >= MOST_DIGESTS) this.#digests.clear();
    const reading = (hasVipMaps(text) ? this.#probe(ns, table, text, []) : this.#read(ns, table)).then(
      (objects) => objects && digestOf(objects),
    );
    this.#digests.set(key, reading);
    const forget = () => this.#digests.delete(key);
    reading.then((digest) => digest ?? forget(), forget);
    return reading;
  }

  async #list(ns: string): Promise<string[]> {
    // A task's namespace has these tables of ours: reading one tells whether it is there.
    if (ns !== NODE_NAMESPACE) return [TASK_TABLE, ...[TASK_TABLE6, DEVICE_TABLE].filter((table) => this.#loaded.has(`${ns}|${table}`))];
    const { stdout } = await this.#entry.exec(ns, ['nft', 'list', 'tables']);
    const there = new Set(stdout.split('\n').map((line) => line.trim()));
    return OUR_TABLES.filter((table) => there.has(`table ${table}`));
  }

  /** undefined if there is no such table. */
  async #read(ns: string, table: string): Promise<NftObject[] | undefined> {
    const { stdout, exitCode } = await this.#entry.exec(ns, ['nft', '-j', 'list', 'table', ...table.split(' ')], { accept: [1] });
    return exitCode === 0 ? objectsOf(stdout) : undefined;
  }
}

const kindKey = (table: string, chain: string): string => `${table} ${kindOf(chain)}`;
