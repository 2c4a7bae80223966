/** `ctl events`: what happens in the cluster, and what happened. */
import { Command } from 'commander';
import { readStream } from '#rpc/client.js';
import type { Event } from '#rpc/gen/weft/v1/operations.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { findProjectName } from '../project.js';
import { eventRow, eventText } from '../render/events.js';
import { print, type Shell } from '../shell.js';
import { readTime } from './logs.js';

interface EventsFlags extends ProjectFlags {
  context?: string;
  json?: boolean;
  since?: string;
  until?: string;
}

const EXAMPLES = `
Examples:
  ctl events                    what happens to the stack from now on, until ctrl-C
  ctl events --since 10m        the last ten minutes first
  ctl events --since 1h --until 0s --json web
                                the last hour of one service, as a line of JSON each, and no more

Tasks: create, reschedule (with where from and why), start, restart, die, fail, complete, health, stop, destroy. Nodes: join, ready,
down, drain, pause, active, remove. Services: updating, updated, paused, rolled-back,
waiting (with what for: a node, an address, a dependency), waited (that is over). Repairs: what somebody changed in the kernel
of a node. The last 1,000 events are kept, also when a controller is restarted. Without a compose file: of all stacks.`;

export function eventsCommand(shell: Shell): Command {
  const command = projectOptions(new Command('events').argument('[service...]', 'only these services'))
    .description('Show what happens: tasks, moves and their reasons, nodes, updates, health, repairs.')
    .option('--json', 'a line of JSON for each')
    .option('--since <time>', 'begin with what happened since: 10m, 1h30m, or a date like 2026-01-31T10:00:00Z')
    .option('--until <time>', 'end there; 0s: now')
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => events(shell, services, flagsOf<EventsFlags>(command)));
}

export async function events(shell: Shell, services: string[], flags: EventsFlags): Promise<void> {
  const stack = (await findProjectName(shell, flags)) ?? '';
  const now = shell.clock.now();
  const time = (text: string | undefined) => (text === undefined ? undefined : readTime(text, now));
  const request = { stack, services, since: time(flags.since), until: time(flags.until) };
  const show = (event: Event): string => (flags.json ? JSON.stringify(eventRow(event)) : eventText(event));
  await withApi(shell, flags.context, async ({ api, target }) => {
    for await (const { events: some } of readStream(api.watchEvents(request), undefined, target))
      for (const event of some) print(shell, show(event));
  });
}
