/** A docker-registry of the test's own on loopback, with one user, and images put into it. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../fixtures/free-ports.js';
import { makeBusyboxImage } from './busybox-archive.js';
import type { ImageFile } from './busybox-archive.js';
import { until } from './containerd-process.js';

export interface RegistryProcess {
  /** 127.0.0.1:PORT */
  host: string;
  auth: { username: string; password: string };
  /** Puts an image there; returns the digest of its manifest and those of its layers. */
  push(repository: string, tag: string, files: Record<string, ImageFile>): Promise<{ digest: string; layers: string[] }>;
  /** Lines of requests that it has served: method, path, status. */
  requests(): Promise<string[]>;
  /** Where a blob lies on disk. */
  blobPath(digest: string): string;
  /** With it the same registry can be served on another host's loopback too. */
  configFile: string;
  destroy(): Promise<void>;
}

export async function startRegistry(): Promise<RegistryProcess> {
  const directory = await mkdtemp(`/tmp/weft-registry-${process.pid}-`);
  const host = `127.0.0.1:${await freePort()}`;
  const auth = { username: 'reader', password: 'geheim:mit Zeichen' };
  await writeFile(join(directory, 'htpasswd'), execFileSync('htpasswd', ['-Bbn', '-C', '4', auth.username, auth.password]));
  await writeFile(join(directory, 'config.yml'), configText(directory, host));
  const logPath = join(directory, 'log');
  const log = openSync(logPath, 'a');
  const child = spawn('docker-registry', ['serve', join(directory, 'config.yml')], { stdio: ['ignore', log, log] });
  closeSync(log);
  const headers = { authorization: `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}` };
  await until(
    () =>
      fetch(`http://${host}/v2/`, { headers }).then(
        (r) => r.ok,
        () => false,
      ),
    'the registry answers',
  );
  return {
    host,
    auth,
    push: (repository, tag, files) => push(`http://${host}/v2/${repository}`, headers, tag, files),
    requests: async () => (await readFile(logPath, 'utf8')).split('\n'),
    configFile: join(directory, 'config.yml'),
    blobPath: (digest) => join(directory, 'data/docker/registry/v2/blobs/sha256', digest.slice(7, 9), digest.slice(7), 'data'),
    destroy: async () => {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await gone;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const configText = (directory: string, host: string): string => `
version: 0.1
log: { level: info, accesslog: { disabled: false } }
storage:
  filesystem: { rootdirectory: ${directory}/data }
http: { addr: "${host}", secret: test }
auth:
  htpasswd: { realm: test, path: ${directory}/htpasswd }
`;

async function push(
  base: string,
  headers: Record<string, string>,
  tag: string,
  files: Record<string, ImageFile>,
): Promise<{ digest: string; layers: string[] }> {
  const image = await makeBusyboxImage({ name: '', files, gzipLayers: true, layers: [{ 'etc/second': 'two' }] });
  for (const blob of [image.config, ...image.layers]) {
    const begun = await fetch(`${base}/blobs/uploads/`, { method: 'POST', headers });
    const location = new URL(begun.headers.get('location') ?? '', base);
    location.searchParams.set('digest', blob.digest);
    await expectStatus(
      await fetch(location, {
        method: 'PUT',
        headers: { ...headers, 'content-type': 'application/octet-stream' },
        body: new Uint8Array(blob.bytes),
      }),
      201,
    );
  }
  const put = await fetch(`${base}/manifests/${tag}`, {
    method: 'PUT',
    headers: { ...headers, 'content-type': image.mediaType },
    body: new Uint8Array(image.manifest.bytes),
  });
  await expectStatus(put, 201);
  return { digest: image.manifest.digest, layers: image.layers.map((l) => l.digest) };
}

async function expectStatus(response: Response, status: number): Promise<void> {
  if (response.status !== status) throw new Error(`${response.url} answered ${response.status}: ${await response.text()}`);
}
