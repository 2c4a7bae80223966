/** Results of pure functions that are asked the same again and again. */

/** So many results are kept; then it begins anew. */
const MOST = 10_000;

/** `make`, which is pure, remembering what it gave. @param keyOf tells arguments apart */
export function remembered<A, R>(keyOf: (argument: A) => string, make: (argument: A) => R): (argument: A) => R {
  const known = new Map<string, R>();
  return (argument) => {
    const key = keyOf(argument);
    const found = known.get(key);
    if (found !== undefined) return found;
    if (known.size >= MOST) known.clear();
    const made = make(argument);
    known.set(key, made);
    return made;
  };
}
