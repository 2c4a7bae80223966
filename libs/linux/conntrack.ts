/** Connection tracking: making it forget flows to addresses that are gone. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import { addressToNumber, familyOf } from '#base/ip.js';
import type { Operation } from '#overlay/operation.js';
import { linesOf } from './commands.js';
import type { Entry } from './enter.js';
import type { FlowWord } from './sessions.js';

/** There was nothing to forget. */
const EXIT_NONE_FOUND = 1;

export class Conntrack {
  readonly #entry: Entry;
  readonly #scratchDir: string | undefined;
  #files = 0;

  /** @param scratchDir where the commands are put for `conntrack` to read; nobody else may write there */
  constructor(entry: Entry, scratchDir?: string) {
    this.#entry = entry;
    this.#scratchDir = scratchDir;
  }

  /**
   * Runs `operations` (all forgetFlows, forgetDoor or forgetDatagrams, of one namespace) with one `conntrack`, which
   * goes through the flows of the whole host for each: what has no flows in the namespace is left out, where that can be read.
   * @throws COMMAND_FAILED
   */
  async forget(ns: string, operations: readonly Operation[]): Promise<void> {
    const bound = await this.#withFlows(ns, operations);
    if (bound.length === 0) return;
    const text = `${bound.flatMap((o) => linesOf(o).map((l) => l.text)).join('\n')}\n`;
    await this.#withFile(text, (file) => this.#entry.exec(ns, ['conntrack', '--load-file', file], { accept: [EXIT_NONE_FOUND] }));
  }

  async #withFlows(ns: string, operations: readonly Operation[]): Promise<readonly Operation[]> {
    const { session } = this.#entry;
    if (!session) return operations;
    const words = operations.map(flowWord);
    const found = new Set((await session.flowsOf(ns, words)).map((w) => w.word));
    return operations.filter((_, i) => found.has(words[i]?.word ?? ''));
  }

  /**
   * conntrack opens its standard input by path, which a socket (what node hands on) does not allow: so a file. Its name is
   * used again by the next process: what one that was killed leaves behind does not add up.
   */
  async #withFile(text: string, use: (file: string) => Promise<unknown>): Promise<void> {
    const own = this.#scratchDir === undefined ? await mkdtemp(join(tmpdir(), 'weft-conntrack-')) : undefined;
    const file = join(own ?? this.#scratchDir ?? '', `conntrack-${++this.#files}`);
    try {
      await writeFile(file, text, { mode: 0o600 });
      await use(file);
    } finally {
      await rm(own ?? file, { recursive: true, force: true });
    }
  }
}

/** What the flows that an operation forgets have among their words, as the kernel prints them. */
export function flowWord(o: Operation): FlowWord {
  switch (o.op) {
    case 'forgetFlows':
      return { word: `src=${printed(o.address)}` };
    case 'forgetDatagrams':
      return { word: `${o.to === 'vip' ? 'dst' : 'src'}=${printed(o.address)}`, udp: true };
    case 'forgetDoor':
      return { word: `dport=${o.port}`, udp: true };
    default:
      throw new WeftError('INTERNAL', `${o.op} forgets no flows`);
  }
}

/** IPv6 in eight groups of four digits (%pI6). */
const printed = (address: string): string =>
  familyOf(address) === 4 ? address : (addressToNumber(address).toString(16).padStart(32, '0').match(/.{4}/g) ?? []).join(':');
