/**
 * Manifests, indexes and configs of images, read from bytes that a stranger wrote. OCI image specification 1.0 and Docker's
 * image manifest v2 schema 2, which agree on all that is used here.
 */
import { z } from 'zod';
import { WeftError } from '#base/errors.js';
import { isDigest } from './reference.js';
import type { ImageHealthcheck } from './runtime.js';

export const MEDIA = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

export const isIndexType = (mediaType: string): boolean => mediaType === MEDIA.ociIndex || mediaType === MEDIA.dockerList;
export const isManifestType = (mediaType: string): boolean => mediaType === MEDIA.ociManifest || mediaType === MEDIA.dockerManifest;

const digest = z.string().refine(isDigest, 'a digest is sha256: and 64 hex digits');
const platform = z.object({ os: z.string().default(''), architecture: z.string().default(''), variant: z.string().optional() });
const descriptor = z.object({
  mediaType: z.string().default(''),
  digest,
  size: z.number().int().nonnegative(),
  platform: platform.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const index = z.object({ mediaType: z.string().optional(), manifests: z.array(descriptor) });
const manifest = z.object({ mediaType: z.string().optional(), config: descriptor, layers: z.array(descriptor) });

/** Go writes empty lists and maps as null. */
const nullable = <T extends z.ZodType>(type: T) => type.nullish().transform((v) => v ?? undefined);
/** Docker writes times in nanoseconds, and 0 for "not said". */
const nanoseconds = z
  .number()
  .nullish()
  .transform((ns) => (ns ? Math.max(1, Math.round(ns / 1e6)) : undefined));
const healthcheck = z.object({
  Test: nullable(z.array(z.string())),
  Interval: nanoseconds,
  Timeout: nanoseconds,
  StartPeriod: nanoseconds,
  StartInterval: nanoseconds,
  Retries: z
    .number()
    .int()
    .nullish()
    .transform((n) => n || undefined),
});
const process = z.object({
  User: nullable(z.string()),
  Env: nullable(z.array(z.string())),
  Entrypoint: nullable(z.array(z.string())),
  Cmd: nullable(z.array(z.string())),
  WorkingDir: nullable(z.string()),
  StopSignal: nullable(z.string()),
  Shell: nullable(z.array(z.string())),
  Healthcheck: nullable(healthcheck),
});
const config = z.object({
  architecture: z.string().default(''),
  os: z.string().default(''),
  variant: z.string().optional(),
  config: nullable(process),
  rootfs: z.object({ diff_ids: nullable(z.array(digest)) }),
});

export type Descriptor = z.infer<typeof descriptor>;
export type ImageIndex = z.infer<typeof index>;
export type ImageManifest = z.infer<typeof manifest>;
export type ImagePlatform = z.infer<typeof platform>;

export interface ImageConfig {
  platform: ImagePlatform;
  user?: string;
  env: string[];
  entrypoint: string[];
  cmd: string[];
  workingDir?: string;
  stopSignal?: string;
  healthcheck?: ImageHealthcheck;
  /** What runs a command that is one line, instead of `/bin/sh -c`. */
  shell?: string[];
  /** Digests of the uncompressed layers, lowest first. */
  diffIds: string[];
}

/** @throws IMAGE_INVALID */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch (cause) {
    throw new WeftError('IMAGE_INVALID', { what: `${what} is not JSON`, cause });
  }
}

/** Checks `value` against a schema. @throws IMAGE_INVALID with the place that is wrong */
export function decodeImagePart<T extends z.ZodType>(schema: T, value: unknown, what: string): z.infer<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new WeftError('IMAGE_INVALID', {
    what: `${what} is malformed`,
    why: `${issue?.path.join('.') || 'value'}: ${issue?.message ?? 'wrong'}`,
  });
}

/** An index or a manifest, told apart by what is in it (a media type inside the document is optional). @throws IMAGE_INVALID */
export function parseManifest(bytes: Uint8Array, what: string): { index: ImageIndex } | { manifest: ImageManifest } {
  const value = parseJson(bytes, what);
  if (typeof value === 'object' && value !== null && 'manifests' in value) return { index: decodeImagePart(index, value, what) };
  return { manifest: decodeImagePart(manifest, value, what) };
}

function healthOf(h: z.infer<typeof healthcheck> | undefined): ImageHealthcheck | undefined {
  if (!h?.Test?.length) return undefined;
  const { Test: test, Interval: intervalMs, Timeout: timeoutMs, StartPeriod: startPeriodMs, StartInterval: startIntervalMs } = h;
  return { test, intervalMs, timeoutMs, startPeriodMs, startIntervalMs, retries: h.Retries };
}

/** @throws IMAGE_INVALID */
export function parseConfig(bytes: Uint8Array, what: string): ImageConfig {
  const c = decodeImagePart(config, parseJson(bytes, what), what);
  const health = healthOf(c.config?.Healthcheck);
  return {
    platform: { os: c.os, architecture: c.architecture, ...(c.variant ? { variant: c.variant } : {}) },
    env: c.config?.Env ?? [],
    entrypoint: c.config?.Entrypoint ?? [],
    cmd: c.config?.Cmd ?? [],
    ...(c.config?.User ? { user: c.config.User } : {}),
    ...(c.config?.WorkingDir ? { workingDir: c.config.WorkingDir } : {}),
    ...(c.config?.StopSignal ? { stopSignal: c.config.StopSignal } : {}),
    ...(health ? { healthcheck: health } : {}),
    ...(c.config?.Shell?.length ? { shell: c.config.Shell } : {}),
    diffIds: c.rootfs.diff_ids ?? [],
  };
}

const ARCHITECTURE_OF_NODE: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The platform whose images run on this machine. */
export function hostPlatform(nodeArch: string): ImagePlatform {
  return { os: 'linux', architecture: ARCHITECTURE_OF_NODE[nodeArch] ?? nodeArch };
}

export const formatPlatform = (p: ImagePlatform): string => [p.os, p.architecture, p.variant].filter(Boolean).join('/');

/** Variants are not compared, but for arm64, whose only common one is v8. */
export const platformMatches = (p: ImagePlatform, host: ImagePlatform): boolean => p.os === host.os && p.architecture === host.architecture;

/** The entry of an index for this platform; entries without a platform are taken only if they are alone. */
export function selectPlatform(entries: readonly Descriptor[], host: ImagePlatform): Descriptor | undefined {
  const exact = entries.find((d) => d.platform && platformMatches(d.platform, host));
  return exact ?? (entries.length === 1 && !entries[0]?.platform ? entries[0] : undefined);
}
