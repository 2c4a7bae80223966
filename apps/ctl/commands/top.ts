/** `ctl top`: the processes of running tasks. */
import { Command } from 'commander';
import { callUnary } from '#rpc/client.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { processColumns, processRows } from '../render/processes.js';
import { printable } from '../render/printable.js';
import { json, table } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';
import { runningTasksOf } from '../which-tasks.js';

const EXAMPLES = `
Examples:
  ctl top                       every task of the stack
  ctl top web db
  ctl top --format json | jq -r '.[] | [.task, .command] | @tsv'

Process numbers are those of the node; users are named as in the container.`;

export function topCommand(shell: Shell): Command {
  const command = listingOptions(projectOptions(new Command('top').argument('[service...]', 'only these services, or tasks by name')))
    .description('List the processes of running tasks.')
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => top(shell, services, flagsOf<ProjectFlags & CommonFlags>(command)));
}

export async function top(shell: Shell, services: string[], flags: ProjectFlags & CommonFlags): Promise<void> {
  const stack = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async (connection) => {
    const { api, target } = connection;
    const running = await runningTasksOf(connection, stack, services);
    const { tasks } = await callUnary(api, 'listProcesses', { tasks: running.flatMap((row) => row.task?.id ?? []) }, { target });
    for (const task of tasks)
      if (task.error !== '') say(shell, printable(`warning: ${task.taskName} on ${task.node} cannot be looked at: ${task.error}`));
    const seen = tasks.filter((task) => task.error === '');
    if (flags.format === 'json') return print(shell, json(seen.flatMap(processRows)));
    print(shell, seen.map((t) => `${t.taskName} on ${t.node}\n${table(processRows(t), processColumns, shell.stdout.columns)}`).join('\n'));
  });
}
