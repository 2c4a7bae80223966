/** The small notations of Compose: sizes (`64m`), durations (`1m30s`), CPU shares (`0.5`). Each returns undefined for what it is not. */

const BYTES = /^(\d+(?:\.\d+)?)\s*(b|k|kb|kib|m|mb|mib|g|gb|gib|t|tb|tib|p|pb|pib)?$/i;
const BYTE_POWER: Record<string, number> = { b: 0, k: 1, m: 2, g: 3, t: 4, p: 5 };

/** Units are powers of 1024, as in Docker. Bytes. */
export function parseBytes(text: string): number | undefined {
  const m = BYTES.exec(text.trim());
  if (!m) return undefined;
  const unit = (m[2] ?? 'b').toLowerCase().charAt(0);
  const bytes = Math.round(Number(m[1]) * 1024 ** (BYTE_POWER[unit] ?? 0));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

const DURATION = /^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d|w))+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)/g;
const NS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
  d: 86_400e9,
  w: 604_800e9,
};
const MAX_DURATION_LENGTH = 64;

/** Nanoseconds, whole. Days and weeks too, which Compose takes. */
export function parseDurationNs(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed === '0') return 0;
  if (trimmed.length > MAX_DURATION_LENGTH || !DURATION.test(trimmed)) return undefined;
  let total = 0;
  for (const [, amount, unit] of trimmed.matchAll(DURATION_PART)) total += Number(amount) * (NS[unit ?? ''] ?? 0);
  return Number.isSafeInteger(Math.round(total)) ? Math.round(total) : undefined;
}

/** Milliseconds, whole. */
export function parseDurationMs(text: string): number | undefined {
  const ns = parseDurationNs(text);
  return ns === undefined ? undefined : Math.round(ns / 1e6);
}

/** As Compose prints durations: `1h0m5s`, `1.5s`, `10ms`, `0s`. */
export function formatDuration(ns: number): string {
  if (ns === 0) return '0s';
  if (ns < 1e3) return `${ns}ns`;
  if (ns < 1e6) return `${ns / 1e3}µs`;
  if (ns < 1e9) return `${ns / 1e6}ms`;
  const hours = Math.floor(ns / 3600e9);
  const minutes = Math.floor((ns % 3600e9) / 60e9);
  const seconds = `${(ns % 60e9) / 1e9}s`;
  return hours > 0 ? `${hours}h${minutes}m${seconds}` : minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

/** `0.5` → 500,000,000 billionths of a CPU. */
export function parseNanoCpus(text: string): number | undefined {
  const trimmed = text.trim();
  if (!/^\d{1,6}(\.\d{1,9})?$/.test(trimmed)) return undefined;
  return Math.round(Number(trimmed) * 1e9);
}
