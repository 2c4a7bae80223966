/** `ctl rebalance`: tasks to other nodes, so that services are spread evenly again. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import type { StackState } from '#rpc/gen/weft/v1/api.js';
import type { RebalanceResponse, TaskMove, Unmoved } from '#rpc/gen/weft/v1/operations.js';
import { withApi, type Connection } from '../connection.js';
import { OPERATE_TIMEOUT_S } from '../operate.js';
import { flagsOf, listingOptions, timeoutOption, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { findProjectName } from '../project.js';
import { printable } from '../render/printable.js';
import { count } from '../render/quantity.js';
import { listing, type Column } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';
import { watchUntilUp } from '../watch-up.js';

interface RebalanceFlags extends ProjectFlags, CommonFlags {
  all?: boolean;
  dryRun?: boolean;
  detach?: boolean;
  timeout: number;
}

const EXAMPLES = `
Examples:
  ctl rebalance --dry-run       which tasks would go where, and why
  ctl rebalance                 the stack of the compose.yaml of this directory; all stacks where there is none
  ctl rebalance -p shop web     one service of a stack
  ctl rebalance --all           all stacks, wherever it is called

It moves as few tasks as make every service even, as an update would: one at a time, or as \`update_config\` says (with
\`order: start-first\` no request is lost). Constraints, reservations and preferences hold; tasks with data on their node,
global services and jobs stay. Nothing is ever moved without this command only because a node came.`;

export function rebalanceCommand(shell: Shell): Command {
  const command = listingOptions(projectOptions(new Command('rebalance').argument('[service...]', 'only these services')))
    .description('Move tasks so that services are spread evenly over the nodes again, and wait until they run.')
    .option('-a, --all', 'all stacks')
    .option('--dry-run', 'print what would be moved and change nothing')
    .option('-d, --detach', 'do not wait until the tasks run')
    .addOption(timeoutOption(OPERATE_TIMEOUT_S))
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => rebalance(shell, services, flagsOf<RebalanceFlags>(command)));
}

export async function rebalance(shell: Shell, services: string[], flags: RebalanceFlags): Promise<void> {
  const stack = flags.all ? '' : ((await findProjectName(shell, flags)) ?? '');
  if (stack === '' && services.length > 0)
    throw new WeftError('USAGE', { what: 'services of which stack?', hint: 'Name it with -p NAME.' });
  await withApi(shell, flags.context, async (connection) => {
    const { api, target } = connection;
    const { moves, unmoved } = await callUnary(api, 'rebalance', { stack, services, dryRun: flags.dryRun === true }, { target });
    for (const text of unmoved.map(unmovedText)) say(shell, printable(text));
    if (moves.length > 0 || flags.format === 'json') print(shell, listing(moves.map(moveRow), COLUMNS, flags.format, shell.stdout.columns));
    if (moves.length === 0) say(shell, 'nothing to move');
    if (flags.dryRun || flags.detach || moves.length === 0) return;
    for (const name of new Set(moves.map((m) => m.stack))) await watchMoves(shell, connection, name, moves, flags.timeout);
  });
}

const unmovedText = ({ stack, service, why }: Unmoved): string => `${stack}/${service} stays: ${why}`;

const moveRow = ({ taskName, taskId, stack, service, from, to, why }: RebalanceResponse['moves'][number]) => ({
  name: taskName,
  id: taskId,
  stack,
  service,
  from,
  to,
  why,
});

const COLUMNS: Column<ReturnType<typeof moveRow>>[] = [
  { title: 'TASK', text: (r) => r.name },
  { title: 'FROM', text: (r) => r.from },
  { title: 'TO', text: (r) => r.to },
  { title: 'WHY', text: (r) => r.why, cuts: true },
];

/** Until those that move are gone and all of the stack runs. A task that does not go after all stays in its place. */
async function watchMoves(shell: Shell, connection: Connection, stack: string, all: readonly TaskMove[], timeoutS: number): Promise<void> {
  const moves = all.filter((m) => m.stack === stack);
  const moving = new Map(moves.map((m) => [m.taskId, m]));
  const stale = new Set(moving.keys());
  const see = (state: StackState): void => {
    for (const { task } of state.tasks) {
      if (!task || task.desired !== 'run' || task.movesTo !== undefined || !stale.delete(task.id)) continue;
      const { from = '', to = '' } = moving.get(task.id) ?? {};
      say(shell, printable(`${task.name} stays on ${from}: ${to} does not take it any more, or the moves were given up`));
      moving.delete(task.id);
    }
  };
  await watchUntilUp(shell, connection, stack, { generation: 0, stale }, timeoutS * 1000, see);
  say(shell, `stack ${stack} is spread: ${count(moving.size, 'task')} moved`);
}
