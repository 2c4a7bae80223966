/** The language: several files, include, extends, profiles, env files, and what is printed. */
import { parse as parseYaml } from 'yaml';
import { ComposeErrors, formatIssue } from './issue.js';
import { COMPOSE_FILE } from './key-table.js';
import { loadModel } from './load-model.js';
import type { ModelInput } from './loading.js';
import { renderModel, type Plain } from './render-model.js';
import { renderYaml } from './render-yaml.js';
import { keyRows } from './shape.js';

type Files = Record<string, string>;

function load(main: string | string[], files: Files = {}, more: Partial<ModelInput> = {}) {
  const texts = typeof main === 'string' ? [main] : main;
  const names = texts.map((_, i) => (i === 0 ? 'compose.yaml' : `over${i}.yaml`));
  return loadModel({
    files: texts.map((text, i) => ({ path: `/p/${names[i]}`, shown: names[i] ?? '', text })),
    projectDirectory: '/p',
    projectName: 'demo',
    read: (path) => (files[path] === undefined ? undefined : { text: files[path] }),
    shown: (path) => path.replace(/^\/p\//, ''),
    prune: true,
    ...more,
  });
}

type Tree = { [key: string]: Tree };
const print = (main: string | string[], files?: Files, more?: Partial<ModelInput>): Tree => {
  const model = load(main, files, more);
  expect(model.context.issues.map(formatIssue)).toEqual([]);
  return renderModel(model.tree) as unknown as Tree;
};
const web = (main: string | string[], files?: Files, more?: Partial<ModelInput>): Tree =>
  print(main, files, more)['services']?.['web'] ?? {};

function faults(main: string | string[], files?: Files, more?: Partial<ModelInput>): string[] {
  try {
    return load(main, files, more).context.issues.map(formatIssue);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map(formatIssue);
    throw error;
  }
}

const service = (...lines: string[]): string =>
  ['services:', '  web:', '    image: app', ...lines.map((line) => `    ${line}`), ''].join('\n');

describe('several files', () => {
  it.each<[string, string, string, object]>([
    ['maps key by key', 'environment: { A: 1, B: 2 }', 'environment: [B=3, C=4]', { environment: { A: '1', B: '3', C: '4' } }],
    ['lists one after the other', 'security_opt: [a]', 'security_opt: [b]', { security_opt: ['a', 'b'] }],
    ['commands are replaced', 'command: [a, b]', 'command: c d', { command: ['c', 'd'] }],
    [
      'tests are replaced',
      'healthcheck: { test: [CMD, a], retries: 3 }',
      'healthcheck: { test: b }',
      { healthcheck: { test: ['CMD-SHELL', 'b'], retries: 3 } },
    ],
    [
      'ports by address, target, published and protocol',
      'ports: ["80:80", "81:80"]',
      'ports: [{ target: 80, published: 80, name: x }, "81:80/udp"]',
      {
        ports: [
          { name: 'x', mode: 'ingress', target: 80, published: '80', protocol: 'tcp' },
          { mode: 'ingress', target: 80, published: '81', protocol: 'tcp' },
          { mode: 'ingress', target: 80, published: '81', protocol: 'udp' },
        ],
      },
    ],
    [
      'volumes by target',
      'volumes: ["/a:/x", "/b:/y"]',
      'volumes: ["/c:/x:ro"]',
      {
        volumes: [
          { type: 'bind', source: '/c', target: '/x', read_only: true, bind: {} },
          { type: 'bind', source: '/b', target: '/y', bind: {} },
        ],
      },
    ],
    [
      'logging of another driver is replaced',
      'logging: { driver: a, options: { x: 1 } }',
      'logging: { driver: b }',
      { logging: { driver: 'b' } },
    ],
    [
      'logging of one driver is merged',
      'logging: { driver: a, options: { x: 1 } }',
      'logging: { options: { y: 2 } }',
      { logging: { driver: 'a', options: { x: '1', y: '2' } } },
    ],
    [
      'depends_on in both forms',
      'depends_on: [web2]',
      'depends_on: { web2: { condition: service_healthy } }',
      { depends_on: { web2: { condition: 'service_healthy', required: true } } },
    ],
    ['build as text and map', 'build: ./a', 'build: { target: t }', { build: { context: '/p/a', dockerfile: 'Dockerfile', target: 't' } }],
    ['env files by path', 'labels: [a=1]', 'labels: { b: 2 }', { labels: { a: '1', b: '2' } }],
    [
      '!override replaces',
      'ports: ["80:80"]',
      'ports: !override ["90:90"]',
      { ports: [{ mode: 'ingress', target: 90, published: '90', protocol: 'tcp' }] },
    ],
    ['!override of a map', 'environment: { A: 1 }', 'environment: !override { B: 2 }', { environment: { B: '2' } }],
  ])('%s', (_, base, over, expected) => {
    const other = '  web2: { image: b }\n';
    expect(web([service(base) + other, service(over)])).toMatchObject(expected);
  });

  it('!reset takes a key away, in lists and maps', () => {
    const found = web([
      service('ports: ["80:80"]', 'environment: { A: 1, B: 2 }', 'command: x', 'networks: { front: { aliases: [a] } }') +
        'networks: { front: {} }\n',
      service('ports: !reset []', 'environment: { A: !reset null }', 'command: !reset', 'networks: !reset'),
    ]);
    expect(found).toEqual({ environment: { B: '2' }, image: 'app', networks: { default: null } });
  });

  it('the last name wins, and variables of the project are known', () => {
    const model = load(
      ['name: one\n' + service(), 'name: ${N:-two}\n' + service('labels: { a: $COMPOSE_PROJECT_NAME }')],
      {},
      { projectName: undefined },
    );
    expect(model.name).toBe('two');
    expect(renderModel(model.tree)).toMatchObject({ name: 'two', services: { web: { labels: { a: 'two' } } } });
  });

  it('errors of all files at once, each at its place', () => {
    expect(faults([service('imge: x', 'cpu_shares: many'), service('ports: {}', 'networks: [back]')])).toEqual([
      'compose.yaml:4:5: services.web.imge: "imge" is not a key of a service (did you mean "image"?)',
      'compose.yaml:5:17: services.web.cpu_shares: expected a whole number, not negative, found "many"',
      'over1.yaml:4:12: services.web.ports: expected a list of ports, found a map',
      'over1.yaml:5:16: services.web.networks: the network "back" is not declared (add it under the top-level "networks")',
    ]);
  });
});

describe('include', () => {
  it('brings services, with their own directory and .env', () => {
    const files = {
      '/p/sub/a.yaml': 'include: [deeper/b.yaml]\n' + service('volumes: ["./x:/x"]', 'labels: { a: "${A}", b: "${B}" }') + 'x-note: 1\n',
      '/p/sub/deeper/b.yaml': 'services: { db: { image: db, env_file: db.env } }\n',
      '/p/sub/deeper/db.env': 'C=${A:-none}\n',
      '/p/sub/.env': 'A=inner\nB=inner\n',
    };
    const model = print('include: [sub/a.yaml]\n', files, { env: { A: 'outer' } });
    expect(model['services']).toMatchObject({
      web: { volumes: [{ type: 'bind', source: '/p/sub/x', target: '/x' }], labels: { a: 'outer', b: 'inner' } },
      db: { environment: { C: 'outer' } },
    });
    expect(model).not.toHaveProperty('x-note');
  });

  it('takes lists of files, another directory and env files', () => {
    const files = {
      '/p/sub/a.yaml': service('volumes: ["./x:/x"]'),
      '/p/sub/b.yaml': 'services: { web: { image: "b:$T" } }\n',
      '/p/e.env': 'T=1\n',
    };
    const main = 'include:\n  - path: [sub/a.yaml, sub/b.yaml]\n    project_directory: other\n    env_file: e.env\n';
    expect(web(main, files)).toMatchObject({ image: 'b:1', volumes: [{ source: '/p/other/x' }] });
  });

  it('stands under what the file says itself', () => {
    expect(
      web('include: [a.yaml]\nservices: { web: { environment: { A: 2 } } }\n', { '/p/a.yaml': service('environment: { A: 1, B: 1 }') }),
    ).toMatchObject({
      environment: { A: '2', B: '1' },
    });
  });

  it.each<[string, string, Files, string]>([
    [
      'itself',
      'include: [compose.yaml]\n',
      { '/p/compose.yaml': 'include: [compose.yaml]' },
      'compose.yaml:1:11: include[0]: this file includes itself: compose.yaml → compose.yaml',
    ],
    [
      'in a circle',
      'include: [a.yaml]\n',
      { '/p/a.yaml': 'include: [b.yaml]', '/p/b.yaml': 'include: [a.yaml]' },
      'b.yaml:1:11: include[0]: this file includes itself: compose.yaml → a.yaml → b.yaml → a.yaml',
    ],
    ['nothing', 'include: [a.yaml]\n', {}, 'compose.yaml:1:11: include[0]: there is no compose file a.yaml'],
  ])('%s is refused', (_, main, files, fault) => expect(faults(main, files)).toContain(fault));
});

describe('extends', () => {
  it('from the same file and another, again and again, paths by the file they stand in', () => {
    const files = {
      '/p/lib/base.yaml':
        'services:\n  a: { extends: b, volumes: ["./a:/a"], command: a }\n  b: { image: b, extends: { file: deep/c.yaml, service: c }, environment: { X: 1 } }\n  broken: { imge: x }\n',
      '/p/lib/deep/c.yaml': 'services: { c: { volumes: ["./c:/c"], environment: { X: 0, Y: 0 }, profiles: [p] } }\n',
    };
    expect(web('services: { web: { extends: { file: lib/base.yaml, service: a }, command: w, profiles: !reset [] } }\n', files)).toEqual({
      command: ['w'],
      environment: { X: '1', Y: '0' },
      image: 'b',
      networks: { default: null },
      volumes: [
        { type: 'bind', source: '/p/lib/deep/c', target: '/c', bind: {} },
        { type: 'bind', source: '/p/lib/a', target: '/a', bind: {} },
      ],
    });
  });

  it.each<[string, string, Files, string]>([
    [
      'itself',
      'services: { web: { extends: web } }',
      {},
      'compose.yaml:1:29: services.web.extends: this service extends itself: web → web',
    ],
    [
      'in a circle',
      'services: { web: { extends: b }, b: { extends: web } }',
      {},
      'compose.yaml:1:48: services.b.extends: this service extends itself: web → b → web',
    ],
    [
      'in a circle over files',
      'services: { web: { extends: { file: a.yaml, service: x } } }',
      {
        '/p/a.yaml': 'services: { x: { extends: { file: b.yaml, service: x } } }',
        '/p/b.yaml': 'services: { x: { extends: { file: a.yaml, service: x } } }',
      },
      'b.yaml:1:52: services.x.extends: this service extends itself: web → x → x → x',
    ],
    [
      'a mistyped service',
      'services: { web: { extends: dbb }, db: { image: x } }',
      {},
      'compose.yaml:1:29: services.web.extends: there is no service "dbb" in compose.yaml (did you mean "db"?)',
    ],
    [
      'no file',
      'services: { web: { extends: { file: a.yaml, service: x } } }',
      {},
      'compose.yaml:1:37: services.web.extends: there is no compose file a.yaml',
    ],
    [
      'a broken service',
      'services: { web: { extends: { file: a.yaml, service: x } } }',
      { '/p/a.yaml': 'services: { x: { image: a, prots: [] } }' },
      'a.yaml:1:28: services.x.prots: "prots" is not a key of a service (did you mean "ports"?)',
    ],
  ])('%s is refused', (_, main, files, fault) => expect(faults(main, files)).toContain(fault));
});

describe('profiles', () => {
  const main =
    'services:\n  web: { image: a, depends_on: { dbg: { condition: service_started, required: false } } }\n  dbg: { image: b, profiles: [debug, x] }\n  top: { image: c, depends_on: [web] }\n';
  const names = (more: Partial<ModelInput>): string[] => Object.keys(print(main, {}, more)['services'] ?? {});
  it('leave services out unless asked for', () => {
    expect(names({})).toEqual(['top', 'web']);
    expect(names({ profiles: ['debug'] })).toEqual(['dbg', 'top', 'web']);
    expect(names({ profiles: ['*'] })).toEqual(['dbg', 'top', 'web']);
    expect(names({ services: ['dbg'] })).toEqual(['dbg']);
    expect(names({ services: ['top'] })).toEqual(['top', 'web']);
    expect(load(main).profiles).toEqual(['debug', 'x']);
  });

  it('what is left out cannot be required', () => {
    expect(faults(service('depends_on: [b]') + '  b: { image: b, profiles: [p] }\n')).toEqual([
      'compose.yaml:4:18: services.web.depends_on: the service "b" is left out: none of its profiles is asked for (add --profile, or "required: false")',
    ]);
  });
});

describe('env_file and label_file', () => {
  const files = { '/p/a.env': 'A=1\nB=${A}2\nC=$H\n', '/p/raw.env': 'A=$H "x"\n', '/p/l.txt': 'l=1\nm=2\n' };
  it.each<[string, object]>([
    ['env_file: a.env', { A: '1', B: '12', C: 'h' }],
    ['env_file: [a.env, raw.env]', { A: 'h "x"', B: '12', C: 'h' }],
    ['env_file: [{ path: raw.env, format: raw }]', { A: '$H "x"' }],
    ['env_file: [{ path: gone.env, required: false }, a.env]', { A: '1' }],
    ['{ env_file: a.env, environment: { A: own, H: } }', { A: 'own', B: '12', H: 'h' }],
  ])('%s', (line, expected) => {
    const main = line.startsWith('{') ? `services: { web: { image: app, ${line.slice(1)} }\n` : service(line);
    expect(web(main, files, { env: { H: 'h' } })['environment']).toMatchObject(expected);
  });

  it('labels stand over those of files', () => {
    expect(web(service('label_file: l.txt', 'labels: { m: own }'), files)).toMatchObject({ labels: { l: '1', m: 'own' } });
  });

  it('is told with its place', () => {
    expect(faults(service('env_file: [gone.env]'))).toEqual(['compose.yaml:4:16: services.web.env_file[0]: there is no env file gone.env']);
    expect(faults(service('env_file: bad.env'), { '/p/bad.env': 'A=1\n1B=2\n' })).toEqual([
      'bad.env:2:1: services.web.env_file[0]: it does not begin with the name of a variable (this file is named at compose.yaml:4)',
    ]);
  });
});

describe('short forms are written out', () => {
  it.each<[string, object]>([
    ['ports: ["80", 90]', { ports: [{ target: 80 }, { target: 90 }] }],
    ['ports: ["[::1]:80:81/udp"]', { ports: [{ mode: 'ingress', host_ip: '::1', target: 81, published: '80', protocol: 'udp' }] }],
    ['ports: ["1.2.3.4::80"]', { ports: [{ host_ip: '1.2.3.4', target: 80 }] }],
    [
      'ports: ["8000-8001:80-81"]',
      {
        ports: [
          { target: 80, published: '8000' },
          { target: 81, published: '8001' },
        ],
      },
    ],
    ['ports: ["8000-8009:80"]', { ports: [{ target: 80, published: '8000-8009' }] }],
    ['volumes: [/data]', { volumes: [{ type: 'volume', target: '/data', volume: {} }] }],
    [
      'volumes: ["./a:/b/:ro,z,rshared"]',
      { volumes: [{ type: 'bind', source: '/p/a', target: '/b', read_only: true, bind: { selinux: 'z', propagation: 'rshared' } }] },
    ],
    [
      'devices: ["/dev/a", "/dev/b:/dev/c:r"]',
      {
        devices: [
          { source: '/dev/a', target: '/dev/a', permissions: 'rwm' },
          { source: '/dev/b', target: '/dev/c', permissions: 'r' },
        ],
      },
    ],
    ['extra_hosts: ["a:1.2.3.4", "a=::1", "b:[::2]"]', { extra_hosts: ['a=1.2.3.4', 'a=::1', 'b=::2'] }],
    ['extra_hosts: { a: [1.2.3.4, 5.6.7.8] }', { extra_hosts: ['a=1.2.3.4', 'a=5.6.7.8'] }],
    ['ulimits: { nofile: 10, nproc: { soft: 1, hard: 2 } }', { ulimits: { nofile: 10, nproc: { soft: 1, hard: 2 } } }],
    ['gpus: all', { gpus: [{ count: -1 }] }],
    ['stop_grace_period: 90s', { stop_grace_period: '1m30s' }],
    ['mem_limit: 1.5g', { mem_limit: '1610612736' }],
    ['memswap_limit: -1', { memswap_limit: '-1' }],
    ['privileged: "${P:-true}"', { privileged: true }],
    ['pids_limit: "${P:-10}"', { pids_limit: 10 }],
    ['cpus: "0.5"', { cpus: 0.5 }],
    ['cpu_rt_runtime: 400ms', { cpu_rt_runtime: 400_000 }],
    ['dns: 1.1.1.1', { dns: ['1.1.1.1'] }],
    ['tmpfs: /run', { tmpfs: ['/run'] }],
    ['command: sh -c "echo $$X"', { command: ['sh', '-c', 'echo $X'] }],
    ['entrypoint: []', { entrypoint: [] }],
    ['pull_policy: if_not_present', { pull_policy: 'missing' }],
    ['links: ["db:x"]', { links: ['db:x'], depends_on: { db: { condition: 'service_started', restart: true, required: true } } }],
    ['network_mode: "service:db"', { network_mode: 'service:db', depends_on: { db: { condition: 'service_started' } } }],
    [
      'deploy: { resources: { reservations: { devices: [{ capabilities: [gpu], count: all }] } } }',
      { deploy: { resources: { reservations: { devices: [{ capabilities: ['gpu'], count: -1 }] } } } },
    ],
  ])('%s', (line, expected) => expect(web(service(line) + '  db: { image: db }\n')).toMatchObject(expected));

  it('secrets, configs and resources', () => {
    const main = `${service('secrets: [s, { source: t, target: x, mode: 0440, uid: "1" }]', 'configs: [c]', 'volumes: ["v:/v"]')}secrets: { s: { file: ./s }, t: { environment: T } }
configs: { c: { content: "a $X" } }
volumes: { v: { external: { name: w } } }
`;
    expect(print(main, {}, { env: { X: 'x' } })).toMatchObject({
      services: {
        web: {
          secrets: [
            { source: 's', target: '/run/secrets/s' },
            { source: 't', target: 'x', mode: '0440', uid: '1' },
          ],
          configs: [{ source: 'c' }],
        },
      },
      secrets: { s: { name: 'demo_s', file: '/p/s' }, t: { name: 'demo_t', environment: 'T' } },
      configs: { c: { name: 'demo_c', content: 'a x' } },
      volumes: { v: { name: 'w', external: true } },
    });
  });
});

describe('as it is', () => {
  const main =
    'services: { web: { image: "a:${T:-1}", ports: ["${P}:80"], scale: "${S}", volumes: ["./a:/b", "${V}:/c"], env_file: a.env } }\n';
  it('variables, paths, defaults and env files can be left alone', () => {
    expect(web(main, {}, { interpolate: false, resolvePaths: false, normalise: false, resolveEnvFiles: false })).toEqual({
      image: 'a:${T:-1}',
      ports: ['${P}:80'],
      scale: '${S}',
      volumes: [{ type: 'bind', source: './a', target: '/b', bind: {} }, '${V}:/c'],
      env_file: [{ path: 'a.env', required: true }],
    });
  });
});

describe('contradictions', () => {
  it.each<[string, string]>([
    [service('depends_on: [web]'), 'these services wait for one another: web → web'],
    [
      service('depends_on: [b]') + '  b: { image: b, depends_on: [c] }\n  c: { image: c, depends_on: [web] }\n',
      'these services wait for one another: web → b → c → web',
    ],
    [service('depends_on: [gone]'), 'there is no service "gone"'],
    [service('depends_on: { b: {} }') + '  b: { image: b }\n', 'the key "condition" is missing'],
    [service('container_name: one', 'scale: 2'), '2 containers cannot have one name'],
    [service('cpus: 1', 'deploy: { resources: { limits: { cpus: 2 } } }'), 'deploy.resources.limits.cpus at line 5 is 2'],
    [service('secrets: [gone]'), 'the secret "gone" is not declared'],
    [service('configs: [gone]'), 'the config "gone" is not declared'],
    [service('network_mode: host', 'networks: [default]'), '"network_mode" or "networks", not both'],
    [service('healthcheck: { test: [a, b] }'), 'expected CMD, CMD-SHELL or NONE'],
    ['services: { web: {} }', 'the key "image" is missing'],
    [`${service('secrets: [s]')}secrets: { s: { file: a, environment: B } }`, 'one of file, environment is enough'],
    [`${service('configs: [s]')}configs: { s: {} }`, 'nothing says where it comes from'],
  ])('%j', (text, fault) => expect(faults(text)).toContainEqual(expect.stringContaining(fault)));
});

describe('the key table', () => {
  const rows = keyRows(COMPOSE_FILE);
  it('has each key path once, with a shape and a standing that says why', () => {
    expect(rows.length).toBeGreaterThan(300);
    expect(new Set(rows.map((row) => row.path)).size).toBe(rows.length);
    for (const row of rows) {
      expect(row.shape).not.toBe('');
      if (row.standing.is === 'refused') expect(row.standing.why).not.toBe('');
      if (row.standing.is === 'differs') expect(row.standing.how).not.toBe('');
    }
  });

  it('names the keys that the specification has', () => {
    const paths = new Set(rows.map((row) => row.path));
    for (const path of [
      'services.*.ports[].target',
      'services.*.deploy.placement.preferences[].spread',
      'networks.*.ipam.config[].subnet',
      'services.*.healthcheck.start_interval',
      'include[].env_file',
    ])
      expect(paths).toContain(path);
  });
});

describe('YAML that is printed', () => {
  it.each<[Plain]>([
    [{ a: 'x', b: ['y', { c: 1, d: [true, null] }], e: {}, f: [] }],
    [
      [
        '',
        'null',
        'yes',
        '1.0',
        '0x1',
        '1_000',
        '12:30',
        '2020-01-01',
        '~',
        '-',
        '- a',
        'a: b',
        'a #b',
        '#a',
        "it's",
        '"q"',
        ' a',
        'a ',
        '*a',
        '&a',
        '!a',
        '%a',
        '@a',
        '=',
        '<<',
      ],
    ],
    [{ 'a: b': 1, '': 2, yes: 3, '- x': 4 }],
    [{ a: 'one\ntwo\n', b: 'one\n\ntwo', c: 'x\n\n', d: ' x\ny', e: 'a \nb', f: 'a\tb', g: '\u0000\u2028\ufeffé😀', h: '\n' }],
    [[[1, [2, 'a\nb']], [{ a: 'x\ny\n', b: 1 }]]],
  ])('%j reads the same', (value) => {
    expect(parseYaml(renderYaml(value), { version: '1.2' })).toEqual(value);
    expect(parseYaml(renderYaml(value), { version: '1.1' })).toEqual(value);
  });
});
