/** Small images made of the machine's own static busybox (Debian package busybox-static): no registry is needed. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

const BUSYBOX = '/bin/busybox';
const ARCHITECTURE_OF_NODE: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The `config` part of an image's config, as in Docker. */
export interface ImageProcess {
  User?: string;
  Env?: string[];
  Entrypoint?: string[];
  Cmd?: string[];
  WorkingDir?: string;
  StopSignal?: string;
  /** Times in nanoseconds. */
  Healthcheck?: { Test: string[]; Interval?: number; Timeout?: number; StartPeriod?: number; Retries?: number };
  Shell?: string[];
}

/** A file by path: its text or bytes, or a symlink, or bytes with a mode. */
export type ImageFile = string | Buffer | { content: string | Buffer; mode?: number } | { symlink: string };

export interface ArchiveOptions {
  /** docker.io/library/… is added as Docker does, by whoever imports it. */
  name: string;
  /** `docker`: as `docker save` of old. `oci`: an OCI image layout. `both`: as `docker save` since 25. */
  format: 'docker' | 'oci' | 'both';
  files?: Record<string, ImageFile>;
  config?: ImageProcess;
  architecture?: string;
  /** Compress the layers. */
  gzipLayers?: boolean;
  /** More layers above the first, each of these files. */
  layers?: Record<string, ImageFile>[];
}

interface Blob {
  digest: string;
  size: number;
  bytes: Buffer;
}

interface EntryHeader {
  name: string;
  type?: 'file' | 'directory' | 'symlink' | 'link';
  linkname?: string;
  mode?: number;
}

export type Entry = [EntryHeader, (string | Buffer)?];

/** The archive as bytes of a tar. */
export async function makeBusyboxArchive(options: ArchiveOptions): Promise<Buffer> {
  const image = await makeBusyboxImage(options);
  const blobPath = (blob: Blob) => `blobs/sha256/${blob.digest.slice('sha256:'.length)}`;
  const entries: Entry[] = [];
  if (options.format === 'docker') {
    const configPath = `${image.config.digest.slice('sha256:'.length)}.json`;
    const layerPath = (layer: Blob) => `${layer.digest.slice('sha256:'.length)}/layer.tar`;
    entries.push(
      [{ name: configPath }, image.config.bytes],
      ...image.layers.map((layer): Entry => [{ name: layerPath(layer) }, layer.bytes]),
    );
    entries.push([
      { name: 'manifest.json' },
      json([{ Config: configPath, RepoTags: [options.name], Layers: image.layers.map(layerPath) }]),
    ]);
    return tarOf(entries);
  }
  entries.push(...[...image.layers, image.config, image.manifest].map((blob): Entry => [{ name: blobPath(blob) }, blob.bytes]));
  const descriptor = { mediaType: image.mediaType, digest: image.manifest.digest, size: image.manifest.size };
  const annotations = { 'io.containerd.image.name': options.name, 'org.opencontainers.image.ref.name': 'latest' };
  entries.push([{ name: 'oci-layout' }, json({ imageLayoutVersion: '1.0.0' })]);
  entries.push([{ name: 'index.json' }, json({ schemaVersion: 2, manifests: [{ ...descriptor, annotations }] })]);
  if (options.format === 'both') {
    entries.push([
      { name: 'manifest.json' },
      json([{ Config: blobPath(image.config), RepoTags: [options.name], Layers: image.layers.map(blobPath) }]),
    ]);
  }
  return tarOf(entries);
}

/** The parts of the image: what a registry would hold. */
export async function makeBusyboxImage(
  options: Omit<ArchiveOptions, 'format'>,
): Promise<{ config: Blob; layers: Blob[]; manifest: Blob; mediaType: string }> {
  const tars = [
    await busyboxLayer(options.files ?? {}),
    ...(await Promise.all((options.layers ?? []).map((files) => tarOf(fileEntries(files))))),
  ];
  const layers = tars.map((tar) => blobOf(options.gzipLayers ? gzipSync(tar) : tar));
  const config = blobOf(
    json({
      architecture: options.architecture ?? ARCHITECTURE_OF_NODE[process.arch] ?? process.arch,
      os: 'linux',
      config: { Cmd: ['sh'], ...options.config },
      rootfs: { type: 'layers', diff_ids: tars.map((tar) => blobOf(tar).digest) },
    }),
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const layerType = `application/vnd.oci.image.layer.v1.tar${options.gzipLayers ? '+gzip' : ''}`;
  const manifest = blobOf(
    json({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config.digest, size: config.size },
      layers: layers.map((layer) => ({ mediaType: layerType, digest: layer.digest, size: layer.size })),
    }),
  );
  return { config, layers, manifest, mediaType };
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

function blobOf(bytes: Buffer): Blob {
  return { bytes, size: bytes.length, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}

/** busybox with a link for each of its programs, root and one ordinary user. */
async function busyboxLayer(files: Record<string, ImageFile>): Promise<Buffer> {
  const base: Entry[] = ['bin', 'etc', 'root', 'tmp', 'usr', 'usr/bin', 'var', 'home', 'home/guest'].map((name) => [
    { name, type: 'directory', mode: name === 'tmp' ? 0o1777 : 0o755 },
  ]);
  base.push([{ name: 'bin/busybox', mode: 0o755 }, await readFile(BUSYBOX)]);
  for (const program of PROGRAMS) base.push([{ name: `bin/${program}`, type: 'symlink', linkname: 'busybox' }]);
  const defaults: Record<string, ImageFile> = {
    'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home/guest:/bin/sh\n',
    'etc/group': 'root:x:0:\nguest:x:1000:\nextra:x:2000:guest\n',
  };
  return tarOf([...base, ...fileEntries({ ...defaults, ...files })]);
}

const PROGRAMS = (
  'sh cat echo ls sleep id env pwd true false kill ps mount umount mkdir rm touch chmod chown ip ping nc httpd wget hostname head tail grep ' +
  'stty tty yes dd wc date seq test [ printf sed awk sort unshare ulimit nslookup readlink stat mknod su vi tr cut uname timeout'
).split(' ');

function fileEntries(files: Record<string, ImageFile>): Entry[] {
  return Object.entries(files).map(([name, file]): Entry => {
    if (typeof file === 'string' || Buffer.isBuffer(file)) return [{ name, mode: 0o644 }, file];
    if ('symlink' in file) return [{ name, type: 'symlink', linkname: file.symlink }];
    return [{ name, mode: file.mode ?? 0o644 }, file.content];
  });
}

/** A tar of these entries, with fixed times: the same entries make the same bytes. */
export async function tarOf(entries: Entry[]): Promise<Buffer> {
  const tar = pack();
  for (const [header, content] of entries) {
    if (content === undefined) tar.entry({ mtime: new Date(0), ...header });
    else tar.entry({ mtime: new Date(0), ...header }, content);
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
