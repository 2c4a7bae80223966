/** `ctl logs`: what the tasks of a stack print, wherever they run. */
import { Command, InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';
import { WeftError } from '#base/errors.js';
import { parseDurationMs } from '#compose/units.js';
import { callUnary, readStream } from '#rpc/client.js';
import type { LogLine } from '#rpc/gen/weft/v1/api.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, wholeNumber, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { coloured, type Shell } from '../shell.js';
import { writeAll } from '../write-all.js';

interface LogsFlags extends ProjectFlags, CommonFlags {
  follow?: boolean;
  tail?: number;
  since?: string;
  until?: string;
  timestamps?: boolean;
  color: boolean;
  logPrefix: boolean;
}

const EXAMPLES = `
Examples:
  ctl logs -f                   all of the stack, as it is printed
  ctl logs --tail 20 web        the last 20 lines of each task of web
  ctl logs --since 10m -t       of the last ten minutes, with times (UTC)`;

const readTail = (text: string): number | undefined => (text === 'all' ? undefined : wholeNumber(text));

export function logsCommand(shell: Shell): Command {
  const command = projectOptions(new Command('logs').argument('[service...]', 'only these services'), '--file <file>')
    .description('Show what tasks print. Lines begin with the task they are from.')
    .option('-f, --follow', 'go on as new lines come; end with ctrl-C')
    .addOption(new Option('-n, --tail <lines>', 'only the last lines of each task, or "all"').argParser(readTail))
    .option('--since <time>', 'only since: 10m, 1h30m, or a date like 2026-01-31T10:00:00Z')
    .option('--until <time>', 'only until, likewise')
    .option('-t, --timestamps', 'show when each line was printed (UTC)')
    .option('--no-color', 'no colours')
    .option('--no-log-prefix', 'no task names before the lines')
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => logs(shell, services, flagsOf<LogsFlags>(command)));
}

/** `10m` ago, or a date. Milliseconds since the epoch. */
export function readTime(text: string, now: number): number {
  const ago = parseDurationMs(text);
  if (ago !== undefined) return now - ago;
  const at = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(at)) throw new InvalidArgumentError(`"${text}" is neither a span like 10m nor a date like 2026-01-31T10:00:00Z`);
  return at;
}

export async function logs(shell: Shell, services: readonly string[], flags: LogsFlags): Promise<void> {
  const stack = await needProjectName(shell, flags);
  const now = shell.clock.now();
  const since = flags.since === undefined ? undefined : readTime(flags.since, now);
  const until = flags.until === undefined ? undefined : readTime(flags.until, now);
  await withApi(shell, flags.context, async ({ api, target }) => {
    const { tasks } = await callUnary(api, 'listTasks', { stack }, { target });
    const known = new Set(tasks.map((row) => row.task?.service));
    const unknown = services.filter((service) => !known.has(service));
    if (tasks.length > 0 && unknown.length > 0) {
      throw new WeftError('NOT_FOUND', {
        what: `stack ${stack} has no task of ${unknown.join(', ')}`,
        hint: `Its services with tasks are ${[...known].join(', ')}.`,
      });
    }
    const wanted = tasks.filter((row) => services.length === 0 || services.includes(row.task?.service ?? ''));
    const names = wanted.map((row) => shortName(row.task?.name ?? '', stack));
    const layout = {
      stack,
      width: Math.max(0, ...names.map((n) => n.length)),
      timestamps: flags.timestamps === true,
      prefix: flags.logPrefix,
    };
    const format = lineFormat(layout, flags.color && coloured(shell, shell.stdout));
    const request = { stack, services: [...services], tasks: [], follow: flags.follow === true, tail: flags.tail, since, until };
    for await (const { lines } of readStream(api.logs(request), undefined, target)) {
      await writeAll(shell.stdout, lines.map(format).join(''));
    }
  });
}

const shortName = (task: string, stack: string): string => (task.startsWith(`${stack}-`) ? task.slice(stack.length + 1) : task);

interface Layout {
  stack: string;
  /** Of the longest name, in characters. */
  width: number;
  timestamps: boolean;
  prefix: boolean;
}

/** A line as it is printed. Marks of the log keeper (a gap, say) are told apart by "~". */
export function lineFormat(layout: Layout, colour: boolean): (line: LogLine) => string {
  const c = pc.createColors(colour);
  const palette = [c.cyan, c.yellow, c.green, c.magenta, c.blue];
  const painted = new Map<string, (text: string) => string>();
  return (line) => {
    if (!painted.has(line.taskId)) painted.set(line.taskId, palette[painted.size % palette.length] ?? String);
    const name = shortName(line.taskName, layout.stack).padEnd(layout.width);
    const prefix = layout.prefix ? `${(painted.get(line.taskId) ?? String)(`${name} |`)} ` : '';
    const time = layout.timestamps ? `${new Date(line.at).toISOString()} ` : '';
    const text = line.stream === 'weft' ? c.dim(`~ ${line.text}`) : line.text;
    return `${prefix}${time}${text}\n`;
  };
}
