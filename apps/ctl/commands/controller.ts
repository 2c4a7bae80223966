/** `ctl controller`: the controllers of the cluster. */
import { Command, Option } from 'commander';
import { callUnary } from '#rpc/client.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { controllerColumns, controllerRow, lossesSurvived } from '../render/controllers.js';
import { inOrder, json, listing } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';
import { DEFAULT_TTL, parseTtl } from '../token-ttl.js';

const EXAMPLES = `
Three controllers survive the loss of any one. To grow from one, on this machine and then on each new host:
  ctl controller token
  WEFT_TOKEN=weft1.… node dist/apps/controller/main.js --data-dir /var/lib/weft/controller --advertise 192.0.2.11 \\
      --name host2 --join 192.0.2.10:7701
  ctl controller ls
One that will not come back is replaced:
  ctl controller rm host2`;

export function controllerCommand(shell: Shell): Command {
  return new Command('controller')
    .description('The controllers of the cluster, and the members of etcd that they run.')
    .addCommand(lsCommand(shell))
    .addCommand(tokenCommand(shell))
    .addCommand(rmCommand(shell))
    .addHelpText('after', EXAMPLES);
}

function lsCommand(shell: Shell): Command {
  const command = listingOptions(new Command('ls')).description('list the controllers: which leads, and how their etcd is');
  return command.action(async () => {
    const flags = flagsOf<CommonFlags>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const { controllers } = await callUnary(api, 'listControllers', {}, { target });
      const rows = controllers.map(controllerRow).sort((a, b) => inOrder(a.name, b.name));
      print(shell, listing(rows, controllerColumns, flags.format));
      if (flags.format === 'table') say(shell, lossesSurvived(rows));
    });
  });
}

function tokenCommand(shell: Shell): Command {
  const command = new Command('token')
    .description('make a token with which one more controller joins')
    .option('--ttl <time>', 'how long it is valid; it works once', DEFAULT_TTL)
    .addOption(new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table'))
    .addOption(contextOption());
  return command.action(async () => {
    const flags = flagsOf<CommonFlags & { ttl: string }>(command);
    const ttlMs = parseTtl(flags.ttl);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const { token, expiresAt, joinAddresses } = await callUnary(api, 'createToken', { role: 'controller', ttlMs }, { target });
      if (flags.format === 'json')
        return print(shell, json({ token, role: 'controller', expiresAt, joinAddresses: joinAddresses.join(',') }));
      print(shell, token);
      say(shell, `It works once, until ${new Date(expiresAt).toISOString()}; whoever has it can take over the cluster. Use it like this:`);
      say(shell, '  WEFT_TOKEN=TOKEN node dist/apps/controller/main.js --data-dir /var/lib/weft/controller \\');
      say(shell, `      --advertise ITS_ADDRESS --name ITS_NAME --join ${joinAddresses[0] ?? 'CONTROLLER:7701'}`);
    });
  });
}

function rmCommand(shell: Shell): Command {
  const command = new Command('rm')
    .description('forget a controller that will not come back, and take its member out of etcd')
    .argument('<controller>', 'name or id')
    .option('-f, --force', 'also one that is alive: it ends')
    .addOption(contextOption());
  return command.action(async (controller: string) => {
    const flags = flagsOf<CommonFlags & { force?: boolean }>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      await callUnary(api, 'removeController', { controller, force: flags.force === true }, { target });
      say(shell, `controller ${controller} is forgotten`);
    });
  });
}
