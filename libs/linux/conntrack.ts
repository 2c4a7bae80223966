/** Connection tracking: making it forget flows to addresses that are gone. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Operation } from '#overlay/operation.js';
import { linesOf } from './commands.js';
import type { Entry } from './enter.js';

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

  /** Runs `operations` (all forgetFlows, forgetDoor or forgetDatagrams, of one namespace) with one `conntrack`. @throws COMMAND_FAILED */
  async forget(ns: string, operations: readonly Operation[]): Promise<void> {
    const text = `${operations.flatMap((o) => linesOf(o).map((l) => l.text)).join('\n')}\n`;
    await this.#withFile(text, (file) => this.#entry.exec(ns, ['conntrack', '--load-file', file], { accept: [EXIT_NONE_FOUND] }));
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
