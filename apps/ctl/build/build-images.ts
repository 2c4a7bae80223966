/** Builds the images of services on this machine, and brings each onto the nodes. */
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import type { BuildWish } from '#compose/build-wish.js';
import { normalizeReference } from '#runtime/reference.js';
import { spoolArchive, type Spool } from '#runtime/spool.js';
import type { Connection } from '../connection.js';
import { pushImages } from '../push-images.js';
import { say, type Shell } from '../shell.js';
import type { OrderedWish } from './build-order.js';
import { builderSteps, NAMES, type Builder } from './builder-steps.js';
import { findBuilder, runSteps } from './run-builder.js';

export interface BuildFlags {
  builder?: Builder;
  /** Over what the file says. */
  noCache?: boolean;
  pull?: boolean;
  args?: Readonly<Record<string, string>>;
  quiet?: boolean;
}

export interface BuiltImage {
  service: string;
  /** As the file, or its default, names it. */
  image: string;
  digest: string;
}

/**
 * One after another, so that what a builder prints can be read. Services that would make the same image the same way make it once.
 * @throws BAD_VALUE, COMMAND_FAILED, and what keeps an image from the nodes
 */
export async function buildImages(
  shell: Shell,
  connection: Connection,
  wishes: readonly OrderedWish[],
  flags: BuildFlags,
): Promise<BuiltImage[]> {
  if (wishes.length === 0) return [];
  const builder = await findBuilder(shell, flags.builder);
  const done = new Map<string, string>();
  const built: BuiltImage[] = [];
  for (const wish of wishes) {
    const { service, places: _, ...recipe } = wish;
    const key = JSON.stringify(recipe);
    const digest = done.get(key) ?? (await buildOne(shell, connection, builder, wish, flags));
    done.set(key, digest);
    built.push({ service, image: wish.image, digest });
  }
  return built;
}

async function buildOne(shell: Shell, connection: Connection, builder: Builder, wish: OrderedWish, flags: BuildFlags): Promise<string> {
  say(shell, `image ${wish.image}: building with ${NAMES[builder]}`);
  // Secrets are in it for the time of the build: nobody else may look.
  const directory = await mkdtemp(join(tmpdir(), 'weft-build-'));
  let spool: Spool | undefined;
  try {
    const archive = join(directory, 'image.tar');
    const secretFiles = await writeSecrets(directory, wish);
    const inlineFile = join(directory, 'Dockerfile');
    if (wish.dockerfileInline !== undefined) await writeFile(inlineFile, wish.dockerfileInline, { mode: 0o600 });
    await runSteps(shell, builderSteps(builder, wish, { archive, secretFiles, inlineFile, ...flags }), flags.quiet === true);
    spool = await spoolArchive(createReadStream(archive), directory);
    const named = underAllNames(spool, wish);
    const images = await pushImages(shell, connection, named, `image ${wish.image}`);
    const name = normalizeReference(wish.image);
    return images.find((image) => image.name === name)?.digest ?? (named.offers[0]?.target.digest as string);
  } finally {
    await spool?.remove();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Id → file. Those that come from a variable get one for the time of the build. */
async function writeSecrets(directory: string, wish: BuildWish): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const [i, secret] of wish.secrets.entries()) {
    files[secret.id] = 'file' in secret ? secret.file : join(directory, `secret-${i}`);
    if ('text' in secret) await writeFile(join(directory, `secret-${i}`), secret.text, { mode: 0o600 });
  }
  return files;
}

/** The builders write one name, or none, into the archive; the nodes get all. @throws IMAGE_INVALID */
function underAllNames(spool: Spool, wish: BuildWish): Spool {
  const [offer] = spool.offers;
  if (!offer) throw new WeftError('IMAGE_INVALID', `the builder left no image for ${wish.service}`);
  const names = new Set([wish.image, ...wish.tags].map(normalizeReference));
  return { ...spool, offers: [...names].map((name) => ({ ...offer, name })) };
}
