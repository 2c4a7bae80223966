/** `ctl kill`: a signal to the processes of services. */
import { Command } from 'commander';
import { callUnary } from '#rpc/client.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, wholeNumber } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { say, type Shell } from '../shell.js';
import { runningTasksOf } from '../which-tasks.js';

interface KillFlags extends ProjectFlags {
  context?: string;
  signal: string;
  index?: number;
}

const EXAMPLES = `
Examples:
  ctl kill web                  SIGKILL to every running task of web
  ctl kill -s HUP proxy         have a program read its configuration again
  ctl kill --index 2 -s TERM web

What ends by it is started again or not as its restart policy says; \`ctl stop\` keeps it down.`;

export function killCommand(shell: Shell): Command {
  const command = projectOptions(new Command('kill'))
    .description('Send a signal to the main process of running tasks.')
    .argument('[service...]', 'only these services, or tasks by name')
    .option('-s, --signal <signal>', 'its name or number', 'SIGKILL')
    .option('--index <n>', 'only this task of each service, counted from 1', wholeNumber)
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => kill(shell, services, flagsOf<KillFlags>(command)));
}

export async function kill(shell: Shell, services: string[], flags: KillFlags): Promise<void> {
  const stack = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async (connection) => {
    const { api, target } = connection;
    const rows = await runningTasksOf(connection, stack, services, flags.index);
    const request = { tasks: rows.flatMap((row) => row.task?.id ?? []), signal: flags.signal };
    const { tasks } = await callUnary(api, 'signalTasks', request, { target });
    for (const task of tasks) say(shell, `${task}: sent ${flags.signal}`);
  });
}
