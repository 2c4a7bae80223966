/** `ctl node`: the hosts of the cluster. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { parseDurationMs } from '#compose/units.js';
import { callUnary } from '#rpc/client.js';
import type { NodeRow } from '#rpc/gen/weft/v1/api.js';
import { NodeFacts, NodeRecord } from '#rpc/gen/weft/v1/types.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { nodeColumns, nodeRow } from '../render/nodes.js';
import { inOrder, json, listing } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';

export function nodeCommand(shell: Shell): Command {
  return new Command('node')
    .description('The hosts of the cluster.')
    .addCommand(lsCommand(shell))
    .addCommand(inspectCommand(shell))
    .addCommand(tokenCommand(shell))
    .addCommand(acceptCommand(shell))
    .addCommand(rotateKeysCommand(shell))
    .addCommand(rmCommand(shell));
}

function lsCommand(shell: Shell): Command {
  const command = listingOptions(new Command('ls')).description('list the nodes');
  return command.action(async () => {
    const flags = flagsOf<CommonFlags>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const { nodes } = await callUnary(api, 'listNodes', {}, { target });
      const rows = nodes.map(nodeRow).sort((a, b) => inOrder(a.name, b.name));
      for (const row of rows)
        if (row.quarantine)
          say(shell, `node ${row.name} is quarantined: ${row.quarantine} (release it with \`ctl node accept ${row.name}\`)`);
      print(shell, listing(rows, nodeColumns, flags.format));
    });
  });
}

function inspectCommand(shell: Shell): Command {
  const command = new Command('inspect')
    .description('print all that is known of nodes, as JSON')
    .argument('<node...>', 'name or id')
    .addOption(contextOption());
  return command.action(async (names: string[]) => {
    await withApi(shell, flagsOf<CommonFlags>(command).context, async ({ api, target }) => {
      const { nodes } = await callUnary(api, 'listNodes', {}, { target });
      print(shell, json(names.map((name) => inspected(findNode(nodes, name)))));
    });
  });
}

function findNode(nodes: readonly NodeRow[], name: string): NodeRow {
  const found = nodes.find((row) => row.node?.name === name || row.node?.id === name);
  if (found) return found;
  throw new WeftError('NOT_FOUND', { what: `there is no node "${name}"`, hint: 'List the nodes with `ctl node ls`.' });
}

const inspected = (row: NodeRow) => ({
  ...(row.node ? (NodeRecord.toJSON(row.node) as object) : {}),
  state: row.state,
  tasks: row.tasks,
  facts: row.facts ? NodeFacts.toJSON(row.facts) : null,
});

const DEFAULT_TTL = '1h';

function tokenCommand(shell: Shell): Command {
  const command = new Command('token')
    .description('make a token with which one host, or one user, joins the cluster')
    .addOption(new Option('--role <role>', 'what joins: a host (node) or a user of ctl (admin)').choices(['node', 'admin']).default('node'))
    .option('--ttl <time>', 'how long it is valid; it works once', DEFAULT_TTL)
    .addOption(new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table'))
    .addOption(contextOption());
  return command.action(async () => {
    const flags = flagsOf<CommonFlags & { role: string; ttl: string }>(command);
    const ttlMs = parseDurationMs(flags.ttl);
    if (!ttlMs)
      throw new WeftError('USAGE', { what: `--ttl ${JSON.stringify(flags.ttl)} is no span of time`, hint: 'Write it like 30m or 24h.' });
    await withApi(shell, flags.context, async ({ api, target }) => {
      const { token, expiresAt, joinAddresses } = await callUnary(api, 'createToken', { role: flags.role, ttlMs }, { target });
      if (flags.format === 'json')
        return print(shell, json({ token, role: flags.role, expiresAt, joinAddresses: joinAddresses.join(',') }));
      print(shell, token);
      const at = joinAddresses[0] ?? 'CONTROLLER:7701';
      say(shell, `It works once, until ${new Date(expiresAt).toISOString()}. Use it like this:`);
      say(
        shell,
        flags.role === 'node'
          ? `  WEFT_TOKEN=TOKEN node dist/apps/agent/main.js --address ITS_ADDRESS --join ${at}`
          : `  ctl context create NAME --join ${at} --token TOKEN`,
      );
    });
  });
}

function acceptCommand(shell: Shell): Command {
  const command = new Command('accept')
    .description('release a quarantined node: it takes what the controller says for the truth')
    .argument('<node>', 'name or id')
    .addOption(contextOption());
  return command.action(async (node: string) => {
    await withApi(shell, flagsOf<CommonFlags>(command).context, async ({ api, target }) => {
      await callUnary(api, 'acceptNode', { node }, { target });
      say(shell, `node ${node} is released`);
    });
  });
}

function rotateKeysCommand(shell: Shell): Command {
  const command = new Command('rotate-keys')
    .description('have nodes make new keys for encrypted networks; nothing is interrupted')
    .argument('[node...]', 'name or id; every node if left out')
    .addOption(contextOption());
  return command.action(async (nodes: string[]) => {
    await withApi(shell, flagsOf<CommonFlags>(command).context, async ({ api, target }) => {
      const told = await callUnary(api, 'rotateNodeKeys', { nodes }, { target });
      say(shell, `new keys are being made by ${told.nodes.join(', ')}`);
    });
  });
}

function rmCommand(shell: Shell): Command {
  const command = new Command('rm')
    .description('forget a node that will not come back; its tasks are placed elsewhere')
    .argument('<node>', 'name or id')
    .option('-f, --force', 'also a node that is still there')
    .addOption(contextOption());
  return command.action(async (node: string) => {
    const flags = flagsOf<CommonFlags & { force?: boolean }>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      await callUnary(api, 'removeNode', { node, force: flags.force === true }, { target });
      say(shell, `node ${node} is forgotten`);
    });
  });
}
