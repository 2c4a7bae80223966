/** `ctl wait`: until tasks have ended for good. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary, readStream } from '#rpc/client.js';
import type { StackState, TaskRow } from '#rpc/gen/weft/v1/api.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { print, say, type Shell } from '../shell.js';

interface WaitFlags extends ProjectFlags, CommonFlags {
  downProject?: boolean;
}

const EXAMPLES = `
Examples:
  ctl wait migrate              until the task of migrate has ended; its exit code is that of ctl
  ctl wait --down-project tests && echo passed

A task has ended when its restart policy starts it no more, or it was stopped. One line each: its name and exit code. The
exit code of ctl is the first that is not 0.`;

export function waitCommand(shell: Shell): Command {
  const command = listingOptions(projectOptions(new Command('wait').argument('<service...>', 'the services to wait for')))
    .description('Wait until all tasks of services have ended, and print their exit codes.')
    .option('--down-project', 'remove the stack as soon as the first has ended')
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => wait(shell, services, flagsOf<WaitFlags>(command)));
}

export async function wait(shell: Shell, services: string[], flags: WaitFlags): Promise<void> {
  const stack = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async ({ api, target }) => {
    const told = new Set<string>();
    let firstBad = 0;
    for await (const state of readStream(api.watchStack({ name: stack }), undefined, target)) {
      check(state, stack, services);
      for (const row of endedIn(state, services)) {
        const name = row.task?.name ?? '';
        if (told.has(name)) continue;
        told.add(name);
        const exitCode = row.status?.exitCode ?? 0;
        firstBad ||= exitCode;
        print(shell, flags.format === 'json' ? JSON.stringify({ task: name, node: row.nodeName, exitCode }) : `${name} ${exitCode}`);
      }
      const isOver = meant(state, services).every((row) => told.has(row.task?.name ?? ''));
      if (told.size === 0 || (!isOver && !flags.downProject)) continue;
      shell.setExitCode(firstBad & 0xff);
      if (!flags.downProject) return;
      await callUnary(api, 'removeStack', { name: stack }, { target });
      return say(shell, `stack ${stack} is being removed`);
    }
  });
}

/** @throws NOT_FOUND */
function check(state: StackState, stack: string, services: readonly string[]): void {
  if (!state.exists) throw new WeftError('NOT_FOUND', { what: `there is no stack ${stack}`, hint: 'List the stacks with `ctl ls`.' });
  const unknown = services.find((service) => !state.services.some((s) => s.name === service));
  if (unknown !== undefined)
    throw new WeftError('NOT_FOUND', {
      what: `stack ${stack} has no service ${unknown}`,
      why: `it has ${state.services.map((s) => s.name).join(', ')}`,
    });
}

const meant = (state: StackState, services: readonly string[]): TaskRow[] =>
  state.tasks.filter((row) => services.includes(row.task?.service ?? '') && row.task?.orphan !== true);

/** Nobody starts them again by himself. */
const endedIn = (state: StackState, services: readonly string[]): TaskRow[] =>
  meant(state, services).filter(
    ({ status }) =>
      status?.state === 'complete' || status?.state === 'stopped' || (status?.state === 'failed' && status.nextTryAt === undefined),
  );
