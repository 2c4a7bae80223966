/** `ctl dev`: a cluster of simulated nodes on this machine. */
import { spawn } from 'node:child_process';
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { devDown } from '../dev/down.js';
import { devUp, readLayout } from '../dev/up.js';

const say = (line: string): void => void process.stderr.write(`  ${line}\n`);

export function devCommand(): Command {
  const dev = new Command('dev').description('a whole cluster on this machine, each node a network namespace (needs root)');
  dev
    .command('up')
    .description('start the cluster, or whatever of it is missing')
    .option('--nodes <n>', 'number of nodes', '3')
    .option('--controllers <n>', 'number of controllers', '1')
    .option('--mtu <bytes>', 'MTU of the underlay', '1500')
    .option('--name <name>', 'several clusters can stand side by side', 'dev')
    .addHelpText(
      'after',
      '\nExamples:\n  ctl dev up                 three nodes\n  ctl dev exec node2 -- ip addr\n  ctl dev down               removes every trace',
    )
    .action(async (options: { nodes: string; controllers: string; mtu: string; name: string }) => {
      const layout = await devUp(
        options.name,
        { nodes: Number(options.nodes), controllers: Number(options.controllers), mtu: Number(options.mtu) },
        say,
      );
      process.stderr.write(`The cluster is up; ctl speaks to it (context "${layout.context}").\n`);
    });
  dev
    .command('down')
    .description('end the cluster and remove every trace of it')
    .option('--name <name>', 'which one', 'dev')
    .action(async (options: { name: string }) => {
      const was = await devDown(options.name, say);
      process.stderr.write(was ? 'The cluster is gone.\n' : `There is no development cluster "${options.name}".\n`);
    });
  dev
    .command('exec <node> <command...>')
    .description('run a command in the network of a node: ctl dev exec node2 -- ip addr')
    .option('--name <name>', 'which cluster', 'dev')
    .action(async (nodeName: string, argv: string[], options: { name: string }) => {
      process.exitCode = await execOnNode(options.name, nodeName, argv);
    });
  return dev;
}

/** `nsenter --net`, not `ip netns exec`: the latter hides cgroups behind a fresh /sys. */
async function execOnNode(cluster: string, nodeName: string, argv: string[]): Promise<number> {
  const layout = readLayout(cluster);
  const node = layout?.nodes.find((n) => n.name === nodeName);
  if (!node) {
    const known = layout?.nodes.map((n) => n.name).join(', ');
    throw new WeftError('NOT_FOUND', {
      what: `no node "${nodeName}" in the development cluster "${cluster}"`,
      hint: known ? `The nodes are ${known}.` : 'Start it with `ctl dev up`.',
    });
  }
  const child = spawn('nsenter', [`--net=/run/netns/${node.netns}`, '--', ...argv], { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  });
}
