/** Images of this machine onto every node, without a registry: of what the nodes have already nothing is sent. */
import { asWeftError } from '#base/errors.js';
import { openBidi, type Bidi } from '#rpc/client.js';
import type { ImageTransfer } from '#rpc/gen/weft/v1/api.js';
import { blobMessages, offerMessage, wantedOf } from '#rpc/image-transfer.js';
import type { Spool } from '#runtime/spool.js';
import type { Connection } from './connection.js';
import { liveLines, type LiveLines } from './live-lines.js';
import { loadedOf, newTally, note, type Loaded } from './loaded-images.js';
import { bytes } from './render/quantity.js';
import type { Shell } from './shell.js';

/** @param what the images are called in messages @throws IMAGE_INVALID, NO_NODES, and whatever the first node failed with */
export async function pushImages(shell: Shell, { api, target }: Connection, spool: Spool, what: string): Promise<Loaded[]> {
  const lines = liveLines(shell.stderr);
  const call = openBidi<ImageTransfer, ImageTransfer>(api.pushImages(), undefined, target);
  const tally = newTally();
  let sending: Promise<void> = Promise.resolve();
  try {
    await call.send(offerMessage(spool.offers));
    for await (const message of call.messages) {
      if (message.part?.$case === 'progress') note(tally, lines, message.part.value);
      else sending = sendBlobs(call, wantedOf(message), spool, lines, what);
    }
    await sending;
  } catch (error) {
    // A stream that the other side ended tells why by itself.
    if (tally.first === undefined) throw asWeftError(error, 'IMAGE_INVALID', `cannot push ${what}`);
  } finally {
    lines.finish();
    call.cancel();
  }
  return loadedOf(tally, what);
}

async function sendBlobs(
  call: Bidi<ImageTransfer, ImageTransfer>,
  wanted: readonly string[],
  spool: Spool,
  lines: LiveLines,
  what: string,
): Promise<void> {
  const sizes = new Map(spool.offers.flatMap(({ blobs }) => blobs.map(({ digest, size }) => [digest, size] as const)));
  const total = wanted.reduce((sum, digest) => sum + (sizes.get(digest) ?? 0), 0);
  const all = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const plain = `${what}: ${wanted.length === 0 ? 'the nodes have all of it' : `${bytes(total)} of ${bytes(all)} to send`}`;
  lines.set('sent', plain);
  let done = 0;
  try {
    for await (const message of blobMessages(wanted, (digest) => spool.open(digest))) {
      await call.send(message);
      if (message.part?.$case !== 'chunk') continue;
      done += message.part.value.length;
      lines.set('sent', `${what}: sent ${bytes(done)} of ${bytes(total)}`, '');
    }
    call.end();
  } catch (error) {
    call.cancel();
    throw error;
  }
}
