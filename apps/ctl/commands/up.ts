/** `ctl up`: compose file → images → plan → apply → wait until all runs. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { applyStack, planStack } from '../apply-stack.js';
import { withApi } from '../connection.js';
import { nowhere } from '../judge-stack.js';
import { builderOption } from './build.js';
import { contextOption, flagsOf, formatOption, wholeNumber, type CommonFlags } from '../options.js';
import { prepareImages, type PullPolicy } from '../prepare-images.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { inFiles, loadProject, looksLikeFile, type Project } from '../project.js';
import { printable } from '../render/printable.js';
import { changesNothing, planRows, planText } from '../render/plan.js';
import { count } from '../render/quantity.js';
import { readScale, withScale } from '../scale-flags.js';
import { json } from '../render/table.js';
import { readFiles, sendFiles } from '../send-files.js';
import { coloured, print, say, type Shell } from '../shell.js';
import { buildForUp, pullPolicyOf } from '../build/build-for-up.js';
import type { Builder } from '../build/builder-steps.js';
import { watchStack } from '../watch/watch-stack.js';
import { watchUntilUp } from '../watch-up.js';

export interface UpFlags extends ProjectFlags, CommonFlags {
  dryRun?: boolean;
  detach?: boolean;
  removeOrphans?: boolean;
  scale?: string[];
  timeout: number;
  pull?: PullPolicy;
  /** --build: true; --no-build: false. */
  build?: boolean;
  builder?: Builder;
  /** With `build`: only these services. */
  buildOnly?: readonly string[];
  /** Watch files afterwards, as `ctl watch` does. */
  watch?: boolean;
}

export const DEFAULT_TIMEOUT_S = 120;

const EXAMPLES = `
Examples:
  ctl up                        the compose.yaml of this directory
  ctl up -f shop.yaml           another file; the stack is named after "name:" in it, or its directory
  ctl up -p shop-test           the same file once more, under another name
  ctl up --dry-run              what would be done, without doing it
  ctl up --remove-orphans       also stop services that the file no longer has
  ctl up -d                     return as soon as the cluster knows what is wanted
  ctl up --build                build what the file builds, then roll out what has changed
  ctl up --pull always          ask the registry whether an image has changed

Run again, it changes only what differs from the file. Logins of registries are those of \`docker login\`; they are
used for this one call and not kept. Exit code 0: everything runs; 1: something does not, and it was said what and why.`;

const gather = (value: string, before: string[] = []): string[] => [...before, value];

export function upCommand(shell: Shell): Command {
  const command = projectOptions(new Command('up').argument('[file]', 'the compose file, as with -f'))
    .description('Run a stack: create it, or make it what its compose file says, and wait until all of it runs.')
    .option('--dry-run', 'print what would be done and change nothing')
    .option('--remove-orphans', 'remove services that run and that the file no longer has')
    .option(
      '--scale <service=replicas>',
      'how many tasks a service has, instead of what the file says; may be given more than once',
      gather,
    )
    .option('-d, --detach', 'do not wait until it runs')
    .addOption(
      new Option('--timeout <seconds>', 'give up when nothing has got better for this long; what runs is left running')
        .argParser(wholeNumber)
        .default(DEFAULT_TIMEOUT_S),
    )
    .addOption(new Option('--pull <when>', 'ask registries for images').choices(['missing', 'always', 'never']))
    .option('--build', 'build the images of services with "build:" first')
    .option('--no-build', 'build nothing, even where an image is on no node')
    .addOption(builderOption())
    .option('-w, --watch', 'watch files afterwards, as `ctl watch` does')
    .addOption(formatOption().helpGroup('Options:'))
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action(async (file: string | undefined) => upAndWatch(shell, withFile(flagsOf<UpFlags>(command), file)));
}

async function upAndWatch(shell: Shell, flags: UpFlags): Promise<void> {
  if (flags.watch && flags.detach) throw new WeftError('USAGE', { what: '--watch and --detach exclude one another' });
  await up(shell, flags);
  if (!flags.watch || flags.dryRun) return;
  const rebuild = (buildOnly: readonly string[]): Promise<void> => up(shell, { ...flags, build: true, buildOnly });
  await watchStack(shell, flags, { services: [], quiet: false, rebuild });
}

function withFile(flags: UpFlags, word: string | undefined): UpFlags {
  if (word === undefined) return flags;
  if (!looksLikeFile(word))
    throw new WeftError('USAGE', {
      what: `"${word}" is no compose file`,
      why: 'up runs all services of the file',
      hint: 'Give the file with -f FILE.',
    });
  return { ...flags, file: [...(flags.file ?? []), word] };
}

export async function up(shell: Shell, flags: UpFlags): Promise<void> {
  const project = await loadProject(shell, flags);
  await inFiles(project, () => upProject(shell, flags, project));
}

async function upProject(shell: Shell, flags: UpFlags, project: Project): Promise<void> {
  const { warnings, sources, file, dormant } = project;
  const written = withScale(project.stack, readScale(flags.scale ?? []));
  const keepOrphans = !(flags.removeOrphans ?? isOn(shell.env['COMPOSE_REMOVE_ORPHANS']));
  const leftBehind = { keepOrphans, dormant: [...dormant] };
  for (const warning of warnings) say(shell, `warning: ${warning}`);
  const files = await readFiles(sources, file);
  await withApi(shell, flags.context, async (connection) => {
    // Nothing refers to them before the stack is stored.
    const stack = await sendFiles(shell, connection, written, files, flags.dryRun ?? false);
    // Planned before any image is fetched: what cannot work is told at once and has changed nothing.
    const first = await planStack(connection, stack, leftBehind);
    if (keepOrphans && first.orphans.length > 0) say(shell, `warning: ${orphanText(stack.name, first.orphans)}`);
    const built = await buildForUp(shell, connection, project, flags);
    if (flags.dryRun)
      return print(
        shell,
        flags.format === 'json' ? json(planRows(first.steps)) : planText(first.steps, coloured(shell, shell.stdout), true),
      );
    const policyOf = (service: string): PullPolicy => pullPolicyOf(project, service, flags.pull);
    const pinned = await prepareImages(shell, connection, stack, { policyOf, known: built });
    const { steps, expected } = await applyStack(connection, pinned, leftBehind);
    if (changesNothing(steps)) say(shell, `stack ${stack.name}: nothing to change`);
    else shell.stderr.write(planText(steps, coloured(shell, shell.stderr)));
    if (flags.detach) return;
    const state = await watchUntilUp(shell, connection, stack.name, expected, flags.timeout * 1000);
    for (const text of nowhere(state)) say(shell, printable(`warning: ${text}`));
    const nodes = new Set(state.tasks.map((row) => row.nodeName));
    say(shell, `stack ${stack.name} is up: ${count(state.tasks.length, 'task')} on ${count(nodes.size, 'node')}`);
  });
}

const isOn = (text: string | undefined): boolean => /^(1|true|yes|on)$/i.test(text ?? '');

const orphanText = (stack: string, names: readonly string[]): string =>
  `stack ${stack} runs services that the file no longer has: ${names.join(', ')}; --remove-orphans removes them`;
