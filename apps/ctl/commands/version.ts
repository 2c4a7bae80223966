/** `ctl version`: of ctl, and of the cluster where one answers. */
import { Command } from 'commander';
import { messageOf } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { json, table } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';
import { clientVersion } from '../version.js';

const TIMEOUT_MS = 3_000;

export function versionCommand(shell: Shell): Command {
  const command = listingOptions(new Command('version'))
    .description('Print the versions of ctl and of the cluster.')
    .option('--client', 'only that of ctl');
  return command.action(() => version(shell, flagsOf<CommonFlags & { client?: boolean }>(command)));
}

async function version(shell: Shell, flags: CommonFlags & { client?: boolean }): Promise<void> {
  const row = { ctl: clientVersion(), controller: '', leader: '', cluster: '', context: '' };
  if (!flags.client) {
    // No cluster is no error here: what is known is printed.
    await withApi(shell, flags.context, async ({ api, target, context }) => {
      const cluster = await callUnary(api, 'getCluster', {}, { target, timeoutMs: TIMEOUT_MS });
      Object.assign(row, { controller: cluster.version, leader: cluster.leader, cluster: cluster.id, context });
    }).catch((error: unknown) => say(shell, `no cluster answers: ${messageOf(error)}`));
  }
  const columns = (['ctl', 'controller', 'leader', 'cluster', 'context'] as const).map((key) => ({
    title: key.toUpperCase(),
    text: (r: typeof row) => r[key],
  }));
  print(shell, flags.format === 'json' ? json(row) : table([row], columns));
}
