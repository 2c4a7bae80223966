/** `ctl config` and the loader of projects that all commands share: real files, no cluster. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { systemClock } from '#base/clock.js';
import { run } from './run.js';
import type { Shell } from './shell.js';

let dir = '';
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'weft-config-'))));
afterEach(() => rm(dir, { recursive: true }));

async function file(name: string, text: string): Promise<void> {
  await mkdir(dirname(join(dir, name)), { recursive: true });
  await writeFile(join(dir, name), text);
}

async function ctl(line: string, more: { input?: string; env?: Record<string, string>; cwd?: string } = {}) {
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
  streams.stdin.end(more.input ?? '');
  const shell: Shell = {
    ...streams,
    env: { WEFT_CONFIG_DIR: join(dir, 'none'), HOME: '/home/me', ...more.env },
    cwd: join(dir, more.cwd ?? ''),
    clock: systemClock,
    setExitCode: () => undefined,
    setRaw: () => undefined,
    onSignal: () => () => undefined,
  };
  const texts = Promise.all([readAll(streams.stdout), readAll(streams.stderr)]);
  const code = await run(line.split(' '), shell);
  streams.stdout.end();
  streams.stderr.end();
  const [out, err] = await texts;
  return { code, out, err };
}

const model = async (line: string, more = {}) => {
  const { out, err } = await ctl(`${line} --format json`, more);
  if (out === '') throw new Error(err);
  return JSON.parse(out) as {
    name: string;
    services: Record<string, { image?: string; labels?: Record<string, string>; volumes?: object[] }>;
  };
};

const WEB = 'services: { web: { image: "a:${T:-1}", labels: { from: base } } }\n';

describe('which files', () => {
  it('the usual names with their override, here or above', async () => {
    await file('docker-compose.yml', WEB);
    await file('docker-compose.override.yml', 'services: { web: { labels: { from: override } } }\n');
    await file('inner/deep/x', '');
    for (const cwd of ['', 'inner/deep']) expect((await model('config', { cwd })).services['web']?.labels).toEqual({ from: 'override' });
    await file('compose.yaml', WEB);
    expect((await model('config')).services['web']?.labels).toEqual({ from: 'override' });
  });

  it('those of -f, before the command or after it, and of COMPOSE_FILE', async () => {
    await file('a.yaml', WEB);
    await file('sub/b.yaml', 'services: { web: { labels: { from: b } }, db: { image: b, volumes: ["./x:/x"] } }\n');
    const expected = { web: { labels: { from: 'b' } }, db: { volumes: [{ type: 'bind', source: join(dir, 'x') }] } };
    expect((await model('-f a.yaml -f sub/b.yaml config')).services).toMatchObject(expected);
    expect((await model('config -f a.yaml -f sub/b.yaml')).services).toMatchObject(expected);
    expect((await model('config', { env: { COMPOSE_FILE: 'a.yaml:sub/b.yaml' } })).services).toMatchObject(expected);
    expect((await model('config', { env: { COMPOSE_FILE: 'a.yaml,sub/b.yaml', COMPOSE_PATH_SEPARATOR: ',' } })).services).toMatchObject(
      expected,
    );
    await file('.env', 'COMPOSE_FILE=a.yaml:sub/b.yaml\n');
    expect((await model('config')).services).toMatchObject(expected);
  });

  it('standard input, and another project directory', async () => {
    const input = 'services: { web: { image: a, volumes: ["./x:/x", "~/y:/y"] } }\n';
    expect(await model('config -f - --project-directory sub/Proj', { input })).toMatchObject({
      name: 'proj',
      services: { web: { volumes: [{ source: join(dir, 'sub/Proj/x') }, { source: '/home/me/y' }] } },
    });
  });

  it('says so where there is none', async () => {
    expect(await ctl('config -f gone.yaml')).toMatchObject({ code: 1, err: expect.stringContaining('there is no file gone.yaml') });
    expect(await ctl('config -f .')).toMatchObject({ code: 1, err: expect.stringContaining('it is a directory') });
  });
});

describe('which variables and services', () => {
  it('--env-file, again and again, instead of .env; the caller stands above', async () => {
    await file('compose.yaml', WEB);
    await file('.env', 'T=dot\n');
    await file('a.env', 'T=a\n');
    await file('b.env', 'T=${T}b\n');
    expect((await model('config')).services['web']?.image).toBe('a:dot');
    expect((await model('--env-file a.env config')).services['web']?.image).toBe('a:a');
    expect((await model('config --env-file a.env --env-file b.env')).services['web']?.image).toBe('a:ab');
    expect((await model('config', { env: { COMPOSE_ENV_FILES: 'a.env' } })).services['web']?.image).toBe('a:a');
    expect((await model('config --env-file a.env', { env: { T: 'own' } })).services['web']?.image).toBe('a:own');
    expect(await ctl('config --env-file gone.env')).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no env file gone.env'),
    });
  });

  it('profiles, by flag and by COMPOSE_PROFILES', async () => {
    await file('compose.yaml', 'services:\n  a: { image: a }\n  b: { image: b, profiles: [p] }\n  c: { image: c, profiles: [q, p] }\n');
    const names = async (line: string, env = {}) => (await ctl(line, { env })).out.split('\n').slice(0, -1);
    expect(await names('config --services')).toEqual(['a']);
    expect(await names('--profile q config --services')).toEqual(['a', 'c']);
    expect(await names('config --services', { COMPOSE_PROFILES: 'q, p' })).toEqual(['a', 'b', 'c']);
    expect(await names('config --profiles')).toEqual(['p', 'q']);
    expect(await names('config --services b')).toEqual(['b']);
  });
});

describe('what is printed', () => {
  const FILE = `name: demo
services:
  web: { image: "nginx:\${TAG:-1}", ports: ["80:80"], volumes: ["data:/d", "./c:/c"], networks: [front], command: echo $$X }
  db: { build: . }
networks: { front: , unused: }
volumes: { data: }
`;
  beforeEach(() => file('compose.yaml', FILE));

  it('YAML that can be read again and says the same', async () => {
    const { out, code } = await ctl('config');
    expect(code).toBe(0);
    expect(out).toContain('    ports:\n      - mode: ingress\n        target: 80\n        published: "80"\n        protocol: tcp\n');
    expect(out).toContain('      - $$X\n');
    expect(out).not.toContain('unused');
    await file('again/compose.yaml', out);
    expect((await ctl('config', { cwd: 'again' })).out).toBe(out);
    expect((await ctl('convert')).out).toBe(out);
  });

  it.each<[string, string]>([
    ['--services', 'db\nweb\n'],
    ['--networks', 'default\nfront\n'],
    ['--volumes', 'data\n'],
    ['--images', 'demo-db\nnginx:1\n'],
    ['-q', ''],
  ])('%s', async (flag, out) => expect(await ctl(`config ${flag}`)).toMatchObject({ code: 0, out }));

  it('says what ctl up would refuse', async () => {
    await file('compose.yaml', 'services:\n  web: { image: a, isolation: x }\n');
    const { code, err } = await ctl('config -q');
    expect({ code, err }).toEqual({
      code: 0,
      err: 'warning: ctl up refuses this file: compose.yaml:2:20: services.web.isolation: Weft refuses this key: it is for Windows containers\n',
    });
  });

  it('prints a model of which ctl up would refuse a great deal', async () => {
    const many = Array.from({ length: 150 }, (_, i) => `  s${i}: { image: a, isolation: x }\n`).join('');
    await file('compose.yaml', `services:\n${many}`);
    const { code, out } = await ctl('config --services');
    expect({ code, lines: out.split('\n').length }).toEqual({ code: 0, lines: 151 });
  });

  it('variables, environment, hashes', async () => {
    expect((await ctl('config --variables')).out).toMatch(/^NAME +REQUIRED +DEFAULT VALUE +ALTERNATE VALUE\nTAG +false +1 +-\n$/);
    expect(JSON.parse((await ctl('config --variables --format json')).out)).toEqual([
      { name: 'TAG', required: false, fallback: '1', alternate: '' },
    ]);
    expect((await ctl('config --environment')).out).toContain('COMPOSE_PROJECT_NAME=demo\n');
    const hashes = (await ctl('config --hash *')).out;
    expect(hashes).toMatch(/^db [0-9a-f]{64}\nweb [0-9a-f]{64}\n$/);
    expect((await ctl('config --hash web')).out).toBe(hashes.split('\n').slice(1).join('\n'));
    await file('compose.yaml', FILE.replace('command: echo', 'scale: 3, command: echo'));
    expect((await ctl('config --hash *')).out).toBe(hashes);
    await file('compose.yaml', FILE.replace('command: echo', 'command: print'));
    expect((await ctl('config --hash *')).out).not.toBe(hashes);
    expect(await ctl('config --hash gone')).toMatchObject({ code: 1, err: expect.stringContaining('there is no service "gone"') });
  });

  it('variables and paths as they are, into a file', async () => {
    expect(await ctl('config --no-interpolate --no-path-resolution -o out.yaml')).toMatchObject({ code: 0, out: '' });
    const out = await readFile(join(dir, 'out.yaml'), 'utf8');
    expect(out).toContain('image: nginx:${TAG:-1}\n');
    expect(out).toContain('source: ./c\n');
    expect(out).toContain('$$X');
  });

  it('the models, and no way around the checks', async () => {
    await file('compose.yaml', 'services: { web: { image: a, models: [llm] } }\nmodels: { llm: { model: ai/small } }\n');
    expect(await ctl('config --models')).toMatchObject({ code: 0, out: 'llm\n' });
    expect(await ctl('config --no-consistency')).toMatchObject({ code: 2, out: '', err: expect.stringContaining('contradicts itself') });
  });

  it('every fault of every file, and nothing else', async () => {
    await file('b.yaml', 'services:\n  web: { prots: [] }\n  db: { restart: sometimes }\n');
    const { code, out, err } = await ctl('config -f compose.yaml -f b.yaml');
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toContain('b.yaml:2:10: services.web.prots: "prots" is not a key of a service (did you mean "ports"?)');
    expect(err).toContain('b.yaml:3:18: services.db.restart: expected one of no, always,');
  });
});
