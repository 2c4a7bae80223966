/** A builder of images on this machine, with a store of its own, that knows the base image of the tests. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TestBuilder {
  env: Record<string, string>;
  remove(): Promise<void>;
}

export const hasBuildah = (): boolean => spawnSync('buildah', ['version'], { stdio: 'ignore' }).status === 0;
export const NO_BUILDAH = 'buildah is not installed (deploy/setup.sh --tests installs it)';

/**
 * buildah as root with plain directories and chroot: what works in a container and without a network.
 * @param base name of the base image, which is that of deploy/examples
 */
export async function testBuilder(base: string): Promise<TestBuilder> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-builder-'));
  const storage = join(directory, 'storage.conf');
  await writeFile(storage, `[storage]\ndriver = "vfs"\ngraphroot = "${directory}/store"\nrunroot = "${directory}/run"\n`);
  execFileSync(process.execPath, ['deploy/examples/make-image.mjs', join(directory, 'base.tar'), base]);
  const path = process.env['PATH'] ?? '';
  const env = { PATH: path, HOME: directory, CONTAINERS_STORAGE_CONF: storage, BUILDAH_ISOLATION: 'chroot' };
  const pulled = spawnSync('buildah', ['pull', `docker-archive:${directory}/base.tar`], { env, encoding: 'utf8' });
  if (pulled.status !== 0) throw new Error(`buildah cannot take the base image: ${pulled.stderr}`);
  return { env, remove: () => rm(directory, { recursive: true, force: true }) };
}
