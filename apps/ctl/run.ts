/** argv → one command → exit code. Only the module of the command in use is loaded: `ctl --help` loads none. */
import { Command, CommanderError } from 'commander';
import { asWeftError, WeftError } from '#base/errors.js';
import { contextOption } from './options.js';
import { projectOptions, VALUE_FLAGS } from './project-options.js';
import { errorText } from './render/error.js';
import type { Shell } from './shell.js';
import { coloured } from './shell.js';
import { clientVersion } from './version.js';

type MakeCommand = (shell: Shell) => Command;

interface Entry {
  name: string;
  summary: string;
  load: () => Promise<MakeCommand>;
}

const COMMANDS: readonly Entry[] = [
  {
    name: 'up',
    summary: 'run a stack: create it, or make it what its compose file says',
    load: async () => (await import('./commands/up.js')).upCommand,
  },
  {
    name: 'build',
    summary: 'build the images of a stack, and bring them onto the nodes',
    load: async () => (await import('./commands/build.js')).buildCommand,
  },
  {
    name: 'watch',
    summary: 'copy, restart or build anew as files change',
    load: async () => (await import('./commands/watch.js')).watchCommand,
  },
  { name: 'down', summary: 'stop a stack and remove it', load: async () => (await import('./commands/down.js')).downCommand },
  { name: 'ps', summary: 'list the tasks of a stack', load: async () => (await import('./commands/ps.js')).psCommand },
  {
    name: 'rollback',
    summary: 'make services what they were before',
    load: async () => (await import('./commands/rollback.js')).rollbackCommand,
  },
  {
    name: 'rebalance',
    summary: 'move tasks so that services are spread evenly again',
    load: async () => (await import('./commands/rebalance.js')).rebalanceCommand,
  },
  { name: 'ls', summary: 'list the stacks', load: async () => (await import('./commands/ls.js')).lsCommand },
  { name: 'logs', summary: 'show what the tasks of a stack print', load: async () => (await import('./commands/logs.js')).logsCommand },
  { name: 'run', summary: 'run a command in a task of its own', load: async () => (await import('./commands/run.js')).runCommand },
  { name: 'rm', summary: 'remove one-off tasks that have ended', load: async () => (await import('./commands/rm.js')).rmCommand },
  {
    name: 'attach',
    summary: 'attach to the process of a running task',
    load: async () => (await import('./commands/attach.js')).attachCommand,
  },
  { name: 'exec', summary: 'run a command in a running task', load: async () => (await import('./commands/exec.js')).execCommand },
  {
    name: 'scale',
    summary: 'set how many tasks services have',
    load: async () => (await import('./commands/scale.js')).scaleCommand,
  },
  { name: 'stop', summary: 'stop services without removing them', load: async () => (await import('./commands/stop.js')).stopCommand },
  { name: 'start', summary: 'start services that were stopped', load: async () => (await import('./commands/start.js')).startCommand },
  {
    name: 'restart',
    summary: 'restart services, task by task',
    load: async () => (await import('./commands/restart.js')).restartCommand,
  },
  { name: 'kill', summary: 'send a signal to running tasks', load: async () => (await import('./commands/kill.js')).killCommand },
  {
    name: 'events',
    summary: 'show what happens, and what happened',
    load: async () => (await import('./commands/events.js')).eventsCommand,
  },
  { name: 'wait', summary: 'wait until tasks have ended', load: async () => (await import('./commands/wait.js')).waitCommand },
  { name: 'port', summary: 'print where a port is published', load: async () => (await import('./commands/port.js')).portCommand },
  { name: 'images', summary: 'list the images of tasks', load: async () => (await import('./commands/images.js')).imagesCommand },
  { name: 'pull', summary: 'fetch the images of a compose file', load: async () => (await import('./commands/pull.js')).pullCommand },
  { name: 'top', summary: 'list the processes of running tasks', load: async () => (await import('./commands/top.js')).topCommand },
  { name: 'stats', summary: 'show what running tasks use', load: async () => (await import('./commands/stats.js')).statsCommand },
  {
    name: 'cp',
    summary: 'copy files between the containers of a service and here',
    load: async () => (await import('./commands/cp.js')).cpCommand,
  },
  {
    name: 'config',
    summary: 'check a compose file and print what Weft makes of it',
    load: async () => (await import('./commands/config.js')).configCommand,
  },
  {
    name: 'node',
    summary: 'the hosts of the cluster: ls, inspect, token, accept, rm',
    load: async () => (await import('./commands/node.js')).nodeCommand,
  },
  {
    name: 'controller',
    summary: 'the controllers of the cluster: ls, token, rm',
    load: async () => (await import('./commands/controller.js')).controllerCommand,
  },
  {
    name: 'network',
    summary: 'the networks of the cluster: ls, inspect',
    load: async () => (await import('./commands/network.js')).networkCommand,
  },
  {
    name: 'volume',
    summary: 'named volumes, and which node has each: ls, inspect, create, rm',
    load: async () => (await import('./commands/volume.js')).volumeCommand,
  },
  {
    name: 'secret',
    summary: 'secrets that stacks share: ls, create, rm',
    load: async () => (await import('./commands/files.js')).secretCommand,
  },
  {
    name: 'configs',
    summary: 'configs that stacks share: ls, create, rm',
    load: async () => (await import('./commands/files.js')).configsCommand,
  },
  {
    name: 'image',
    summary: 'the images on the nodes: load, push, ls',
    load: async () => (await import('./commands/image.js')).imageCommand,
  },
  {
    name: 'context',
    summary: 'the clusters you can speak to: ls, use, create, rm',
    load: async () => (await import('./commands/context.js')).contextCommand,
  },
  {
    name: 'dev',
    summary: 'a whole cluster on this machine: up, exec, down',
    load: async () => (await import('./commands/dev.js')).devCommand,
  },
  {
    name: 'version',
    summary: 'the versions of ctl and of the cluster',
    load: async () => (await import('./commands/version.js')).versionCommand,
  },
];

const EXAMPLES = `
Begin here:
  ctl dev up                 start a cluster of three nodes on this machine (as root)
  ctl up -f stack.yaml       run a stack
  ctl ps                     see its tasks, their nodes and addresses
  ctl COMMAND --help         flags and examples of a command`;

/** @returns the exit code: 0 done, 1 failed, 2 wrong usage */
export async function run(argv: readonly string[], shell: Shell): Promise<number> {
  try {
    const program = await buildProgram(argv, shell);
    await program.parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    const error = thrown instanceof CommanderError ? usageError(thrown) : asWeftError(thrown);
    if (error) shell.stderr.write(errorText(error, coloured(shell, shell.stderr)));
    return error?.exit ?? 2;
  }
}

/** Commander prints the help that a bare `ctl node` gets by itself: nothing to add. */
function usageError(error: CommanderError): WeftError | undefined {
  if (error.code === 'commander.help') return undefined;
  // "option … is invalid. It must be …": what, then why.
  const [what = '', ...why] = error.message.replace(/^error: /, '').split(/\.\s+|\n/);
  return new WeftError('USAGE', { what, why: why.join('. ') || undefined });
}

async function buildProgram(argv: readonly string[], shell: Shell): Promise<Command> {
  const program = projectOptions(new Command('ctl'))
    .description('Weft runs a Compose file on several Linux hosts.')
    .version(clientVersion(), '-V, --version', 'print the version of ctl')
    .addOption(contextOption())
    .enablePositionalOptions()
    .addHelpText('after', EXAMPLES);
  const wanted = commandIn(argv);
  for (const entry of COMMANDS) {
    const command = entry.name === wanted ? (await entry.load())(shell) : new Command(entry.name);
    program.addCommand(command.summary(entry.summary));
  }
  adopt(program, shell);
  return program;
}

/** The command that the arguments name; of `help up` it is `up`. */
function commandIn(argv: readonly string[]): string | undefined {
  const words: string[] = [];
  for (let i = 0; i < argv.length && words.length < 2; i++) {
    const word = argv[i] ?? '';
    if (VALUE_FLAGS.has(word)) i++;
    else if (!word.startsWith('-')) words.push(word);
  }
  const word = words[0] === 'help' ? words[1] : words[0];
  return word === 'convert' ? 'config' : word;
}

/** Commander shall not end the process, nor print errors in its own form. */
function adopt(command: Command, shell: Shell): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => void shell.stdout.write(text),
    writeErr: (text) => void shell.stderr.write(text),
    outputError: () => undefined,
    getOutHelpWidth: () => shell.stdout.columns ?? 100,
    getErrHelpWidth: () => shell.stderr.columns ?? 100,
  });
  for (const child of command.commands) adopt(child, shell);
}
