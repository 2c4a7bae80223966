/** `ctl config`: checks compose files without a cluster, and prints what they say in canonical form, as `docker compose config` does. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { failure, newContext, warningLines } from '#compose/context.js';
import { ComposeErrors, formatIssue } from '#compose/issue.js';
import { COMPOSE_FILE } from '#compose/key-table.js';
import type { Model } from '#compose/load-model.js';
import { refuseByStanding } from '#compose/standing.js';
import { flagsOf } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { loadProjectModel } from '../project.js';
import { print, say, type Shell } from '../shell.js';
import { imagesOf, renderConfig, withImages, type ConfigFlags as RenderFlags } from '../render/config.js';

interface ConfigFlags extends ProjectFlags, RenderFlags {
  quiet?: boolean;
  output?: string;
  /** Commander's form of --no-…. */
  interpolate: boolean;
  normalize: boolean;
  pathResolution: boolean;
  envResolution: boolean;
  consistency: boolean;
  resolveImageDigests?: boolean;
}

const EXAMPLES = `
Examples:
  ctl config                         the model of the compose.yaml of this directory
  ctl config -f a.yaml -f b.yaml     b.yaml merged over a.yaml
  ctl config -q                      only check; exit code 1 when something is wrong
  ctl config --services              the names of the services
  ctl config --hash '*'              a hash of each service: it changes when the service does`;

export function configCommand(shell: Shell): Command {
  const command = projectOptions(
    new Command('config').alias('convert').argument('[service...]', 'only these services and what they depend on'),
  )
    .description(
      'Check compose files and print the model they describe: merged, variables put in, short forms written out. Needs no cluster.',
    )
    .option('-q, --quiet', 'only check')
    .addOption(new Option('--format <format>', 'how to print').choices(['yaml', 'json']).default('yaml'))
    .option('--services', 'print the names of the services')
    .option('--networks', 'print the names of the networks')
    .option('--volumes', 'print the names of the volumes')
    .option('--images', 'print the images')
    .option('--models', 'print the names of the models')
    .option('--profiles', 'print the profiles')
    .option('--variables', 'print the variables of the files and their defaults (a table, or JSON)')
    .option('--environment', 'print the environment that variables are taken from')
    .option('--hash <services>', 'print a hash of each of these services (comma between them, or "*")')
    .option('--no-interpolate', 'leave variables as they are')
    .option('--no-normalize', 'leave defaults out')
    .option('--no-path-resolution', 'leave paths as they are')
    .option('--no-env-resolution', 'leave env_file as it is')
    .option('--resolve-image-digests', 'ask the registries, and give each image the digest that its tag means now')
    .option('--lock-image-digests', 'print nothing but the images with their digests, as a file to merge over this one')
    .addOption(new Option('--no-consistency', 'refused: what the files say is always checked').hideHelp())
    .option('-o, --output <file>', 'write to a file')
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => config(shell, flagsOf<ConfigFlags>(command), services));
}

export async function config(shell: Shell, flags: ConfigFlags, services: readonly string[] = []): Promise<void> {
  if (!flags.consistency)
    throw new WeftError('USAGE', {
      what: '--no-consistency is not supported',
      why: 'a model that contradicts itself has no canonical form to print',
      hint: 'Leave it out: every fault of the files is told at once, with its place.',
    });
  const { model, input } = await loadProjectModel(shell, flags, {
    services,
    prune: true,
    interpolate: flags.interpolate,
    normalise: flags.normalize,
    resolvePaths: flags.pathResolution,
    resolveEnvFiles: flags.envResolution,
  });
  if (model.context.issues.length > 0) throw failure(model.context);
  for (const warning of warningLines(model.context)) say(shell, `warning: ${warning}`);
  for (const refusal of refusals(model)) say(shell, `warning: ctl up refuses this file: ${refusal}`);
  if (flags.quiet) return;
  const text = renderConfig(await withDigests(shell, model, flags), input, flags);
  if (flags.output !== undefined) await writeFile(resolve(shell.cwd, flags.output), text);
  else print(shell, text);
}

/** Loaded where it is asked for: nothing else of `config` needs a network. */
async function withDigests(shell: Shell, model: Model, flags: ConfigFlags): Promise<Model> {
  if (!flags.resolveImageDigests && !flags.lockImageDigests) return model;
  const { pinned } = await import('../pin-images.js');
  return { ...model, tree: withImages(model.tree, await pinned(shell, imagesOf(model.tree))) };
}

/** Compose's model is printed whole, but what `ctl up` will not take is said here already. */
function refusals({ tree, context }: Model): string[] {
  const c = newContext(context.file, context.env, context.projectDirectory);
  try {
    refuseByStanding(c, tree, COMPOSE_FILE);
  } catch (error) {
    // There are more of them than one error tells.
    if (!(error instanceof ComposeErrors)) throw error;
  }
  return c.issues.map(formatIssue);
}
