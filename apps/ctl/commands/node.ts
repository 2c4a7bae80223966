/** `ctl node`: the hosts of the cluster. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import type { LeftTask, NodeRow } from '#rpc/gen/weft/v1/api.js';
import { NodeFacts, NodeRecord } from '#rpc/gen/weft/v1/types.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { nodeColumns, nodeRow } from '../render/nodes.js';
import { printable } from '../render/printable.js';
import { inOrder, json, listing } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';
import { DEFAULT_TTL, parseTtl } from '../token-ttl.js';

export function nodeCommand(shell: Shell): Command {
  return new Command('node')
    .description('The hosts of the cluster.')
    .addCommand(lsCommand(shell))
    .addCommand(inspectCommand(shell))
    .addCommand(tokenCommand(shell))
    .addCommand(acceptCommand(shell))
    .addCommand(rotateKeysCommand(shell))
    .addCommand(availabilityCommand(shell, 'drain', 'move the tasks of a node elsewhere, and place none on it'))
    .addCommand(availabilityCommand(shell, 'pause', 'leave a node what it has, and place nothing more on it'))
    .addCommand(availabilityCommand(shell, 'activate', 'place tasks on a node again'))
    .addCommand(updateCommand(shell))
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
      for (const row of rows) if (row.left) say(shell, printable(`node ${row.name} is drained, and not empty yet: ${row.left}`));
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
  left: row.left,
  facts: row.facts ? NodeFacts.toJSON(row.facts) : null,
});

function tokenCommand(shell: Shell): Command {
  const command = new Command('token')
    .description('make a token with which one host, or one user, joins the cluster')
    .addOption(new Option('--role <role>', 'what joins: a host (node) or a user of ctl (admin)').choices(['node', 'admin']).default('node'))
    .option('--ttl <time>', 'how long it is valid; it works once', DEFAULT_TTL)
    .addOption(new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table'))
    .addOption(contextOption());
  return command.action(async () => {
    const flags = flagsOf<CommonFlags & { role: string; ttl: string }>(command);
    const ttlMs = parseTtl(flags.ttl);
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
      if (told.missed.length === 0) return;
      say(shell, `warning: not told, because their agents are not attached: ${told.missed.join(', ')}; try again when they are`);
      shell.setExitCode(1);
    });
  });
}

const AVAILABILITY = { drain: 'drain', pause: 'pause', activate: 'active' } as const;
const SAID = { drain: 'is drained: its tasks go elsewhere', pause: 'is paused: it keeps what it has', activate: 'is active' } as const;

function availabilityCommand(shell: Shell, verb: keyof typeof AVAILABILITY, description: string): Command {
  const command = new Command(verb).description(description).argument('<node...>', 'name or id').addOption(contextOption());
  return command.action(async (nodes: string[]) => {
    await withApi(shell, flagsOf<CommonFlags>(command).context, async ({ api, target }) => {
      for (const node of nodes) {
        const change = { node, availability: AVAILABILITY[verb], setLabels: {}, removeLabels: [] };
        const { homeless } = await callUnary(api, 'updateNode', change, { target });
        say(shell, `node ${node} ${SAID[verb]}`);
        tellHomeless(shell, homeless);
      }
    });
  });
}

/** The first of them; `ctl ps` tells of all, service by service. */
const MAX_TOLD = 20;

function tellHomeless(shell: Shell, homeless: readonly LeftTask[]): void {
  for (const { task, why } of homeless.slice(0, MAX_TOLD)) say(shell, printable(`warning: ${task} has no other place, and stops: ${why}`));
  if (homeless.length > MAX_TOLD) say(shell, `warning: and ${homeless.length - MAX_TOLD} more; \`ctl ps\` says what services wait for`);
}

interface UpdateFlags extends CommonFlags {
  availability?: string;
  labelAdd?: string[];
  labelRm?: string[];
}

function updateCommand(shell: Shell): Command {
  const gather = (value: string, before: string[] = []): string[] => [...before, value];
  const command = new Command('update')
    .description('change the availability and the labels of a node')
    .argument('<node>', 'name or id')
    .addOption(new Option('--availability <how>', 'what is placed on it').choices(['active', 'pause', 'drain']))
    .option('--label-add <key=value>', 'set a label (repeatable)', gather)
    .option('--label-rm <key>', 'remove a label (repeatable)', gather)
    .addOption(contextOption());
  return command.action(async (node: string) => {
    const { context, availability, labelAdd = [], labelRm = [] } = flagsOf<UpdateFlags>(command);
    if (availability === undefined && labelAdd.length + labelRm.length === 0)
      throw new WeftError('USAGE', { what: 'nothing is to be changed', hint: 'Use --availability, --label-add or --label-rm.' });
    const setLabels = Object.fromEntries(labelAdd.map(splitLabel));
    await withApi(shell, context, async ({ api, target }) => {
      const { homeless } = await callUnary(api, 'updateNode', { node, availability, setLabels, removeLabels: labelRm }, { target });
      say(shell, `node ${node} is changed`);
      tellHomeless(shell, homeless);
    });
  });
}

/** `key=value`; the value is empty where there is no `=`, as in Docker. */
function splitLabel(text: string): [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
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
