/** The small notations of Compose: sizes (`64m`), durations (`1m30s`), CPU shares (`0.5`). Each returns undefined for what it is not. */

const BYTES = /^(\d+(?:\.\d+)?)\s*(b|k|kb|kib|m|mb|mib|g|gb|gib|t|tb|tib)?$/i;
const BYTE_POWER: Record<string, number> = { b: 0, k: 1, m: 2, g: 3, t: 4 };

/** Units are powers of 1024, as in Docker. Bytes. */
export function parseBytes(text: string): number | undefined {
  const m = BYTES.exec(text.trim());
  if (!m) return undefined;
  const unit = (m[2] ?? 'b').toLowerCase().charAt(0);
  const bytes = Math.round(Number(m[1]) * 1024 ** (BYTE_POWER[unit] ?? 0));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

const DURATION = /^(\d+(\.\d+)?(us|ms|s|m|h))+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(us|ms|s|m|h)/g;
const MS: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds, whole. */
export function parseDurationMs(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed === '0') return 0;
  if (trimmed.length > 64 || !DURATION.test(trimmed)) return undefined;
  let total = 0;
  for (const [, amount, unit] of trimmed.matchAll(DURATION_PART)) total += Number(amount) * (MS[unit ?? ''] ?? 0);
  return Math.round(total);
}

/** `0.5` → 500,000,000 billionths of a CPU. */
export function parseNanoCpus(text: string): number | undefined {
  const trimmed = text.trim();
  if (!/^\d{1,6}(\.\d{1,9})?$/.test(trimmed)) return undefined;
  return Math.round(Number(trimmed) * 1e9);
}
