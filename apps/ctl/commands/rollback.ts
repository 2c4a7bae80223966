/** `ctl rollback`: services go back to what they were before their last change. */
import { Command, Option } from 'commander';
import { callUnary } from '#rpc/client.js';
import type { PlanStep } from '#rpc/gen/weft/v1/api.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, wholeNumber, type CommonFlags } from '../options.js';
import { planText } from '../render/plan.js';
import { coloured, print, say, type Shell } from '../shell.js';
import { watchUntilUp } from '../watch-up.js';

interface RollbackFlags extends CommonFlags {
  dryRun?: boolean;
  detach?: boolean;
  timeout: number;
}

const EXAMPLES = `
Examples:
  ctl rollback shop             every service of the stack that was ever changed
  ctl rollback shop web         one of them
  ctl rollback shop --dry-run   what would be done

Once more, it goes forward again: a service and what it was before change places.`;

export function rollbackCommand(shell: Shell): Command {
  const command = new Command('rollback')
    .argument('<stack>', 'the name of the stack')
    .argument('[service...]', 'only these services')
    .description('Make services what they were before their last change, and wait until they run.')
    .option('--dry-run', 'print what would be done and change nothing')
    .option('-d, --detach', 'do not wait until they run')
    .addOption(new Option('--timeout <seconds>', 'give up when nothing has got better for this long').argParser(wholeNumber).default(120))
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((stack: string, services: string[]) => rollback(shell, stack, services, flagsOf<RollbackFlags>(command)));
}

export async function rollback(shell: Shell, name: string, services: string[], flags: RollbackFlags): Promise<void> {
  await withApi(shell, flags.context, async (connection) => {
    const { api, target } = connection;
    const preview = await callUnary(api, 'rollbackStack', { name, services, dryRun: true }, { target });
    if (flags.dryRun) return print(shell, planText(preview.steps, coloured(shell, shell.stdout)));
    const before = await callUnary(api, 'listTasks', { stack: name }, { target });
    const { generation, steps } = await callUnary(api, 'rollbackStack', { name, services, dryRun: false }, { target });
    shell.stderr.write(planText(steps, coloured(shell, shell.stderr)));
    if (flags.detach) return;
    const anew = recreated(steps);
    const stale = new Set(before.tasks.flatMap(({ task }) => (task && anew.has(task.service) ? [task.id] : [])));
    await watchUntilUp(shell, connection, name, { generation, stale }, flags.timeout * 1000);
    say(shell, `stack ${name} is as it was before`);
  });
}

const recreated = (steps: readonly PlanStep[]): Set<string> =>
  new Set(steps.filter((s) => s.kind === 'service' && s.action === 'recreate').map((s) => s.name));
