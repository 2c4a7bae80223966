/** `ctl port`: where a port of a service is published. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, wholeNumber, type CommonFlags } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { json } from '../render/table.js';
import { print, type Shell } from '../shell.js';
import { tasksMeant } from '../which-tasks.js';

interface PortFlags extends ProjectFlags, CommonFlags {
  protocol: string;
  index?: number;
}

const EXAMPLES = `
Examples:
  ctl port web 80               0.0.0.0:8080: port 8080 of every node
  ctl port --protocol udp dns 53
  ctl port --index 2 agent 9100 a port of mode "host" is on the node of that task`;

export function portCommand(shell: Shell): Command {
  const command = listingOptions(projectOptions(new Command('port')))
    .description('Print the address that a port of a service is published at.')
    .argument('<service>', 'the service, or the name of a task')
    .argument('<private port>', 'the port in its containers', wholeNumber)
    .addOption(new Option('--protocol <protocol>', 'tcp, udp or sctp').choices(['tcp', 'udp', 'sctp']).default('tcp'))
    .option('--index <n>', 'which task of the service, counted from 1', wholeNumber)
    .addHelpText('after', EXAMPLES);
  return command.action((service: string, target: number) => port(shell, service, target, flagsOf<PortFlags>(command)));
}

export async function port(shell: Shell, service: string, target: number, flags: PortFlags): Promise<void> {
  const stack = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async (connection) => {
    const [row] = await tasksMeant(connection, stack, service, flags.index);
    const ports = row?.task?.ports ?? [];
    const found = ports.find((p) => p.target === target && p.protocol === flags.protocol);
    if (!found)
      throw new WeftError('NOT_FOUND', {
        what: `${service} publishes no port ${target}/${flags.protocol}`,
        why: `it publishes ${ports.map((p) => `${p.target}/${p.protocol}`).join(', ') || 'none'}`,
      });
    const address = found.hostIp ?? (found.mode === 'host' ? await addressOf(connection, row?.nodeName ?? '') : '0.0.0.0');
    const at = `${address.includes(':') ? `[${address}]` : address}:${found.published}`;
    const { published, protocol, mode = 'ingress' } = found;
    print(shell, flags.format === 'json' ? json([{ service, target, protocol, address, published, mode }]) : at);
  });
}

async function addressOf({ api, target }: Parameters<typeof tasksMeant>[0], node: string): Promise<string> {
  const { nodes } = await callUnary(api, 'listNodes', {}, { target });
  return nodes.find((row) => row.node?.name === node)?.node?.address ?? node;
}
