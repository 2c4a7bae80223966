import type { BuildWish } from '#compose/build-wish.js';
import { parseCompose } from '#compose/parse-compose.js';
import { inBuildOrder } from './build-order.js';
import { isDue, pullPolicyOf } from './build-for-up.js';
import { builderSteps, type Builder } from './builder-steps.js';

const project = (text: string) => parseCompose({ text, file: 'f.yaml', projectName: 'shop', projectDirectory: '/srv', env: {} });
const wishOf = (build: string): BuildWish => {
  const wish = project(`services:\n  web:\n    build: ${build}\n`).builds.get('web');
  if (!wish) throw new Error('nothing is built');
  return wish;
};
const argvs = (builder: Builder, build: string, more = {}) =>
  builderSteps(builder, wishOf(build), { archive: '/t/i.tar', secretFiles: {}, inlineFile: '/t/Dockerfile', ...more }).map(({ argv }) =>
    argv.join(' '),
  );

const NAME = 'docker.io/library/shop-web:latest';

it('docker buildx: one step, whose output is the archive', () => {
  expect(argvs('docker', './app')).toEqual([
    `docker buildx build --file=/srv/app/Dockerfile --tag=${NAME} --output=type=docker,dest=/t/i.tar /srv/app`,
  ]);
});

it('podman and buildah: built, then saved; with cached layers, in the format that knows health checks', () => {
  const build = (name: string) => `${name} build --layers --format=docker --file=/srv/app/Dockerfile --pull=missing --tag=${NAME} /srv/app`;
  expect(argvs('podman', './app')).toEqual([build('podman'), `podman save --format=docker-archive --output=/t/i.tar ${NAME}`]);
  expect(argvs('buildah', './app')).toEqual([build('buildah'), `buildah push ${NAME} docker-archive:/t/i.tar:${NAME}`]);
});

it('an image that another is made of stays with the builder, under its name', () => {
  const archive = '/t/i.tar';
  const text = `services:
  web: { build: { context: ., pull: true, additional_contexts: { base: "service:base" } } }
  base: { image: "base:1", build: ./base }
  other: { build: ./other }
`;
  const { builds } = project(text);
  const [web, other] = ['web', 'other'].flatMap((name) => builds.get(name) ?? []) as [BuildWish, BuildWish];
  const steps = (builder: Builder, wishes: BuildWish[]) =>
    inBuildOrder(wishes, builds).map((wish) => builderSteps(builder, wish, { archive, secretFiles: {} }).map(({ argv }) => argv.join(' ')));
  const [base, made, ...more] = steps('docker', [web]);
  expect(more).toEqual([]);
  expect(base?.[0]).toMatch(/--tag=docker\.io\/library\/base:1 .*\/srv\/base$/);
  expect(base?.[1]).toBe('docker load --quiet --input=/t/i.tar');
  expect(made).toEqual([expect.stringContaining('--build-context=base=docker-image://docker.io/library/base:1 ')]);
  // It is at no registry: what is newest is asked for, and what is here will do.
  expect(steps('buildah', [web])[1]?.[0]).toContain(' --pull=newer ');
  expect(inBuildOrder([other, web], builds).map(({ service, isContext }) => [service, isContext])).toEqual([
    ['other', false],
    ['base', true],
    ['web', false],
  ]);
  expect(() => inBuildOrder([web], new Map([['web', web]]))).toThrow(expect.objectContaining({ code: 'BAD_VALUE' }));
});

it('every key becomes an option with its value attached', () => {
  const build = `{ context: https://x.test/a.git, dockerfile: d/F, args: { A: "1 2" }, target: prod, cache_from: [a], cache_to: [b], no_cache: true, pull: true,
      labels: { l: v }, network: host, platforms: [linux/arm64], ssh: [default, k=/key], tags: ["shop:2"], shm_size: 1m, additional_contexts: { c: /d },
      extra_hosts: ["db:10.0.0.1"], ulimits: { nofile: { soft: 1, hard: 2 } } }`;
  const common =
    '--file=d/F --build-arg=A=1 2 --target=prod --cache-from=a --cache-to=b --no-cache --label=l=v --network=host --platform=linux/arm64 ' +
    '--secret=id=s,src=/s --ssh=default --ssh=k=/key --shm-size=1048576 --build-context=c=/d --ulimit=nofile=1:2';
  const more = { secretFiles: { s: '/s' } };
  expect(argvs('docker', build, more)).toEqual([
    `docker buildx build ${common} --add-host=db=10.0.0.1 --pull --tag=${NAME} --tag=docker.io/library/shop:2 --output=type=docker,dest=/t/i.tar https://x.test/a.git`,
  ]);
  expect(argvs('buildah', build, more)[0]).toBe(
    `buildah build --layers --format=docker ${common} --add-host=db:10.0.0.1 --pull=always --tag=${NAME} --tag=docker.io/library/shop:2 https://x.test/a.git`,
  );
});

it('what only one builder can do is told to it, and refused by the others at its place in the file', () => {
  const only = '{ context: ., entitlements: [network.host], privileged: true, provenance: true, sbom: true, no_cache_filter: [a, b] }';
  expect(argvs('docker', only)[0]).toContain(
    '--no-cache-filter=a,b --allow=network.host --allow=security.insecure --provenance=true --sbom=true --tag',
  );
  // Attestations make an index.
  expect(argvs('docker', only)[0]).toContain('--output=type=oci,');
  for (const key of ['entitlements: [network.host]', 'privileged: true', 'provenance: mode=max', 'sbom: true', 'no_cache_filter: [a]'])
    for (const builder of ['podman', 'buildah'] as const)
      expect(() => argvs(builder, `{ context: ., ${key} }`)).toThrow(
        `f.yaml:3:26: services.web.build.${key.split(':')[0]}: ${builder} cannot do this`,
      );
  expect(argvs('buildah', '{ context: ., isolation: chroot, sbom: false }')[0]).toContain('--isolation=chroot');
  expect(() => argvs('docker', '{ context: ., isolation: chroot }')).toThrow('services.web.build.isolation: docker buildx cannot do this');
});

it('several platforms become an index', () => {
  const build = '{ context: ., platforms: [linux/amd64, linux/arm64] }';
  expect(argvs('docker', build)[0]).toContain('--platform=linux/amd64,linux/arm64 --tag=');
  expect(argvs('docker', build)[0]).toContain('--output=type=oci,dest=/t/i.tar');
  const [rm, make, push] = argvs('podman', build);
  expect(rm).toBe(`podman manifest rm ${NAME}`);
  expect(make).toContain(`--manifest=${NAME}`);
  expect(push).toBe(`podman manifest push --all ${NAME} oci-archive:/t/i.tar:${NAME}`);
});

it('a Dockerfile in the compose file is read from where it was put', () => {
  expect(argvs('buildah', '{ context: ., dockerfile_inline: "FROM a" }')[0]).toContain('--file=/t/Dockerfile ');
});

it('the command line adds to the file', () => {
  expect(argvs('docker', '{ context: ., args: { A: 1, B: 2 } }', { args: { B: '3' }, noCache: true, pull: true })[0]).toContain(
    '--build-arg=A=1 --build-arg=B=3 --no-cache --pull ',
  );
});

it('a path that an option cannot hold is refused', () => {
  const wish = { ...wishOf('.'), ssh: { k: '/a,b' } };
  expect(() => builderSteps('docker', wish, { archive: '/t/i.tar', secretFiles: {} })).toThrow('cannot be handed to a builder');
});

describe('what `ctl up` builds', () => {
  const { builds, pulls } = project(
    'services: { plain: { build: . }, always: { build: ., pull_policy: build }, pulled: { build: ., image: "r.test/p", pull_policy: missing }, not: { image: n }, never: { image: m, pull_policy: never } }',
  );
  const due = (build: boolean | undefined, here: string[]) =>
    [...builds.values()].filter((wish) => isDue(wish, { pulls }, build, new Set(here))).map(({ service }) => service);

  it('what is on no node, what the file wants built each time; all with --build, nothing with --no-build', () => {
    expect(due(undefined, [])).toEqual(['plain', 'always']);
    expect(due(undefined, ['docker.io/library/shop-plain:latest'])).toEqual(['always']);
    expect(due(true, ['docker.io/library/shop-plain:latest'])).toEqual(['plain', 'always', 'pulled']);
    expect(due(false, [])).toEqual([]);
  });

  it('no registry is asked for what is built here', () => {
    const policy = (service: string, byHand?: 'always') => pullPolicyOf({ builds, pulls }, service, byHand);
    expect(['plain', 'always', 'pulled', 'not', 'never'].map((service) => policy(service))).toEqual([
      'never',
      'never',
      'missing',
      'missing',
      'never',
    ]);
    expect(['plain', 'pulled', 'not'].map((service) => policy(service, 'always'))).toEqual(['never', 'always', 'always']);
  });
});
