/** `ctl ps`: the tasks of a stack, or of all. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary, readStream } from '#rpc/client.js';
import type { ApiClient, StackState, StackSummary, TaskRow } from '#rpc/gen/weft/v1/api.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { findProjectName } from '../project.js';
import { printable } from '../render/printable.js';
import { listing } from '../render/table.js';
import { byPlace, endedTaskRow, networkCalled, taskColumns, taskRow, type TaskListRow } from '../render/tasks.js';
import { updateWords } from '../render/updates.js';
import { print, say, type Shell } from '../shell.js';

interface PsFlags extends ProjectFlags, CommonFlags {
  all?: boolean;
  watch?: boolean;
}

const EXAMPLES = `
Examples:
  ctl ps                        the stack of the compose.yaml of this directory; all stacks where there is none
  ctl ps -p shop web            one service of a stack, by name
  ctl ps --format json | jq -r '.[] | select(.state != "running") | .name'`;

export function psCommand(shell: Shell): Command {
  const command = listingOptions(projectOptions(new Command('ps').argument('[service...]', 'only these services')))
    .description('List tasks: where each runs, its state, addresses and published ports.')
    .option('-a, --all', 'also tasks that are being stopped, and the last ones of each slot that are gone')
    .option('-w, --watch', 'show it again at every change, until ctrl-C')
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => ps(shell, services, flagsOf<PsFlags>(command)));
}

export async function ps(shell: Shell, services: readonly string[], flags: PsFlags): Promise<void> {
  const stack = (await findProjectName(shell, flags)) ?? '';
  if (flags.watch) return watch(shell, stack, services, flags);
  await withApi(shell, flags.context, async ({ api, target }) => {
    const [{ tasks, ended }, { networks }, { stacks }] = await Promise.all([
      callUnary(api, 'listTasks', { stack }, { target }),
      callUnary(api, 'listNetworks', { stack: '' }, { target }),
      callUnary(api, 'listStacks', {}, { target }),
    ]);
    if (stack !== '' && tasks.length === 0 && !stacks.some((s) => s.name === stack)) {
      throw new WeftError('NOT_FOUND', { what: `there is no stack "${stack}"`, hint: 'List the stacks with `ctl ls`.' });
    }
    const called = networkCalled(networks.flatMap((row) => row.network ?? []));
    const all = [...tasks.map((row) => taskRow(row, called)), ...(flags.all ? ended.map(endedTaskRow) : [])];
    show(shell, all, services, flags, stack === '');
    if (flags.format !== 'table') return;
    if (stack !== '') return sayWaiting(shell, await firstState(api, stack, target), services);
    const open = stacks.filter((s) => isOpen(s, tasks)).slice(0, MOST_EXPLAINED);
    for (const state of await Promise.all(open.map((s) => firstState(api, s.name, target)))) sayWaiting(shell, state, services, true);
  });
}

/** Stacks that a listing of all explains, at most: asking is dear. With -p each of them is. */
const MOST_EXPLAINED = 20;

/** Whether tasks are missing, or a service has none at all. */
function isOpen({ name, services, tasksRunning, tasksWanted }: StackSummary, tasks: readonly TaskRow[]): boolean {
  const withTasks = new Set(tasks.flatMap(({ task }) => (task?.stack === name ? [task.service] : [])));
  return tasksRunning < tasksWanted || withTasks.size < services;
}

function show(shell: Shell, all: readonly TaskListRow[], services: readonly string[], flags: PsFlags, withStack: boolean): void {
  const rows = all
    .filter((row) => (flags.all || row.desired === 'run') && (services.length === 0 || services.includes(row.service)))
    .sort(byPlace);
  print(shell, listing(rows, taskColumns(shell.clock.now(), withStack), flags.format, shell.stdout.columns));
}

/** What the services that are not as they should be wait for, which has no row yet, and how far their updates are. */
function sayWaiting(shell: Shell, state: StackState | undefined, services: readonly string[], withStack = false): void {
  for (const { name, waiting, update, updateMessage } of state?.services ?? []) {
    if (services.length > 0 && !services.includes(name)) continue;
    const told = update === '' ? '' : [updateWords(update), updateMessage].filter(Boolean).join(': ');
    for (const text of [waiting, told]) if (text !== '') say(shell, printable(`${withStack ? `${state?.name}/` : ''}${name}: ${text}`));
  }
}

async function firstState(api: ApiClient, name: string, target: string): Promise<StackState | undefined> {
  for await (const state of readStream(api.watchStack({ name }), undefined, target)) return state;
  return undefined;
}

/** Takes the cursor home and clears what is below. */
const CLEAR = '\u001b[H\u001b[2J';

async function watch(shell: Shell, stack: string, services: readonly string[], flags: PsFlags): Promise<void> {
  if (stack === '') throw new WeftError('USAGE', { what: 'one stack at a time can be watched', hint: 'Name it with -p NAME.' });
  await withApi(shell, flags.context, async ({ api, target }) => {
    let seen = false;
    for await (const state of readStream(api.watchStack({ name: stack }), undefined, target)) {
      if (!state.exists && !seen)
        throw new WeftError('NOT_FOUND', { what: `there is no stack "${stack}"`, hint: 'List the stacks with `ctl ls`.' });
      if (!state.exists) return say(shell, `stack ${stack} is gone`);
      seen = true;
      const { networks } = await callUnary(api, 'listNetworks', { stack: '' }, { target });
      const called = networkCalled(networks.flatMap((row) => row.network ?? []));
      if (shell.stdout.isTTY && flags.format === 'table') shell.stdout.write(CLEAR);
      show(
        shell,
        state.tasks.map((row) => taskRow(row, called)),
        services,
        flags,
        false,
      );
      if (flags.format === 'table') sayWaiting(shell, state, services);
    }
  });
}
