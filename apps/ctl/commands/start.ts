/** `ctl start`: services that were stopped. */
import { Command } from 'commander';
import { withApi } from '../connection.js';
import { operateUntilUp, OPERATE_TIMEOUT_S } from '../operate.js';
import { contextOption, flagsOf, timeoutOption } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import type { Shell } from '../shell.js';

interface StartFlags extends ProjectFlags {
  context?: string;
  detach?: boolean;
  timeout: number;
}

const EXAMPLES = `
Examples:
  ctl start                     all that was stopped
  ctl start web                 one service; what it depends on is waited for

They come back in their slots with the addresses they had, on the same nodes where those can take them.`;

export function startCommand(shell: Shell): Command {
  const command = projectOptions(new Command('start'))
    .description('Start services that were stopped, in the order of depends_on, and wait until they run.')
    .argument('[service...]', 'only these services')
    .option('-d, --detach', 'do not wait until they run')
    .option('--wait', 'wait until they run and are healthy (the default)')
    .addOption(timeoutOption(OPERATE_TIMEOUT_S, '--wait-timeout <seconds>'))
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => {
    const flags = flagsOf<StartFlags & { waitTimeout: number }>(command);
    return start(shell, services, { ...flags, timeout: flags.waitTimeout });
  });
}

export async function start(shell: Shell, services: string[], flags: StartFlags): Promise<void> {
  const name = await needProjectName(shell, flags);
  await withApi(shell, flags.context, (connection) =>
    operateUntilUp(
      shell,
      connection,
      name,
      { $case: 'start', value: { services } },
      { detach: flags.detach === true, timeoutS: flags.timeout },
    ),
  );
}
