/** `ctl stats`: what tasks use, live. */
import { Command } from 'commander';
import { readStream } from '#rpc/client.js';
import type { TaskStats } from '#rpc/gen/weft/v1/operations.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { statsColumns, statsRow } from '../render/stats.js';
import { inOrder, json, table } from '../render/table.js';
import { print, type Shell } from '../shell.js';

interface StatsFlags extends ProjectFlags, CommonFlags {
  stream: boolean;
}

const EXAMPLES = `
Examples:
  ctl stats                     every running task of the stack, until ctrl-C
  ctl stats --no-stream web     one reading, and no more
  ctl stats --format json       one line of JSON a task and second; with --no-stream one array

CPU is in percent of one processor; memory without the cache that the kernel can take back at once.`;

/** Takes the cursor home and clears what is below. */
const CLEAR = '\u001b[H\u001b[2J';
/** Readings of several nodes make one picture, in milliseconds. */
const DRAW_MS = 500;

export function statsCommand(shell: Shell): Command {
  const command = listingOptions(projectOptions(new Command('stats').argument('[service...]', 'only these services')))
    .description('Show what running tasks use: CPU, memory, network, block devices, processes.')
    .option('--no-stream', 'one reading, and no more')
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => stats(shell, services, flagsOf<StatsFlags>(command)));
}

export async function stats(shell: Shell, services: string[], flags: StatsFlags): Promise<void> {
  const stack = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async (connection) => {
    const request = { stack, services, tasks: [], once: !flags.stream };
    const readings = readStream(connection.api.watchStats(request), undefined, connection.target);
    if (!flags.stream) return printOnce(shell, readings, flags);
    if (flags.format === 'json') {
      for await (const { tasks } of readings) for (const task of tasks) print(shell, JSON.stringify(statsRow(task)));
      return;
    }
    await draw(shell, readings);
  });
}

type Readings = AsyncIterable<{ tasks: TaskStats[] }>;
type Latest = Map<string, TaskStats>;

const byName = (latest: Latest) => [...latest.values()].map(statsRow).sort((a, b) => inOrder(a.task, b.task));

async function printOnce(shell: Shell, readings: Readings, flags: StatsFlags): Promise<void> {
  const latest: Latest = new Map();
  for await (const { tasks } of readings) for (const task of tasks) latest.set(task.taskId, task);
  print(shell, flags.format === 'json' ? json(byName(latest)) : table(byName(latest), statsColumns, shell.stdout.columns));
}

/** A task that was not heard of for a while is gone. */
const GONE_MS = 5_000;

async function draw(shell: Shell, readings: Readings): Promise<void> {
  const latest: Latest = new Map();
  let drawnAt = -Infinity;
  for await (const { tasks } of readings) {
    for (const task of tasks) latest.set(task.taskId, task);
    const now = shell.clock.monotonic();
    if (now - drawnAt < DRAW_MS) continue;
    drawnAt = now;
    const newest = Math.max(...[...latest.values()].map((t) => t.at));
    for (const [id, task] of latest) if (newest - task.at > GONE_MS) latest.delete(id);
    print(shell, `${shell.stdout.isTTY ? CLEAR : ''}${table(byName(latest), statsColumns, shell.stdout.columns)}`);
  }
}
