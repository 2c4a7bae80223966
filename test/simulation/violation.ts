/** What must never be, and was. */
export class Violation extends Error {}

export function fail(what: string): never {
  throw new Violation(what);
}
