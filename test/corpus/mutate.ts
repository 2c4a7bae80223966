/** Texts made wrong in the ways in which files are wrong: lines lost, doubled and moved, indents off, pieces of the language in odd places. */

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32, in the public domain). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const PIECES = [
  ...['\n', ' ', '  ', '\t', ':', ': ', '- ', '[', ']', '{', '}', ',', '&a ', '*a', '<<: *a', '!reset ', '!override ', '!!str ', '|', '>'],
  ...['"', "'", '#', ' # ', '? ', '---\n', '...\n', '\0', '\u2028', '\r', 'null', '~', 'true', 'no', '0x10', '-1', '1e9', '.inf', '0440'],
  ...['$', '$$', '${', '${A', '${A:-', '${A:?', '}', '80:80', './x', '/', '..', 'x-', '__proto__', 'constructor', '99999999999999999999'],
  ...['image', 'services', 'default', 'web', 'external: true', 'extends: web', 'include: [x]', '😀', '\\n', '\u001b[31m'],
];

/** Whole values of every kind. */
const VALUES = [
  ...['""', '[]', '{}', 'null', 'true', '"yes"', '0', '-1', '1.5', 'word', '"two words"', '[a, b]', '{ a: b }', '[{ a: b }]', '[[a]]'],
  ...['64m', '10s', '"80:80"', './path', '/abs', '"a=b"', '["a=b", c]', '"${A:-x}"', '"${A:?no}"', '$$', '*a', 'host', 'service:web'],
];

export class Mutator {
  readonly #random: () => number;
  readonly #lines: readonly string[];
  /** What stands behind a key somewhere. */
  readonly #values: readonly string[];

  /** @param texts whose lines may turn up in one another */
  constructor(random: () => number, texts: readonly string[]) {
    this.#random = random;
    this.#lines = texts.flatMap((text) => text.split('\n'));
    this.#values = this.#lines.flatMap((line) => /: (.+)/.exec(line)?.[1] ?? []);
  }

  pick<T>(all: readonly T[]): T {
    const found = all[this.#below(all.length)];
    if (found === undefined) throw new Error('nothing to pick from');
    return found;
  }

  /** True this often, from 0 to 1. */
  chance(share: number): boolean {
    return this.#random() < share;
  }

  /** One to three changes; mostly of a kind that leaves it YAML, so that what comes behind the parser is reached. */
  mutate(text: string): string {
    let out = text;
    for (let i = this.#below(3); i >= 0; i--) out = this.chance(0.9) ? this.#inLines(out) : this.#inText(out);
    return out;
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #inText(text: string): string {
    const at = this.#below(text.length + 1);
    const cut = this.#random() < 0.5 ? 0 : this.#below(12);
    return text.slice(0, at) + (this.#random() < 0.2 ? '' : this.pick(PIECES)) + text.slice(at + cut);
  }

  #inLines(text: string): string {
    const lines = text.split('\n');
    const at = this.#below(lines.length);
    const line = lines[at] ?? '';
    const changes: (() => string[])[] = [
      () => [],
      () => [line, line.replace(/\w(?=:)/, 'y')],
      () => [` ${line}`],
      () => [line.replace(/^ {1,2}/, '')],
      () => [this.pick(this.#lines), line],
      () => [line.replace(/: .+/, () => `: ${this.pick(PIECES)}`)],
      () => [line.replace(/: .+/, () => `: ${this.pick(VALUES)}`)],
      () => [line.replace(/: .+/, () => `: ${this.pick(this.#values)}`)],
      () => [line.replace(/([[,] *)([^,[\]]+)/, (_, before: string) => `${before}${this.pick(VALUES)}`)],
      () => [line.replace(/\d+/, () => this.pick(['0', '-1', '65536', '1.5', '08', '1e3', '${A:-5}']))],
      () => [line.replace(/[\w.-]+/, () => this.pick(PIECES))],
      () => [line.replace(/^( *)(\w+):/, (_, indent: string, key: string) => `${indent}${key}${key.slice(-1)}:`)],
    ];
    lines.splice(at, 1, ...this.pick(changes)());
    return lines.join('\n');
  }
}
