/** `ctl stop`: services stop, and stay a part of the stack. */
import { Command } from 'commander';
import { withApi } from '../connection.js';
import { operateUntilStopped, OPERATE_TIMEOUT_S } from '../operate.js';
import { contextOption, flagsOf, graceOption } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import type { Shell } from '../shell.js';

interface StopFlags extends ProjectFlags {
  context?: string;
  timeout?: number;
}

const EXAMPLES = `
Examples:
  ctl stop                      every service of the stack, in reverse of depends_on
  ctl stop web worker           two of them
  ctl stop -t 2 web             kill what has not ended after two seconds

What is stopped keeps its slots, addresses and volumes, and stays stopped whatever happens to nodes and controllers, until
\`ctl start\`, \`ctl restart\` or \`ctl up\`. Volumes and directories of nodes stay; what else a container wrote is gone.`;

export function stopCommand(shell: Shell): Command {
  const command = projectOptions(new Command('stop'))
    .description('Stop services without removing them, and wait until nothing of them runs.')
    .argument('[service...]', 'only these services')
    .addOption(graceOption())
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => stop(shell, services, flagsOf<StopFlags>(command)));
}

export async function stop(shell: Shell, services: string[], flags: StopFlags): Promise<void> {
  const name = await needProjectName(shell, flags);
  const graceMs = flags.timeout === undefined ? undefined : flags.timeout * 1000;
  await withApi(shell, flags.context, (connection) =>
    operateUntilStopped(shell, connection, name, { $case: 'stop', value: { services, graceMs } }, OPERATE_TIMEOUT_S + (flags.timeout ?? 0)),
  );
}
