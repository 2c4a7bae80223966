/** `ctl exec`: a command in a running task, with a terminal where there is one. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { openBidi } from '#rpc/client.js';
import type { ExecStart } from '#rpc/gen/weft/v1/api.js';
import { withApi } from '../connection.js';
import { converse, cutOff, sizeOf } from '../converse.js';
import { contextOption, flagsOf, wholeNumber } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import type { Shell } from '../shell.js';

interface ExecFlags extends ProjectFlags {
  context?: string;
  interactive: boolean;
  tty?: boolean;
  noTty?: boolean;
  user?: string;
  workdir?: string;
  env?: string[];
  index?: number;
}

const EXAMPLES = `
Examples:
  ctl exec web sh               a shell in the first running task of web
  ctl exec --index 2 web ps     in its second task
  ctl exec -T db pg_dump shop > shop.sql
  ctl exec -p shop -e MODE=test -u nobody web env

The exit code is that of the command.`;

export function execCommand(shell: Shell): Command {
  const command = projectOptions(new Command('exec'))
    .description('Run a command in a running task of a service.')
    .argument('<service>', 'the service, or the name of a task')
    .argument('<command...>', 'the command and its arguments')
    .option('-i, --interactive', 'pass standard input on (the default)', true)
    .option('--no-interactive', 'leave standard input alone')
    .option('-t, --tty', 'give the command a terminal (the default on a terminal)')
    .option('-T, --no-TTY', 'give it none')
    .option('-u, --user <user>', 'run as this user')
    .option('-w, --workdir <directory>', 'run in this directory of the container')
    .addOption(
      new Option('-e, --env <key=value>', 'set a variable; may be given more than once').argParser((value: string, all: string[] = []) => [
        ...all,
        value,
      ]),
    )
    .addOption(new Option('--index <n>', 'which task of the service, counted from 1 (default: the first that runs)').argParser(wholeNumber))
    .addOption(contextOption())
    .passThroughOptions()
    .addHelpText('after', EXAMPLES);
  return command.action((service: string, argv: string[]) => {
    const flags = flagsOf<ExecFlags & { TTY?: boolean }>(command);
    return exec(shell, service, argv, { ...flags, noTty: flags.TTY === false });
  });
}

export async function exec(shell: Shell, service: string, argv: readonly string[], flags: ExecFlags): Promise<void> {
  const stack = await needProjectName(shell, flags);
  const onTerminal = shell.stdin.isTTY === true && shell.stdout.isTTY === true;
  const tty = flags.tty === true || (onTerminal && flags.noTty !== true && flags.interactive);
  const start: ExecStart = {
    task: service.startsWith(`${stack}-`) ? service : '',
    stack,
    service: service.startsWith(`${stack}-`) ? '' : service,
    index: flags.index ?? 0,
    argv: [...argv],
    tty,
    stdin: flags.interactive,
    user: flags.user,
    workingDir: flags.workdir,
    env: readEnv(flags.env ?? [], shell),
    ...(tty ? sizeOf(shell) : { columns: 0, rows: 0 }),
  };
  await withApi(shell, flags.context, async ({ api, target }) => {
    const stream = openBidi(api.exec(), undefined, target);
    const exitCode = await converse(shell, stream, start);
    if (exitCode === undefined) throw cutOff();
    shell.setExitCode(exitCode);
  });
}

/** `KEY=value`, or `KEY` for the caller's own value. @throws USAGE */
function readEnv(pairs: readonly string[], shell: Shell): Record<string, string> {
  const out: Record<string, string> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    const key = equals < 0 ? pair : pair.slice(0, equals);
    if (key === '') throw new WeftError('USAGE', { what: `-e ${JSON.stringify(pair)} names no variable`, hint: 'Write -e KEY=value.' });
    const value = equals < 0 ? shell.env[key] : pair.slice(equals + 1);
    if (value !== undefined) out[key] = value;
  }
  return out;
}
