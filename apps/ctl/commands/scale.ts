/** `ctl scale`: how many tasks services have, until the next `up`. */
import { Command } from 'commander';
import { withApi } from '../connection.js';
import { operateUntilUp, OPERATE_TIMEOUT_S } from '../operate.js';
import { contextOption, flagsOf, timeoutOption } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { readScale } from '../scale-flags.js';
import type { Shell } from '../shell.js';

interface ScaleFlags extends ProjectFlags {
  context?: string;
  detach?: boolean;
  timeout: number;
}

const EXAMPLES = `
Examples:
  ctl scale web=5               five tasks of web
  ctl scale web=3 worker=0      several at once; none of worker, which stays a part of the stack

It holds until the next \`ctl up\`, which says the numbers of its file again, or those of its --scale. A service that was
stopped gets its tasks when it is started.`;

export function scaleCommand(shell: Shell): Command {
  const command = projectOptions(new Command('scale'))
    .description('Set how many tasks services have, and wait until they run.')
    .argument('<service=replicas...>', 'the services and their numbers')
    .option('-d, --detach', 'do not wait until they run')
    .option('--no-deps', 'leave other services alone (they are left alone in any case)')
    .addOption(timeoutOption(OPERATE_TIMEOUT_S))
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((pairs: string[]) => scale(shell, readScale(pairs), flagsOf<ScaleFlags>(command)));
}

export async function scale(shell: Shell, replicas: Record<string, number>, flags: ScaleFlags): Promise<void> {
  const name = await needProjectName(shell, flags);
  await withApi(shell, flags.context, (connection) =>
    operateUntilUp(
      shell,
      connection,
      name,
      { $case: 'scale', value: { replicas } },
      { detach: flags.detach === true, timeoutS: flags.timeout },
    ),
  );
}
