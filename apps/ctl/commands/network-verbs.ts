/** `ctl network create`, `update`, `rm`: networks of no stack, for stacks to use as external. */
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { canonicalAddress, canonicalSubnet, familyOf, parseSubnet, subnetHas } from '#base/ip.js';
import { networkOptionsOf } from '#compose/read-driver-opts.js';
import { checkName, GLOBAL_NAME_PATTERN } from '#model/names.js';
import type { NetworkDriver, NetworkWish, SubnetWish } from '#model/network-wish.js';
import { callUnary } from '#rpc/client.js';
import { networkWishToWire } from '#rpc/wire.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, gatherPair, type CommonFlags } from '../options.js';
import { print, type Shell } from '../shell.js';

interface CreateFlags extends CommonFlags {
  driver: NetworkDriver;
  subnet: string[];
  gateway: string[];
  ipRange: string[];
  auxAddress: Record<string, string>;
  internal?: boolean;
  ipv6?: boolean;
  attachable?: boolean;
  opt: Record<string, string>;
  label: Record<string, string>;
}

const gather = (text: string, before: string[]): string[] => [...before, text];

export function createCommand(shell: Shell): Command {
  const command = new Command('create')
    .description('make a network of no stack; stacks use it with `external: true`')
    .argument('<name>')
    .addOption(new Option('-d, --driver <driver>', 'how it spans nodes').choices(['overlay', 'bridge']).default('overlay'))
    .option('--subnet <cidr>', 'of either family; several make it larger', gather, [])
    .option('--gateway <address>', 'of the subnet that it is in', gather, [])
    .option('--ip-range <cidr>', 'give addresses from here only', gather, [])
    .option('--aux-address <name=address>', 'an address that nobody gets', gatherPair, {})
    .option('--internal', 'no way out')
    .option('--ipv6', 'dual stack')
    .option('--attachable', '`ctl network connect` may use it')
    .option('-o, --opt <key=value>', 'driver option, as in driver_opts', gatherPair, {})
    .option('--label <key=value>', 'label', gatherPair, {})
    .addOption(contextOption());
  return command.action(async (name: string) => {
    const flags = flagsOf<CreateFlags>(command);
    const wish = wishOf(checkName(name, 'the network', GLOBAL_NAME_PATTERN), flags);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const { network } = await callUnary(api, 'createNetwork', networkWishToWire(wish), { target });
      print(shell, network?.id ?? '');
    });
  });
}

function wishOf(name: string, flags: CreateFlags): NetworkWish {
  const ipam = poolsOf(flags);
  const options = networkOptionsOf(flags.opt, flags.driver);
  const six = flags.ipv6 ?? false;
  if (!six && ipam.some((s) => familyOf(s.subnet) === 6)) throw new WeftError('USAGE', { what: 'an IPv6 subnet needs --ipv6' });
  return {
    // A key is a name in a file: this network is in none.
    key: 'network',
    name,
    driver: flags.driver,
    internal: flags.internal ?? false,
    ...(ipam.length > 0 ? { ipam } : {}),
    ...(six ? { ipv6: true } : {}),
    ...(flags.attachable ? { attachable: true } : {}),
    ...(Object.keys(options).length > 0 ? { options } : {}),
    labels: flags.label,
  };
}

/** Gateways, ranges and kept addresses go to the subnet that they are in. @throws USAGE for one that is in none */
function poolsOf({ subnet, gateway, ipRange, auxAddress }: CreateFlags): SubnetWish[] {
  const pools: SubnetWish[] = subnet.map((text) => ({ subnet: canonicalSubnet(text) }));
  const home = (address: string, flag: string): SubnetWish => {
    const found = pools.find((p) => subnetHas(parseSubnet(p.subnet), address));
    if (!found) throw new WeftError('USAGE', { what: `${flag} ${address} is in no --subnet` });
    return found;
  };
  for (const text of gateway) home(canonicalAddress(text), '--gateway').gateway = canonicalAddress(text);
  for (const text of ipRange) home(canonicalSubnet(text).replace(/\/.*/, ''), '--ip-range').ipRange = canonicalSubnet(text);
  for (const [name, text] of Object.entries(auxAddress)) {
    const address = canonicalAddress(text);
    const pool = home(address, '--aux-address');
    pool.auxAddresses = { ...pool.auxAddresses, [name]: address };
  }
  return pools;
}

export function updateCommand(shell: Shell): Command {
  const command = new Command('update')
    .description('make a network larger')
    .argument('<network>', 'name or id')
    .requiredOption('--add-subnet <cidr>', 'a further IPv4 subnet', gather, [])
    .addOption(contextOption());
  return command.action(async (network: string) => {
    const flags = flagsOf<CommonFlags & { addSubnet: string[] }>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      await callUnary(api, 'updateNetwork', { network, addSubnets: flags.addSubnet.map(canonicalSubnet) }, { target });
    });
  });
}

export function rmCommand(shell: Shell): Command {
  const command = new Command('rm')
    .description('remove networks that `ctl network create` made')
    .argument('<network...>', 'name or id')
    .addOption(contextOption());
  return command.action(async (names: string[]) => {
    await withApi(shell, flagsOf<CommonFlags>(command).context, async ({ api, target }) => {
      for (const network of names) {
        await callUnary(api, 'removeNetwork', { network }, { target });
        print(shell, network);
      }
    });
  });
}
