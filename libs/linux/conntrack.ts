/** Connection tracking: making it forget flows to addresses that are gone. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Operation } from '#overlay/operation.js';
import { linesOf } from './commands.js';
import type { Entry } from './enter.js';

/** There was nothing to forget. */
const EXIT_NONE_FOUND = 1;

/** Runs `operations` (all forgetFlows or forgetDoor, of one namespace) with one `conntrack`. @throws COMMAND_FAILED */
export async function forgetFlows(entry: Entry, ns: string, operations: readonly Operation[]): Promise<void> {
  // conntrack opens its standard input by path, which a socket (what node hands on) does not allow: so a file.
  const directory = await mkdtemp(join(tmpdir(), 'weft-conntrack-'));
  try {
    const file = join(directory, 'commands');
    await writeFile(file, `${operations.flatMap((o) => linesOf(o).map((l) => l.text)).join('\n')}\n`, { mode: 0o600 });
    await entry.exec(ns, ['conntrack', '--load-file', file], { accept: [EXIT_NONE_FOUND] });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
