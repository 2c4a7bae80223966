/** `ctl ls`: the stacks of the cluster. */
import { Command } from 'commander';
import { callUnary } from '#rpc/client.js';
import type { StackSummary } from '#rpc/gen/weft/v1/api.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { span } from '../render/quantity.js';
import { listing, type Column } from '../render/table.js';
import { print, type Shell } from '../shell.js';

export function lsCommand(shell: Shell): Command {
  const command = listingOptions(new Command('ls')).description('List the stacks of the cluster.');
  return command.action(() => ls(shell, flagsOf<CommonFlags>(command)));
}

const stackRow = (s: StackSummary) => ({
  name: s.name,
  state: s.removing ? 'removing' : s.tasksRunning >= s.tasksWanted ? 'running' : 'incomplete',
  services: s.services,
  tasksRunning: s.tasksRunning,
  tasksWanted: s.tasksWanted,
  generation: s.generation,
  updatedAt: s.updatedAt,
});

const columns = (now: number): Column<ReturnType<typeof stackRow>>[] => [
  { title: 'NAME', text: (r) => r.name },
  { title: 'STATE', text: (r) => r.state },
  { title: 'SERVICES', text: (r) => String(r.services), align: 'right' },
  { title: 'TASKS', text: (r) => `${r.tasksRunning}/${r.tasksWanted}`, align: 'right' },
  { title: 'CHANGED', text: (r) => `${span(now - r.updatedAt)} ago` },
];

async function ls(shell: Shell, flags: CommonFlags): Promise<void> {
  await withApi(shell, flags.context, async ({ api, target }) => {
    const { stacks } = await callUnary(api, 'listStacks', {}, { target });
    const rows = stacks.map(stackRow).sort((a, b) => a.name.localeCompare(b.name));
    print(shell, listing(rows, columns(shell.clock.now()), flags.format));
  });
}
