/** One signal in place of several. */

export interface LinkedSignal {
  /** Aborted with the first of them, for its reason. */
  signal: AbortSignal;
  /** Lets go of them: it is aborted by none of them any more. */
  unlink(): void;
}

/**
 * As `AbortSignal.any`, whose results Node keeps as long as somebody listens to them, whatever becomes of their sources: what waits by such a
 * one is never freed. This one lives and dies with its sources, or is let go of.
 */
export function linkedSignal(...sources: readonly AbortSignal[]): LinkedSignal {
  const own = new AbortController();
  const unlink = () => {
    for (const source of sources) source.removeEventListener('abort', follow);
  };
  const follow = () => {
    const first = sources.find((source) => source.aborted);
    if (!first) return;
    unlink();
    own.abort(first.reason);
  };
  for (const source of sources) source.addEventListener('abort', follow, { once: true });
  follow();
  return { signal: own.signal, unlink };
}
