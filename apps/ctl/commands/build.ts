/** `ctl build`: the images of a stack's services, built on this machine and brought onto the nodes. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import type { BuildWish } from '#compose/build-wish.js';
import { buildImages } from '../build/build-images.js';
import { inBuildOrder } from '../build/build-order.js';
import { BUILDERS, type Builder } from '../build/builder-steps.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, formatOption, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { loadProject } from '../project.js';
import { json } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';

interface BuildCommandFlags extends ProjectFlags, CommonFlags {
  builder?: Builder;
  /** Commander's form of --no-cache. */
  cache: boolean;
  pull?: boolean;
  buildArg?: Record<string, string>;
  quiet?: boolean;
}

const EXAMPLES = `
Examples:
  ctl build                     the images of all services with "build:"
  ctl build web worker          of these services
  ctl build --no-cache --pull   from the beginning, with the newest base images
  ctl build --builder buildah   with this one

The builder is the first that works of docker buildx, podman and buildah. The result goes to the nodes directly, without
a registry: only the layers that a node lacks are sent. Services are not changed: \`ctl up --build\` does both.`;

const gatherPair = (text: string, all: Record<string, string> = {}): Record<string, string> => {
  const [key = '', ...value] = text.split('=');
  if (key === '' || value.length === 0)
    throw new WeftError('USAGE', { what: `"${text}" is no build argument`, hint: 'Give it as KEY=VALUE.' });
  return { ...all, [key]: value.join('=') };
};

/** The option that names the builder, for `up`, `build` and `watch`. */
export const builderOption = (): Option =>
  new Option('--builder <name>', 'what builds images (default: the first that works)').choices(BUILDERS).env('WEFT_BUILDER');

export function buildCommand(shell: Shell): Command {
  const command = projectOptions(new Command('build').argument('[services...]', 'the services (default: all that are built)'))
    .description('Build the images of services on this machine, and bring them onto the nodes.')
    .addOption(builderOption())
    .option('--no-cache', 'use no layer of an earlier build')
    .option('--pull', 'ask the registries for newer base images')
    .addOption(new Option('--build-arg <KEY=VALUE>', 'an argument of the build, over those of the file').argParser(gatherPair))
    .option('-q, --quiet', 'do not show what the builder prints')
    .addOption(formatOption().helpGroup('Options:'))
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => build(shell, services, flagsOf<BuildCommandFlags>(command)));
}

async function build(shell: Shell, services: readonly string[], flags: BuildCommandFlags): Promise<void> {
  const { builds, stack, warnings } = await loadProject(shell, flags);
  for (const warning of warnings) say(shell, `warning: ${warning}`);
  const wishes = chosen(builds, Object.keys(stack.services), services);
  if (wishes.length === 0) return say(shell, `stack ${stack.name}: no service has "build"`);
  const { builder, cache, pull, buildArg: args, quiet } = flags;
  const options = {
    noCache: !cache,
    ...(builder ? { builder } : {}),
    ...(pull ? { pull } : {}),
    ...(args ? { args } : {}),
    ...(quiet ? { quiet } : {}),
  };
  await withApi(shell, flags.context, async (connection) => {
    const built = await buildImages(shell, connection, inBuildOrder(wishes, builds), options);
    const lines = built.map(({ service, image, digest }) => `built ${service} ${image} ${digest}\n`).join('');
    print(shell, flags.format === 'json' ? json(built) : lines);
  });
}

function chosen(builds: ReadonlyMap<string, BuildWish>, all: readonly string[], services: readonly string[]): BuildWish[] {
  const unknown = services.find((name) => !all.includes(name));
  if (unknown !== undefined)
    throw new WeftError('NOT_FOUND', { what: `the stack has no service ${unknown}`, why: `it has ${all.join(', ')}` });
  const unbuilt = services.find((name) => !builds.has(name));
  if (unbuilt !== undefined)
    throw new WeftError('BAD_VALUE', { what: `the service ${unbuilt} has no "build"`, why: 'its image comes from elsewhere' });
  return [...builds.values()].filter(({ service }) => services.length === 0 || services.includes(service));
}
