/** In which order images are built: one that is the context of another comes before it. Pure. */
import { WeftError } from '#base/errors.js';
import type { BuildWish } from '#compose/build-wish.js';
import { normalizeReference } from '#runtime/reference.js';

/** A wish whose contexts are all known to the builder. */
export interface OrderedWish extends BuildWish {
  /** Others are made of it: the builder itself has to keep it, under its name. */
  isContext: boolean;
}

/**
 * The wishes and what they are made of, which need not be asked for by itself.
 * @param all of the project, by service; no image is made of itself (checked where the file is read)
 * @throws BAD_VALUE for one that needs a service that is not at hand
 */
export function inBuildOrder(wishes: readonly BuildWish[], all: ReadonlyMap<string, BuildWish>): OrderedWish[] {
  const found = new Map<string, BuildWish>();
  const add = (wish: BuildWish): void => {
    if (found.has(wish.service)) return;
    for (const needs of Object.values(wish.serviceContexts)) add(neededBy(wish, needs, all));
    found.set(wish.service, wish);
  };
  wishes.forEach(add);
  const contexts = new Set([...found.values()].flatMap((wish) => Object.values(wish.serviceContexts)));
  return [...found.values()].map((wish) => ({ ...withImages(wish, all), isContext: contexts.has(wish.service) }));
}

function neededBy({ service }: BuildWish, needs: string, all: ReadonlyMap<string, BuildWish>): BuildWish {
  const wish = all.get(needs);
  if (wish) return wish;
  throw new WeftError('BAD_VALUE', {
    what: `the image of ${service} cannot be built alone`,
    why: `it is made of that of ${needs}, which is not asked for`,
    hint: `Build both first: \`ctl build ${service}\`.`,
  });
}

/** The builder knows an image by its name. */
function withImages(wish: BuildWish, all: ReadonlyMap<string, BuildWish>): BuildWish {
  const images = Object.entries(wish.serviceContexts).map(
    ([name, needs]) => [name, `docker-image://${normalizeReference(neededBy(wish, needs, all).image)}`] as const,
  );
  return { ...wish, additionalContexts: { ...wish.additionalContexts, ...Object.fromEntries(images) } };
}
