/** `ctl image`: images on the nodes. */
import { Command } from 'commander';
import { messageOf, WeftError } from '#base/errors.js';
import { callUnary, openBidi } from '#rpc/client.js';
import type { LoadImageRequest, NodeImages } from '#rpc/gen/weft/v1/api.js';
import { withApi, type Connection } from '../connection.js';
import { liveLines } from '../live-lines.js';
import { CHUNK_BYTES, loadedOf, loadedText, newTally, note, openArchive, type Archive, type Loaded } from '../loaded-images.js';
import { contextOption, flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { imageColumns, imageRows } from '../render/images.js';
import { bytes } from '../render/quantity.js';
import { json, listing } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';
import { pushCommand } from './image-push.js';

/** Nodes fetch and list images at their own pace. */
const LIST_TIMEOUT_MS = 20_000;

export function imageCommand(shell: Shell): Command {
  return new Command('image')
    .description('The images on the nodes.')
    .addCommand(loadCommand(shell))
    .addCommand(pushCommand(shell))
    .addCommand(lsCommand(shell));
}

function lsCommand(shell: Shell): Command {
  const command = listingOptions(new Command('ls')).description('list the images on the nodes');
  return command.action(async () => {
    const flags = flagsOf<CommonFlags>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const { nodes } = await callUnary(api, 'listImages', {}, { target, timeoutMs: LIST_TIMEOUT_MS });
      warnOfSilent(shell, nodes);
      print(shell, listing(imageRows(nodes), imageColumns, flags.format));
    });
  });
}

function warnOfSilent(shell: Shell, nodes: readonly NodeImages[]): void {
  for (const node of nodes) if (node.error !== '') say(shell, `warning: node ${node.node} did not answer: ${node.error}`);
}

const EXAMPLES = `
Examples:
  ctl image load app.tar
  docker save app:1.0 | ctl image load -`;

function loadCommand(shell: Shell): Command {
  const command = new Command('load')
    .description('load an archive (of `docker save`, or an OCI layout as tar) onto every node')
    .argument('<archive>', 'a file, or "-" for standard input')
    .option('--format <format>', 'table or json', 'table')
    .addOption(contextOption())
    .addHelpText('after', EXAMPLES);
  return command.action((archive: string) => loadImage(shell, archive, flagsOf<CommonFlags>(command)));
}

export async function loadImage(shell: Shell, archive: string, flags: CommonFlags): Promise<void> {
  const { input, name, sizeBytes } = await openArchive(shell, archive);
  try {
    await withApi(shell, flags.context, async (connection) => {
      const images = await send(shell, connection, { input, name, sizeBytes });
      print(shell, flags.format === 'json' ? json(images) : loadedText(images));
    });
  } finally {
    input.destroy();
  }
}

async function send(shell: Shell, { api, target }: Connection, archive: Archive): Promise<Loaded[]> {
  const lines = liveLines(shell.stderr);
  const stream = openBidi(api.loadImage(), undefined, target);
  const tally = newTally();
  let unreadable: unknown;
  const sending = sendChunks(archive, stream.send, (done) => {
    const of = archive.sizeBytes > 0 ? ` of ${bytes(archive.sizeBytes)}` : '';
    lines.set('sent', `${archive.name}: sent ${bytes(done)}${of}`, '');
  }).then(
    () => stream.end(),
    (error: unknown) => {
      // A stream that the other side ended tells why itself; a file that cannot be read is ours to tell.
      if (!(error instanceof WeftError)) unreadable = error;
      stream.cancel();
    },
  );
  try {
    for await (const progress of stream.messages) note(tally, lines, progress);
    await sending;
  } catch (error) {
    if (unreadable === undefined && tally.first === undefined) throw error;
  } finally {
    lines.finish();
  }
  if (unreadable !== undefined) throw new WeftError('IMAGE_INVALID', { what: `cannot read ${archive.name}`, why: messageOf(unreadable) });
  return loadedOf(tally, archive.name);
}

async function sendChunks(
  archive: Archive,
  send: (message: LoadImageRequest) => Promise<void>,
  onSent: (bytes: number) => void,
): Promise<void> {
  await send({ part: { $case: 'fileName', value: archive.name } });
  let done = 0;
  for await (const piece of archive.input as AsyncIterable<Buffer | string>) {
    const buffer = Buffer.from(piece);
    for (let at = 0; at < buffer.length; at += CHUNK_BYTES) {
      const chunk = buffer.subarray(at, at + CHUNK_BYTES);
      await send({ part: { $case: 'chunk', value: chunk } });
      done += chunk.length;
      onSent(done);
    }
  }
}
