/** Images from place to place, blob by blob: what is pushed is taken, what another node lacks is given. */
import { WeftError } from '#base/errors.js';
import { Queue } from '#base/streams.js';
import type { ImageTransfer } from '#rpc/gen/weft/v1/api.js';
import { blobMessages, blobsIn, offerMessage, offersOf, wantedMessage, wantedOf } from '#rpc/image-transfer.js';
import type { BlobRef } from '#runtime/runtime.js';
import { imageOf, progress, type ImageCallDeps } from './images.js';

const sizeOf = (blobs: readonly BlobRef[]): number => blobs.reduce((sum, { size }) => sum + size, 0);

/** Says what of the offer is not here, takes that in, and names the images. @throws BAD_VALUE, IMAGE_INVALID, BAD_NAME, RUNTIME */
export async function* takeImages(deps: ImageCallDeps, requests: AsyncIterable<ImageTransfer>): AsyncGenerator<ImageTransfer> {
  const { runtime, nodeName, log } = deps;
  const incoming = requests[Symbol.asyncIterator]();
  const offers = offersOf((await incoming.next()).value);
  const queue = new Queue<ImageTransfer>();
  const say = (...line: Parameters<typeof progress>) => queue.push({ part: { $case: 'progress', value: progress(...line) } });
  const bring = (lacking: BlobRef[]) => {
    queue.push(wantedMessage(lacking.map(({ digest }) => digest)));
    const totalBytes = sizeOf(lacking);
    const reference = offers[0]?.name ?? '';
    say(nodeName, reference, { message: lacking.length > 0 ? 'receiving' : 'has every layer', totalBytes });
    return blobsIn(incoming);
  };
  runtime.receiveImages(offers, bring).then(
    (images) => {
      for (const image of images) say(nodeName, image.name, { message: 'loaded', image: imageOf(image) });
      log.info({ images: images.map((i) => i.name) }, 'took images over');
      queue.end();
    },
    (error: unknown) => queue.end(error),
  );
  yield* queue;
}

/** Offers the image that is asked for, then sends what is wanted of it. @throws BAD_VALUE, IMAGE_UNKNOWN when it is not here, or not whole */
export async function* giveImage(
  { runtime, nodeName, log }: ImageCallDeps,
  requests: AsyncIterable<ImageTransfer>,
): AsyncGenerator<ImageTransfer> {
  const incoming = requests[Symbol.asyncIterator]();
  const first: ImageTransfer | undefined = (await incoming.next()).value;
  if (first?.part?.$case !== 'ask') throw new WeftError('BAD_VALUE', 'an image that is to be given is asked for first');
  const { digest } = first.part.value;
  const image = (await runtime.listImages()).find((one) => one.digest === digest);
  const offer = image && (await runtime.describeImage(image.name));
  if (!offer || offer.target.digest !== digest) throw new WeftError('IMAGE_UNKNOWN', `node ${nodeName} has no whole image ${digest}`);
  yield offerMessage([offer]);
  const offered = new Set(offer.blobs.map((blob) => blob.digest));
  const wanted = wantedOf((await incoming.next()).value).filter((one) => offered.has(one));
  yield* blobMessages(wanted, (one) => runtime.readBlob(one));
  log.info({ image: offer.name, blobs: wanted.length }, 'gave an image to another node');
}
