import { ComposeErrors, formatIssue } from './issue.js';
import { parseCompose, type ComposeResult } from './parse-compose.js';

const parse = (text: string, env: Record<string, string> = {}): ComposeResult =>
  parseCompose({ text, file: 'stack.yaml', env, projectDirectory: '/p', projectName: 'demo' });

const linesOf = (text: string): string[] => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map(formatIssue);
    throw error;
  }
  return [];
};

const service = (keys: string): string => `services:\n  web:\n    image: busybox\n    ${keys}\n`;

describe('configs and secrets', () => {
  it('are mounted where Compose puts them, with the owner and mode that are asked for', () => {
    const { stack } = parse(`${service(`configs: [plain, { source: nginx.conf, target: /etc/nginx.conf, uid: "101", gid: 102, mode: 0440 }]
    secrets: [key, { source: key, target: other }, { source: key, target: /abs/key }]`)}
configs: { plain: { content: text }, nginx.conf: { file: ./nginx.conf } }
secrets: { key: { file: ./key } }`);
    expect(stack.services['web']?.container.files).toEqual([
      { kind: 'config', source: 'plain', target: '/plain' },
      { kind: 'config', source: 'nginx.conf', target: '/etc/nginx.conf', uid: 101, gid: 102, mode: 0o440 },
      { kind: 'secret', source: 'key', target: '/run/secrets/key' },
      { kind: 'secret', source: 'key', target: '/run/secrets/other' },
      { kind: 'secret', source: 'key', target: '/abs/key' },
    ]);
  });

  it('come from a file, the environment or the compose file; the stack holds their names and nothing else', () => {
    const { stack, sources } = parse(
      `${service('configs: [a, b]\n    secrets: [c, d]')}
configs: { a: { content: "x=$X" }, b: { environment: X, name: shared, labels: { tier: web } }, unused: { content: y } }
secrets: { c: { file: c.txt }, d: { external: true, name: vault } }`,
      { X: 'hidden' },
    );
    expect(sources.map(({ kind, key, from }) => ({ kind, key, from }))).toEqual([
      { kind: 'config', key: 'a', from: { text: 'x=hidden' } },
      { kind: 'config', key: 'b', from: { text: 'hidden' } },
      { kind: 'secret', key: 'c', from: { file: '/p/c.txt' } },
    ]);
    expect(stack.configs).toEqual({
      a: { key: 'a', name: 'demo_a', labels: {} },
      b: { key: 'b', name: 'shared', labels: { tier: 'web' } },
    });
    expect(stack.secrets).toEqual({
      c: { key: 'c', name: 'demo_c', labels: {} },
      d: { key: 'd', name: 'vault', external: true, labels: {} },
    });
    expect(JSON.stringify(stack)).not.toContain('hidden');
  });

  it('know where they are said', () => {
    const { sources } = parse(`${service('secrets: [c]')}secrets:\n  c:\n    file: ./c.txt\n`);
    expect(sources).toEqual([
      { kind: 'secret', key: 'c', from: { file: '/p/c.txt' }, at: { file: 'stack.yaml', line: 7, column: 11 }, path: 'secrets.c.file' },
    ]);
  });

  it('that are in the files, and used by no service, change nothing', () => {
    const plain = parse(service('labels: {}'));
    const more = parse(`${service('labels: {}')}secrets: { c: { file: ./c } }`);
    expect(more.stack).toEqual(plain.stack);
    expect(more.sources).toEqual([]);
  });

  it.each([
    [
      `${service('secrets: [s]')}secrets: { s: { environment: NO } }`,
      '5:30: secrets.s.environment: the variable "NO" is not set (set it in the environment or in an env file)',
    ],
    [
      `${service('secrets: [s]')}secrets: { s: { external: true, file: x } }`,
      '5:33: secrets.s.file: an external secret is in the cluster already (remove one of the two)',
    ],
    [
      `${service('secrets: [{ source: s, uid: root }]')}secrets: { s: { file: x } }`,
      '4:33: services.web.secrets[0].uid: expected the number of a user, found "root" (names are known in the container only)',
    ],
    [
      `${service('secrets: [{ source: s, gid: 4294967295 }]')}secrets: { s: { file: x } }`,
      '4:33: services.web.secrets[0].gid: expected the number of a group, found "4294967295" (names are known in the container only)',
    ],
    [
      `${service('configs: [{ source: s, target: ../x }]')}configs: { s: { file: x } }`,
      '4:15: services.web.configs[0]: a path in the container cannot contain "..", found "/../x"',
    ],
    [
      `${service('configs: [{ source: s, mode: rw }]')}configs: { s: { file: x } }`,
      expect.stringContaining('4:34: services.web.configs[0].mode'),
    ],
    [
      `${service('configs: [s, { source: t, target: /s }]')}configs: { s: { file: x }, t: { file: y } }`,
      '4:18: services.web.configs[1]: something is already mounted at "/s" by services.web.configs[0] at line 4',
    ],
    [
      `${service('configs: [{ source: s, target: /d }]\n    tmpfs: [/d]')}configs: { s: { file: x } }`,
      '4:15: services.web.configs[0]: something is already mounted at "/d" by services.web.tmpfs[0] at line 5',
    ],
    [
      `${service('configs: [s]')}configs: { s: { file: x, template_driver: golang } }`,
      expect.stringContaining('5:26: configs.s.template_driver: Weft refuses this key: files reach the containers as they are'),
    ],
    [`${service('configs: [s]')}configs: { s: { file: x, name: a b } }`, expect.stringContaining('5:32: configs.s.name: expected letters')],
    [`${service('configs: [-s]')}configs: { -s: { file: x } }`, expect.stringContaining('5:12: configs.-s: expected letters')],
  ])('%j is refused', (text, line) => {
    expect(linesOf(text)).toEqual([typeof line === 'string' ? `stack.yaml:${line}` : line]);
  });
});

describe('paths beside the compose file', () => {
  const mountsOf = (text: string) => parse(text).stack.services['web']?.container.mounts;

  it('travel, and are read-only unless they are a seed; absolute ones are on the nodes', () => {
    const text = service(`volumes:
      - ./nginx.conf:/etc/nginx.conf
      - ../shared:/shared:rw
      - /srv/data:/data
      - { type: bind, source: seeds, target: /seeds, x-weft: { seed: true, uid: 7 } }
      - { type: bind, source: ./ro, target: /ro, read_only: true, x-weft: { seed: true } }`);
    expect(mountsOf(text)).toEqual([
      { type: 'tree', source: 'nginx.conf', target: '/etc/nginx.conf', readOnly: true },
      { type: 'tree', source: '../shared', target: '/shared', readOnly: true },
      { type: 'bind', source: '/srv/data', target: '/data', readOnly: false, createHostPath: true },
      { type: 'tree', source: 'seeds', target: '/seeds', readOnly: false, seed: { uid: 7 } },
      { type: 'tree', source: 'ro', target: '/ro', readOnly: true, seed: {} },
    ]);
    expect(parse(text).sources.map(({ kind, key, from }) => ({ kind, key, from }))).toEqual([
      { kind: 'tree', key: 'nginx.conf', from: { file: '/p/nginx.conf' } },
      { kind: 'tree', key: '../shared', from: { file: '/shared' } },
      { kind: 'tree', key: 'seeds', from: { file: '/p/seeds' } },
      { kind: 'tree', key: 'ro', from: { file: '/p/ro' } },
    ]);
  });

  it('are known where they are said', () => {
    expect(parse(service('volumes:\n      - ./a:/a')).sources).toMatchObject([
      { at: { line: 5, column: 9 }, path: 'services.web.volumes[0].source' },
    ]);
  });

  it('of the home directory, and of variables, are what they say', () => {
    const { sources, stack } = parse(service('volumes: ["~/a:/a", "$D/b:/b", "$D:/c"]'), { HOME: '/home/me', D: './d' });
    expect(sources.map(({ from }) => from)).toEqual([{ file: '/home/me/a' }, { file: '/p/d/b' }, { file: '/p/d' }]);
    expect(stack.services['web']?.container.mounts.map((m) => m.type)).toEqual(['tree', 'tree', 'tree']);
    const absolute = parse(service('volumes: ["$D/b:/b"]'), { D: '/d' });
    expect(absolute.stack.services['web']?.container.mounts).toMatchObject([{ type: 'bind', source: '/d/b' }]);
  });

  it.each([
    ['volumes: [{ type: bind, source: ./a, target: /a, x-weft: { sed: true } }]', '"sed" is not a key of x-weft on a mount'],
    ['volumes: [{ type: bind, source: ./a, target: /a, x-weft: { uid: 7 } }]', '"uid" and "gid" are of a copy'],
    ['volumes: [{ type: bind, source: ./a, target: /a, x-weft: { seed: maybe } }]', 'expected true or false'],
    [
      'volumes: [{ type: bind, source: /a, target: /a, x-weft: { seed: true } }]',
      'only a file or directory from beside the compose file can be a seed',
    ],
  ])('%s is refused', (keys, message) => {
    expect(linesOf(service(keys))).toEqual([
      expect.stringMatching(new RegExp(`^stack.yaml:4:\\d+: services.web.volumes\\[0\\].*${message}`)),
    ]);
  });
});

describe('volumes and paths of the nodes', () => {
  it('are mounted as is asked', () => {
    const { stack } = parse(
      `${service(`volumes:
      - /:/host:ro,rslave
      - /srv/a:/a:z
      - data:/data:nocopy
      - { type: bind, source: /srv/b, target: /b, bind: { propagation: rshared, selinux: Z } }`)}volumes: { data: { external: true, name: kept } }`,
    );
    expect(stack.services['web']?.container.mounts).toEqual([
      { type: 'bind', source: '/', target: '/host', readOnly: true, propagation: 'rslave', createHostPath: true },
      { type: 'bind', source: '/srv/a', target: '/a', readOnly: false, createHostPath: true },
      { type: 'volume', source: 'kept', target: '/data', readOnly: false, nocopy: true },
      { type: 'bind', source: '/srv/b', target: '/b', readOnly: false, propagation: 'rshared', createHostPath: true },
    ]);
    expect(stack.volumes).toEqual({ data: { key: 'data', name: 'kept', external: true, labels: {} } });
  });

  it('are mounted in part, with or without what is mounted below, and are there or are made', () => {
    const { stack } = parse(
      `${service(`volumes:
      - { type: volume, source: data, target: /data, volume: { subpath: a/b/ } }
      - { type: bind, source: /srv/a, target: /a, read_only: true, bind: { recursive: readonly, create_host_path: false } }
      - { type: bind, source: /srv/b, target: /b, bind: { recursive: disabled } }
      - { type: bind, source: /srv/c, target: /c }`)}volumes: { data: { name: kept } }`,
    );
    expect(stack.services['web']?.container.mounts).toEqual([
      { type: 'volume', source: 'kept', target: '/data', readOnly: false, subpath: 'a/b' },
      { type: 'bind', source: '/srv/a', target: '/a', readOnly: true, recursive: 'readonly' },
      { type: 'bind', source: '/srv/b', target: '/b', readOnly: false, recursive: 'disabled', createHostPath: true },
      { type: 'bind', source: '/srv/c', target: '/c', readOnly: false },
    ]);
  });

  it.each([
    ['volumes: [{ type: volume, source: v, target: /a, volume: { subpath: ../b } }]\nvolumes: { v: }', 'a path in the volume: relative'],
    ['volumes: [{ type: volume, source: v, target: /a, volume: { subpath: /b } }]\nvolumes: { v: }', 'a path in the volume: relative'],
    ['volumes: [{ type: volume, source: v, target: /a, volume: { subpath: b/.. } }]\nvolumes: { v: }', 'a path in the volume: relative'],
    ['volumes: [{ type: volume, source: v, target: /a, volume: { labels: { a: b } } }]\nvolumes: { v: }', 'volumes without a name'],
    ['volumes: [{ type: image, source: i, target: /a, image: { subpath: b } }]', 'that is only mounted is of none'],
    ['volumes: [{ type: bind, source: /a, target: /a, bind: { recursive: readonly } }]', 'is about a mount that is read-only'],
    ['volumes: [{ type: bind, source: /a, target: /a, bind: { recursive: writable } }]', 'is about a mount that is read-only'],
    ['volumes: [{ type: bind, source: ./a, target: /a, bind: { recursive: disabled } }]', 'that travels'],
  ])('%s is refused', (keys, message) => expect(linesOf(service(keys))).toContainEqual(expect.stringContaining(message)));

  it.each([
    [
      'volumes: [{ type: bind, source: ./a, target: /a, bind: { propagation: shared } }]',
      'nothing is ever mounted in a file or directory that travels',
    ],
    ['volumes: [{ type: bind, source: /a, target: /a, bind: { propagation: wide } }]', 'propagation'],
    ['volumes: [{ type: bind, source: /a, target: /a, bind: { selinux: x } }]', 'selinux'],
  ])('%s is refused', (keys, message) => {
    expect(linesOf(service(keys))).toEqual([
      expect.stringMatching(new RegExp(`^stack.yaml:4:\\d+: services.web.volumes\\[0\\].*${message}`)),
    ]);
  });
});
