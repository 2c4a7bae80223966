/** How long an answer from outside may be kept, and what it is when it comes out again. Pure. */
import { Rcode } from './constants.js';
import { FormatError } from './format-error.js';
import { decodeMessage, ttlOffsets } from './wire.js';

/** Nothing is believed for longer, whatever it says: names move. */
const MAX_SECONDS = 3_600;
/** RFC 2308 §5 allows hours; a name that was just made should not be missing for long. */
const MAX_NEGATIVE_SECONDS = 300;

/**
 * Whole seconds, 0 if it must not be kept: cut short, of no use, or it says so. A positive answer lives as long as its
 * shortest record (RFC 2181 §5.2), a negative one by its SOA record (RFC 2308 §5), and without one not at all.
 */
export function lifetimeOf(bytes: Uint8Array): number {
  try {
    const { truncated, rcode, answers, authorities } = decodeMessage(bytes);
    if (truncated || (rcode !== Rcode.NOERROR && rcode !== Rcode.NXDOMAIN)) return 0;
    const ttls = [...answers, ...authorities].map((r) => r.ttlSeconds);
    // A chain of aliases that ends in nothing has answers and is negative all the same: the SOA record tells.
    const negative = authorities.flatMap((r) => (r.data.kind === 'SOA' ? [Math.min(r.ttlSeconds, r.data.minimum)] : []));
    if (answers.length === 0 && negative.length === 0) return 0;
    return Math.min(...ttls, ...negative, negative.length > 0 ? MAX_NEGATIVE_SECONDS : MAX_SECONDS);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return 0;
  }
}

/** The answer `ageSeconds` later: every time to live is so much shorter. `bytes` passed `lifetimeOf`. */
export function aged(bytes: Uint8Array, ageSeconds: number): Uint8Array {
  const older = bytes.slice();
  if (ageSeconds <= 0) return older;
  const view = new DataView(older.buffer, older.byteOffset, older.byteLength);
  for (const at of ttlOffsets(older)) view.setUint32(at, Math.max(0, view.getUint32(at) - ageSeconds));
  return older;
}
