/** What `ctl up` builds before it plans to roll out: what it is told to, what the file says, and what is on no node. */
import type { ComposeResult } from '#compose/parse-compose.js';
import type { BuildWish } from '#compose/build-wish.js';
import { callUnary } from '#rpc/client.js';
import { normalizeReference } from '#runtime/reference.js';
import type { Connection } from '../connection.js';
import type { PullPolicy } from '../prepare-images.js';
import { say, type Shell } from '../shell.js';
import { buildImages } from './build-images.js';
import { inBuildOrder } from './build-order.js';
import type { Builder } from './builder-steps.js';

export type Built = Pick<ComposeResult, 'builds' | 'pulls'>;

export interface UpBuildFlags {
  /** --build: true; --no-build: false. */
  build?: boolean;
  /** With `build`: only these services. */
  buildOnly?: readonly string[];
  builder?: Builder;
  /** Only say what would be built. */
  dryRun?: boolean;
}

/** Nodes list their images at their own pace. */
const LIST_TIMEOUT_MS = 20_000;

/** Image → digest of what was built. @throws what `buildImages` throws */
export async function buildForUp(shell: Shell, connection: Connection, project: Built, flags: UpBuildFlags): Promise<Map<string, string>> {
  const wishes = [...project.builds.values()];
  const here = wishes.length > 0 && flags.build === undefined ? await namesOnNodes(connection) : new Set<string>();
  const meant = wishes.filter(({ service }) => flags.buildOnly === undefined || flags.buildOnly.includes(service));
  const due = inBuildOrder(
    meant.filter((wish) => isDue(wish, project, flags.build, here)),
    project.builds,
  );
  if (flags.dryRun) {
    for (const { image } of due) say(shell, `image ${image} would be built`);
    return new Map();
  }
  const built = await buildImages(shell, connection, due, flags.builder ? { builder: flags.builder } : {});
  return new Map(built.map(({ image, digest }) => [image, digest]));
}

/** Where the file asks for an image to be pulled, it is not built unless that is asked for by hand. Pure. */
export function isDue(
  { service, image }: BuildWish,
  { pulls }: Pick<Built, 'pulls'>,
  build: boolean | undefined,
  here: ReadonlySet<string>,
): boolean {
  if (build !== undefined) return build;
  const policy = pulls.get(service);
  if (policy === 'build') return true;
  return policy !== 'always' && policy !== 'missing' && !here.has(normalizeReference(image));
}

/** When a service's image is asked for: by hand, by the file, or as usual. What is built is not to be had from a registry. Pure. */
export function pullPolicyOf({ builds, pulls }: Built, service: string, byHand: PullPolicy | undefined): PullPolicy {
  const said = pulls.get(service);
  if (builds.has(service) && (said === undefined || said === 'build' || said === 'never')) return 'never';
  return byHand ?? (said === 'build' ? 'never' : said) ?? 'missing';
}

async function namesOnNodes({ api, target }: Connection): Promise<Set<string>> {
  const { nodes } = await callUnary(api, 'listImages', {}, { target, timeoutMs: LIST_TIMEOUT_MS });
  return new Set(nodes.flatMap((node) => node.images.map((image) => image.name)));
}
