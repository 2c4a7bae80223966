/** `ctl config`: checks a compose file without a cluster, and prints what Weft makes of it. */
import { Command, Option } from 'commander';
import { flagsOf } from '../options.js';
import { loadProject, projectOptions, type ProjectFlags } from '../project.js';
import { json } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';

interface ConfigFlags extends ProjectFlags {
  format: 'yaml' | 'json';
  quiet?: boolean;
}

export function configCommand(shell: Shell): Command {
  const command = projectOptions(new Command('config'))
    .description('Check a compose file and print the stack it describes: variables put in, defaults written out. Needs no cluster.')
    .option('-q, --quiet', 'only check')
    .addOption(new Option('--format <format>', 'how to print').choices(['yaml', 'json']).default('yaml'));
  return command.action(() => config(shell, flagsOf<ConfigFlags>(command)));
}

export async function config(shell: Shell, flags: ConfigFlags): Promise<void> {
  const { stack, warnings } = await loadProject(shell, flags);
  for (const warning of warnings) say(shell, `warning: ${warning}`);
  if (flags.quiet) return;
  if (flags.format === 'json') return print(shell, json(stack));
  const { stringify } = await import('yaml');
  print(shell, stringify(stack));
}
