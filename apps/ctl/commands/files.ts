/** `ctl secret` and `ctl configs`: secrets and configs of the cluster; those of no stack are made here, and called external by stacks. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buffer as readAll } from 'node:stream/consumers';
import { Command } from 'commander';
import { messageOf, WeftError } from '#base/errors.js';
import { MAX_FILE_BYTES, type FileKind } from '#model/content.js';
import { checkName, GLOBAL_NAME_PATTERN } from '#model/names.js';
import { callUnary } from '#rpc/client.js';
import { withApi } from '../connection.js';
import { contextOption, flagsOf, gatherPair, listingOptions, type CommonFlags } from '../options.js';
import { fileColumns, fileListRow } from '../render/files.js';
import { listing } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';

interface CreateFlags extends CommonFlags {
  label: Record<string, string>;
  replace?: boolean;
}

export const secretCommand = (shell: Shell): Command =>
  filesCommand(shell, 'secret', 'secret', 'Secrets. What they hold is shown nowhere.');
/** `config` prints compose files, as in Compose. */
export const configsCommand = (shell: Shell): Command => filesCommand(shell, 'configs', 'config', 'Configs: files that stacks share.');

function filesCommand(shell: Shell, word: string, kind: FileKind, description: string): Command {
  return new Command(word)
    .description(description)
    .addCommand(lsCommand(shell, kind))
    .addCommand(createCommand(shell, word, kind))
    .addCommand(rmCommand(shell, kind));
}

function lsCommand(shell: Shell, kind: FileKind): Command {
  const command = listingOptions(new Command('ls')).description(`list the ${kind}s, those of stacks too`);
  return command.action(async () => {
    const flags = flagsOf<CommonFlags>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const { files } = await callUnary(api, 'listFiles', { kind }, { target });
      print(shell, listing(files.map(fileListRow), fileColumns, flags.format));
    });
  });
}

function createCommand(shell: Shell, word: string, kind: FileKind): Command {
  const command = new Command('create')
    .description(`make a ${kind} of no stack; stacks use it with \`external: true\``)
    .argument('<name>')
    .argument('<file>', 'what it holds; "-" for standard input')
    .option('--label <key=value>', 'label', gatherPair, {})
    .option('--replace', 'give an existing one another content; stacks take it with their next `ctl up`')
    .addOption(contextOption())
    .addHelpText(
      'after',
      `\nExamples:\n  ctl ${word} create db_password ./password.txt\n  pass show db | ctl ${word} create db_password -`,
    );
  return command.action(async (name: string, file: string) => {
    const flags = flagsOf<CreateFlags>(command);
    checkName(name, `the ${kind}`, GLOBAL_NAME_PATTERN);
    const content = await read(shell, file, kind);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const request = { kind, name, content, labels: flags.label, replace: flags.replace ?? false };
      const { users } = await callUnary(api, 'createFile', request, { target });
      print(shell, name);
      if (users.length > 0) say(shell, `used by ${users.join(', ')}: \`ctl up\` gives it to their tasks`);
    });
  });
}

async function read(shell: Shell, file: string, kind: FileKind): Promise<Buffer> {
  const content = await (file === '-' ? readAll(shell.stdin) : readFile(resolve(shell.cwd, file))).catch((error: unknown) => {
    throw new WeftError('NOT_FOUND', {
      what: `cannot read ${file}`,
      why: messageOf(error),
      hint: 'Give a file, or "-" for standard input.',
    });
  });
  if (content.length <= MAX_FILE_BYTES) return content;
  throw new WeftError('BAD_VALUE', { what: `a ${kind} has at most ${MAX_FILE_BYTES} bytes`, why: `${file} has ${content.length}` });
}

function rmCommand(shell: Shell, kind: FileKind): Command {
  const command = new Command('rm').description(`remove ${kind}s that no stack uses`).argument('<name...>').addOption(contextOption());
  return command.action(async (names: string[]) => {
    await withApi(shell, flagsOf<CommonFlags>(command).context, async ({ api, target }) => {
      for (const name of names) {
        await callUnary(api, 'removeFile', { kind, name }, { target });
        print(shell, name);
      }
    });
  });
}
