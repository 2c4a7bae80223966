/** `ctl network`: the networks of the cluster, and who has which address. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import type { NetworkRow } from '#rpc/gen/weft/v1/api.js';
import { withApi, type Connection } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import {
  addressColumns,
  exposureColumns,
  findingColumns,
  inspectedNetwork,
  networkColumns,
  networkRow,
  subnetColumns,
} from '../render/networks.js';
import { connectCommand, disconnectCommand } from './network-connect.js';
import { createCommand, rmCommand, updateCommand } from './network-verbs.js';
import { doctorCommand, traceCommand } from './network-trace.js';
import { json, listing, table } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';

export function networkCommand(shell: Shell): Command {
  return new Command('network')
    .description('The networks of the cluster.')
    .addCommand(lsCommand(shell))
    .addCommand(inspectCommand(shell))
    .addCommand(createCommand(shell))
    .addCommand(updateCommand(shell))
    .addCommand(rmCommand(shell))
    .addCommand(connectCommand(shell))
    .addCommand(disconnectCommand(shell))
    .addCommand(fsckCommand(shell))
    .addCommand(traceCommand(shell))
    .addCommand(doctorCommand(shell));
}

async function listNetworks({ api, target }: Connection, stack: string): Promise<NetworkRow[]> {
  const { networks } = await callUnary(api, 'listNetworks', { stack }, { target });
  return networks.sort((a, b) => (a.network?.name ?? '').localeCompare(b.network?.name ?? ''));
}

function lsCommand(shell: Shell): Command {
  const command = listingOptions(new Command('ls'))
    .description('list the networks')
    .option('-p, --project-name <name>', 'only those of this stack');
  return command.action(async () => {
    const flags = flagsOf<CommonFlags & { projectName?: string }>(command);
    await withApi(shell, flags.context, async (connection) => {
      const rows = (await listNetworks(connection, flags.projectName ?? '')).map(networkRow);
      print(shell, listing(rows, networkColumns, flags.format));
    });
  });
}

function inspectCommand(shell: Shell): Command {
  const command = listingOptions(new Command('inspect'))
    .description('show a network and all its addresses')
    .argument('<network>', 'name (as in `ctl network ls`) or id');
  return command.action(async (name: string) => {
    const flags = flagsOf<CommonFlags>(command);
    await withApi(shell, flags.context, async (connection) => {
      const found = (await listNetworks(connection, '')).find((row) => row.network?.name === name || row.network?.id === name);
      if (!found)
        throw new WeftError('NOT_FOUND', { what: `there is no network "${name}"`, hint: 'List the networks with `ctl network ls`.' });
      if (flags.format === 'json') return print(shell, json(inspectedNetwork(found)));
      const { addresses, subnets, exposures, users, nat } = found;
      print(shell, table([networkRow(found)], networkColumns));
      print(shell, `\n${table(subnets, subnetColumns)}`);
      const options = Object.entries(found.network?.options ?? {}).map(([key, value]) => `${key}=${value}`);
      if (options.length > 0) print(shell, `\nOptions: ${options.join(', ')}`);
      print(shell, `\nUsed by: ${users.join(', ') || 'no stack'}`);
      print(shell, `Translated: ${nat}`);
      print(shell, exposures.length === 0 ? 'From outside: nothing can be reached' : `\n${table(exposures, exposureColumns)}`);
      print(shell, `\n${table(addresses, addressColumns)}`);
    });
  });
}

function fsckCommand(shell: Shell): Command {
  const command = listingOptions(new Command('fsck')).description('prove that every address of every network has one owner');
  return command.action(async () => {
    const flags = flagsOf<CommonFlags>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const { findings, addresses, networks, views, unasked } = await callUnary(api, 'checkNetworks', {}, { target });
      if (flags.format === 'json' || findings.length > 0)
        print(
          shell,
          listing(
            findings.map((f) => ({ ...f })),
            findingColumns,
            flags.format,
          ),
        );
      const kernels = views - unasked.length;
      const scope = `${addresses} addresses of ${networks} networks, what ${views} nodes are told, what ${kernels} kernels hold`;
      if (findings.length > 0)
        throw new WeftError('CORRUPT', {
          what: `${findings.length} findings in ${scope}`,
          hint: 'What is in a kernel, its agent puts right within seconds: look again. Stop and start the tasks named; a lease that nobody has is given back when its network is removed.',
        });
      if (unasked.length > 0)
        throw new WeftError('UNAVAILABLE', {
          what: `${unasked.length} of ${views} nodes could not be asked, so nothing is proved of their kernels`,
          why: unasked.join('; '),
        });
      say(shell, `every address has one owner (${scope})`);
    });
  });
}
