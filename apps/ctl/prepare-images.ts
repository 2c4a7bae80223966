/** Makes a stack's images present on the nodes and pins each to the digest that its name means now. */
import { WeftError } from '#base/errors.js';
import { messageOf } from '#base/errors.js';
import type { Stack } from '#model/stack.js';
import { callUnary, readStream } from '#rpc/client.js';
import { fromDetail } from '#rpc/errors.js';
import type { ImageProgress, NodeImages, WantedImage } from '#rpc/gen/weft/v1/api.js';
import { normalizeReference, parseReference } from '#runtime/reference.js';
import type { Connection } from './connection.js';
import { liveLines } from './live-lines.js';
import { credentialsFor, loadDockerConfig } from './registry-credentials.js';
import { bytes } from './render/quantity.js';
import { say, type Shell } from './shell.js';

export type PullPolicy = 'missing' | 'always' | 'never';
/** Of two services with one image, the one that asks for more decides. */
const STRENGTH: Readonly<Record<PullPolicy, number>> = { never: 0, missing: 1, always: 2 };

export interface PrepareOptions {
  /** By the key of a service. */
  policyOf: (service: string) => PullPolicy;
  /** Images that are on every node already, by name: digests. */
  known: ReadonlyMap<string, string>;
}

/** The stack with a digest for each image. @throws IMAGE_UNKNOWN and whatever a node failed with, naming every node that did */
export async function prepareImages(
  shell: Shell,
  connection: Connection,
  stack: Stack,
  { policyOf, known }: PrepareOptions,
): Promise<Stack> {
  const policies = new Map<string, PullPolicy>();
  for (const [key, { container }] of Object.entries(stack.services)) {
    const before = policies.get(container.image);
    const policy = policyOf(key);
    if (!known.has(container.image)) policies.set(container.image, before && STRENGTH[before] > STRENGTH[policy] ? before : policy);
  }
  const digests = new Map(known);
  const here = [...policies.keys()].filter((reference) => policies.get(reference) === 'never');
  const asked = [...policies].filter(([, policy]) => policy !== 'never');
  for (const [reference, digest] of here.length > 0 ? await findOnNodes(shell, connection, here) : []) digests.set(reference, digest);
  for (const [reference, digest] of asked.length > 0 ? await pull(shell, connection, asked) : []) digests.set(reference, digest);
  const services = Object.entries(stack.services).map(([key, service]) => {
    const imageDigest = digests.get(service.container.image);
    return [key, imageDigest === undefined ? service : { ...service, container: { ...service.container, imageDigest } }] as const;
  });
  return { ...stack, services: Object.fromEntries(services) };
}

async function pull(shell: Shell, connection: Connection, asked: readonly (readonly [string, PullPolicy])[]): Promise<Map<string, string>> {
  const images = await Promise.all(asked.map(([reference, policy]) => wantedImage(shell, reference, policy)));
  const digests = new Map<string, string>();
  const failures = new Map<string, WeftError>();
  const lines = liveLines(shell.stderr);
  try {
    for await (const progress of readStream(connection.api.prepareImages({ images }), undefined, connection.target)) {
      showProgress(lines, progress);
      const { image, error, node, reference } = progress;
      if (error) failures.set(`${reference} on ${node || 'the nodes'}`, fromDetail(error));
      // The line for all nodes comes last and has the last word.
      if (image && (node === '' || !digests.has(reference))) digests.set(reference, image.digest);
    }
  } catch (error) {
    throw failures.size > 0 ? imageFailure(failures) : error;
  } finally {
    lines.finish();
  }
  if (failures.size > 0) throw imageFailure(failures);
  return digests;
}

/** All nodes usually fail for one reason: it is told once, with the nodes' names. */
function imageFailure(failures: ReadonlyMap<string, WeftError>): WeftError {
  const places = new Map<string, string[]>();
  for (const [place, error] of failures) places.set(error.message, [...(places.get(error.message) ?? []), place]);
  const [first] = failures.values();
  return new WeftError(first?.code ?? 'IMAGE_UNKNOWN', {
    what: 'the images are not on every node',
    why: [...places].map(([why, where]) => `${where.join(', ')}: ${why}`).join('\n'),
    hint: first?.hint,
  });
}

async function wantedImage(shell: Shell, reference: string, policy: PullPolicy): Promise<WantedImage> {
  const wanted = { reference, auth: undefined, refresh: policy === 'always', digest: '', offline: policy === 'never' };
  if (wanted.offline) return wanted;
  const { registry } = parseReference(reference);
  const auth = await credentialsFor(registry, await loadDockerConfig(shell.env), shell.env).catch((error: unknown) => {
    // The image may be on the nodes already, or public: the login is only missed where it is needed.
    say(shell, `warning: no login for ${registry} is sent: ${messageOf(error)}`);
    return undefined;
  });
  return { ...wanted, auth };
}

function showProgress(lines: ReturnType<typeof liveLines>, p: ImageProgress): void {
  if (p.node === '') return;
  const amount = p.totalBytes > 0 ? ` ${bytes(p.doneBytes)} of ${bytes(p.totalBytes)}` : p.doneBytes > 0 ? ` ${bytes(p.doneBytes)}` : '';
  const text = `image ${p.reference} on ${p.node}: ${p.message}`;
  lines.set(`${p.node}/${p.reference}`, text + amount, amount === '' ? text : '');
}

/** Without asking any registry: what the nodes have. Those that lack it get it from the others. @throws IMAGE_UNKNOWN, unless it is one and the same */
async function findOnNodes(shell: Shell, connection: Connection, references: readonly string[]): Promise<Map<string, string>> {
  const { nodes } = await callUnary(connection.api, 'listImages', {}, { target: connection.target });
  const seen = nodes.filter((n) => n.error === '');
  const found = new Map(references.map((reference) => [reference, digestOn(seen, reference)]));
  const lacked = references.filter((reference) => found.get(reference)?.lacking);
  if (lacked.length > 0)
    await pull(
      shell,
      connection,
      lacked.map((reference) => [reference, 'never'] as const),
    );
  return new Map([...found].map(([reference, { digest }]) => [reference, digest]));
}

/** What a reference means on these nodes, and whether any of them lacks it. @throws IMAGE_UNKNOWN */
function digestOn(nodes: readonly NodeImages[], reference: string): { digest: string; lacking: boolean } {
  const { registry, repository, tag, digest } = parseReference(reference);
  const name = tag === undefined ? undefined : normalizeReference(`${registry}/${repository}:${tag}`);
  const images = nodes.map((n) => n.images.find((i) => (digest === undefined ? i.name === name : i.digest === digest)));
  const [only, ...others] = new Set(images.flatMap((image) => image?.digest ?? []));
  if (only === undefined) {
    throw new WeftError('IMAGE_UNKNOWN', {
      what: `the image ${reference} is on no node`,
      why: `it is missing on ${nodes.map((n) => n.node).join(', ') || 'all nodes'}, and no registry is to be asked`,
    });
  }
  if (others.length > 0)
    throw new WeftError('IMAGE_UNKNOWN', {
      what: `the image ${reference} is not the same on every node`,
      hint: 'Load it anew with `ctl image load`, or let it be pulled.',
    });
  return { digest: only, lacking: images.includes(undefined) };
}
