/** What is at paths of this node, as controllers ask before a stack that would mount them is begun. Nothing is changed. */
import { stat } from 'node:fs/promises';
import { WeftError } from '#base/errors.js';
import { absolutePathSchema } from '#model/container-keys.js';
import type { CheckPathsRequest, CheckPathsResponse } from '#rpc/gen/weft/v1/api.js';

const MAX_PATHS = 1000;

/** @throws BAD_VALUE */
export async function checkPaths({ paths }: CheckPathsRequest): Promise<CheckPathsResponse> {
  if (paths.length > MAX_PATHS) throw new WeftError('BAD_VALUE', `at most ${MAX_PATHS} paths can be asked for at once`);
  const wrong = paths.find((path) => !absolutePathSchema.safeParse(path).success);
  if (wrong !== undefined) throw new WeftError('BAD_VALUE', `${JSON.stringify(wrong.slice(0, 256))} is not a path on the node`);
  return { kinds: await Promise.all(paths.map(kindOf)) };
}

/** Symlinks are followed, as a mount does. */
async function kindOf(path: string): Promise<'directory' | 'other' | 'missing'> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return 'missing';
  return found.isDirectory() ? 'directory' : 'other';
}
