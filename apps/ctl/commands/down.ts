/** `ctl down`: removes a stack and waits until it is gone. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary, readStream } from '#rpc/client.js';
import type { StackState } from '#rpc/gen/weft/v1/api.js';
import { withApi, type Connection } from '../connection.js';
import { liveLines } from '../live-lines.js';
import { contextOption, flagsOf, wholeNumber, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { planText } from '../render/plan.js';
import { count } from '../render/quantity.js';
import { coloured, say, type Shell } from '../shell.js';

interface DownFlags extends ProjectFlags, CommonFlags {
  detach?: boolean;
  timeout: number;
}

const EXAMPLES = `
Examples:
  ctl down                      the stack of the compose.yaml of this directory
  ctl down -p shop              by its name; no file is needed

Volumes and their data stay on the nodes.`;

export function downCommand(shell: Shell): Command {
  const command = projectOptions(new Command('down'))
    .description('Stop the tasks of a stack, remove it with its networks, and wait until it is gone.')
    .option('-d, --detach', 'do not wait until it is gone')
    .addOption(new Option('--timeout <seconds>', 'give up waiting after this long').argParser(wholeNumber).default(120))
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action(() => down(shell, flagsOf<DownFlags>(command)));
}

export async function down(shell: Shell, flags: DownFlags): Promise<void> {
  const name = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async (connection) => {
    const { api, target } = connection;
    const { steps } = await callUnary(api, 'removeStack', { name }, { target });
    shell.stderr.write(planText(steps, coloured(shell, shell.stderr)));
    if (flags.detach) return;
    await waitUntilGone(shell, connection, name, flags.timeout);
    say(shell, `stack ${name} is gone`);
  });
}

async function waitUntilGone(shell: Shell, connection: Connection, name: string, timeoutS: number): Promise<void> {
  const lines = liveLines(shell.stderr);
  const tooLate = AbortSignal.timeout(timeoutS * 1000);
  let latest: StackState | undefined;
  try {
    for await (const state of readStream(connection.api.watchStack({ name }), tooLate, connection.target)) {
      if (!state.exists) return;
      latest = state;
      lines.set(name, `… ${name}: ${count(state.tasks.length, 'task')} left`);
    }
  } catch (error) {
    // A stack that is gone before it is looked at is what was wanted.
    if (error instanceof WeftError && error.code === 'NOT_FOUND') return;
    throw error;
  } finally {
    lines.finish();
  }
  const left = (latest?.tasks ?? []).map((row) => `${row.task?.name} on ${row.nodeName} (node ${row.nodeState})`);
  throw new WeftError('TIMEOUT', {
    what: `stack ${name} is not gone ${tooLate.aborted ? `after ${timeoutS} s` : 'yet, and the controller stopped telling'}`,
    why: left.length > 0 ? `left: ${left.join(', ')}` : undefined,
    hint: 'It is being removed: look at `ctl ls`. A node that will not come back is forgotten with `ctl node rm`.',
  });
}
