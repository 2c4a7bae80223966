/** `ctl network connect` and `disconnect`: networks of services and tasks that run, without a restart. */
import { Command, InvalidArgumentError } from 'commander';
import { canonicalAddress, familyOf } from '#base/ip.js';
import { checkName, HOSTNAME_PATTERN } from '#model/names.js';
import type { Attachment } from '#model/stack.js';
import { callUnary } from '#rpc/client.js';
import { attachmentToWire } from '#rpc/wire.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, type CommonFlags } from '../options.js';
import { say, type Shell } from '../shell.js';

interface ConnectFlags extends CommonFlags {
  alias: string[];
  ip?: string;
  ip6?: string;
  interfaceName?: string;
  gwPriority?: number;
}

/** As in the file. */
const MAX_PRIORITY = 1_000_000;
const INTERFACE_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}$/;

const EXAMPLES = `
Examples:
  ctl network connect shop_back shop/web             every task of the service
  ctl network connect --alias reports lan shop-web-2 one of them
  ctl network disconnect shop_back shop/web

The tasks run on. What is connected stays so until it is disconnected or its stack goes; what was disconnected
against the file comes back with the next \`ctl up\`.`;

function readAlias(text: string, before: string[]): string[] {
  if (text.includes('.')) throw new InvalidArgumentError('A dot is what tells "service.stack" and names of the world from services.');
  return [...before, checkName(text, 'the alias', HOSTNAME_PATTERN)];
}

const readAddress = (family: 4 | 6) => (text: string) => {
  const address = canonicalAddress(text);
  if (familyOf(address) !== family) throw new InvalidArgumentError(`It must be an IPv${family} address.`);
  return address;
};

function readPriority(text: string): number {
  const n = Number(text);
  if (!/^-?\d{1,7}$/.test(text) || Math.abs(n) > MAX_PRIORITY)
    throw new InvalidArgumentError(`It must be a whole number from -${MAX_PRIORITY} to ${MAX_PRIORITY}.`);
  return n;
}

function readInterfaceName(text: string): string {
  if (INTERFACE_NAME.test(text)) return text;
  throw new InvalidArgumentError('Letters, digits, "-" and "_", beginning with a letter or digit, 15 characters at most.');
}

const attachmentOf = ({ alias, ip, ip6, interfaceName, gwPriority }: ConnectFlags): Attachment => ({
  aliases: [...new Set(alias)],
  ...(ip === undefined ? {} : { ipv4: ip }),
  ...(ip6 === undefined ? {} : { ipv6: ip6 }),
  ...(interfaceName === undefined ? {} : { interfaceName }),
  ...(gwPriority === undefined ? {} : { gwPriority }),
});

const about = (tasks: readonly string[]): string => tasks.join(', ') || 'no task yet';

export function connectCommand(shell: Shell): Command {
  const command = new Command('connect')
    .description('put a service, or one task of it, on a network while it runs')
    .argument('<network>', 'name or id')
    .argument('<target>', 'STACK/SERVICE, or the name or id of a task')
    .option('--alias <name>', 'a further name there; may be given more than once', readAlias, [])
    .option('--ip <address>', 'this IPv4 address', readAddress(4))
    .option('--ip6 <address>', 'this IPv6 address', readAddress(6))
    .option('--interface-name <name>', 'of the interface in the container', readInterfaceName)
    .option('--gw-priority <n>', 'the default route goes by the network with the highest', readPriority)
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action(async (network: string, target: string) => {
    const flags = flagsOf<ConnectFlags>(command);
    await withApi(shell, flags.context, async (connection) => {
      const request = { network, target, ...attachmentToWire(attachmentOf(flags)) };
      const { tasks } = await callUnary(connection.api, 'connectNetwork', request, { target: connection.target });
      say(shell, `on ${network}: ${about(tasks)}`);
    });
  });
}

export function disconnectCommand(shell: Shell): Command {
  const command = new Command('disconnect')
    .description('take a service, or one task of it, off a network while it runs')
    .argument('<network>', 'name or id')
    .argument('<target>', 'STACK/SERVICE, or the name or id of a task')
    .addOption(contextOption());
  return command.action(async (network: string, target: string) => {
    await withApi(shell, flagsOf<CommonFlags>(command).context, async (connection) => {
      const { tasks } = await callUnary(connection.api, 'disconnectNetwork', { network, target }, { target: connection.target });
      say(shell, `off ${network}: ${about(tasks)}`);
    });
  });
}
