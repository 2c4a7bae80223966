import type { ImageTransfer } from './gen/weft/v1/api.js';
import { blobMessages, blobsIn, offerMessage, offersOf, wantedMessage, wantedOf } from './image-transfer.js';

const blobs = new Map([
  ['a', Buffer.alloc(600 * 1024, 1)],
  ['empty', Buffer.alloc(0)],
  ['b', Buffer.from('two')],
]);

async function* open(digest: string): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(blobs.get(digest) ?? Buffer.alloc(0));
}

async function read(messages: AsyncIterable<ImageTransfer>): Promise<[string, number][]> {
  const seen: [string, number][] = [];
  for await (const { digest, chunks } of blobsIn(messages[Symbol.asyncIterator]())) {
    let size = 0;
    for await (const chunk of chunks) size += chunk.length;
    seen.push([digest, size]);
  }
  return seen;
}

it('blobs come out as they went in, in messages of 256 KiB at most', async () => {
  const messages: ImageTransfer[] = [];
  for await (const message of blobMessages([...blobs.keys()], open)) messages.push(message);
  expect(messages.map(({ part }) => (part?.$case === 'chunk' ? part.value.length : part?.$case))).toEqual([
    'blob',
    262_144,
    262_144,
    90_112,
    'blob',
    'blob',
    3,
  ]);
  const all = (async function* () {
    for (const message of messages) yield await Promise.resolve(message);
  })();
  expect(await read(all)).toEqual([
    ['a', 614_400],
    ['empty', 0],
    ['b', 3],
  ]);
});

it('offers and wants survive the wire', () => {
  const offer = { name: 'app:1', target: { digest: 'a', size: 3, mediaType: 'm' }, blobs: [{ digest: 'a', size: 3 }] };
  expect(offersOf(offerMessage([offer]))).toEqual([offer]);
  expect(wantedOf(wantedMessage(['a', 'b']))).toEqual(['a', 'b']);
});

it('what comes out of turn is refused', async () => {
  expect(() => offersOf(wantedMessage([]))).toThrow('expected an offer, got wanted');
  expect(() => wantedOf(undefined)).toThrow('expected what is wanted, got nothing');
  const chunkFirst = (async function* (): AsyncGenerator<ImageTransfer> {
    yield await Promise.resolve({ part: { $case: 'chunk', value: Buffer.from('x') } });
  })();
  await expect(read(chunkFirst)).rejects.toMatchObject({ code: 'BAD_VALUE' });
});
