/** How long tokens are valid. */
import { WeftError } from '#base/errors.js';
import { parseDurationMs } from '#compose/units.js';

export const DEFAULT_TTL = '1h';

/** @returns milliseconds. @throws USAGE */
export function parseTtl(text: string): number {
  const ttlMs = parseDurationMs(text);
  if (!ttlMs) throw new WeftError('USAGE', { what: `--ttl ${JSON.stringify(text)} is no span of time`, hint: 'Write it like 30m or 24h.' });
  return ttlMs;
}
