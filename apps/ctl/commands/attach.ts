/** `ctl attach`: what the process of a running task prints, and its input, as if it ran here. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary, openBidi } from '#rpc/client.js';
import type { TaskRow } from '#rpc/gen/weft/v1/api.js';
import { withApi } from '../connection.js';
import { converse, sizeOf } from '../converse.js';
import { DETACH_KEYS, detachFilter, readDetachKeys } from '../detach-keys.js';
import { contextOption, flagsOf, wholeNumber } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { say, type Shell } from '../shell.js';

interface AttachFlags extends ProjectFlags {
  context?: string;
  detachKeys: string;
  index?: number;
  /** --no-stdin: false. */
  stdin?: boolean;
  sigProxy: string | boolean;
}

const EXAMPLES = `
Examples:
  ctl attach worker                 what the first running task of worker prints from now on, until it ends
  ctl attach shop-worker-2          a task by its name, one of \`ctl run\` too
  ctl attach --no-stdin web         without its input

Input reaches it where the service has "stdin_open: true". ${DETACH_KEYS} on a terminal leaves it alone; so does control-c
with --sig-proxy=false. The exit code is that of the process.`;

export function attachCommand(shell: Shell): Command {
  const command = projectOptions(new Command('attach'))
    .description('Attach to the process of a running task.')
    .argument('<service>', 'the service, or the name of a task')
    .addOption(new Option('--detach-keys <keys>', 'what leaves it alone, on a terminal').default(DETACH_KEYS))
    .addOption(new Option('--index <n>', 'which task of the service, counted from 1 (default: the first that runs)').argParser(wholeNumber))
    .option('--no-stdin', 'leave standard input alone')
    .addOption(new Option('--sig-proxy [on]', 'pass signals on to the process').choices(['true', 'false']).default('true'))
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((service: string) => attach(shell, service, flagsOf<AttachFlags>(command)));
}

async function attach(shell: Shell, service: string, flags: AttachFlags): Promise<void> {
  const filter = detachFilter(readDetachKeys(flags.detachKeys));
  const stack = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async ({ api, target }) => {
    const { tasks } = await callUnary(api, 'listTasks', { stack }, { target });
    const row = taskMeant(tasks, service, flags.index ?? 0);
    const { id = '', name = '', tty = false, stdinOpen = false } = row.task ?? {};
    const stdin = stdinOpen && flags.stdin !== false;
    const size = tty && shell.stdout.isTTY ? sizeOf(shell) : { columns: 0, rows: 0 };
    const start = { task: id, stack: '', service: '', index: 0, argv: [], env: {}, tty, stdin, ...size };
    const left = new AbortController();
    const keepSignals = flags.sigProxy === 'false';
    const off = keepSignals ? shell.onSignal(['SIGINT'], () => left.abort()) : () => undefined;
    try {
      const onTerminal = tty && shell.stdin.isTTY === true;
      const talk = { left: left.signal, keepSignals, ...(onTerminal ? { filter } : {}) };
      const exitCode = await converse(shell, openBidi(api.attach(), undefined, target), start, talk);
      if (exitCode === undefined) say(shell, `${name} goes on`);
      else shell.setExitCode(exitCode);
    } finally {
      off();
    }
  });
}

/** @throws NOT_FOUND */
function taskMeant(rows: readonly TaskRow[], word: string, index: number): TaskRow {
  const named = rows.find(({ task }) => task?.name === word && task.desired === 'run');
  const own = rows.filter(({ task }) => task?.service === word && task.desired === 'run');
  const found =
    named ?? (index > 0 ? own.find(({ task }) => task?.slot === index) : (own.find(({ status }) => status?.state === 'running') ?? own[0]));
  if (found) return found;
  throw new WeftError('NOT_FOUND', { what: `there is no task ${index > 0 ? `${index} of ` : 'of '}${word}`, hint: 'Look at `ctl ps`.' });
}
