/** `ctl watch`: while files of a stack are worked on, what the file says under `develop.watch` is done as they change. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import type { Builder } from '../build/builder-steps.js';
import { contextOption, flagsOf, wholeNumber } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { loadProject } from '../project.js';
import type { Shell } from '../shell.js';
import { watchStack } from '../watch/watch-stack.js';
import { builderOption } from './build.js';
import { up, DEFAULT_TIMEOUT_S } from './up.js';

interface WatchFlags extends ProjectFlags {
  context?: string;
  builder?: Builder;
  quiet?: boolean;
  /** Commander's form of --no-up. */
  up: boolean;
  timeout: number;
}

const EXAMPLES = `
Examples:
  ctl watch                 bring the stack up, then watch
  ctl watch web             the files of this service alone
  ctl watch --no-up         the stack runs already

Actions of develop.watch: sync copies changed files into the running containers, sync+exec runs a command there
afterwards, sync+restart and restart end their processes and start them again in the same containers, with all that is in
them, rebuild builds the image and rolls it out. Ctrl-C ends the watching; the stack runs on.`;

export function watchCommand(shell: Shell): Command {
  const command = projectOptions(new Command('watch').argument('[services...]', 'the services (default: all that watch something)'))
    .description('Copy, run, restart or build anew as files change.')
    .option('--no-up', 'do not bring the stack up first')
    .option('-q, --quiet', 'only say what goes wrong')
    .addOption(builderOption())
    .addOption(
      new Option('--timeout <seconds>', 'as of `ctl up`, each time the stack is brought up')
        .argParser(wholeNumber)
        .default(DEFAULT_TIMEOUT_S),
    )
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => watch(shell, services, flagsOf<WatchFlags>(command)));
}

async function watch(shell: Shell, services: readonly string[], flags: WatchFlags): Promise<void> {
  const { up: first, quiet, ...others } = flags;
  const rest = { ...others, format: 'table' as const };
  await checkWatched(shell, services, flags);
  if (first) await up(shell, rest);
  const rebuild = (buildOnly: readonly string[]): Promise<void> => up(shell, { ...rest, build: true, buildOnly });
  await watchStack(shell, flags, { services, quiet: quiet === true, rebuild });
}

/** @throws NOT_FOUND, BAD_VALUE */
async function checkWatched(shell: Shell, services: readonly string[], flags: ProjectFlags): Promise<void> {
  const { watches, stack } = await loadProject(shell, flags);
  const unknown = services.find((name) => stack.services[name] === undefined);
  if (unknown !== undefined) throw new WeftError('NOT_FOUND', { what: `the stack has no service ${unknown}` });
  const idle = services.find((name) => !watches.has(name));
  if (idle === undefined && watches.size > 0) return;
  throw new WeftError('BAD_VALUE', {
    what: idle === undefined ? 'no service of the stack watches anything' : `the service ${idle} watches nothing`,
    hint: 'Say under "develop: { watch: … }" what is to be done when files change.',
  });
}
