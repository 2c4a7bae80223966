/** The last configuration, kept so that a restarted name server answers before the agent has spoken. */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
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

/** Written beside, synced, and renamed: a reader finds the old one or the new one whole. */
export async function writeState(path: string, config: NameConfig): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(JSON.stringify(config));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
