/** Whatever the text: a stack that the model accepts, or errors that all have a place in the file. Never a crash, never a hang. */
import fc from 'fast-check';
import { stackSchema } from '#model/stack.js';
import { ComposeErrors, formatIssue } from './issue.js';
import { loadModel } from './load-model.js';
import { parseCompose } from './parse-compose.js';
import { renderModel } from './render-model.js';
import { renderYaml } from './render-yaml.js';

const WHOLE = `name: shop
x-common: &common
  image: busybox:1.36
  environment: { A: "\${A:-1}", B: }
services:
  web:
    <<: *common
    command: sh -c 'echo hi'
    ports: ["8080:80", "127.0.0.1:5300-5301:53-54/udp", { target: 1, published: 2 }]
    networks: { front: { aliases: [www] }, default: }
    volumes: ["data:/data:ro", "./a:/a", { type: tmpfs, target: /t, tmpfs: { size: 1m, mode: 0700 } }]
    tmpfs: [/run]
    deploy: { replicas: 3, resources: { limits: { cpus: "0.5", memory: 64M, pids: 10 } } }
    stop_grace_period: 1m
    cap_add: [NET_ADMIN]
  db: { image: "db@sha256:${'0'.repeat(64)}", labels: [a=b], scale: 2, user: 1, read_only: true }
networks: { front: { internal: true, ipam: { config: [{ subnet: 10.0.0.0/24 }] } } }
volumes: { data: { driver: local } }
`;

/** Most of what the language has, in files that override, include and extend. */
const LANGUAGE = `name: \${N:-shop}
include: [b.yaml, { path: [c.yaml], env_file: e.env }]
x-a: &a { image: "i:\${T}", ports: ["80-81:90-91/udp", { target: 1 }], env_file: [e.env] }
services:
  web:
    <<: *a
    extends: { file: b.yaml, service: base }
    depends_on: { db: { condition: service_healthy, required: false } }
    healthcheck: { test: curl x, interval: 1m, retries: 3 }
    ports: !override ["8080:80"]
    environment: !reset
    build: { context: ., args: [A=1, B], ssh: [default], secrets: [s] }
    secrets: [s, { source: s, target: t, mode: 0440 }]
    volumes: ["./a:/a:ro,z", v:/v, /anon, { type: tmpfs, target: /t, tmpfs: { size: 1m } }]
    deploy: { mode: global, placement: { constraints: [a==b] }, update_config: { delay: 10s } }
    ulimits: { nofile: 1, nproc: { soft: 1, hard: 2 } }
    extra_hosts: ["a:1.2.3.4"]
    gpus: all
    devices: ["/dev/a:/dev/b:r"]
    develop: { watch: [{ path: ./x, action: sync, target: /x }] }
    profiles: [p]
  db: { image: d, extends: web, logging: { driver: x, options: { a: 1 } }, command: 'a "b c"' }
networks: { n: { ipam: { config: [{ subnet: 10.0.0.0/24 }] }, external: true } }
volumes: { v: { driver_opts: { o: bind }, external: { name: x } } }
secrets: { s: { file: ./s } }
configs: { c: { content: "\${X:?no}" } }
`;

function checkLanguage(text: string): void {
  const files: Record<string, string> = {
    '/srv/p/b.yaml': `services: { base: { image: b, dns: 1.1.1.1, extends: more }, more: { image: m } }\n`,
    '/srv/p/c.yaml': text,
    '/srv/p/e.env': 'A=1\n',
  };
  try {
    const input = {
      env: { T: '1', X: 'x' },
      projectDirectory: '/srv/p',
      read: (path: string) => (files[path] === undefined ? undefined : { text: files[path] }),
      profiles: ['p'],
    };
    const model = loadModel({
      ...input,
      files: [
        { path: '/srv/p/a.yaml', shown: 'a.yaml', text },
        { path: '/srv/p/o.yaml', shown: 'o.yaml', text: LANGUAGE },
      ],
    });
    expect(renderYaml(renderModel(model.tree, { escape: true }))).not.toBe('');
    for (const issue of model.context.issues) expect(formatIssue(issue)).toMatch(/^[^:]+:\d+:\d+: /);
  } catch (error) {
    expect(error).toBeInstanceOf(ComposeErrors);
    for (const issue of (error as ComposeErrors).issues) expect(formatIssue(issue)).toMatch(/^[^:]+:\d+:\d+: /);
  }
}

/** Processor time, and generous: a slow machine is no hang, a quadratic loop over a large file is. */
const MAX_CPU_MS = 20_000;
/** FUZZ_RUNS=100000 for a long run. */
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 300);
/** jest's own patience, for machines where much else runs. */
const TIMEOUT_MS = 120_000;

function check(text: string): void {
  const lines = text.split(/\r\n|\r|\n/).length;
  const began = process.cpuUsage();
  try {
    const { stack } = parseCompose({ text, file: 'f.yaml', env: { A: 'x' }, projectDirectory: '/srv/p' });
    expect(stackSchema.safeParse(stack).success).toBe(true);
  } catch (error) {
    expect(error).toBeInstanceOf(ComposeErrors);
    const { issues } = error as ComposeErrors;
    expect(issues.length).toBeGreaterThan(0);
    for (const issue of issues) {
      expect(issue.line).toBeGreaterThanOrEqual(1);
      expect(issue.line).toBeLessThanOrEqual(lines);
      expect(issue.column).toBeGreaterThanOrEqual(1);
      expect(issue.message).not.toBe('');
      expect(formatIssue(issue)).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
    }
  }
  const { user, system } = process.cpuUsage(began);
  expect((user + system) / 1000).toBeLessThan(MAX_CPU_MS);
}

const SNIPPETS = [
  ...[
    '\n',
    ' ',
    '  ',
    '\t',
    ':',
    ': ',
    '- ',
    '[',
    ']',
    '{',
    '}',
    ',',
    '&a ',
    '*a',
    '*common',
    '<<: ',
    '!!str ',
    '!x ',
    '|',
    '>',
    '"',
    "'",
    '#',
    '? ',
    '---',
    '...',
    '%YAML 1.1\n',
    '\0',
    '\u2028',
    '\r',
  ],
  ...[
    'null',
    '~',
    'true',
    '0x10',
    '-1',
    '1e9',
    '.inf',
    '.nan',
    '80',
    '$',
    '${',
    '${A',
    '$$',
    '__proto__',
    'constructor',
    'toString',
    'services',
    'x-',
    'image',
    'default',
    'ports',
    '"a\\nb"',
    '99999999999999999999',
  ],
];

it('a control character that the parser quotes', () => check('a: |\r b: c\n'));

it('the file that is mutated below is valid', () =>
  expect(() => parseCompose({ text: WHOLE, file: 'f', projectDirectory: '/srv' })).not.toThrow());

it(
  'mutated files',
  () => {
    const edit = fc.record({
      at: fc.nat({ max: WHOLE.length }),
      cut: fc.nat({ max: 12 }),
      put: fc.oneof(fc.constantFrom(...SNIPPETS), fc.string({ maxLength: 6 })),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 5 }), (edits) =>
        check(edits.reduce((text, e) => text.slice(0, e.at) + e.put + text.slice(e.at + e.cut), WHOLE)),
      ),
      { numRuns: RUNS },
    );
  },
  TIMEOUT_MS,
);

it(
  'mutated files that override, include and extend one another',
  () => {
    const edit = fc.record({
      at: fc.nat({ max: LANGUAGE.length }),
      cut: fc.nat({ max: 12 }),
      put: fc.oneof(fc.constantFrom(...SNIPPETS), fc.string({ maxLength: 6 })),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) =>
        checkLanguage(edits.reduce((text, e) => text.slice(0, e.at) + e.put + text.slice(e.at + e.cut), LANGUAGE)),
      ),
      { numRuns: Math.ceil(RUNS / 2) },
    );
  },
  TIMEOUT_MS,
);

it(
  'lines in any order and number',
  () => {
    const lines = WHOLE.split('\n');
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...lines), { maxLength: 30 }), (chosen) => check(chosen.join('\n'))),
      { numRuns: 100 },
    );
  },
  TIMEOUT_MS,
);

it(
  'any text',
  () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => check(text)),
      { numRuns: 150 },
    );
  },
  TIMEOUT_MS,
);

it(
  'any value at any key',
  () => {
    const keys = [
      'image',
      'command',
      'environment',
      'ports',
      'networks',
      'volumes',
      'tmpfs',
      'deploy',
      'scale',
      'labels',
      'user',
      'cap_add',
      'stop_grace_period',
      'stop_signal',
      'hostname',
      'working_dir',
      'read_only',
    ];
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.jsonValue({ maxDepth: 3 }), (key, value) =>
        check(`services:\n  web: { ${key}: ${JSON.stringify(value)} }\n`),
      ),
      { numRuns: 200 },
    );
  },
  TIMEOUT_MS,
);

it.each<[string, string]>([
  ['keys', `services:\n  web:\n    image: a\n    labels: {${Array.from({ length: 10_000 }, (_, i) => `k${i}: 1`).join(', ')}}\n`],
  ['times the same key', `a: 1\n`.repeat(25_000)],
  ['aliases', `a: &a 1\nb: [${'*a,'.repeat(40_000)}]\n`],
  ['brackets', '['.repeat(50_000)],
  ['braces', '{a: '.repeat(30_000)],
  ['indents', Array.from({ length: 700 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')],
  ['dashes', '- '.repeat(100_000)],
  ['anchors', Array.from({ length: 30_000 }, (_, i) => `- &a${i} x`).join('\n')],
  ['letters of a word', `services: { web: { image: ${'a'.repeat(500_000)} } }`],
  ['letters of a name', `services: { ${'a'.repeat(500_000)}: {} }`],
  ['variables', `services: { web: { image: a, user: "${'${A:-'.repeat(80_000)}" } }`],
  ['dollars', `services: { web: { image: a, command: "${'$A'.repeat(200_000)}" } }`],
])('a great many %s', (_, text) => check(text), TIMEOUT_MS);
