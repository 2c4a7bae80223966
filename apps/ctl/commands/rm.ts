/** `ctl rm`: one-off tasks that have ended. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary, readStream } from '#rpc/client.js';
import type { ServiceState, StackState, TaskRow } from '#rpc/gen/weft/v1/api.js';
import { withApi, type Connection } from '../connection.js';
import { contextOption, flagsOf } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { print, say, type Shell } from '../shell.js';

interface RmFlags extends ProjectFlags {
  context?: string;
  stop?: boolean;
}

const EXAMPLES = `
Examples:
  ctl rm                        every one-off task of the stack (\`ctl run\`) that has ended
  ctl rm web                    those of web
  ctl rm shop-import            one, by its name
  ctl rm -s web                 those that run, too

A service that was stopped leaves nothing to remove: its containers are gone, and its slots and addresses are kept for
\`ctl start\`. What the file no longer has goes with \`ctl up --remove-orphans\`, all of a stack with \`ctl down\`.`;

export function rmCommand(shell: Shell): Command {
  const command = projectOptions(new Command('rm'), '--file <file>')
    .description('Remove one-off tasks that have ended.')
    .argument('[service or task...]', 'only one-offs of these services, or with these names')
    .option('-s, --stop', 'stop and remove those that run, too')
    .option('-f, --force', 'do not ask (it never does)')
    .option('-v, --volumes', 'with their volumes that have no name (there never are any)')
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((who: string[]) => rm(shell, who, flagsOf<RmFlags>(command)));
}

export async function rm(shell: Shell, who: readonly string[], flags: RmFlags): Promise<void> {
  const stack = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async (connection) => {
    const state = await stateNow(connection, stack);
    const meant = oneOffsMeant(state, who);
    const gone = meant.filter(({ row }) => flags.stop || hasEnded(row));
    for (const { name } of meant.filter((one) => !gone.includes(one))) say(shell, `${name} runs: -s stops and removes it`);
    if (gone.length === 0) return say(shell, `stack ${stack}: nothing to remove`);
    const operation = { $case: 'removeOneOffs' as const, value: { services: gone.map(({ key }) => key) } };
    await callUnary(connection.api, 'operateStack', { name: stack, operation }, { target: connection.target });
    for (const { name } of gone) print(shell, name);
  });
}

/** @throws NOT_FOUND */
async function stateNow({ api, target }: Connection, stack: string): Promise<StackState> {
  const enough = new AbortController();
  try {
    for await (const state of readStream(api.watchStack({ name: stack }), enough.signal, target)) {
      if (state.exists) return state;
      break;
    }
  } finally {
    enough.abort();
  }
  throw new WeftError('NOT_FOUND', { what: `there is no stack ${stack}`, hint: 'List the stacks with `ctl ls`.' });
}

interface OneOff {
  key: string;
  /** Of its task; its key where that is gone. */
  name: string;
  row: TaskRow | undefined;
}

/** @throws NOT_FOUND for a word that means neither a service nor a one-off */
function oneOffsMeant({ name: stack, services, tasks }: StackState, who: readonly string[]): OneOff[] {
  const all = services
    .filter(({ oneOffOf }) => oneOffOf !== '')
    .map(({ name: key, oneOffOf }) => {
      const row = tasks.find(({ task }) => task?.service === key);
      return { key, of: oneOffOf, name: row?.task?.name ?? key, row };
    });
  const isKnown = (word: string): boolean =>
    services.some((service: ServiceState) => service.name === word) || all.some(({ of, name }) => of === word || name === word);
  const unknown = who.find((word) => !isKnown(word));
  if (unknown !== undefined)
    throw new WeftError('NOT_FOUND', { what: `stack ${stack} has no service or one-off task ${unknown}`, hint: 'Look at `ctl ps -a`.' });
  return all.filter(({ key, of, name }) => who.length === 0 || [key, of, name].some((word) => who.includes(word)));
}

/** Its process is over, and it is not started again. */
function hasEnded(row: TaskRow | undefined): boolean {
  const status = row?.status;
  if (!row || status?.state === 'complete' || status?.state === 'stopped') return true;
  return status?.state === 'failed' && status.nextTryAt === undefined;
}
