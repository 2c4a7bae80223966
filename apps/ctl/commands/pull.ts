/** `ctl pull`: the images of a compose file, onto the nodes. */
import { Command, Option } from 'commander';
import { messageOf, WeftError } from '#base/errors.js';
import type { Stack } from '#model/stack.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf } from '../options.js';
import { prepareImages } from '../prepare-images.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { loadProject } from '../project.js';
import { say, type Shell } from '../shell.js';

interface PullFlags extends ProjectFlags {
  context?: string;
  policy: 'missing' | 'always';
  includeDeps?: boolean;
  ignorePullFailures?: boolean;
  quiet?: boolean;
}

const EXAMPLES = `
Examples:
  ctl pull                      every image of the compose file here
  ctl pull --include-deps web   that of web, and those of what it depends on
  ctl pull --policy missing     only what a node lacks

Nothing that runs changes: \`ctl up\` does that.`;

export function pullCommand(shell: Shell): Command {
  const command = projectOptions(new Command('pull').argument('[service...]', 'only the images of these services'))
    .description('Fetch the images of a compose file onto every node.')
    .addOption(new Option('--policy <policy>', 'which images').choices(['missing', 'always']).default('always'))
    .option('--include-deps', 'also those of the services that these depend on')
    .option('--ignore-pull-failures', 'go on where an image cannot be had')
    .option('-q, --quiet', 'say nothing when it went well')
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((services: string[]) => pull(shell, services, flagsOf<PullFlags>(command)));
}

export async function pull(shell: Shell, services: string[], flags: PullFlags): Promise<void> {
  const { stack } = await loadProject(shell, flags);
  const chosen = choose(stack, services, flags.includeDeps === true);
  const quiet = flags.quiet ? { ...shell, stderr: nowhere(shell) } : shell;
  await withApi(shell, flags.context, async (connection) => {
    for (const service of flags.ignorePullFailures ? Object.values(chosen.services) : [undefined]) {
      const part = service === undefined ? chosen : { ...chosen, services: { [service.name]: service } };
      await prepareImages(quiet, connection, part, { policyOf: () => flags.policy, known: new Map() }).catch((error: unknown) => {
        if (service === undefined) throw error;
        say(shell, `warning: the image of ${service.name} was not pulled: ${messageOf(error)}`);
      });
    }
  });
}

/** The services that are meant, and what they need. @throws NOT_FOUND */
function choose(stack: Stack, services: readonly string[], withDependencies: boolean): Stack {
  if (services.length === 0) return stack;
  const chosen: Stack['services'] = {};
  const add = (name: string): void => {
    const service = stack.services[name];
    if (!service)
      throw new WeftError('NOT_FOUND', {
        what: `there is no service ${name} in the file`,
        why: `it has ${Object.keys(stack.services).join(', ')}`,
      });
    if (chosen[name]) return;
    chosen[name] = service;
    if (withDependencies) for (const other of Object.keys(service.dependsOn ?? {})) if (stack.services[other]) add(other);
  };
  for (const name of services) add(name);
  return { ...stack, services: chosen };
}

/** An output that nobody sees. */
const nowhere = ({ stderr }: Shell): Shell['stderr'] =>
  Object.assign(Object.create(stderr) as Shell['stderr'], { write: () => true, isTTY: false });
