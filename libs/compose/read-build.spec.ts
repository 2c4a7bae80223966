import { ComposeErrors } from './issue.js';
import { parseCompose } from './parse-compose.js';

const given = { file: 'stack.yaml', projectName: 'shop', projectDirectory: '/srv/shop', env: { TOKEN: 't', OPEN: 'o' } };
const parse = (text: string) => parseCompose({ text, ...given });
const buildOf = (build: string, more = '') => parse(`services:\n  web:\n    build: ${build}\n${more}`).builds.get('web');

const issuesOf = (text: string): string[] => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map((i) => `${i.line}:${i.column} ${i.path}: ${i.message}`);
    throw error;
  }
  return [];
};

describe('build', () => {
  it('a directory alone: the image is named after stack and service', () => {
    const { stack, builds } = parse('services: { Web: { build: ./src } }');
    expect(stack.services['Web']?.container.image).toBe('shop-web');
    expect(builds.get('Web')).toMatchObject({
      service: 'Web',
      image: 'shop-web',
      context: '/srv/shop/src',
      dockerfile: 'Dockerfile',
      args: {},
    });
  });

  it('an image of its own name, and a service without build', () => {
    const { stack, builds, pulls } = parse(
      'services: { web: { build: ., image: "r.test/web:2", pull_policy: build }, db: { image: db, pull_policy: if_not_present } }',
    );
    expect(stack.services['web']?.container.image).toBe('r.test/web:2');
    expect([...builds.keys()]).toEqual(['web']);
    expect(Object.fromEntries(pulls)).toEqual({ web: 'build', db: 'missing' });
  });

  it('every key', () => {
    const build = `
      context: https://example.org/app.git#main
      dockerfile: docker/Dockerfile
      args: [A=1, OPEN, MISSING]
      target: prod
      cache_from: ["type=registry,ref=r.test/cache"]
      cache_to: ["type=inline"]
      no_cache: true
      no_cache_filter: deps
      pull: true
      labels: { a: b }
      network: host
      platforms: [linux/amd64, linux/arm64/v8]
      ssh: [default, key=./id]
      tags: ["r.test/web:1"]
      shm_size: 64m
      additional_contexts: { base: docker-image://alpine, files: ./files }
      extra_hosts: ["db:10.0.0.1"]
      privileged: true
      ulimits: { nproc: 5, nofile: { soft: 1, hard: 2 } }
      entitlements: [network.host]
      isolation: chroot
      provenance: true
      sbom: false`;
    expect(buildOf(build)).toEqual({
      service: 'web',
      image: 'shop-web',
      context: 'https://example.org/app.git#main',
      dockerfile: 'docker/Dockerfile',
      args: { A: '1', OPEN: 'o' },
      target: 'prod',
      cacheFrom: ['type=registry,ref=r.test/cache'],
      cacheTo: ['type=inline'],
      noCache: true,
      noCacheFilter: ['deps'],
      pull: true,
      labels: { a: 'b' },
      network: 'host',
      platforms: ['linux/amd64', 'linux/arm64/v8'],
      secrets: [],
      ssh: { default: '', key: '/srv/shop/id' },
      tags: ['r.test/web:1'],
      shmBytes: 67_108_864,
      additionalContexts: { base: 'docker-image://alpine', files: '/srv/shop/files' },
      serviceContexts: {},
      extraHosts: [{ name: 'db', address: '10.0.0.1' }],
      privileged: true,
      ulimits: [
        { name: 'nproc', soft: 5, hard: 5 },
        { name: 'nofile', soft: 1, hard: 2 },
      ],
      entitlements: ['network.host'],
      isolation: 'chroot',
      provenance: 'true',
      sbom: 'false',
      places: expect.objectContaining({ context: 'stack.yaml:4:7', isolation: 'stack.yaml:24:7' }),
    });
  });

  it('made of the image of another service', () => {
    const web = 'web: { build: { context: ., additional_contexts: { base: "service:db", files: ./files } } }';
    const db = (build: string) => `services:\n  ${web}\n  db: ${build}\n`;
    expect(parse(db('{ build: ./db }')).builds.get('web')).toMatchObject({
      additionalContexts: { files: '/srv/shop/files' },
      serviceContexts: { base: 'db' },
    });
    const at = '2:60 services.web.build.additional_contexts.base: ';
    expect(issuesOf(db('{ image: db }'))).toEqual([`${at}the service "db" has no "build"`]);
    expect(issuesOf(db('{ build: { context: ., additional_contexts: { x: "service:web" } } }'))).toEqual([
      `${at}the images of web and db would be made of one another`,
      '3:56 services.db.build.additional_contexts.x: the images of db and web would be made of one another',
    ]);
    // One that is there, and not asked for now, is a matter of whoever builds.
    expect(parseCompose({ ...given, text: db('{ build: ./db }'), services: ['web'] }).builds.get('web')?.serviceContexts).toEqual({
      base: 'db',
    });
  });

  it('a Dockerfile in the file itself', () => {
    expect(buildOf('{ context: ., dockerfile_inline: "FROM scratch" }')).toMatchObject({ dockerfileInline: 'FROM scratch' });
  });

  it.each([
    ['{ context: "-" }', 'build.context: a context cannot be read from standard input'],
    ['{ context: "service:db" }', 'build.context: Weft builds each service by itself'],
    ['{ context: ., additional_contexts: { a: "target:db" } }', 'additional_contexts.a: Weft builds each service by itself'],
    ['{ context: ., additional_contexts: { a: "service:gone" } }', 'additional_contexts.a: there is no service "gone"'],
    [
      '{ context: ., additional_contexts: { a: "service:web" } }',
      'additional_contexts.a: the images of web and web would be made of one another',
    ],
    ['{ context: ., target: "-x" }', 'build.target: expected the name of a stage'],
    ['{ context: ., dockerfile: "-x" }', 'build.dockerfile: expected a path'],
    ['{ context: ., platforms: [amd64] }', 'build.platforms[0]: expected a platform'],
    ['{ context: ., cache_from: ["--x"] }', 'build.cache_from[0]: expected a source'],
    ['{ context: ., tags: ["A b"] }', 'build.tags[0]: "A b" is not the name of an image'],
    ['{ context: ., ulimits: { "n x": 1 } }', '"n x" is not the name of a limit'],
    ['{ context: ., extra_hosts: ["db:nonsense"] }', 'expected an IP address'],
    ['{ context: ., shm_size: 0 }', 'build.shm_size: expected a size'],
    ['{ context: ., ssh: ["a b"] }', 'cannot be the id of a key'],
  ])('%s is refused at its place', (build, message) => {
    const [first, ...more] = issuesOf(`services:\n  web:\n    build: ${build}\n`);
    expect(first).toMatch(/^3:\d+ services\.web\./);
    expect(first).toContain(message);
    expect(more).toEqual([]);
  });

  it('pull_policy asks for what there is', () => {
    expect(issuesOf('services: { web: { image: a, pull_policy: build } }')).toEqual([
      expect.stringContaining('there is nothing to build the image from'),
    ]);
    expect(issuesOf('services: { web: { image: a, pull_policy: daily } }')).toEqual([expect.stringContaining('not "daily"')]);
  });
});

describe('develop.watch', () => {
  const watch = (rules: string) => `services: { web: { build: ., develop: { watch: ${rules} } } }`;

  it('rules with absolute paths and what each needs', () => {
    const rules =
      '[{ action: sync, path: ./src, target: /app, ignore: node_modules/, include: ["*.js"], initial_sync: true }, { action: rebuild, path: package.json }, ' +
      '{ action: restart, path: conf }, { action: sync+restart, path: c, target: /d }, { action: sync+exec, path: a, target: /b, exec: { command: reload now, user: root, working_dir: /w, environment: { A: 1 } } }]';
    expect(parse(watch(rules)).watches.get('web')).toEqual([
      { action: 'sync', path: '/srv/shop/src', target: '/app', include: ['*.js'], ignore: ['node_modules/'], initialSync: true },
      { action: 'rebuild', path: '/srv/shop/package.json', include: [], ignore: [], initialSync: false },
      { action: 'restart', path: '/srv/shop/conf', include: [], ignore: [], initialSync: false },
      { action: 'sync+restart', path: '/srv/shop/c', target: '/d', include: [], ignore: [], initialSync: false },
      {
        action: 'sync+exec',
        path: '/srv/shop/a',
        target: '/b',
        include: [],
        ignore: [],
        initialSync: false,
        exec: { command: ['reload', 'now'], user: 'root', workingDir: '/w', environment: { A: '1' } },
      },
    ]);
    expect(parse('services: { web: { image: a } }').watches.size).toBe(0);
  });

  it.each([
    ['[{ action: sync, path: a }]', 'the action sync needs a target'],
    ['[{ action: sync+restart, path: a }]', 'the action sync+restart needs a target'],
    ['[{ action: sync+restart, path: a, target: /b, exec: { command: c } }]', 'the action sync+restart runs no command'],
    ['[{ action: sync+exec, path: a, target: /b }]', 'the action sync+exec needs a command'],
    ['[{ action: sync, path: a, target: b }]', 'expected an absolute path in the container'],
    ['[{ action: rebuild, path: a, target: /b }]', 'the action rebuild copies nothing'],
    ['[{ action: sync, path: a, target: /b, exec: { command: c } }]', 'the action sync runs no command'],
    ['[{ action: sync+exec, path: a, target: /b, exec: { command: c, privileged: true } }]', 'Weft refuses this key'],
  ])('%s is refused', (rules, message) => {
    expect(issuesOf(watch(rules))).toEqual([expect.stringContaining(message)]);
  });

  it('nothing is rebuilt that is not built', () => {
    const text = 'services: { web: { image: a, develop: { watch: [{ action: rebuild, path: b }] } } }';
    expect(issuesOf(text)).toEqual([expect.stringContaining('there is nothing to rebuild')]);
  });
});
