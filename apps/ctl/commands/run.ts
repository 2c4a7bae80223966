/** `ctl run`: one task of a service, beside those that the file wants, with a command of its own. */
import { randomBytes } from 'node:crypto';
import { Command, Option } from 'commander';
import { loadModel } from '#compose/load-model.js';
import { readStack } from '#compose/parse-compose.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { loadProjectModel } from '../project.js';
import { contextOption, flagsOf } from '../options.js';
import { oneOffStack, overrideText, type OneOffWish, type Overrides } from '../one-off.js';
import type { PullPolicy } from '../prepare-images.js';
import { runOneOff, type OneOffProject } from '../run-one-off.js';
import { WeftError } from '#base/errors.js';
import { builderOption } from './build.js';
import type { Builder } from '../build/builder-steps.js';
import type { Shell } from '../shell.js';

interface RunFlags extends ProjectFlags, Omit<Overrides, 'command'> {
  context?: string;
  rm?: boolean;
  detach?: boolean;
  interactive: boolean;
  /** -T: false. */
  TTY?: boolean;
  servicePorts?: boolean;
  useAliases?: boolean;
  /** --no-deps: false. */
  deps?: boolean;
  name?: string;
  build?: boolean;
  builder?: Builder;
  pull?: PullPolicy;
  quiet?: boolean;
  quietPull?: boolean;
  removeOrphans?: boolean;
}

const EXAMPLES = `
Examples:
  ctl run --rm web sh                     a shell in a task of its own, made as those of web are
  ctl run --rm web rake db:migrate        what web depends on is started first, and is healthy where it says so
  ctl run -d --name import worker import.sh
  ctl run --rm -T db pg_dump shop > shop.sql
  ctl -p shop run --no-deps -e MODE=test web env     (-p before "run" is the stack; after it, a port)

It is no replica of the service: it has no part in its name, its virtual address or, unless asked for, its ports.
The exit code is that of the command. Without --rm it stays to be looked at until \`ctl rm\`.
Control-c, and other signals where there is no terminal, go to the command; the third time, ctl leaves it alone.`;

const gather = (value: string, all: string[] = []): string[] => [...all, value];
const several = (flags: string, text: string): Option => new Option(flags, `${text}; may be given more than once`).argParser(gather);

export function runCommand(shell: Shell): Command {
  const command = projectOptions(new Command('run'), undefined, '--project-name <name>')
    .description('Run a command in a task of its own, made as those of a service are.')
    .argument('<service>', 'the service')
    .argument('[command...]', "the command and its arguments (default: the service's)")
    .option('--rm', 'remove it when it has ended')
    .option('-d, --detach', 'print its name, and do not wait for its end')
    .option('-i, --interactive', 'pass standard input on (the default)', true)
    .option('--no-interactive', 'leave standard input alone')
    .option('-T, --no-TTY', 'give it no terminal (the default where there is none)')
    .addOption(several('-e, --env <key=value>', 'set a variable'))
    .addOption(several('-l, --label <key=value>', 'set a label'))
    .option('-u, --user <user>', 'run as this user')
    .option('-w, --workdir <directory>', 'run in this directory of the container')
    .option('--entrypoint <command>', 'instead of the entrypoint of the image')
    .addOption(several('-v, --volume <volume>', 'a further mount, as in a compose file'))
    .addOption(several('-p, --publish <port>', 'publish a port, as in a compose file'))
    .addOption(several('--cap-add <capability>', 'add a capability'))
    .addOption(several('--cap-drop <capability>', 'drop a capability'))
    .option('-P, --service-ports', 'publish the ports of the service')
    .option('--use-aliases', 'it answers to the names of the service on its networks, too')
    .option('--no-deps', 'do not start what the service depends on')
    .option('--name <name>', 'name of its container')
    .option('--build', 'build images of services with "build:" first')
    .addOption(builderOption())
    .addOption(new Option('--pull <when>', 'ask registries for images').choices(['missing', 'always', 'never']))
    .option('--quiet-pull', 'do not show how images are fetched')
    .option('-q, --quiet', 'print nothing but what the command prints, and errors')
    .addOption(contextOption())
    .passThroughOptions()
    .addHelpText('after', EXAMPLES);
  return command.action((service: string, argv: string[]) => run(shell, service, argv, flagsOf<RunFlags>(command)));
}

async function run(shell: Shell, service: string, argv: readonly string[], flags: RunFlags): Promise<void> {
  if (flags.servicePorts && flags.publish) throw new WeftError('USAGE', { what: '--service-ports and --publish exclude one another' });
  const project = await loadFor(shell, service, flags, { ...flags, command: argv });
  const said = project.stack.services[service]?.container;
  const onTerminal = shell.stdin.isTTY === true && shell.stdout.isTTY === true;
  const attach = !flags.detach;
  const wish: OneOffWish = {
    of: service,
    mark: randomBytes(6).toString('hex'),
    name: flags.name,
    remove: flags.rm ?? false,
    attach,
    tty: attach ? onTerminal && flags.TTY !== false && flags.interactive : (said?.tty ?? false),
    stdin: attach ? flags.interactive : (said?.stdinOpen ?? false),
    alone: flags.deps === false,
    aliases: flags.useAliases ?? false,
    ports: (flags.servicePorts ?? false) || flags.publish !== undefined,
  };
  const quiet = flags.quiet ?? false;
  const how = { pull: flags.pull, build: flags.build, builder: flags.builder, quiet, quietPull: quiet || (flags.quietPull ?? false) };
  await runOneOff(shell, flags.context, { ...project, stack: oneOffStack(project.stack, wish) }, wish, how);
}

/** The service as the flags change it, and what it depends on. */
async function loadFor(shell: Shell, service: string, flags: ProjectFlags, overrides: Overrides): Promise<OneOffProject> {
  const { input } = await loadProjectModel(shell, flags, { services: [service] });
  const text = overrideText(service, overrides);
  const files =
    text === ''
      ? input.files
      : [...input.files, { path: `${input.projectDirectory}/<flags of ctl run>`, shown: '<flags of ctl run>', text }];
  const model = loadModel({ ...input, files });
  return { ...readStack(model), file: model.context.file };
}
