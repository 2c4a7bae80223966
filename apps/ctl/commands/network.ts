/** `ctl network`: the networks of the cluster, and who has which address. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import type { NetworkRow } from '#rpc/gen/weft/v1/api.js';
import { withApi, type Connection } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { addressColumns, networkColumns, networkRow } from '../render/networks.js';
import { json, listing, table } from '../render/table.js';
import { print, type Shell } from '../shell.js';

export function networkCommand(shell: Shell): Command {
  return new Command('network').description('The networks of the cluster.').addCommand(lsCommand(shell)).addCommand(inspectCommand(shell));
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
      const { addresses } = found;
      if (flags.format === 'json') return print(shell, json({ ...networkRow(found), labels: found.network?.labels ?? {}, addresses }));
      print(shell, table([networkRow(found)], networkColumns));
      print(shell, `\n${table(addresses, addressColumns)}`);
    });
  });
}
