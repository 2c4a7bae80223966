/** What a builder is told to do, as argument lists. Pure. Every value stands behind `--flag=`, so that none is taken for a flag. */
import { isAbsolute, join } from 'node:path';
import { WeftError } from '#base/errors.js';
import type { BuildWish } from '#compose/build-wish.js';
import { normalizeReference } from '#runtime/reference.js';

export const BUILDERS = ['docker', 'podman', 'buildah'] as const;
export type Builder = (typeof BUILDERS)[number];

export interface BuildOptions {
  /** Where the archive of the image goes: a path without ":" and ",". */
  archive: string;
  /** Id of a secret → the file that it is in. */
  secretFiles: Readonly<Record<string, string>>;
  /** Where the `dockerfile_inline` is: standard input will not do, buildah opens it by name. */
  inlineFile?: string;
  noCache?: boolean;
  pull?: boolean;
  /** Over those of the file. */
  args?: Readonly<Record<string, string>>;
}

export interface BuilderStep {
  argv: string[];
  /** Its failure is none: it takes away what may not be there. */
  mayFail?: boolean;
}

/** Its contexts are known to the builder (build-order.ts). */
type Wish = BuildWish & { isContext?: boolean };

/** In order; then there is the archive. @throws BAD_VALUE for what this builder cannot do, with its place in the file */
export function builderSteps(builder: Builder, wish: Wish, options: BuildOptions): BuilderStep[] {
  refuse(builder, wish);
  return builder === 'docker' ? dockerSteps(wish, options) : imageSteps(builder, wish, options);
}

const IS_URL = /^([a-z][a-z0-9+.-]*:\/\/|git@|github\.com\/|docker-image:)/;

/** Paths in an option made of parts are parted by commas. */
const isUnclear = (path: string): boolean => /[,"]/.test(path);

function refuse(builder: Builder, wish: BuildWish): void {
  const given: Record<string, boolean> =
    builder === 'docker'
      ? { isolation: wish.isolation !== undefined && wish.isolation !== 'default' }
      : {
          provenance: asks(wish.provenance),
          sbom: asks(wish.sbom),
          entitlements: wish.entitlements.length > 0,
          privileged: wish.privileged,
          no_cache_filter: wish.noCacheFilter.length > 0,
        };
  const key = Object.keys(given).find((one) => given[one]);
  if (key !== undefined) {
    throw new WeftError('BAD_VALUE', {
      what: `${wish.places[key] ?? ''}: services.${wish.service}.build.${key}: ${NAMES[builder]} cannot do this`,
      hint: builder === 'docker' ? 'Remove it, or build with --builder podman or buildah.' : 'Remove it, or build with --builder docker.',
    });
  }
  const paths = [...wish.secrets.flatMap((secret) => ('file' in secret ? [secret.file] : [])), ...Object.values(wish.ssh)];
  const odd = paths.find(isUnclear);
  if (odd !== undefined)
    throw new WeftError('BAD_VALUE', {
      what: `${JSON.stringify(odd)} cannot be handed to a builder`,
      why: 'the path has a comma or a quote in it',
    });
}

export const NAMES: Readonly<Record<Builder, string>> = { docker: 'docker buildx', podman: 'podman', buildah: 'buildah' };

const asks = (value: string | undefined): boolean => value !== undefined && value !== 'false';

function dockerSteps(wish: Wish, options: BuildOptions): BuilderStep[] {
  // Attestations and several platforms make an index, which only an OCI archive holds.
  const isIndex = wish.platforms.length > 1 || asks(wish.provenance) || asks(wish.sbom);
  const argv = [
    'docker',
    'buildx',
    'build',
    ...common(wish, options),
    ...wish.extraHosts.map(({ name, address }) => `--add-host=${name}=${address}`),
    ...(wish.pull || options.pull ? ['--pull'] : []),
    ...(wish.noCacheFilter.length > 0 ? [`--no-cache-filter=${wish.noCacheFilter.join(',')}`] : []),
    ...wish.entitlements.map((one) => `--allow=${one}`),
    ...(wish.privileged ? ['--allow=security.insecure'] : []),
    ...(wish.provenance === undefined ? [] : [`--provenance=${wish.provenance}`]),
    ...(wish.sbom === undefined ? [] : [`--sbom=${wish.sbom}`]),
    ...named(wish, 'tag'),
    `--output=type=${isIndex ? 'oci' : 'docker'},dest=${options.archive}`,
    wish.context,
  ];
  // A builder that writes an archive keeps no image: the next one is to find it by its name.
  return [{ argv }, ...(wish.isContext ? [{ argv: ['docker', 'load', '--quiet', `--input=${options.archive}`] }] : [])];
}

/** podman and buildah have the same options: they are one code. */
function imageSteps(builder: 'podman' | 'buildah', wish: BuildWish, options: BuildOptions): BuilderStep[] {
  const name = normalizeReference(wish.image);
  const isIndex = wish.platforms.length > 1;
  const argv = [
    builder,
    'build',
    // What has not changed keeps its digest: nothing is rolled out for it.
    '--layers',
    // The other format has no HEALTHCHECK and no SHELL.
    '--format=docker',
    ...common(wish, options),
    ...wish.extraHosts.map(({ name: host, address }) => `--add-host=${host}:${address}`),
    `--pull=${pullOf(wish, options)}`,
    ...(wish.isolation === undefined ? [] : [`--isolation=${wish.isolation}`]),
    ...named(wish, isIndex ? 'manifest' : 'tag'),
    wish.context,
  ];
  const build: BuilderStep = { argv };
  if (isIndex) {
    // A list of that name from before would be added to.
    const old: BuilderStep = { argv: [builder, 'manifest', 'rm', name], mayFail: true };
    return [old, build, { argv: [builder, 'manifest', 'push', '--all', name, `oci-archive:${options.archive}:${name}`] }];
  }
  if (builder === 'podman') return [build, { argv: ['podman', 'save', '--format=docker-archive', `--output=${options.archive}`, name] }];
  return [build, { argv: ['buildah', 'push', name, `docker-archive:${options.archive}:${name}`] }];
}

/** What was built here a moment ago is at no registry: `newer` takes what is here where that has none. */
function pullOf(wish: BuildWish, options: BuildOptions): string {
  if (!wish.pull && !options.pull) return 'missing';
  return Object.keys(wish.serviceContexts).length > 0 ? 'newer' : 'always';
}

const named = (wish: BuildWish, first: 'tag' | 'manifest'): string[] => [
  `--${first}=${normalizeReference(wish.image)}`,
  ...(first === 'tag' ? wish.tags.map((tag) => `--tag=${normalizeReference(tag)}`) : []),
];

function common(wish: BuildWish, options: BuildOptions): string[] {
  const pairs = (flag: string, record: Readonly<Record<string, string>>) => Object.entries(record).map(([k, v]) => `--${flag}=${k}=${v}`);
  const one = (flag: string, value: string | number | undefined) => (value === undefined ? [] : [`--${flag}=${value}`]);
  return [
    ...one('file', wish.dockerfileInline === undefined ? fileOf(wish) : options.inlineFile),
    ...pairs('build-arg', { ...wish.args, ...options.args }),
    ...one('target', wish.target),
    ...wish.cacheFrom.map((from) => `--cache-from=${from}`),
    ...wish.cacheTo.map((to) => `--cache-to=${to}`),
    ...(wish.noCache || options.noCache ? ['--no-cache'] : []),
    ...pairs('label', wish.labels),
    ...one('network', wish.network),
    ...(wish.platforms.length > 0 ? [`--platform=${wish.platforms.join(',')}`] : []),
    ...Object.entries(options.secretFiles).map(([id, file]) => `--secret=id=${id},src=${file}`),
    ...Object.entries(wish.ssh).map(([id, path]) => (path === '' ? `--ssh=${id}` : `--ssh=${id}=${path}`)),
    ...one('shm-size', wish.shmBytes),
    ...pairs('build-context', wish.additionalContexts),
    ...wish.ulimits.map(({ name, soft, hard }) => `--ulimit=${name}=${soft}:${hard}`),
  ];
}

/** Relative to the context, as in Compose; the builders' own option is relative to where they are started. */
function fileOf(wish: BuildWish): string | undefined {
  if (wish.dockerfile === undefined || isAbsolute(wish.dockerfile) || IS_URL.test(wish.context)) return wish.dockerfile;
  return join(wish.context, wish.dockerfile);
}
