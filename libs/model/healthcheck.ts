/** Which health check a container gets: what the service says, over what the image says, over Docker's defaults. */
import type { Healthcheck } from './stack.js';

/** A check with everything decided. Times in milliseconds. */
export interface HealthProbe {
  /** Program and arguments. */
  argv: string[];
  intervalMs: number;
  timeoutMs: number;
  retries: number;
  startPeriodMs: number;
  startIntervalMs: number;
}

/** What an image brings along. */
export interface ImageHealth {
  healthcheck?: Healthcheck;
  shell?: readonly string[];
}

/** Of moby, daemon/health.go. */
const DEFAULTS = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 5_000 };
const DEFAULT_SHELL = ['/bin/sh', '-c'];

/** As Docker merges a container's configuration with its image's: key by key. @returns undefined where nothing is to be checked */
export function healthProbe(wish: Healthcheck | undefined, image: ImageHealth): HealthProbe | undefined {
  const ofImage: Healthcheck = image.healthcheck ?? {};
  const argv = argvOf(wish?.test ?? ofImage.test, image.shell);
  if (!argv) return undefined;
  const pick = (key: keyof typeof DEFAULTS): number => wish?.[key] ?? ofImage[key] ?? DEFAULTS[key];
  return {
    argv,
    intervalMs: pick('intervalMs'),
    timeoutMs: pick('timeoutMs'),
    retries: pick('retries'),
    startPeriodMs: pick('startPeriodMs'),
    startIntervalMs: pick('startIntervalMs'),
  };
}

function argvOf(test: readonly string[] | undefined, shell: readonly string[] = DEFAULT_SHELL): string[] | undefined {
  const [kind, ...words] = test ?? [];
  if (words.length === 0) return undefined;
  if (kind === 'CMD') return words;
  return kind === 'CMD-SHELL' ? [...shell, words.join(' ')] : undefined;
}
