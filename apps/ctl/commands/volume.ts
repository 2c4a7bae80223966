/** `ctl volume`: named volumes, and which node has each. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { checkName, GLOBAL_NAME_PATTERN } from '#model/names.js';
import { callUnary } from '#rpc/client.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, gatherPair, listingOptions, type CommonFlags } from '../options.js';
import { volumeColumns, volumeListRow } from '../render/volumes.js';
import { listing } from '../render/table.js';
import { print, type Shell } from '../shell.js';

/** The node deletes what may be much. */
const REMOVE_TIMEOUT_MS = 70_000;

export function volumeCommand(shell: Shell): Command {
  return new Command('volume')
    .description('Named volumes. Each is on one node, and so is whoever mounts it.')
    .addCommand(lsCommand(shell))
    .addCommand(inspectCommand(shell))
    .addCommand(createCommand(shell))
    .addCommand(rmCommand(shell));
}

function lsCommand(shell: Shell): Command {
  const command = listingOptions(new Command('ls')).description('list the volumes');
  return command.action(() => show(shell, flagsOf<CommonFlags>(command), () => true));
}

function inspectCommand(shell: Shell): Command {
  const command = listingOptions(new Command('inspect')).description('show one volume').argument('<name>');
  return command.action((name: string) => show(shell, flagsOf<CommonFlags>(command), (row) => row.name === name, name));
}

/** @throws NOT_FOUND when there is none of the name that is asked for */
async function show(shell: Shell, flags: CommonFlags, isMeant: (row: { name: string }) => boolean, name?: string): Promise<void> {
  await withApi(shell, flags.context, async ({ api, target }) => {
    const { volumes } = await callUnary(api, 'listVolumes', {}, { target });
    const rows = volumes.filter(isMeant);
    if (name !== undefined && rows.length === 0)
      throw new WeftError('NOT_FOUND', { what: `there is no volume "${name}"`, hint: 'List the volumes with `ctl volume ls`.' });
    print(shell, listing(rows.map(volumeListRow), volumeColumns, flags.format));
  });
}

function createCommand(shell: Shell): Command {
  const command = new Command('create')
    .description('make a volume of no stack; stacks use it with `external: true`')
    .argument('<name>')
    .option('--label <key=value>', 'label', gatherPair, {})
    .addOption(contextOption());
  return command.action(async (name: string) => {
    const flags = flagsOf<CommonFlags & { label: Record<string, string> }>(command);
    checkName(name, 'the volume', GLOBAL_NAME_PATTERN);
    await withApi(shell, flags.context, async ({ api, target }) => {
      await callUnary(api, 'createVolume', { name, labels: flags.label }, { target });
      print(shell, name);
    });
  });
}

function rmCommand(shell: Shell): Command {
  const command = new Command('rm')
    .description('remove volumes that no stack mounts, with their data')
    .argument('<name...>')
    .option('-f, --force', 'give the data up for lost when its node cannot be asked')
    .addOption(contextOption());
  return command.action(async (names: string[]) => {
    const flags = flagsOf<CommonFlags & { force?: boolean }>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      for (const name of names) {
        await callUnary(api, 'removeVolume', { name, force: flags.force ?? false }, { target, timeoutMs: REMOVE_TIMEOUT_MS });
        print(shell, name);
      }
    });
  });
}
