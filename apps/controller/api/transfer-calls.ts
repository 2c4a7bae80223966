/**
 * Images on their way through the controller: pushed by a user to every node (each blob once from the user, and only to the
 * nodes that lack it), or handed from one node to another that lacks it.
 */
import { asWeftError, WeftError } from '#base/errors.js';
import { merge } from '#base/streams.js';
import { callUnary, openBidi, type Bidi } from '#rpc/client.js';
import type { AskImage, ImageProgress, ImageTransfer } from '#rpc/gen/weft/v1/api.js';
import { offersOf, wantedMessage, wantedOf } from '#rpc/image-transfer.js';
import type { ClusterFollower } from '../cluster/follower.js';
import { agreed, line, newTally, tell, throwFirst, type Tally } from './image-tally.js';
import type { NodeClients, Reach } from './node-clients.js';

const LIST_TIMEOUT_MS = 5_000;

type TransferCall = Bidi<ImageTransfer, ImageTransfer>;

/** A node that takes images in, and what of them it lacks. */
interface Taker {
  reach: Reach;
  call: TransferCall;
  wanted: ReadonlySet<string>;
}

export class TransferCalls {
  readonly #follower: ClusterFollower;
  readonly #clients: NodeClients;
  /** Where the search for a node that has an image begins: another each time, so that not one node gives to all. */
  #turn = 0;

  constructor(follower: ClusterFollower, clients: NodeClients) {
    this.#follower = follower;
    this.#clients = clients;
  }

  /** @throws BAD_VALUE, NO_NODES; what the first node that failed says, once the others are done */
  async *push(requests: AsyncIterable<ImageTransfer>, signal: AbortSignal): AsyncGenerator<ImageTransfer> {
    const reaches = this.#clients.allReady(this.#follower.model);
    const incoming = requests[Symbol.asyncIterator]();
    const offer: ImageTransfer | undefined = (await incoming.next()).value;
    const offers = offersOf(offer);
    const tally = newTally();
    const asked = await Promise.all(reaches.map((reach) => begin(reach, offer as ImageTransfer, signal)));
    const takers = asked.flatMap((one) => ('call' in one ? [one] : []));
    const failed = asked.flatMap((one) => ('call' in one ? [] : [tell(one.reach, broken(one.error), tally)]));
    yield* asTransfer(merge(failed));
    const digests = [...new Set(offers.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)))];
    yield wantedMessage(digests.filter((digest) => takers.some(({ wanted }) => wanted.has(digest))));
    const feeding = feed(incoming, takers);
    // Heard below; without this a failure before then would count as unhandled.
    feeding.catch(() => undefined);
    yield* asTransfer(merge(takers.map(({ reach, call }) => tell(reach, progressOf(call), tally))));
    throwFirst(tally);
    await feeding;
    yield* asTransfer(agreedLines(tally, reaches));
  }

  /** For the agent of a node: from a node that has it. @throws IMAGE_UNKNOWN, BAD_VALUE, UNAVAILABLE */
  async *fetch(requests: AsyncIterable<ImageTransfer>, nodeId: string, signal: AbortSignal): AsyncGenerator<ImageTransfer> {
    const incoming = requests[Symbol.asyncIterator]();
    const first: ImageTransfer | undefined = (await incoming.next()).value;
    if (first?.part?.$case !== 'ask') throw new WeftError('BAD_VALUE', 'an image is asked for by its digest first');
    const giver = await this.#giver(first.part.value, nodeId);
    const call = openBidi<ImageTransfer, ImageTransfer>(giver.client.giveImage(), signal, giver.target);
    try {
      await call.send(first);
      void relay(incoming, call);
      yield* call.messages;
    } finally {
      call.cancel();
    }
  }

  async #giver({ reference, digest }: AskImage, nodeId: string): Promise<Reach> {
    const others = this.#clients.allReady(this.#follower.model).filter(({ node }) => node.id !== nodeId);
    const have = await Promise.all(others.map((reach) => hasImage(reach, digest)));
    const givers = others.filter((_, i) => have[i]);
    const giver = givers[this.#turn++ % Math.max(1, givers.length)];
    if (giver) return giver;
    throw new WeftError('IMAGE_UNKNOWN', {
      what: `no other node has the image ${reference}`,
      why: `none of ${others.length} has ${digest}`,
    });
  }
}

async function hasImage({ client, target }: Reach, digest: string): Promise<boolean> {
  const answer = await callUnary(client, 'listImages', {}, { timeoutMs: LIST_TIMEOUT_MS, target }).catch(() => undefined);
  return answer?.nodes.some((node) => node.images.some((image) => image.digest === digest)) ?? false;
}

async function begin(reach: Reach, offer: ImageTransfer, signal: AbortSignal): Promise<Taker | { reach: Reach; error: WeftError }> {
  const call = openBidi<ImageTransfer, ImageTransfer>(reach.client.takeImages(), signal, reach.target);
  try {
    await call.send(offer);
    return { reach, call, wanted: new Set(wantedOf((await call.messages.next()).value)) };
  } catch (error) {
    call.cancel();
    return { reach, error: asWeftError(error) };
  }
}

/** Each blob to those that lack it; the slowest of them sets the pace. A node that fails is left out: its own answer tells why. */
async function feed(incoming: AsyncIterator<ImageTransfer>, takers: readonly Taker[]): Promise<void> {
  const open = new Set(takers);
  let to: Taker[] = [];
  for (let next = await incoming.next(); !next.done; next = await incoming.next()) {
    const { part } = next.value;
    if (part?.$case === 'blob') to = takers.filter(({ wanted }) => wanted.has(part.value));
    const message = next.value;
    await Promise.all(to.map((taker) => open.has(taker) && taker.call.send(message).catch(() => open.delete(taker))));
    if (takers.length > 0 && open.size === 0) return;
  }
  for (const { call } of takers) call.end();
}

async function relay(incoming: AsyncIterator<ImageTransfer>, call: TransferCall): Promise<void> {
  try {
    for (let next = await incoming.next(); !next.done; next = await incoming.next()) await call.send(next.value);
    call.end();
  } catch {
    // Either side has hung up: the other direction tells of it.
    call.cancel();
  }
}

async function* progressOf(call: TransferCall): AsyncGenerator<ImageProgress> {
  for await (const { part } of call.messages) if (part?.$case === 'progress') yield part.value;
}

async function* broken(error: WeftError): AsyncGenerator<ImageProgress> {
  await Promise.reject(error);
  yield line({});
}

async function* asTransfer(lines: AsyncIterable<ImageProgress>): AsyncGenerator<ImageTransfer> {
  for await (const value of lines) yield { part: { $case: 'progress', value } };
}

async function* agreedLines(tally: Tally, reaches: readonly Reach[]): AsyncGenerator<ImageProgress> {
  for (const reference of tally.images.keys())
    yield await Promise.resolve(line({ reference, message: 'on all nodes', image: agreed(tally, reference, reaches) }));
}
