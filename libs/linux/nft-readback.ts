/** What `nft -j list table …` printed, made comparable: a digest of what was loaded as text, and the virtual addresses beside it. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalAddress } from '#base/ip.js';
import { isOurLink } from '#overlay/names.js';
import { GUARD_SETS } from '#overlay/port-guard.js';
import { backendsIn, balancerAt, isVipChain, valueOf, VIP_MAPS, type VipRecord } from '#overlay/vip-table.js';

export type NftObject = Record<string, unknown>;

const readbackSchema = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });
const namedSchema = z.object({ name: z.string() });
const ruleSchema = z.looseObject({ chain: z.string() });
const elementsSchema = z.looseObject({ name: z.string(), elem: z.array(z.unknown()).optional() });
const markSchema = z.tuple([z.string(), z.number()]);
const gotoSchema = z.tuple([z.number(), z.object({ goto: z.object({ target: z.string() }) })]);
const concatSchema = z.object({ concat: z.array(z.string()) });
const backendSchema = z.tuple([z.object({ concat: z.tuple([z.string(), z.number()]) }), z.string()]);

export const objectsOf = (json: string): NftObject[] => readbackSchema.parse(JSON.parse(json)).nftables.filter((o) => !('metainfo' in o));

/**
 * A digest that is equal as long as nobody changes the table: no handles, no counts, sets sorted, nothing of virtual addresses,
 * and not the table's name.
 */
export function digestOf(objects: readonly NftObject[]): string {
  return hashOf(objects.filter((o) => !isOfVipChain(o) && !('table' in o)).map((o) => normal(isCountedApart(o) ? withoutElements(o) : o)));
}

const hashOf = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex');

const nameIn = (o: NftObject, kind: string): string | undefined => namedSchema.safeParse(o[kind]).data?.name;

const COUNTED_APART: readonly string[] = [...VIP_MAPS, ...GUARD_SETS];
/** What is in it is no part of the text: it changes element by element. */
const isCountedApart = (o: NftObject): boolean => COUNTED_APART.includes(nameIn(o, 'map') ?? nameIn(o, 'set') ?? '');

function withoutElements(o: NftObject): NftObject {
  return Object.fromEntries(Object.entries(o).map(([kind, value]) => [kind, { ...(value as object), elem: undefined }]));
}

function isOfVipChain(o: NftObject): boolean {
  const chain = nameIn(o, 'chain') ?? ruleSchema.safeParse(o['rule']).data?.chain;
  return chain !== undefined && isVipChain(chain);
}

/** Chains that differ in their number only are of one kind. */
export const kindOf = (chain: string): string => chain.replace(/\d+$/, '');

/** Chains beside the text, with a digest of how they read that is the same for all of a kind. */
export function vipChainsIn(objects: readonly NftObject[]): { name: string; digest: string }[] {
  const parts = new Map<string, NftObject[]>();
  for (const o of objects) {
    if (!isOfVipChain(o)) continue;
    const name = nameIn(o, 'chain') ?? ruleSchema.parse(o['rule']).chain;
    parts.set(name, [...(parts.get(name) ?? []), o]);
  }
  return [...parts].map(([name, of]) => ({ name, digest: hashOf(withoutNumber(JSON.stringify(of.map(normal)), name)) }));
}

/** `lb3`, `mod 3` and "one of 3" are what is different in chains of a kind. */
function withoutNumber(text: string, chain: string): string {
  const number = /\d+$/.exec(chain)?.[0];
  if (number === undefined) return text;
  return text.replaceAll(`"${chain}"`, '"#"').replaceAll(`"mod":${number},`, '"mod":#,').replaceAll(`one of ${number}"`, 'one of #"');
}

export const hasVipMaps = (tableText: string): boolean => VIP_MAPS.every((name) => tableText.includes(` ${name} {`));

export const elementsOf = (objects: readonly NftObject[], kind: 'map' | 'set', name: string): unknown[] | undefined => {
  const found = objects.find((o) => nameIn(o, kind) === name);
  return found && (elementsSchema.parse(found[kind]).elem ?? []);
};

/** What is in the sets of the port guard, by set, sorted; those that are empty are left out. */
export function guardElementsIn(objects: readonly NftObject[]): Record<string, string[]> {
  return Object.fromEntries(
    GUARD_SETS.flatMap((set) => {
      const elements = elementsOf(objects, 'set', set);
      return elements && elements.length > 0 ? [[set, elements.map(elementText).sort()]] : [];
    }),
  );
}

/** As it was written; of what nobody of us put there, how it reads. */
function elementText(element: unknown): string {
  const words = concatSchema.safeParse(element).data?.concat;
  return words ? words.map(wordText).join(' . ') : JSON.stringify(element);
}

const wordText = (word: string): string => (isOurLink(word) ? `"${word}"` : isAddress6(word) ? canonicalAddress(word) : word);
const isAddress6 = (word: string): boolean => word.includes('::') || word.split(':').length === 8;

/** The virtual addresses in a table, none if it has no such maps; undefined if the maps do not fit together. */
export function vipsIn(objects: readonly NftObject[]): VipRecord | undefined {
  const [chosen, balancers, numbered, empty] = [
    elementsOf(objects, 'map', 'vips'),
    elementsOf(objects, 'map', 'balancers'),
    elementsOf(objects, 'map', 'ep'),
    elementsOf(objects, 'set', 'empty'),
  ];
  if (!chosen || !balancers || !numbered || !empty) return {};
  const chains = chainsIn(balancers);
  if (!chains) return undefined;
  const backends = new Map<string, string[]>();
  for (const element of numbered) {
    const parsed = backendSchema.safeParse(element).data;
    if (!parsed) return undefined;
    const [{ concat }, backend] = parsed;
    const list = backends.get(concat[0]) ?? [];
    list[concat[1]] = backend;
    backends.set(concat[0], list);
  }
  const record: Record<string, string> = {};
  for (const element of chosen) {
    const [address, mark] = markSchema.safeParse(element).data ?? [];
    const list = backends.get(address ?? '');
    const chain = chains.get(mark ?? 0);
    if (address === undefined || chain === undefined || !list) return undefined;
    const value = valueIn(list, chain);
    if (value === undefined) return undefined;
    record[address] = value;
    backends.delete(address);
  }
  for (const address of empty) {
    if (typeof address !== 'string' || address in record) return undefined;
    record[address] = '';
  }
  return backends.size === 0 ? record : undefined;
}

/** Chains by their marks; undefined if one leads elsewhere. */
function chainsIn(balancers: readonly unknown[]): Map<number, string> | undefined {
  const chains = new Map<number, string>();
  for (const element of balancers) {
    const [mark, verdict] = gotoSchema.safeParse(element).data ?? [];
    if (mark === undefined || verdict?.goto.target !== balancerAt(mark)) return undefined;
    chains.set(mark, verdict.goto.target);
  }
  return chains;
}

/** undefined: they are not numbered in their order, or the chain chooses among more or fewer. */
function valueIn(backends: readonly (string | undefined)[], chain: string): string | undefined {
  const whole = Array.from(backends).filter((b) => b !== undefined);
  const value = valueOf({ backends: whole, ...(chain.startsWith('st') ? { affinity: 'client' } : {}) });
  const isRight =
    whole.length === backends.length && chain === `${kindOf(chain)}${whole.length}` && backendsIn(value).join() === whole.join();
  return isRight ? value : undefined;
}

function normal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== 'handle' && key !== 'table' && key !== 'packets' && key !== 'bytes');
  return Object.fromEntries(entries.map(([key, v]) => [key, key === 'elem' && Array.isArray(v) ? sorted(v.map(normal)) : normal(v)]));
}

const sorted = (items: unknown[]): unknown[] => items.map((i) => JSON.stringify(i)).sort();
