/** `ctl restart`: new tasks of the same definition. */
import { Command } from 'commander';
import { withApi } from '../connection.js';
import { operateUntilUp, OPERATE_TIMEOUT_S } from '../operate.js';
import { contextOption, flagsOf, graceOption } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import type { Shell } from '../shell.js';

interface RestartFlags extends ProjectFlags {
  context?: string;
  timeout?: number;
  deps: boolean;
  detach?: boolean;
}

const EXAMPLES = `
Examples:
  ctl restart                   every service of the stack
  ctl restart web               one of them, and those that depend on it with "restart: true"
  ctl restart --no-deps db      db alone

Each service is restarted as its update_config says: so many tasks at a time, in that order, each drained first; one at a
time where there is none. What was stopped starts. The file is not read again: \`ctl up\` does that.
Unlike those of docker compose restart, the new tasks begin with their image: what the old ones wrote outside of volumes is gone.`;

export function restartCommand(shell: Shell): Command {
  const command = projectOptions(new Command('restart'))
    .description('Restart services, task by task, and wait until they run again.')
    .argument('[service...]', 'only these services')
    .addOption(graceOption())
    .option('--no-deps', 'not those that depend on them with restart: true')
    .option('-d, --detach', 'do not wait until they run')
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => restart(shell, services, flagsOf<RestartFlags>(command)));
}

export async function restart(shell: Shell, services: string[], flags: RestartFlags): Promise<void> {
  const name = await needProjectName(shell, flags);
  const graceMs = flags.timeout === undefined ? undefined : flags.timeout * 1000;
  await withApi(shell, flags.context, (connection) =>
    operateUntilUp(
      shell,
      connection,
      name,
      { $case: 'restart', value: { services, graceMs, alone: !flags.deps } },
      { isAnew: true, detach: flags.detach === true, timeoutS: OPERATE_TIMEOUT_S + (flags.timeout ?? 0) },
    ),
  );
}
