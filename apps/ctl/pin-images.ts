/** What the images of compose files mean at their registries now: asked from here, without a cluster. */
import { resolveRemote } from '#runtime/pull.js';
import { formatReference, parseReference } from '#runtime/reference.js';
import { credentialsFor, loadDockerConfig } from './registry-credentials.js';
import type { Shell } from './shell.js';

/**
 * Image as it is written → the same with its tag and digest (`nginx` → `nginx:latest@sha256:…`); one that has a digest stays.
 * Logins are those of `docker login`.
 * @throws BAD_NAME, IMAGE_UNKNOWN, UNAUTHENTICATED, RUNTIME
 */
export async function pinned({ env }: Pick<Shell, 'env'>, images: readonly string[]): Promise<Map<string, string>> {
  const config = await loadDockerConfig(env);
  const pin = async (image: string): Promise<readonly [string, string]> => {
    const reference = parseReference(image);
    if (reference.digest !== undefined) return [image, image];
    const { digest } = await resolveRemote(formatReference(reference), await credentialsFor(reference.registry, config, env));
    return [image, `${image}${image.endsWith(`:${reference.tag}`) ? '' : `:${reference.tag}`}@${digest}`];
  };
  return new Map(await Promise.all([...new Set(images)].map(pin)));
}
