/** The last configuration, kept so that a restarted name server answers before the agent has spoken. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WeftError, messageOf } from '#base/errors.js';
import { decodeNameConfig, type NameConfig } from '#dns/name-config.js';

const isMissing = (error: unknown): boolean => typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';

/** Undefined if there is none. @throws CORRUPT */
export async function readState(path: string): Promise<NameConfig | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    return decodeNameConfig(JSON.parse(text));
  } catch (error) {
    throw new WeftError('CORRUPT', { what: `${path} holds no name configuration`, why: messageOf(error), cause: error });
  }
}

/**
 * Written beside and renamed: a reader finds the old one or the new one whole. Not synced to disk: it has to survive the end of
 * the process, not of the machine, after which the agent says everything again.
 */
export async function writeState(path: string, config: NameConfig): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(`${path}.new`, JSON.stringify(config), { mode: 0o600 });
  await rename(`${path}.new`, path);
}
