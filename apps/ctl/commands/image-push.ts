/** `ctl image push`: as `load`, but what the nodes have already is not sent. */
import { Command } from 'commander';
import { spoolArchive } from '#runtime/spool.js';
import { withApi } from '../connection.js';
import { loadedText, openArchive } from '../loaded-images.js';
import { contextOption, flagsOf, type CommonFlags } from '../options.js';
import { pushImages } from '../push-images.js';
import { json } from '../render/table.js';
import { print, type Shell } from '../shell.js';

const EXAMPLES = `
Examples:
  ctl image push app.tar
  docker save app:1.0 | ctl image push -

Looks into the archive first, asks the nodes which of its layers they lack, and sends each of those once: to the
controller, and from there to the nodes that lack it.`;

export function pushCommand(shell: Shell): Command {
  const command = new Command('push')
    .description('bring an archive (of `docker save`, or an OCI layout as tar) onto every node, sending only what they lack')
    .argument('<archive>', 'a file, or "-" for standard input')
    .option('--format <format>', 'table or json', 'table')
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((archive: string) => pushArchive(shell, archive, flagsOf<CommonFlags>(command)));
}

async function pushArchive(shell: Shell, archive: string, flags: CommonFlags): Promise<void> {
  const { input, name } = await openArchive(shell, archive);
  const spool = await spoolArchive(input).finally(() => input.destroy());
  try {
    await withApi(shell, flags.context, async (connection) => {
      const images = await pushImages(shell, connection, spool, name);
      print(shell, flags.format === 'json' ? json(images) : loadedText(images));
    });
  } finally {
    await spool.remove();
  }
}
