import { ComposeErrors, type ComposeIssue } from './issue.js';
import { normaliseProjectName } from './complete.js';
import { parseCompose } from './parse-compose.js';

const parse = (text: string, env: Record<string, string> = {}, projectName?: string) =>
  parseCompose({ text, file: 'stack.yaml', env, projectDirectory: '/srv/Shop', ...(projectName === undefined ? {} : { projectName }) });

function issuesOf(text: string, env: Record<string, string> = {}): ComposeIssue[] {
  try {
    parse(text, env);
  } catch (error) {
    if (error instanceof ComposeErrors) return [...error.issues];
    throw error;
  }
  return [];
}

const linesOf = (text: string, env: Record<string, string> = {}): string[] =>
  issuesOf(text, env).map((i) => `${i.line}:${i.column}: ${i.path}: ${i.message}`);

/** A file of one service with these lines in it. */
const service = (...lines: string[]): string =>
  ['services:', '  web:', '    image: busybox', ...lines.map((line) => `    ${line}`), ''].join('\n');

describe('a whole file', () => {
  it('becomes a stack', () => {
    const { stack, warnings } = parse(
      `
version: "3.9"
name: shop
x-common: &common
  image: registry.local:5000/team/app:1.2
  environment: { MODE: prod, LEVEL: 1.10 }
services:
  web:
    <<: *common
    command: sh -c 'echo "hi there"'
    ports: ["8080:80", "127.0.0.1:5300-5301:53-54/udp"]
    networks:
      front: { aliases: [www, web_shop] }
      back:
    volumes:
      - data:/var/lib/app/
      - ./conf/../etc:/etc/app:ro
      - { type: tmpfs, target: /scratch, tmpfs: { size: 1m, mode: 01777 } }
    tmpfs: /run:size=64k
    deploy: { replicas: 3, resources: { limits: { cpus: "0.5", memory: 64M, pids: 100 } } }
    stop_grace_period: 1m30s
    cap_add: [cap_net_admin]
    user: 1000:1000
  db:
    <<: *common
    environment: [MODE=test, HOME, GONE]
    entrypoint: []
networks:
  front: { driver: bridge, name: public, labels: [tier=front] }
  back: { internal: true, ipam: { config: [{ subnet: 10.9.0.0/24 }] } }
volumes:
  data: { labels: { keep: true } }
`,
      { HOME: '/root' },
    );
    expect(warnings).toEqual(['stack.yaml:2:1: version: this key is obsolete and means nothing']);
    expect(stack).toEqual({
      name: 'shop',
      services: {
        web: {
          name: 'web',
          container: {
            image: 'registry.local:5000/team/app:1.2',
            environment: { MODE: 'prod', LEVEL: '1.10' },
            command: ['sh', '-c', 'echo "hi there"'],
            labels: {},
            mounts: [
              { type: 'volume', source: 'shop_data', target: '/var/lib/app', readOnly: false },
              { type: 'tree', source: 'etc', target: '/etc/app', readOnly: true },
              { type: 'tmpfs', target: '/scratch', readOnly: false, sizeBytes: 1_048_576, mode: 0o1777 },
              { type: 'tmpfs', target: '/run', readOnly: false, sizeBytes: 65_536 },
            ],
            readOnlyRootfs: false,
            capAdd: ['NET_ADMIN'],
            capDrop: [],
            limits: { nanoCpus: 500_000_000, memoryBytes: 67_108_864, pids: 100 },
            stopGraceMs: 90_000,
            user: '1000:1000',
          },
          replicas: 3,
          networks: { front: { aliases: ['www', 'web_shop'] }, back: { aliases: [] } },
          ports: [
            { target: 80, published: 8080, protocol: 'tcp' },
            { target: 53, published: 5300, protocol: 'udp', hostIp: '127.0.0.1' },
            { target: 54, published: 5301, protocol: 'udp', hostIp: '127.0.0.1' },
          ],
        },
        db: {
          name: 'db',
          container: {
            image: 'registry.local:5000/team/app:1.2',
            environment: { MODE: 'test', HOME: '/root' },
            entrypoint: [],
            labels: {},
            mounts: [],
            readOnlyRootfs: false,
            capAdd: [],
            capDrop: [],
            stopGraceMs: 10_000,
          },
          replicas: 1,
          networks: { default: { aliases: [] } },
          ports: [],
        },
      },
      networks: {
        front: { key: 'front', name: 'public', driver: 'bridge', internal: false, labels: { tier: 'front' } },
        back: { key: 'back', name: 'shop_back', driver: 'overlay', internal: true, subnet: '10.9.0.0/24', labels: {} },
        default: { key: 'default', name: 'shop_default', driver: 'overlay', internal: false, labels: {} },
      },
      volumes: { data: { key: 'data', name: 'shop_data', labels: { keep: 'true' } } },
    });
  });

  it('tells all its errors at once, in the order of the file', () => {
    expect(
      linesOf(`services:
  web:
    imge: busybox
    ports: ["80/x"]
    build: "-"
  db:
    image: busybox
    networks: [nowhere]
    storage_opt: { size: 1G }
secrets: { key: { driver: vault } }
`),
    ).toEqual([
      '3:5: services.web.imge: "imge" is not a key of a service',
      expect.stringContaining('4:13: services.web.ports[0]: the protocol after "/" must be tcp, udp or sctp'),
      expect.stringContaining('5:12: services.web.build.context: a context cannot be read from standard input'),
      '8:16: services.db.networks: the network "nowhere" is not declared',
      expect.stringContaining('9:5: services.db.storage_opt: Weft refuses this key: containerd'),
      '10:19: secrets.key.driver: Weft refuses this key: there are no plugins that could hand out secrets',
    ]);
  });

  it('reads as one error with a line for each issue', () => {
    const text = service('imagee: x', 'port: []');
    expect(() => parse(text)).toThrow(
      expect.objectContaining({
        code: 'COMPOSE_INVALID',
        what: 'stack.yaml is not a stack that Weft can run: 2 errors',
        why: 'stack.yaml:4:5: services.web.imagee: "imagee" is not a key of a service (did you mean "image"?)\nstack.yaml:5:5: services.web.port: "port" is not a key of a service (did you mean "ports"?)',
      }),
    );
  });
});

describe('the stack is named', () => {
  it.each([
    ['by -p before all', 'name: written\n', 'given', 'given'],
    ['by name:', 'name: ${N:-written}\n', undefined, 'written'],
    ['by its directory', '', undefined, 'shop'],
  ])('%s', (_, head, given, expected) => {
    expect(parse(head + service(), {}, given).stack.name).toBe(expected);
  });

  it.each([
    ['My Shop_2', 'myshop_2'],
    ['--.x-', 'x'],
    ['ß', ''],
  ])('of %j as %j', (directory, name) => expect(normaliseProjectName(directory)).toBe(name));

  it('strictly', () => {
    for (const bad of ['Shop', 'a b', 'a\nb', 'a-', '', 'a.b', 'x'.repeat(64)]) {
      expect(() => parse(service(), {}, bad)).toThrow(ComposeErrors);
      expect(linesOf(`name: ${JSON.stringify(bad)}\n${service()}`)[0]).toMatch(/^1:7: name: expected lower-case letters/);
    }
  });
});

describe('valid service keys', () => {
  const container = (text: string, env: Record<string, string> = {}) => parse(text, env).stack.services['web']?.container;
  it.each<[string, object]>([
    ['command: echo "a  b" c\\ d', { command: ['echo', 'a  b', 'c d'] }],
    ['command: [sleep, 3600, "true"]', { command: ['sleep', '3600', 'true'] }],
    ['command: ""', { command: [] }],
    ['entrypoint: ["/bin/sh", "-c"]', { entrypoint: ['/bin/sh', '-c'] }],
    ['environment: { A: 1, B: true, C: "x=y", HOST: }', { environment: { A: '1', B: 'true', C: 'x=y', HOST: 'h1' } }],
    ['environment: [A=1, "B=x=y", C=, HOST, NONE]', { environment: { A: '1', B: 'x=y', C: '', HOST: 'h1' } }],
    ['environment:', { environment: {} }],
    ['hostname: a.b_c', { hostname: 'a.b_c' }],
    ['user: 1000', { user: '1000' }],
    ['working_dir: /srv/a b', { workingDir: '/srv/a b' }],
    ['labels: ["a.b=c", d]', { labels: { 'a.b': 'c', d: '' } }],
    ['cap_drop: [ALL]', { capDrop: ['ALL'] }],
    ['read_only: "${RO}"', { readOnlyRootfs: true }],
    ['stop_signal: SIGUSR1', { stopSignal: 'SIGUSR1' }],
    ['stop_grace_period: 1h', { stopGraceMs: 3_600_000 }],
    ['volumes: ["/:/host"]', { mounts: [{ type: 'bind', source: '/', target: '/host', readOnly: false }] }],
    [
      'volumes: [".:/a", "~/b:/b", "../c:/c:rw"]',
      {
        mounts: ['.', '../../home/me/b', '../c'].map((source, i) => ({
          type: 'tree',
          source,
          target: `/${'abc'[i]}`,
          readOnly: true,
        })),
      },
    ],
    [
      'tmpfs: [/a, "/b:size=1g,mode=700,ro"]',
      {
        mounts: [
          { type: 'tmpfs', target: '/a', readOnly: false },
          { type: 'tmpfs', target: '/b', readOnly: true, sizeBytes: 2 ** 30, mode: 0o700 },
        ],
      },
    ],
  ])('%s', (line, expected) => expect(container(service(line), { HOST: 'h1', RO: 'true', HOME: '/home/me' })).toMatchObject(expected));

  it.each<[string, object]>([
    ['ports: []', { ports: [] }],
    ['ports: ["0.0.0.0:80:80"]', { ports: [{ published: 80, target: 80, protocol: 'tcp' }] }],
    [
      'ports: [{ target: 80, published: "8080", mode: host, host_ip: 10.0.0.1, protocol: udp }]',
      { ports: [{ published: 8080, target: 80, protocol: 'udp', hostIp: '10.0.0.1' }] },
    ],
    ['scale: 0', { replicas: 0 }],
    ['deploy: { replicas: "${COUNT}" }', { replicas: 4 }],
    ['networks: [default]', { networks: { default: { aliases: [] } } }],
    ['networks: {}', { networks: { default: { aliases: [] } } }],
    ['x-note: { anything: [goes] }', { replicas: 1 }],
  ])('%s', (line, expected) => expect(parse(service(line), { COUNT: '4' }).stack.services['web']).toMatchObject(expected));
});

describe('invalid service keys', () => {
  it.each([
    ['image: "nginx:"', '4:12', 'the tag after ":"'],
    ['command: "a \'b"', '4:17', "a ' is not closed"],
    ['command: { a: b }', '4:14', 'expected a string or a list of strings, found a map'],
    ['command: [[a]]', '4:15', 'expected a string, found a list'],
    ['environment: ["=x"]', '4:19', 'cannot be the name of a variable'],
    ['environment: { A: [1] }', '4:23', 'expected a string, a number or a boolean, found a list'],
    ['environment: text', '4:18', 'expected a map or a list of KEY=value'],
    ['labels: { "": x }', '4:15', "a label's key"],
    ['hostname: "a\\nb"', '4:15', 'expected a host name'],
    ['user: "a b"', '4:11', 'expected USER[:GROUP]'],
    ['working_dir: srv', '4:18', 'an absolute path'],
    ['cap_add: [NET_ADMN]', '4:15', '"NET_ADMN" is not a capability'],
    ['cap_add: [KILL, CAP_KILL]', '4:21', 'already given at line 4'],
    ['stop_signal: term', '4:18', 'a signal like SIGTERM'],
    ['stop_grace_period: 10', '4:24', 'a time like "10s"'],
    ['stop_grace_period: 2h', '4:24', 'one hour at most'],
    ['scale: -1', '4:12', 'a whole number, not negative'],
    ['scale: 1.5', '4:12', 'a whole number, not negative'],
    ['deploy: { replicas: many }', '4:25', 'a whole number, not negative'],
    ['deploy: { replica: 3 }', '4:15', '"replica" is not a key of deploy'],
    ['deploy: { resources: { limits: { cpus: 0 } } }', '4:44', 'a number of CPUs'],
    ['deploy: { resources: { limits: { memory: 64x } } }', '4:46', 'a size like 64m'],
    ['ports: ["8000-8001:80-82"]', '4:13', 'the same length'],
    ['ports: ["0:80"]', '4:13', 'ports are numbers from 1 to 65535'],

    ['ports: ["[::1]:80:80"]', '4:13', 'expected an IPv4 address'],
    ['ports: ["1.2.3:80:80"]', '4:13', 'expected an IPv4 address'],
    ['ports: [{ target: 80, published: 80, mode: mesh }]', '4:48', 'expected one of ingress, host'],
    [
      'ports: ["80:80", "81:81", "80:8080"]',
      '4:31',
      'port 80/tcp of the node is already published by services.web.ports[0] at stack.yaml:4:13',
    ],
    ['ports: ["127.0.0.1:80:80", "80:81"]', '4:32', 'is already published'],
    ['networks: { default: { alias: [x] } }', '4:28', '"alias" is not a key of a network of a service'],
    ['networks: { default: { driver_opts: { a: b } } }', '4:28', 'Weft refuses this key: an interface has its name by'],
    ['networks: { default: { aliases: ["a b"] } }', '4:38', 'expected a name of one label'],
    ['networks: { other: }', '4:17', 'the network "other" is not declared'],
    ['volumes: [/data]', '4:15', 'a volume needs a source'],
    ['volumes: ["data:/data"]', '4:15', 'the volume "data" is not declared'],
    ['volumes: [{ type: bind, target: /b, source: /a, bind: { recursive: readonly } }]', '4:72', 'is about a mount that is read-only'],
    ['volumes: ["/a:b"]', '4:15', 'an absolute path in the container'],
    ['volumes: ["/a:/"]', '4:15', 'nothing can be mounted at /'],
    ['volumes: ["/a:/b"]\n    tmpfs: [/b]', '5:13', 'something is already mounted at "/b"'],
    ['volumes: ["~/a:/b"]', '4:15', '"~" cannot be resolved'],
    ['volumes: [{ type: tmpfs, target: /b, tmpfs: { mode: "999" } }]', '4:57', 'permission bits'],
    ['volumes: [{ type: volume, target: /b }]', '4:15', 'a volume needs a source'],
    ['volumes: [{ type: volume, target: /b, source: v, volume: { subpath: ../x } }]', '4:73', 'a path in the volume: relative'],
    ['tmpfs: "/a:uid=5"', '4:12', 'expected the options'],
    ['storage_opt: { size: 1G }', '4:5', 'Weft refuses this key: '],
    ['restrat: always', '4:5', '"restrat" is not a key of a service'],
    ['"a\\nb": 1', '4:5', '"a\\nb" is not a key of a service'],
  ])('%s', (line, place, message) => {
    const text = line.startsWith('image') ? service(line).replace('    image: busybox\n', '    x-a: 1\n') : service(line);
    const issues = issuesOf(text);
    expect(issues.map((i) => [`${i.line}:${i.column}`, i.message])).toContainEqual([place, expect.stringContaining(message)]);
  });

  it('says which key was probably meant', () => {
    const hint = (line: string) => issuesOf(service(line))[0]?.hint;
    expect(hint('enviroment: {}')).toBe('did you mean "environment"?');
    expect(hint('working-dir: /')).toBe('did you mean "working_dir"?');
    expect(hint('zzzz: 1')).toBe('keys of your own begin with "x-"');
  });
});

describe('names and the top level', () => {
  it.each<[string, string, string]>([
    ['', '1:1', 'the file is empty'],
    ['- a', '1:1', 'found a list'],
    ['name: x', '1:1', 'the key "services" is missing'],
    ['services: {}', '1:1', 'at least one service'],
    ['services: 5', '1:11', 'a map of services'],
    ['services:\n  web:', '2:7', 'expected a service, a map, found nothing'],
    ['services:\n  "we\\nb": { image: a }', '2:3', '"we\\nb" is not a valid name for a service'],
    ['services:\n  web-: { image: a }', '2:3', 'must be a host name'],
    ['services:\n  web: { image: a }\n  Web: { image: a }', '3:3', 'in case only'],
    [`services:\n  ${'a'.repeat(60)}: { image: a }`, '2:3', 'longer than the 63 characters'],
    [`${service()}networks:\n  "a\\nb":`, '5:3', 'is not a valid name for a network'],
    [`${service()}networks:\n  a: { driver: macvlan }`, '5:3', 'needs a parent'],
    [`${service()}networks:\n  a: { name: "a b" }`, '5:14', 'expected letters, digits'],
    [`${service()}networks:\n  a: { ipam: { config: [{ subnet: 10.0.0.1/24 }] } }`, '5:35', 'has host bits set'],
    [`${service()}networks:\n  a: { ipam: { config: [{ subnet: "fd00::/64" }] } }`, '5:35', 'an IPv6 subnet on a network without IPv6'],
    [`${service()}networks:\n  a: { ipam: { config: [{ subnet: 10.0.0.0/30 }] } }`, '5:35', '/29 or larger'],
    [
      `${service()}networks:\n  a: { ipam: { config: [{ subnet: 10.0.0.0/16 }] } }\n  b: { ipam: { config: [{ subnet: 10.0.7.0/24 }] } }`,
      '6:35',
      'overlaps 10.0.0.0/16 of networks.a at stack.yaml:5:35',
    ],
    [`${service()}networks:\n  a: { name: n }\n  b: { name: n }`, '6:3', 'is already that of networks.a'],
    [`${service()}volumes:\n  a: { driver: nfs }`, '5:16', 'expected "local", found "nfs"'],
    [`${service()}volumes:\n  a: { driver_opts: { type: ext4, device: /dev/sda1 } }`, '5:29', 'Weft mounts no ext4'],
    [`${service()}servces: {}`, '4:1', '"servces" is not a key of a compose file'],
    [
      'services:\n  a: { image: x, ports: ["80:1"] }\n  b: { image: x, ports: ["80:2"] }',
      '3:26',
      'already published by services.a.ports[0] at stack.yaml:2:26',
    ],
    ['services:\n  a: { image: x, scale: 2, deploy: { replicas: 3 } }', '2:18', 'deploy.replicas at line 2 is 3'],
  ])('%j', (text, place, message) => {
    expect(issuesOf(text).map((i) => [`${i.line}:${i.column}`, i.message])).toContainEqual([place, expect.stringContaining(message)]);
  });

  it('takes x- keys for notes everywhere, aloud where a service might have been meant', () => {
    const { stack, warnings } = parse(
      `x-a: 1\nservices:\n  x-base: { image: a }\n  web: { image: a, x-b: 2, deploy: { x-c: 3 } }\nnetworks: { x-n: }\n`,
    );
    expect(Object.keys(stack.services)).toEqual(['web']);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toMatch(/^stack\.yaml:3:3: services\.x-base: .*not taken for a service/);
  });
});

describe('YAML', () => {
  it.each<[string, string, string]>([
    ['a: [1', '1:6', 'not valid YAML'],
    ['a: b: c', '1:4', 'not valid YAML'],
    ['a: 1\n---\nb: 2', '3:1', '"b" is not a key'],
    [service('user: a', 'user: b'), '5:5', 'already given at line 4'],
    [service('environment: { 80: a, "80": b }'), '4:27', 'already given at line 4'],
    [service('labels: *gone'), '4:13', 'no anchor &gone'],
    [service('labels: &a [*a]'), '4:17', 'inside the value it stands for'],
    [service('<<: [1]'), '4:5', 'must be an alias of a map'],
    [service('? [a, b]', ': c'), '4:7', 'a key must be a plain word'],
    [service(': c'), '4:1', 'a key must be a plain word'],
    [`a: ${'['.repeat(20_000)}`, '1:1', 'nested too deeply'],
    [service(`x-deep: ${'['.repeat(200)}${']'.repeat(200)}`), '4:75', 'nested deeper than 64 levels'],
  ])('%#', (text, place, message) => {
    expect(issuesOf(text).map((i) => [`${i.line}:${i.column}`, i.message])).toContainEqual([place, expect.stringContaining(message)]);
  });

  it('is read as version 1.2: yes, no and 22:22 are strings', () => {
    expect(parse(service('labels: { a: yes, b: 22:22, c: 0x1F }')).stack.services['web']?.container.labels).toEqual({
      a: 'yes',
      b: '22:22',
      c: '0x1F',
    });
  });

  it('lets merge keys fill in only what is not given, first source first', () => {
    const { stack } = parse(`
x-a: &a { image: a, user: a, hostname: a }
x-b: &b { user: b, working_dir: /b }
services:
  web: { <<: [*b, *a], image: own }
`);
    expect(stack.services['web']?.container).toMatchObject({ image: 'own', user: 'b', hostname: 'a', workingDir: '/b' });
  });

  it('stays small under an alias bomb', () => {
    const levels = Array.from({ length: 12 }, (_, i) => `x-l${i + 1}: &l${i + 1} [${`*l${i},`.repeat(9)}]`);
    expect(parse(`x-l0: &l0 [a, b]\n${levels.join('\n')}\n${service()}`).stack.name).toBe('shop');
    const wide = `x-p: &p [${Array.from({ length: 5000 }, (_, i) => `"${i + 1}:1"`).join(',')}]\nservices:\n${Array.from({ length: 200 }, (_, i) => `  s${i}: { image: a, environment: *p }`).join('\n')}`;
    expect(issuesOf(wide).at(-1)?.message ?? '').toMatch(/more than 500000 values/);
    const merges = `x-m: &m { ${Array.from({ length: 3000 }, (_, i) => `k${i}: 1`).join(', ')} }\nx-n: { <<: [${'*m,'.repeat(5000)}] }\n${service()}`;
    expect(issuesOf(merges)[0]?.message).toMatch(/merge keys of this file copy more than/);
  });

  it('of more than four megabytes is refused unread', () => {
    expect(linesOf(`#${' '.repeat(4 * 1024 * 1024)}\n${service()}`)).toEqual(['1:1: : the file is larger than 4194304 characters']);
  });
});

describe('variables', () => {
  it('are put into values, with their place where that fails', () => {
    expect(parse(service('user: ${U:-me}', 'labels: { price: 5$$ }'), {}).stack.services['web']?.container).toMatchObject({
      user: 'me',
      labels: { price: '5$' },
    });
    expect(linesOf(service('user: a${U:?say who}'))).toEqual(['4:12: services.web.user: the variable U must be set: say who']);
    expect(linesOf(service('labels: { a: "x ${ y" }'))).toEqual([
      expect.stringMatching(/^4:21: services\.web\.labels\.a: "\$\{" must be followed/),
    ]);
    expect(linesOf(service('command:', '  - >-', '    one', '    two ${ y'))).toEqual([
      expect.stringMatching(/^7:13: .* must be followed/),
    ]);
  });

  it('that are not set are empty, and warned of', () => {
    expect(parse(service('labels: { a: "$NONE" }')).warnings).toEqual([
      'stack.yaml:4:18: services.web.labels.a: the variable NONE is not set; an empty string is used',
    ]);
  });
});

describe('keys that Weft does not do', () => {
  it('are refused with the reason, unless they ask for nothing', () => {
    expect(linesOf(service('isolation: hyperv', 'privileged: false', 'init: false', 'devices: []', 'gpus: all'))).toEqual([
      '4:5: services.web.isolation: Weft refuses this key: it is for Windows containers',
      '8:5: services.web.gpus: Weft refuses this key: Weft cannot hand GPUs to containers',
    ]);
  });
});

describe('ports', () => {
  const read = (ports: string) => parse(`services:\n  web:\n    image: busybox\n    ports: ${ports}\n`).stack.services['web']?.ports;
  it.each([
    ['["80:80/sctp"]', [{ target: 80, published: 80, protocol: 'sctp' }]],
    ['[80]', [{ target: 80, published: 30_000, protocol: 'tcp', chosenFrom: { first: 30_000, last: 32_767 } }]],
    ['["8000-8010:80"]', [{ target: 80, published: 8000, protocol: 'tcp', chosenFrom: { first: 8000, last: 8010 } }]],
    ['[{ target: 80, published: 8080, mode: host }]', [{ target: 80, published: 8080, protocol: 'tcp', mode: 'host' }]],
    ['[{ target: 80, published: 8080, mode: ingress }]', [{ target: 80, published: 8080, protocol: 'tcp' }]],
  ])('%s', (text, ports) => expect(read(text)).toEqual(ports));
});
