/** What every runtime, real or fake, does with images that come from another place blob by blob. */
import type { BlobRef, BringBlobs, ImageOffer, Runtime } from '#runtime/runtime.js';

export interface TransferSubject {
  runtime: Runtime;
  /** An archive that the runtime takes, of an image with this name. */
  archive(name: string): Promise<AsyncIterable<Uint8Array>>;
}

/** Brings from what was kept, and notes what was asked for. */
export function courier(kept: ReadonlyMap<string, Buffer>, asked: BlobRef[] = []): BringBlobs {
  return async function* bring(lacking) {
    asked.push(...lacking);
    for (const { digest } of lacking) {
      const bytes = kept.get(digest);
      if (bytes) yield { digest, chunks: pieces(bytes) };
      await Promise.resolve();
    }
  };
}

async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 100_000) yield await Promise.resolve(bytes.subarray(at, at + 100_000));
}

/** The offer of an image and the bytes of all its parts. */
export async function take(runtime: Runtime, name: string): Promise<{ offer: ImageOffer; kept: Map<string, Buffer> }> {
  const offer = await runtime.describeImage(name);
  if (!offer) throw new Error(`there is no whole image ${name}`);
  const kept = new Map<string, Buffer>();
  for (const { digest } of offer.blobs) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of runtime.readBlob(digest)) chunks.push(chunk);
    kept.set(digest, Buffer.concat(chunks));
  }
  return { offer, kept };
}

export function describeTransfer(name: string, subject: () => TransferSubject): void {
  const load = async (image: string) => {
    const { runtime, archive } = subject();
    const [info] = await runtime.importImage(await archive(image));
    return { info, ...(await take(runtime, image)) };
  };

  describe(`${name}: images blob by blob`, () => {
    test('an image that is gone comes back from its parts, and is the same', async () => {
      const { runtime } = subject();
      const { info, offer, kept } = await load('travels:1');
      expect(offer).toMatchObject({ name: 'docker.io/library/travels:1', target: { digest: info?.digest } });
      for (const { digest, size } of offer.blobs) expect(kept.get(digest)?.length).toBe(size);
      await runtime.removeImage('travels:1');
      const asked: BlobRef[] = [];
      expect(await runtime.receiveImages([offer], courier(kept, asked))).toEqual([info]);
      expect(asked.map(({ digest }) => digest)).toContain(info?.digest);
      expect(await runtime.resolveImage('travels:1')).toEqual(info);
      expect(await runtime.describeImage('travels:1')).toEqual(offer);
    });

    test('what is here is not asked for: another name for it costs nothing', async () => {
      const { runtime } = subject();
      const { info, offer } = await load('again:1');
      const asked: BlobRef[] = [];
      const [second] = await runtime.receiveImages([{ ...offer, name: 'again:2' }], courier(new Map(), asked));
      expect(asked).toEqual([]);
      expect(second).toEqual({ ...info, name: 'docker.io/library/again:2' });
    });

    test('a part that is wrong, and one that does not come: nothing is named', async () => {
      const { runtime } = subject();
      const { info, offer, kept } = await load('damaged:1');
      await runtime.removeImage('damaged:1');
      const target = info?.digest ?? '';
      const wrong = new Map(kept).set(target, Buffer.alloc(kept.get(target)?.length ?? 0));
      await expect(runtime.receiveImages([offer], courier(wrong))).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
      const less = new Map(kept);
      less.delete(target);
      await expect(runtime.receiveImages([offer], courier(less))).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
      expect(await runtime.resolveImage('damaged:1')).toBeUndefined();
    });

    test('what nobody has', async () => {
      const { runtime } = subject();
      const none = `sha256:${'0'.repeat(64)}`;
      expect(await runtime.describeImage('nobody:1')).toBeUndefined();
      await expect(runtime.readBlob(none)[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(runtime.describeImage('a b')).rejects.toMatchObject({ code: 'BAD_NAME' });
    });
  });
}
