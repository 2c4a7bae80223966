/** `ctl cp`: files between here and the containers of a service. */
import { lstat, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import type { StatPathResponse, TaskRow } from '#rpc/gen/weft/v1/api.js';
import { packTree } from '#runtime/pack-tree.js';
import { unpackTree } from '#runtime/unpack-tree.js';
import { withApi, type Connection } from '../connection.js';
import { checkPlaces, destinationOf, isContent, nameOf, readPlace, type Place } from '../copy-rules.js';
import { copyInto, copyOutOf, taskTarget } from '../copy-stream.js';
import { contextOption, flagsOf, wholeNumber } from '../options.js';
import { projectOptions, type ProjectFlags } from '../project-options.js';
import { needProjectName } from '../project.js';
import { bytes } from '../render/quantity.js';
import { printable } from '../render/printable.js';
import { say, type Shell } from '../shell.js';
import { runningTasks } from '../which-tasks.js';
import { writeAll } from '../write-all.js';

interface CpFlags extends ProjectFlags {
  context?: string;
  archive?: boolean;
  followLink?: boolean;
  index?: number;
  quiet?: boolean;
}

const EXAMPLES = `
Examples:
  ctl cp web:/etc/nginx/nginx.conf .       a file of the first running task of web
  ctl cp --index 2 web:/var/log/app logs   a directory of its second task
  ctl cp site/. web:/srv/www               what is in site, into every running task of web
  ctl cp - db:/restore < dump.tar          a tar archive, unpacked there
  ctl cp db:/var/lib/app - > app.tar       the other way

Paths mean what they mean for \`docker cp\`: "dir/." is the content of dir; a directory to copy into has to be there, and a new
name is given to what is copied. Files in a container belong to root, files here to you, unless -a keeps their owners.
Pipes, sockets and devices are left out.`;

export function cpCommand(shell: Shell): Command {
  const command = projectOptions(new Command('cp'))
    .usage('[options] SERVICE:SRC_PATH DEST_PATH|-\n       ctl cp [options] SRC_PATH|- SERVICE:DEST_PATH')
    .description('Copy files and directories between the containers of a service and here.')
    .argument('<source>', 'what is copied: SERVICE:PATH, a path here, or "-" for a tar archive on standard input')
    .argument('<destination>', 'where to: a path here, SERVICE:PATH, or "-" for a tar archive on standard output')
    .option('-a, --archive', 'keep the owners of files')
    .option('-L, --follow-link', 'copy what a symbolic link at the end of the source leads to')
    .addOption(
      new Option('--index <n>', 'which task of the service, counted from 1 (default: from the first that runs, or to all)').argParser(
        wholeNumber,
      ),
    )
    .option('-q, --quiet', 'say nothing when it went well')
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((from: string, to: string) => copy(shell, readPlace(from), readPlace(to), flagsOf<CpFlags>(command)));
}

export async function copy(shell: Shell, from: Place, to: Place, flags: CpFlags): Promise<void> {
  checkPlaces(from, to);
  const stack = await needProjectName(shell, flags);
  await withApi(shell, flags.context, async (connection) => {
    const who = from.kind === 'container' ? from.who : to.kind === 'container' ? to.who : '';
    const tasks = await runningTasks(connection, stack, who, flags.index);
    if (from.kind === 'container') await copyFrom(shell, connection, tasks[0] as TaskRow, from.path, to, flags);
    else if (to.kind === 'container') await copyTo(shell, connection, tasks, from, to.path, flags);
  });
}

const taskOf = (row: TaskRow) => taskTarget(row.task?.id ?? '');
const nameOfTask = (row: TaskRow): string => row.task?.name ?? '';

function kindHere(facts: StatPathResponse): 'file' | 'directory' | 'other' | undefined {
  return facts.exists ? (facts.kind === 'file' || facts.kind === 'directory' ? facts.kind : 'other') : undefined;
}

async function copyFrom(shell: Shell, connection: Connection, row: TaskRow, path: string, to: Place, flags: CpFlags): Promise<void> {
  const { api, target } = connection;
  const follow = flags.followLink === true;
  const facts = await callUnary(api, 'statPath', { target: taskOf(row), path, follow: follow || path.endsWith('/') }, { target });
  if (!facts.exists) throw new WeftError('NOT_FOUND', { what: `${nameOfTask(row)} has no ${path}`, hint: `Look with \`ctl exec … ls\`.` });
  const skipped: string[] = [];
  const asked = (as: string) =>
    copyOutOf(connection, { target: taskOf(row), path, follow: follow || path.endsWith('/'), as }, (name) => skipped.push(name));
  if (to.kind === 'stream') {
    if (shell.stdout.isTTY)
      throw new WeftError('USAGE', { what: 'an archive is nothing for a terminal', hint: 'Send it to a file or a program.' });
    for await (const chunk of asked(isContent(path) ? '' : nameOf(path))) await writeAll(shell.stdout, Buffer.from(chunk));
    return warnOf(shell, skipped);
  }
  if (to.kind !== 'local') return;
  const source = { kind: facts.kind === 'directory' ? ('directory' as const) : ('file' as const), path };
  const { directory, as } = destinationOf(source, to.path, await kindOfLocal(resolve(shell.cwd, to.path)));
  const done = await unpackTree(asked(as), {
    root: await directoryHere(resolve(shell.cwd, directory), directory),
    into: '/',
    // A stranger made the archive: none of its links is followed, nobody's privileges come with it.
    links: 'refuse',
    ...(flags.archive ? { owner: 'archive' as const } : { withoutMode: 0o7000 }),
  });
  warnOf(shell, [...skipped, ...done.skipped]);
  tell(shell, flags, `copied ${nameOfTask(row)}:${path} to ${to.path}: ${summary(done)}`);
}

async function directoryHere(path: string, shown: string): Promise<string> {
  if ((await kindOfLocal(path)) === 'directory') return path;
  throw new WeftError('NOT_FOUND', { what: `there is no directory ${shown}`, hint: 'Make it first.' });
}

async function kindOfLocal(path: string): Promise<'file' | 'directory' | 'other' | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found && (found.isDirectory() ? 'directory' : found.isFile() ? 'file' : 'other');
}

const isLink = async (path: string): Promise<boolean> => (await lstat(path).catch(() => undefined))?.isSymbolicLink() === true;

async function copyTo(shell: Shell, connection: Connection, tasks: TaskRow[], from: Place, path: string, flags: CpFlags): Promise<void> {
  const skipped: string[] = [];
  // Containers of a service are alike: where it goes is asked of the first.
  const { directory, archive } = await whatAndWhere(shell, connection, tasks[0] as TaskRow, from, path, flags, skipped);
  const start = { directory, makeParents: false, keepOwners: flags.archive === true, uid: 0, gid: 0, remove: [] };
  const answers = await copyInto(connection, tasks.map(taskOf), start, archive);
  const done = answers[0];
  warnOf(shell, [...new Set([...skipped, ...answers.flatMap((a) => a.skipped)])]);
  const names = tasks.map(nameOfTask).join(', ');
  if (done) tell(shell, flags, `copied ${from.kind === 'local' ? from.path : 'standard input'} to ${path} of ${names}: ${summary(done)}`);
}

async function whatAndWhere(
  shell: Shell,
  { api, target }: Connection,
  row: TaskRow,
  from: Place,
  path: string,
  flags: CpFlags,
  skipped: string[],
): Promise<{ directory: string; archive: AsyncIterable<Uint8Array> }> {
  const facts = await callUnary(api, 'statPath', { target: taskOf(row), path, follow: true }, { target });
  const there = kindHere(facts);
  if (from.kind !== 'local') {
    if (there !== 'directory')
      throw new WeftError('NOT_FOUND', {
        what: `${nameOfTask(row)} has no directory ${path}`,
        hint: 'An archive is unpacked into a directory that is there.',
      });
    return { directory: facts.path, archive: shell.stdin };
  }
  const local = resolve(shell.cwd, from.path);
  const follow = flags.followLink === true || isContent(from.path) || from.path.endsWith('/');
  const kind = !follow && (await isLink(local)) ? 'file' : await kindOfLocal(local);
  if (kind === undefined) throw new WeftError('NOT_FOUND', { what: `there is no ${from.path} here` });
  if (kind === 'other') throw new WeftError('BAD_VALUE', { what: `${from.path} is neither a file nor a directory` });
  const { directory, as } = destinationOf({ kind, path: from.path }, there === undefined ? path : facts.path, there);
  const archive = packTree({ root: '/', path: local, follow, as, onSkipped: (name) => skipped.push(name) });
  return { directory, archive };
}

const summary = ({ entries, bytes: size }: { entries: number; bytes: number }): string =>
  `${entries} ${entries === 1 ? 'entry' : 'entries'}, ${bytes(size)}`;

function tell(shell: Shell, flags: CpFlags, text: string): void {
  if (!flags.quiet) say(shell, printable(text));
}

function warnOf(shell: Shell, skipped: readonly string[]): void {
  for (const name of skipped) say(shell, `warning: ${printable(name)} was left out: it is no file, directory or link`);
}
