/** At most `limit` pieces of work at once; the others wait, first come first served. */
export function turns(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      // The turn is handed on; nobody else can take it in between.
      if (next) next();
      else running--;
    }
  };
}
