/** Images from archives: real containerd only. */
import { jest } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { makeBusyboxArchive, makeBusyboxImage, tarOf } from './busybox-archive.js';
import type { ArchiveOptions, Entry } from './busybox-archive.js';
import type { BlobRef } from '#runtime/runtime.js';
import { spoolArchive } from '#runtime/spool.js';
import { RealHarness, chunked } from './real-harness.js';
import { courier, take } from './transfer-cases.js';

/** Each case starts real processes, on a machine that may be busy. */
jest.setTimeout(60_000);

let h: RealHarness;
beforeAll(async () => {
  h = await RealHarness.start();
}, 60_000);
afterAll(() => h?.destroy(), 60_000);

const load = (bytes: Buffer, chunk?: number) => h.runtime.importImage(chunked(bytes, chunk));
const json = (value: unknown) => JSON.stringify(value);
const ctr = (...args: string[]): string =>
  execFileSync('ctr', ['-a', h.containerd.socket, '-n', h.namespace, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

describe('archives that are images', () => {
  const shapes: [string, Partial<ArchiveOptions> & Pick<ArchiveOptions, 'format'>][] = [
    ['docker', { format: 'docker' }],
    ['docker with gzip layers', { format: 'docker', gzipLayers: true }],
    ['oci', { format: 'oci' }],
    ['oci with gzip layers', { format: 'oci', gzipLayers: true }],
    ['both at once', { format: 'both' }],
  ];
  test.each(shapes)('%s: loaded, and it runs', async (shape, options) => {
    const name = `shape/${shape.replaceAll(' ', '-')}:1`;
    const archive = await makeBusyboxArchive({ name, files: { 'etc/mark': shape }, layers: [{ 'etc/second': 'two' }], ...options });
    const [image, ...more] = await load(archive);
    expect(more).toEqual([]);
    expect(image).toMatchObject({ name: `docker.io/${name}`, platforms: [`linux/${process.arch === 'x64' ? 'amd64' : process.arch}`] });
    expect((await h.sh('cat /etc/mark /etc/second', { image: image?.name })).stdout).toBe(`${shape}two`);
  });

  test('compressed as a whole, and in tiny pieces', async () => {
    const archive = await makeBusyboxArchive({ name: 'whole:1', format: 'docker', files: { 'etc/mark': 'z' } });
    const [image] = await load(gzipSync(archive), 1001);
    expect(await h.runtime.resolveImage('whole:1')).toEqual(image);
  });

  test('the same archive has the same digest, wherever it is loaded', async () => {
    const archive = () => makeBusyboxArchive({ name: 'same:1', format: 'docker', files: { 'etc/mark': 'same' } });
    const [first] = await load(await archive());
    await h.runtime.removeImage('same:1');
    const [second] = await load(await archive());
    expect(second).toEqual(first);
  });

  test('a name moves to the image that is loaded last; containers on the old one go on', async () => {
    const make = async (mark: string) =>
      (await load(await makeBusyboxArchive({ name: 'moving:1', format: 'oci', files: { 'etc/mark': mark } })))[0];
    const old = await make('old');
    const id = await h.run({ image: 'moving:1', command: ['sleep', '100000'] });
    const now = await make('new');
    expect(now?.digest).not.toBe(old?.digest);
    expect((await h.sh('cat /etc/mark', { image: 'moving:1' })).stdout).toBe('new');
    const session = await h.runtime.exec({ containerId: id, argv: ['cat', '/etc/mark'], tty: false });
    expect(String((await session.stdout.toArray())[0])).toBe('old');
    await h.runtime.remove(id);
  });

  test('of an image that shares layers with one that is here, only the new layer travels; and it runs', async () => {
    const make = (name: string, text: string) =>
      makeBusyboxArchive({ name, format: 'docker', files: { 'etc/base': 'base' }, layers: [{ 'etc/mark': text }] });
    await load(await make('layers:2', 'two'));
    const { offer, kept } = await take(h.runtime, 'layers:2');
    await h.runtime.removeImage('layers:2');
    await load(await make('layers:1', 'one'));
    const asked: BlobRef[] = [];
    await h.runtime.receiveImages([offer], courier(kept, asked));
    expect(asked.length).toBe(offer.blobs.length - 1);
    expect(Math.max(...asked.map(({ size }) => size))).toBeLessThan(20_000);
    expect(Math.max(...offer.blobs.map(({ size }) => size))).toBeGreaterThan(1_000_000);
    expect((await h.sh('cat /etc/base /etc/mark', { image: 'layers:2' })).stdout).toBe('basetwo');
  });

  test.each(['docker', 'oci', 'both'] as const)(
    'an archive (%s) taken apart without containerd is what containerd makes of it',
    async (format) => {
      const archive = await makeBusyboxArchive({ name: `spool/${format}:1`, format, files: { 'etc/mark': format }, gzipLayers: true });
      const [info] = await load(archive);
      const { offer } = await take(h.runtime, `spool/${format}:1`);
      await h.runtime.removeImage(`spool/${format}:1`);
      const spool = await spoolArchive(chunked(archive));
      try {
        expect(spool.offers).toEqual([offer]);
        const bring = async function* (lacking: BlobRef[]) {
          for (const { digest } of lacking) yield await Promise.resolve({ digest, chunks: spool.open(digest) });
        };
        expect(await h.runtime.receiveImages(spool.offers, bring)).toEqual([info]);
      } finally {
        await spool.remove();
      }
      expect((await h.sh('cat /etc/mark', { image: `spool/${format}:1` })).stdout).toBe(format);
    },
  );

  test('several images, links between layers, and paths that would lead out', async () => {
    const image = await makeBusyboxImage({ name: '' });
    const layer = image.layers[0]?.bytes as Buffer;
    const manifest = [
      { Config: './c.json', RepoTags: ['multi/a:1', 'multi/b:1'], Layers: ['one/layer.tar'] },
      { Config: 'c.json', RepoTags: ['multi/c:1'], Layers: ['two/layer.tar'] },
      { Config: 'c.json', RepoTags: null, Layers: ['one/layer.tar'] },
    ];
    const entries: Entry[] = [
      [{ name: '../../../../tmp/weft-escape' }, 'x'],
      [{ name: '/tmp/weft-escape' }, 'x'],
      [{ name: 'one/layer.tar' }, layer],
      [{ name: 'two/layer.tar', type: 'symlink', linkname: '../one/layer.tar' }],
      [{ name: 'loop', type: 'symlink', linkname: '/etc/passwd' }],
      [{ name: 'c.json' }, image.config.bytes],
      [{ name: 'manifest.json' }, json(manifest)],
    ];
    const images = await load(await tarOf(entries));
    expect(images.map((i) => i.name)).toEqual(['docker.io/multi/a:1', 'docker.io/multi/b:1', 'docker.io/multi/c:1']);
    expect(() => execFileSync('ls', ['/tmp/weft-escape'], { stdio: 'ignore' })).toThrow();
  });

  test('an index with several platforms: this machine gets its own', async () => {
    const image = await makeBusyboxImage({ name: '', files: { 'etc/mark': 'mine' } });
    const path = (digest: string) => `blobs/sha256/${digest.slice(7)}`;
    const absent = {
      mediaType: image.mediaType,
      digest: `sha256:${'a'.repeat(64)}`,
      size: 5,
      platform: { os: 'linux', architecture: 's390x' },
    };
    const own = {
      mediaType: image.mediaType,
      digest: image.manifest.digest,
      size: image.manifest.size,
      platform: { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch },
    };
    const inner = json({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [absent, own] });
    const { createHash } = await import('node:crypto');
    const digest = `sha256:${createHash('sha256').update(inner).digest('hex')}`;
    const annotations = { 'org.opencontainers.image.ref.name': 'registry.test:5000/multi:1' };
    const outer = json({
      schemaVersion: 2,
      manifests: [{ mediaType: 'application/vnd.oci.image.index.v1+json', digest, size: inner.length, annotations }],
    });
    const blobs = [image.manifest, image.config, ...image.layers].map((b): Entry => [{ name: path(b.digest) }, b.bytes]);
    const [loaded] = await load(await tarOf([...blobs, [{ name: path(digest) }, inner], [{ name: 'index.json' }, outer]]));
    expect(loaded).toMatchObject({
      name: 'registry.test:5000/multi:1',
      digest,
      platforms: ['linux/s390x', own.platform && `linux/${own.platform.architecture}`],
    });
    expect((await h.sh('cat /etc/mark', { image: 'registry.test:5000/multi:1' })).stdout).toBe('mine');
  });
});

describe('what is not a whole image is refused, and leaves no name', () => {
  const docker = (changes: { config?: string; layer?: string | Buffer; manifest?: unknown }): Promise<Buffer> =>
    tarOf([
      [
        { name: 'c.json' },
        changes.config ?? json({ os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch, rootfs: { diff_ids: [] } }),
      ],
      ...(changes.layer === undefined ? [] : [[{ name: 'l.tar' }, changes.layer] as Entry]),
      [
        { name: 'manifest.json' },
        typeof changes.manifest === 'string'
          ? changes.manifest
          : json(changes.manifest ?? [{ Config: 'c.json', RepoTags: ['bad:1'], Layers: [] }]),
      ],
    ]);
  const one = (layers: string[], tags: unknown = ['bad:1']) => [{ Config: 'c.json', RepoTags: tags, Layers: layers }];
  const good = () => makeBusyboxArchive({ name: 'bad:1', format: 'oci', files: { 'etc/unique': 'for the broken ones' } });

  const cases: [string, () => Promise<Buffer>, RegExp][] = [
    ['nothing', () => Promise.resolve(Buffer.alloc(0)), /empty/],
    ['text', () => Promise.resolve(Buffer.from('hello'.repeat(1000))), /tar/],
    ['a tar that is no image', () => tarOf([[{ name: 'readme' }, 'x']]), /neither manifest.json nor index.json/],
    ['an archive that is cut off', async () => (await good()).subarray(0, 900_000), /tar/],
    ['a gzip that is cut off', async () => gzipSync(await good()).subarray(0, 300_000), /tar/],
    ['xz', () => Promise.resolve(Buffer.from('fd377a585a000004', 'hex')), /xz/],
    ['a manifest that is no JSON', () => docker({ manifest: '{oops' }), /JSON/],
    ['a manifest of the wrong form', () => docker({ manifest: [{ Config: 5 }] }), /malformed/],
    ['no name', () => docker({ manifest: one([], null) }), /without a name/],
    ['a config that is missing', () => docker({ manifest: [{ Config: 'x.json', RepoTags: ['bad:1'], Layers: [] }] }), /incomplete/],
    ['a config that is not one', () => docker({ config: '{"rootfs": 7}' }), /config/],
    ['a layer that is missing', () => docker({ manifest: one(['l.tar']) }), /incomplete/],
    ['more layers than the config has', () => docker({ manifest: one(['l.tar']), layer: Buffer.alloc(1024) }), /1 layers, its config 0/],
    [
      'a layer that is not the one in the config',
      () =>
        docker({
          manifest: one(['l.tar']),
          layer: Buffer.alloc(1024),
          config: json({ rootfs: { diff_ids: [`sha256:${'b'.repeat(64)}`] } }),
        }),
      /not the one/,
    ],
    [
      'a layer that is no tar',
      () =>
        docker({ manifest: one(['l.tar']), layer: 'x'.repeat(5000), config: json({ rootfs: { diff_ids: [`sha256:${'c'.repeat(64)}`] } }) }),
      /layer/,
    ],
    ['another platform', () => makeBusyboxArchive({ name: 'bad:1', format: 'docker', architecture: 's390x' }), /linux\/s390x/],
    [
      'a blob whose content is not its name',
      async () => {
        const archive = await good();
        const at = archive.indexOf('for the broken ones');
        archive.write('FOR', at);
        return archive;
      },
      /damaged/,
    ],
    [
      'an index that points to nothing',
      () =>
        tarOf([
          [
            { name: 'index.json' },
            json({ manifests: [{ digest: `sha256:${'d'.repeat(64)}`, size: 3, annotations: { 'io.containerd.image.name': 'bad:1' } }] }),
          ],
        ]),
      /missing/,
    ],
  ];
  test.each(cases)('%s', async (_, make, reason) => {
    await expect(load(await make())).rejects.toMatchObject({ code: 'IMAGE_INVALID', message: expect.stringMatching(reason) });
    expect((await h.runtime.listImages()).map((i) => i.name)).not.toContain('docker.io/library/bad:1');
  });

  test('a name with a newline', async () => {
    await expect(load(await docker({ manifest: one([], ['bad:1\n--x']) }))).rejects.toMatchObject({ code: 'BAD_NAME' });
  });

  test('a sender that breaks off keeps its own error', async () => {
    const archive = await good();
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield archive.subarray(0, 200_000);
      await Promise.resolve();
      throw new Error('the line went dead');
    }
    await expect(h.runtime.importImage(broken())).rejects.toMatchObject({ message: 'the line went dead' });
  });
});

test('the garbage collector takes what has no name, and nothing else', async () => {
  const kept = await load(
    await makeBusyboxArchive({ name: 'kept:1', format: 'oci', files: { 'etc/mark': 'kept' }, layers: [{ 'etc/x': 'x' }] }),
  );
  await load(await makeBusyboxArchive({ name: 'gone:1', format: 'oci', files: { 'etc/mark': 'gone' } }));
  const size = () => ctr('content', 'ls', '-q').trim().split('\n').length;
  const before = size();
  await h.runtime.removeImage('gone:1');
  expect(size()).toBe(before - 3);
  // Any deletion that asks for it runs a whole collection.
  expect(await h.runtime.resolveImage('kept:1')).toEqual(kept[0]);
  expect((await h.sh('cat /etc/mark', { image: 'kept:1' })).stdout).toBe('kept');
  expect(ctr('leases', 'ls', '-q').trim()).toBe('');
});

test('an image whose layers are here but not unpacked is unpacked for its first container', async () => {
  await load(await makeBusyboxArchive({ name: 'packed:1', format: 'oci', files: { 'etc/mark': 'packed' } }));
  const snapshots = () =>
    ctr('snapshots', 'ls')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(' ')[0] as string);
  const image = await h.runtime.resolveImage('packed:1');
  const before = snapshots();
  // Only this image's own layer can be removed: the others have children or containers.
  for (const key of before) {
    try {
      ctr('snapshots', 'rm', key);
    } catch {
      // In use.
    }
  }
  expect(snapshots().length).toBeLessThan(before.length);
  expect(await h.runtime.resolveImage('packed:1')).toEqual(image);
  expect((await h.sh('cat /etc/mark', { image: 'packed:1' })).stdout).toBe('packed');
});
