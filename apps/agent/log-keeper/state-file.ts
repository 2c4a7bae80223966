/**
 * What the keeper must know after a crash: which sources are open, and whether it went down in order. Written whole, beside
 * and then renamed. Not synced to disk: it has to survive the end of the process, not of the machine, where no container survives either.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fieldsOf, decodeSource, type LogSource } from '#logs/keeper-protocol.js';
import { hasCode } from '#logs/fs-error.js';

export interface KeeperState {
  /** The keeper had written everything when it ended: no gap. */
  clean: boolean;
  sources: LogSource[];
}

const NAME = 'open-logs.json';

/** The state that the last keeper left; an empty one if there was none. @throws when it cannot be read or is not of its form */
export async function readState(directory: string): Promise<KeeperState> {
  let text: string;
  try {
    text = await readFile(join(directory, NAME), 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { clean: true, sources: [] };
    throw error;
  }
  const { clean, sources } = fieldsOf(JSON.parse(text));
  return { clean: clean === true, sources: (Array.isArray(sources) ? sources : []).map(decodeSource) };
}

/** Returns `save`: writes what `current()` gives when the write begins. Calls that come together share one write. */
export function stateSaver(directory: string, current: () => KeeperState): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  let queued: Promise<void> | undefined;
  const path = join(directory, NAME);
  const write = async (): Promise<void> => {
    queued = undefined;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFile(`${path}.new`, JSON.stringify(current()), { mode: 0o600 });
    await rename(`${path}.new`, path);
  };
  return () => {
    if (queued) return queued;
    queued = running.then(write);
    running = queued.catch(() => undefined);
    return queued;
  };
}
