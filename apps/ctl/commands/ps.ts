/** `ctl ps`: the tasks of a stack, or of all. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { findProjectName } from '../project.js';
import { listing } from '../render/table.js';
import { byPlace, endedTaskRow, networkCalled, taskColumns, taskRow } from '../render/tasks.js';
import { print, type Shell } from '../shell.js';

interface PsFlags extends ProjectFlags, CommonFlags {
  all?: boolean;
}

const EXAMPLES = `
Examples:
  ctl ps                        the stack of the compose.yaml of this directory; all stacks where there is none
  ctl ps -p shop web            one service of a stack, by name
  ctl ps --format json | jq -r '.[] | select(.state != "running") | .name'`;

export function psCommand(shell: Shell): Command {
  const command = listingOptions(projectOptions(new Command('ps').argument('[service...]', 'only these services')))
    .description('List tasks: where each runs, its state, addresses and published ports.')
    .option('-a, --all', 'also tasks that are being stopped, and the last ones of each slot that are gone')
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => ps(shell, services, flagsOf<PsFlags>(command)));
}

export async function ps(shell: Shell, services: readonly string[], flags: PsFlags): Promise<void> {
  const stack = (await findProjectName(shell, flags)) ?? '';
  await withApi(shell, flags.context, async ({ api, target }) => {
    const [{ tasks, ended }, { networks }, { stacks }] = await Promise.all([
      callUnary(api, 'listTasks', { stack }, { target }),
      callUnary(api, 'listNetworks', { stack: '' }, { target }),
      callUnary(api, 'listStacks', {}, { target }),
    ]);
    if (stack !== '' && tasks.length === 0 && !stacks.some((s) => s.name === stack)) {
      throw new WeftError('NOT_FOUND', { what: `there is no stack "${stack}"`, hint: 'List the stacks with `ctl ls`.' });
    }
    const called = networkCalled(networks.flatMap((row) => row.network ?? []));
    const rows = [...tasks.map((row) => taskRow(row, called)), ...(flags.all ? ended.map(endedTaskRow) : [])]
      .filter((row) => (flags.all || row.desired === 'run') && (services.length === 0 || services.includes(row.service)))
      .sort(byPlace);
    print(shell, listing(rows, taskColumns(shell.clock.now(), stack === ''), flags.format, shell.stdout.columns));
  });
}
