/** `ctl context`: the clusters this user can speak to. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { loadIdentity } from '#trust/identity.js';
import { listContexts, removeContext, saveContext, useContext, type ContextRow } from '../context.js';
import { flagsOf, formatOption, type CommonFlags } from '../options.js';
import { listing, type Column } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';

const EXAMPLES = `
Examples:
  ctl context ls
  ctl context create prod --join 192.0.2.10:7701 --token weft1.…    (made there by \`ctl node token --role admin\`)
  ctl context import local --identity /var/lib/weft/controller/admin --endpoint 192.0.2.10:7700    (on the controller's host)
  ctl context use prod
  ctl ps --context dev`;

export function contextCommand(shell: Shell): Command {
  return new Command('context')
    .description('The clusters you can speak to.')
    .addCommand(lsCommand(shell))
    .addCommand(
      new Command('use')
        .description('make a context the one in use')
        .argument('<name>')
        .action(async (name: string) => {
          await useContext(name, shell.env);
          say(shell, `context "${name}" is in use`);
        }),
    )
    .addCommand(createCommand(shell))
    .addCommand(importCommand(shell))
    .addCommand(
      new Command('rm')
        .description('forget a context; the cluster itself stays as it is')
        .argument('<name>')
        .action(async (name: string) => {
          if (!(await removeContext(name, shell.env)))
            throw new WeftError('NOT_FOUND', { what: `there is no context "${name}"`, hint: 'List them with `ctl context ls`.' });
          say(shell, `context "${name}" is forgotten`);
        }),
    )
    .addHelpText('after', EXAMPLES);
}

const columns: Column<ContextRow>[] = [
  { title: 'NAME', text: (r) => r.name },
  { title: 'IN USE', text: (r) => (r.current ? 'yes' : '') },
  { title: 'CONTROLLERS', text: (r) => r.endpoints.replaceAll(',', ', ') },
];

function lsCommand(shell: Shell): Command {
  const command = new Command('ls').description('list the contexts').addOption(formatOption());
  return command.action(async () => {
    const rows = (await listContexts(shell.env)).map((row) => ({ ...row }));
    print(shell, listing(rows, columns, flagsOf<CommonFlags>(command).format));
  });
}

function createCommand(shell: Shell): Command {
  const command = new Command('create')
    .description('join a cluster as a user of it, by a token')
    .argument('<name>', 'what to call it here')
    .requiredOption('--token <token>', 'made by `ctl node token --role admin`; "-" reads it from standard input')
    .requiredOption('--join <host:port>', 'where a controller lets users and hosts join')
    .option('--use', 'make it the context in use');
  return command.action(async (name: string) => {
    const flags = flagsOf<{ token: string; join: string; use?: boolean }>(command);
    const { joinCluster } = await import('../join-cluster.js');
    const { endpoints, identity } = await joinCluster(shell, flags.join, flags.token);
    await saveContext(name, { endpoints }, identity, shell.env);
    if (flags.use || (await listContexts(shell.env)).length === 1) await useContext(name, shell.env);
    say(shell, `context "${name}" speaks to ${endpoints.join(', ')}`);
  });
}

function importCommand(shell: Shell): Command {
  const command = new Command('import')
    .description('take up the administrator that the first controller made on its own host')
    .argument('<name>', 'what to call it here')
    .requiredOption('--identity <directory>', 'holds ca.pem, cert.pem and key.pem: <controller data>/admin')
    .requiredOption('--endpoint <host:port...>', 'the API of a controller')
    .option('--use', 'make it the context in use');
  return command.action(async (name: string) => {
    const flags = flagsOf<{ identity: string; endpoint: string[]; use?: boolean }>(command);
    const identity = await loadIdentity(flags.identity);
    if (!identity)
      throw new WeftError('NOT_FOUND', {
        what: `there is no identity in ${flags.identity}`,
        hint: 'The first controller makes it, in the directory "admin" of its data.',
      });
    await saveContext(name, { endpoints: flags.endpoint }, identity, shell.env);
    if (flags.use || (await listContexts(shell.env)).length === 1) await useContext(name, shell.env);
    say(shell, `context "${name}" speaks to ${flags.endpoint.join(', ')}`);
  });
}
