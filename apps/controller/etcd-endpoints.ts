/** Where the members of etcd are reached, kept on disk: a controller whose own member is away starts on another. */
import { join } from 'node:path';
import { z } from 'zod';
import { decode, encode } from '#model/codec.js';
import { readOptional, writeSecret } from './pki.js';

const fileOf = (dataDir: string): string => join(dataDir, 'etcd-endpoints.json');

/** Client URLs as last seen; none for the only member of its cluster. @throws CORRUPT */
export async function readEndpoints(dataDir: string): Promise<string[]> {
  const text = await readOptional(fileOf(dataDir));
  return text === undefined ? [] : decode(z.array(z.string()), text, fileOf(dataDir));
}

export async function writeEndpoints(dataDir: string, endpoints: readonly string[]): Promise<void> {
  await writeSecret(fileOf(dataDir), encode(endpoints));
}
