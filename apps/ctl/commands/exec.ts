/** `ctl exec`: a command in a running task, with a terminal where there is one. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { openBidi, type Bidi } from '#rpc/client.js';
import type { ExecRequest, ExecResponse, ExecStart } from '#rpc/gen/weft/v1/api.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, wholeNumber } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import type { Shell } from '../shell.js';
import { writeAll } from '../write-all.js';

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
    shell.setExitCode(await converse(shell, stream, start));
  });
}

const sizeOf = (shell: Shell) => ({ columns: shell.stdout.columns ?? 80, rows: shell.stdout.rows ?? 24 });

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

type Stream = Bidi<ExecRequest, ExecResponse>;

/** Resolves with the exit code. @throws WeftError when the command cannot be run or its node is lost */
async function converse(shell: Shell, stream: Stream, start: ExecStart): Promise<number> {
  const undo: (() => void)[] = [];
  // What cannot be sent because the stream has ended is told by its end.
  const send = (message: NonNullable<ExecRequest['message']>): Promise<void> => stream.send({ message }).catch(() => undefined);
  try {
    if (start.tty) undo.push(...attachTerminal(shell, send, start.stdin));
    else undo.push(shell.onSignal(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'], (signal) => void send({ $case: 'signal', value: signal })));
    await send({ $case: 'start', value: start });
    const input = start.stdin ? feed(shell, send) : undefined;
    if (input) undo.push(input);
    for await (const { message } of stream.messages) {
      if (message?.$case === 'stdout') await writeAll(shell.stdout, message.value);
      else if (message?.$case === 'stderr') await writeAll(shell.stderr, message.value);
      else if (message?.$case === 'exitCode') return message.value & 0xff;
    }
    throw new WeftError('UNAVAILABLE', {
      what: 'the command was cut off',
      why: 'the stream ended without its exit code',
      hint: 'Look at `ctl ps`: the task may have been stopped.',
    });
  } finally {
    for (const step of undo.reverse()) step();
    stream.cancel();
  }
}

/** Raw mode: every key, ctrl-C too, goes to the command. */
function attachTerminal(
  shell: Shell,
  send: (message: NonNullable<ExecRequest['message']>) => Promise<void>,
  input: boolean,
): (() => void)[] {
  const resize = (): void => void send({ $case: 'resize', value: sizeOf(shell) });
  shell.stdout.on('resize', resize);
  const undo = [() => void shell.stdout.off('resize', resize)];
  if (input && shell.stdin.isTTY) {
    shell.setRaw(true);
    undo.push(() => void shell.setRaw(false));
  }
  return undo;
}

/** Passes standard input on, no faster than the command takes it, until the returned function is called. */
function feed(shell: Shell, send: (message: NonNullable<ExecRequest['message']>) => Promise<void>): () => void {
  let over = false;
  const onData = (chunk: Buffer | string): void => {
    shell.stdin.pause();
    void send({ $case: 'stdin', value: Buffer.from(chunk) }).then(() => {
      if (!over) shell.stdin.resume();
    });
  };
  const onEnd = (): void => void send({ $case: 'stdinEnd', value: true });
  shell.stdin.on('data', onData).on('end', onEnd).on('error', onEnd);
  return () => {
    over = true;
    shell.stdin.off('data', onData).off('end', onEnd);
    shell.stdin.pause();
  };
}
