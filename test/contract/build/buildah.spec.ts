/** Builds with the real buildah: what a file says of an image is in it, and what has not changed keeps its digest. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { inBuildOrder } from '../../../apps/ctl/build/build-order.js';
import { builderSteps } from '../../../apps/ctl/build/builder-steps.js';
import { findBuilder, runSteps } from '../../../apps/ctl/build/run-builder.js';
import { parseCompose } from '#compose/parse-compose.js';
import type { ImageOffer } from '#runtime/runtime.js';
import { spoolArchive } from '#runtime/spool.js';
import { hasBuildah, NO_BUILDAH, testBuilder, type TestBuilder } from './builder.js';

const suite = hasBuildah() ? describe : describe.skip;

interface Built {
  offer: ImageOffer;
  /** The image's own config document. */
  config: { config: { Labels?: Record<string, string>; Env?: string[]; Healthcheck?: unknown }; history: unknown[] };
}

suite(hasBuildah() ? 'buildah' : NO_BUILDAH, () => {
  let builder: TestBuilder;
  let dir: string;
  beforeAll(async () => {
    builder = await testBuilder('base:1');
    dir = await mkdtemp(join(tmpdir(), 'weft-build-test-'));
    await mkdir(join(dir, 'app'));
    await writeFile(join(dir, 'app/greeting'), 'hello\n');
  }, 60_000);
  afterAll(async () => {
    await builder?.remove();
    if (dir) await rm(dir, { recursive: true });
  });

  const shell = () => ({ env: builder.env, cwd: dir, stderr: new PassThrough().resume(), onSignal: () => () => undefined });

  async function build(text: string, more: { noCache?: boolean; secretFiles?: Record<string, string> } = {}): Promise<Built> {
    const wish = parseCompose({ text, file: 'f', projectName: 'shop', projectDirectory: dir, env: {} }).builds.get('web');
    if (!wish) throw new Error('the file builds nothing');
    const archive = join(dir, 'image.tar');
    const inlineFile = join(dir, 'Dockerfile');
    await writeFile(inlineFile, wish.dockerfileInline ?? '');
    await rm(archive, { force: true });
    await runSteps(shell(), builderSteps('buildah', wish, { archive, inlineFile, secretFiles: {}, ...more }), false);
    return read(archive);
  }

  async function read(archive: string): Promise<Built> {
    const spool = await spoolArchive(createReadStream(archive), dir);
    try {
      const [offer] = spool.offers as [ImageOffer];
      const documents: Buffer[] = [];
      for (const { digest, size } of offer.blobs.filter((blob) => blob.size < 20_000)) {
        const chunks: Uint8Array[] = [];
        for await (const chunk of spool.open(digest)) chunks.push(chunk);
        if (size > 0) documents.push(Buffer.concat(chunks));
      }
      const config = documents.map(String).find((one) => one.startsWith('{') && one.includes('"rootfs"')) ?? '{}';
      return { offer, config: JSON.parse(config) as Built['config'] };
    } finally {
      await spool.remove();
    }
  }

  const file = (steps: string, more = '') =>
    `services:\n  web:\n    build:\n      context: ./app\n${more}      dockerfile_inline: |\n${steps
      .split('\n')
      .map((line) => `        ${line}`)
      .join('\n')}\n`;

  it('is found', async () => {
    expect(await findBuilder(shell(), 'buildah')).toBe('buildah');
    await expect(findBuilder({ ...shell(), env: { PATH: '/nowhere' } }, undefined)).rejects.toMatchObject({
      code: 'BAD_VALUE',
      why: expect.stringContaining('buildah: '),
    });
  });

  it('one image is made of another service’s', async () => {
    const text = `${file('FROM made\nCOPY --from=made /greeting /again\nRUN test "$(cat /again)" = hello', '      pull: true\n      additional_contexts: { made: "service:base" }\n')}  base:
    build:
      context: ./app
      dockerfile_inline: |
        FROM base:1
        COPY greeting /greeting
        LABEL of=base
`;
    const { builds } = parseCompose({ text, file: 'f', projectName: 'shop', projectDirectory: dir, env: {} });
    const [web] = [...builds.values()];
    if (!web) throw new Error('the file builds nothing');
    const archive = join(dir, 'image.tar');
    for (const wish of inBuildOrder([web], builds)) {
      const inlineFile = join(dir, 'Dockerfile');
      await writeFile(inlineFile, wish.dockerfileInline ?? '');
      await rm(archive, { force: true });
      await runSteps(shell(), builderSteps('buildah', wish, { archive, inlineFile, secretFiles: {} }), false);
    }
    const { config } = await read(archive);
    expect(config.config.Labels).toMatchObject({ of: 'base' });
  });

  it('arguments, target, labels and health check are in the image; a secret is not', async () => {
    await writeFile(join(dir, 'token'), 'very-secret-word');
    const steps = [
      'FROM base:1 AS deps',
      'USER root',
      'ARG WORD',
      'RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /length && echo "$$WORD" > /word',
      'COPY greeting /greeting',
      'HEALTHCHECK CMD true',
      'FROM deps AS prod',
      'ENV STAGE=prod',
      'FROM deps AS last',
      'ENV STAGE=last',
    ].join('\n');
    const more =
      '      target: prod\n      args: { WORD: there }\n      labels: { who: weft }\n      extra_hosts: ["db:10.0.0.1"]\n      shm_size: 8m\n      network: none\n';
    const { offer, config } = await build(file(steps, more), { secretFiles: { token: join(dir, 'token') } });
    expect(offer.name).toBe('docker.io/library/shop-web:latest');
    expect(config.config).toMatchObject({ Labels: { who: 'weft' }, Healthcheck: { Test: ['CMD-SHELL', 'true'] } });
    expect(config.config.Env).toContain('STAGE=prod');
    const archive = String(await readFile(join(dir, 'image.tar')));
    expect(archive).toContain('there\n');
    expect(archive).toContain('hello\n');
    expect(archive).toContain('length');
    expect(archive).not.toContain('very-secret-word');
  });

  it('what has not changed keeps its digest; a change makes one new layer on top of the old ones', async () => {
    const text = file('FROM base:1\nCOPY greeting /greeting');
    const first = await build(text);
    expect((await build(text)).offer).toEqual(first.offer);
    await writeFile(join(dir, 'app/greeting'), 'hello again\n');
    const second = await build(text);
    expect(second.offer.target.digest).not.toBe(first.offer.target.digest);
    const old = new Set(first.offer.blobs.map(({ digest }) => digest));
    const fresh = second.offer.blobs.filter(({ digest }) => !old.has(digest));
    // The manifest, the config and the layer of the COPY; the base, with busybox in it, is the same.
    expect(fresh.length).toBe(3);
    expect(Math.max(...fresh.map(({ size }) => size))).toBeLessThan(20_000);
    const rebuilt = await build(text, { noCache: true });
    expect(rebuilt.config.history.length).toBe(second.config.history.length);
  });

  it('a build that fails is told with the end of what was printed', async () => {
    await expect(build(file('FROM base:1\nRUN echo the reason && exit 3'))).rejects.toMatchObject({
      code: 'COMMAND_FAILED',
      why: expect.stringContaining('exit status 3'),
    });
  });
});
