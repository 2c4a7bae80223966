import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pack } from 'tar-stream';
import { digestOf } from './content.js';
import { spoolArchive } from './spool.js';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'weft-spool-'))));
afterEach(() => rm(dir, { recursive: true }));

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const path = (digest: string) => `blobs/sha256/${digest.slice(7)}`;
const described = (bytes: Buffer, mediaType = '') => ({ mediaType, digest: digestOf(bytes), size: bytes.length });

/** An OCI layout of one image, without the blobs left out. */
function layout(without: 'layer' | 'manifest' | 'none' = 'none'): AsyncIterable<Uint8Array> {
  const layer = Buffer.from('a layer');
  const config = Buffer.from(JSON.stringify({ os: 'linux', rootfs: { diff_ids: [] } }));
  const manifest = Buffer.from(JSON.stringify({ mediaType: MANIFEST, config: described(config), layers: [described(layer)] }));
  const annotations = { 'org.opencontainers.image.ref.name': 'app:1' };
  const index = JSON.stringify({ manifests: [{ ...described(manifest, MANIFEST), annotations }] });
  const tar = pack();
  for (const [name, bytes] of Object.entries({ layer, config, manifest }))
    if (name !== without) tar.entry({ name: path(digestOf(bytes)) }, bytes);
  tar.entry({ name: 'index.json' }, index);
  tar.finalize();
  return tar as unknown as AsyncIterable<Uint8Array>;
}

async function* text(value: string): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(Buffer.from(value));
}

it('offers every part with its size, and gives the bytes', async () => {
  const spool = await spoolArchive(layout(), dir);
  expect(spool.offers).toMatchObject([{ name: 'docker.io/library/app:1', target: { mediaType: MANIFEST } }]);
  const [offer] = spool.offers;
  expect(offer?.blobs.length).toBe(3);
  for (const { digest, size } of offer?.blobs ?? []) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of spool.open(digest)) chunks.push(chunk);
    expect(described(Buffer.concat(chunks))).toMatchObject({ digest, size });
  }
  await spool.remove();
  expect(await readdir(dir)).toEqual([]);
});

it.each(['layer', 'manifest'] as const)('an archive without its %s is refused, and nothing is left behind', async (what) => {
  await expect(spoolArchive(layout(what), dir)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  expect(await readdir(dir)).toEqual([]);
});

it.each(['', 'no tar at all'])('%j is no archive', async (bytes) => {
  await expect(spoolArchive(text(bytes), dir)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  expect(await readdir(dir)).toEqual([]);
});
