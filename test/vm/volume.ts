/**
 * Runs in a machine, bundled: mounts a volume with driver_opts for a task, and takes away what no task needs, by the code that the agent has
 * for it. A request comes on standard input, the answer goes to standard output. Each run is another agent: what is mounted is read off the kernel.
 *
 *   node volume.mjs hold   <request.json   {"task", "name", "options"} → {"path"} or {"code", "what", "why", "ms"}
 *   node volume.mjs sweep                  unmounts everything → {"left", "ms"}: entries of the directory
 */
import { readdir } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { asWeftError } from '#base/errors.js';
import { silentLog } from '#base/log.js';
import { run } from '#linux/runner.js';
import type { VolumeOptions } from '#model/volume-options.js';
import { VolumeMounts } from '../../apps/agent/volume-mounts.js';

export interface HoldRequest {
  task: string;
  name: string;
  options: VolumeOptions;
}

export interface HoldAnswer {
  path?: string;
  code?: string;
  what?: string;
  why?: string | undefined;
  /** How long it took. */
  ms: number;
}

export interface SweepAnswer {
  left: string[];
  /** How long it took. */
  ms: number;
}

const DIRECTORY = '/run/weft-vm-volumes';
const mounts = new VolumeMounts({ dir: DIRECTORY, nodeName: 'node2', run, log: silentLog });

const began = performance.now();
const ms = (): number => Math.round(performance.now() - began);

async function hold({ task, name, options }: HoldRequest): Promise<HoldAnswer> {
  try {
    return { path: await mounts.hold(task, name, options), ms: ms() };
  } catch (error) {
    const { code, what, why } = asWeftError(error);
    return { code, what, why, ms: ms() };
  }
}

async function sweep(): Promise<SweepAnswer> {
  await mounts.sweep([], () => false);
  return { left: await readdir(DIRECTORY).catch(() => []), ms: ms() };
}

const answer = process.argv[2] === 'sweep' ? await sweep() : await hold(JSON.parse(await text(process.stdin)) as HoldRequest);
process.stdout.write(JSON.stringify(answer));
