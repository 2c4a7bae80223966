/**
 * Commands, from argv to text and exit code, against a real gRPC server over mTLS whose API is an in-memory twin.
 */
import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import type * as api from '#rpc/gen/weft/v1/api.js';
import { JoinService } from '#rpc/gen/weft/v1/api.js';
import { startServer, unary } from '#rpc/server.js';
import { issue, signCsr, type Ca } from '#trust/ca.js';
import { caDigest, saveIdentity } from '#trust/identity.js';
import { makeToken } from '#trust/token.js';
import { DIGEST, dockerArchive, type Twin } from './api-twin.contract.js';
import { saveContext } from './context.js';
import { SHOP, useRig, type CtlRig } from './rig.contract.js';

const kit = useRig();
let dir: string;
let twin: Twin;
let ca: Ca;
let apiPort: number;
beforeEach(() => ({ dir, twin, ca, port: apiPort } = kit.rig));
const ctl: CtlRig['ctl'] = (...args) => kit.rig.ctl(...args);

const file = (name: string, text: string) => writeFile(join(dir, name), text);

describe('up', () => {
  beforeEach(() => file('compose.yaml', SHOP));

  it('prepares images, applies, waits until all runs; a second time there is nothing to change', async () => {
    const first = await ctl('up');
    expect(first).toMatchObject({ code: 0, out: '' });
    expect(first.err).toContain('image app:1 on node1: ready\n');
    expect(first.err).toContain('+ create service web\n');
    expect(first.err).toContain('✔ web 2/2 running\n');
    expect(first.err).toMatch(/stack shop is up: 3 tasks on 2 nodes\n$/);
    expect(twin.stacks.get('shop')?.stack.services['web']?.container).toMatchObject({ image: 'app:1', imageDigest: DIGEST });
    const second = await ctl('up compose.yaml');
    expect(second).toMatchObject({ code: 0, out: '' });
    expect(second.err).toContain('stack shop: nothing to change\n');
    expect(twin.stacks.get('shop')?.generation).toBe(1);
  });

  it('--dry-run prints the plan as data and changes nothing', async () => {
    expect(await ctl('up --dry-run')).toEqual({ code: 0, out: '+ create service web\n+ create service db\n', err: '' });
    const { out } = await ctl('up --dry-run --format json');
    expect(JSON.parse(out)).toEqual([
      { action: 'create', kind: 'service', name: 'web', details: '' },
      { action: 'create', kind: 'service', name: 'db', details: '' },
    ]);
    expect(twin.called('prepareImages')).toEqual([]);
    expect(twin.called('applyStack')).toEqual([]);
  });

  it('names what the file no longer has, keeps it, and removes it when told', async () => {
    await ctl('up -d');
    await file('compose.yaml', 'name: shop\nservices: { web: { image: "app:2" }, tool: { image: t, profiles: [debug] } }\n');
    const warning = 'warning: stack shop runs services that the file no longer has: db; --remove-orphans removes them\n';
    expect(await ctl('up --dry-run')).toMatchObject({ code: 0, out: expect.stringContaining('= keep service db\n'), err: warning });
    expect((await ctl('up -d')).err).toContain(warning);
    expect(Object.keys(twin.stacks.get('shop')?.stack.services ?? {}).sort()).toEqual(['db', 'web']);
    expect(twin.called('planStack').at(-1)?.request).toMatchObject({ leftBehind: { keepOrphans: true, dormant: ['tool'] } });
    const removed = await ctl('up --dry-run --remove-orphans');
    expect([removed.out, removed.err]).toEqual([expect.stringContaining('- remove service db\n'), '']);
    expect((await ctl('up --dry-run', '', { COMPOSE_REMOVE_ORPHANS: 'true' })).out).toContain('- remove service db\n');
    await ctl('up -d --remove-orphans');
    expect(Object.keys(twin.stacks.get('shop')?.stack.services ?? {})).toEqual(['web']);
  });

  it('says what failed and what runs, and leaves it running', async () => {
    await file('compose.yaml', SHOP.replace('reg.local:5000/db', 'broken'));
    const { code, err } = await ctl('up');
    expect(code).toBe(1);
    expect(err.split('\n').slice(-5, -1)).toEqual([
      'error: stack shop did not come up',
      'why:   shop-db-1 on node1: failed: no such program?[31m',
      '       running now: web 2/2, db 0/1',
      expect.stringMatching(/^hint: {2}What runs was left running\./),
    ]);
    expect(twin.stacks.has('shop')).toBe(true);
  });

  it('stops before anything changes when an image is nowhere', async () => {
    await file('compose.yaml', SHOP.replace('app:1', 'nowhere:2'));
    const { code, err } = await ctl('up');
    expect(code).toBe(1);
    expect(err).toMatch(/error: the images are not on every node\nwhy: {3}nowhere:2 on node1: no image nowhere:2\nhint: {2}Load it\.\n$/);
    expect(twin.called('applyStack')).toEqual([]);
  });

  it('--pull never asks no registry', async () => {
    await file('compose.yaml', 'name: shop\nservices: { web: { image: "app:1" } }');
    expect((await ctl('up --pull never')).code).toBe(0);
    expect(twin.called('prepareImages')).toEqual([]);
    expect(twin.stacks.get('shop')?.stack.services['web']?.container.imageDigest).toBe(DIGEST);
    await file('compose.yaml', 'name: shop\nservices: { web: { image: "app:2" } }');
    expect(await ctl('up --pull never')).toMatchObject({ code: 1, err: expect.stringContaining('it is missing on node1') });
  });

  it('sends the logins of the docker config with that one call, each to its own registry', async () => {
    const auth = Buffer.from('me:pa:ss').toString('base64');
    await mkdir(join(dir, '.docker'));
    await mkdir(join(dir, 'bin'));
    await file(
      '.docker/config.json',
      JSON.stringify({ auths: { 'reg.local:5000': { auth } }, credHelpers: { 'https://index.docker.io/v1/': 'mine' } }),
    );
    await file(
      'bin/docker-credential-mine',
      `#!${process.execPath}\nprocess.stdin.on('data', (d) => console.log(JSON.stringify({ Username: 'hub', Secret: process.argv[2] + ' ' + d })));\n`,
    );
    await chmod(join(dir, 'bin/docker-credential-mine'), 0o755);
    expect((await ctl('up -d --pull always')).code).toBe(0);
    const always = { refresh: true, digest: '', offline: false };
    expect(twin.called('prepareImages')).toEqual([
      {
        method: 'prepareImages',
        request: {
          images: [
            { reference: 'app:1', auth: { username: 'hub', password: 'get https://index.docker.io/v1/' }, ...always },
            { reference: 'reg.local:5000/db', auth: { username: 'me', password: 'pa:ss' }, ...always },
          ],
        },
      },
    ]);
  });

  it('refuses a broken file before it speaks to the cluster', async () => {
    await file('compose.yaml', 'services:\n  web: { imge: x }\n');
    const { code, err } = await ctl('up');
    expect(code).toBe(1);
    expect(err).toContain('why:   compose.yaml:2:3: services.web: the key "image" is missing');
    expect(err).toContain('\n       compose.yaml:2:10: services.web.imge: "imge" is not a key of a service (did you mean "image"?)\n');
    expect(twin.calls).toEqual([]);
  });

  it('takes names from -p, COMPOSE_PROJECT_NAME and .env, variables from both, the caller first', async () => {
    await file('compose.yaml', 'services: { web: { image: "${REPO}:${TAG}" } }');
    await file('.env', 'REPO=app\nTAG=1 # old\nCOMPOSE_PROJECT_NAME=fromfile\n');
    const image = async (args: string, env = {}) => JSON.parse((await ctl(`config --format json ${args}`.trim(), '', env)).out);
    expect(await image('')).toMatchObject({ name: 'fromfile', services: { web: { image: 'app:1' } } });
    expect(await image('-p flag', { TAG: '2', COMPOSE_PROJECT_NAME: 'env' })).toMatchObject({
      name: 'flag',
      services: { web: { image: 'app:2' } },
    });
    expect(await image('', { COMPOSE_PROJECT_NAME: 'env' })).toMatchObject({ name: 'env' });
  });
});

describe('listings', () => {
  beforeEach(async () => {
    await file('compose.yaml', SHOP);
    await ctl('up -d');
  });

  it('ps prints a table without colours, or flat JSON', async () => {
    const table = await ctl('ps');
    expect(table).toMatchObject({ code: 0, err: '' });
    expect(table.out.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['NAME', 'SERVICE', 'NODE', 'STATE', 'ADDRESSES', 'PORTS', 'IMAGE'],
      ['shop-db-1', 'db', 'node1', 'running 1h 5m', 'default 10.1.0.20', '-', 'reg.local:5000/db'],
      ['shop-web-1', 'web', 'node1', 'running 1h 5m', 'default 10.1.0.10', '8080->80/tcp', 'app:1'],
      ['shop-web-2', 'web', 'node2', 'running 1h 5m', 'default 10.1.0.11', '8080->80/tcp', 'app:1'],
      [''],
    ]);
    const rows = JSON.parse((await ctl('ps --format json web')).out);
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({
      name: 'shop-web-1',
      service: 'web',
      slot: 1,
      node: 'node1',
      state: 'running',
      address: '10.1.0.10',
      addresses: 'default=10.1.0.10',
      exitCode: null,
    });
  });

  it.each([
    ['ls', ['name', 'state', 'services', 'tasksRunning', 'tasksWanted', 'generation', 'updatedAt'], 'shop'],
    ['node ls', ['name', 'id', 'index', 'state', 'address', 'tasks'], 'node1'],
    ['network ls', ['name', 'id', 'stack', 'key', 'driver', 'internal', 'subnet', 'mtu', 'addressesUsed'], 'shop_default'],
    ['image ls', ['name', 'digest', 'sizeBytes', 'platforms', 'nodes'], 'docker.io/library/app:1'],
    ['context ls', ['name', 'current', 'endpoints'], 'test'],
    ['ps', ['name', 'stack', 'image', 'restarts', 'message', 'startedAt'], 'shop-db-1'],
  ])('%s --format json is an array of flat rows', async (command, keys, name) => {
    const { code, out, err } = await ctl(`${command} --format json`);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const rows = JSON.parse(out) as Record<string, unknown>[];
    expect(Object.keys(rows[0] ?? {})).toEqual(expect.arrayContaining(keys));
    expect(rows[0]?.['name']).toBe(name);
    expect(Object.values(rows[0] ?? {}).filter((v) => typeof v === 'object' && v !== null)).toEqual([]);
    expect((await ctl(command)).out).toContain(name);
  });

  it('inspect prints one thing whole', async () => {
    expect(JSON.parse((await ctl('node inspect node1')).out)).toEqual([
      expect.objectContaining({ name: 'node1', state: 'ready', facts: null }),
    ]);
    expect(JSON.parse((await ctl('network inspect shop_default --format json')).out)).toMatchObject({
      subnet: '10.1.0.0/20',
      addresses: [{ owner: 'shop-web-1' }],
    });
    expect(await ctl('node inspect nobody')).toMatchObject({ code: 1, err: expect.stringContaining('there is no node "nobody"') });
    expect(await ctl('network inspect nothing')).toMatchObject({ code: 1, err: expect.stringContaining('there is no network "nothing"') });
  });

  it('of a stack that is not there is an error', async () => {
    expect(await ctl('ps -p other')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('there is no stack "other"') });
  });

  it('down waits until the stack is gone; what is not there cannot be removed', async () => {
    expect(await ctl('down')).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringMatching(/- remove service web\n[^]*stack shop is gone\n$/),
    });
    expect(twin.stacks.size).toBe(0);
    expect(await ctl('down -p shop')).toMatchObject({ code: 1, err: expect.stringContaining('error: there is no stack shop\n') });
  });

  it('logs prefixes lines with their tasks', async () => {
    const { code, out } = await ctl('logs --tail 5 --since 2023-01-01T00:00:00Z web');
    expect({ code, out }).toEqual({ code: 0, out: 'web-1 | hello\nweb-10 | ~ gap\n' });
    expect(twin.called('logs')[0]?.request).toMatchObject({
      stack: 'shop',
      services: ['web'],
      follow: false,
      tail: 5,
      since: Date.UTC(2023, 0),
    });
    expect((await ctl('logs -t --no-log-prefix')).out).toMatch(/^2023-11-14T22:13:20\.000Z hello\n/);
    expect(await ctl('logs nothing')).toMatchObject({ code: 1, err: expect.stringContaining('stack shop has no task of nothing') });
    expect((await ctl('logs --since soon')).code).toBe(2);
  });
});

describe('exec', () => {
  it('passes input, output and the exit code on', async () => {
    const { code, out, err } = await ctl(
      ['exec', '-p', 'shop', '-e', 'A=b', '-u', '1', '-w', '/tmp', '--index', '2', 'web', 'cat', '-n', '--help'],
      'hello\n',
    );
    expect({ code, out, err }).toEqual({ code: 42, out: 'HELLO\n', err: 'bye\n' });
    expect(twin.execInput[0]?.message?.value).toMatchObject({
      stack: 'shop',
      service: 'web',
      task: '',
      index: 2,
      argv: ['cat', '-n', '--help'],
      tty: false,
      stdin: true,
      user: '1',
      workingDir: '/tmp',
      env: { A: 'b' },
    });
  });

  it('takes a task by its name, and leaves standard input alone when told', async () => {
    expect((await ctl('exec -p shop --no-interactive shop-web-2 true', 'unread')).code).toBe(42);
    expect(twin.execInput.map((r) => r.message?.$case)).toEqual(['start']);
    expect(twin.execInput[0]?.message?.value).toMatchObject({ task: 'shop-web-2', service: '', stdin: false });
  });

  it('says when the command was cut off', async () => {
    expect(await ctl('exec -p shop web vanish')).toMatchObject({ code: 1, err: expect.stringContaining('the command was cut off') });
  });
});

describe('image load', () => {
  it('sends the file in chunks and names what was loaded', async () => {
    await writeFile(join(dir, 'app.tar'), Buffer.alloc(600 * 1024, 7));
    const { code, out } = await ctl('image load app.tar');
    expect({ code, out }).toEqual({ code: 0, out: `loaded docker.io/library/app:1 ${DIGEST}\n` });
    expect(Buffer.concat(twin.loaded).length).toBe(600 * 1024);
    expect(Math.max(...twin.loaded.map((c) => c.length))).toBe(256 * 1024);
    expect((await ctl('image load -', 'an archive')).code).toBe(0);
  });

  it('tells what is wrong with it', async () => {
    expect(await ctl('image load -', 'garbage')).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('error: this is no archive of an image'),
    });
    expect(await ctl('image load missing.tar')).toMatchObject({ code: 1, err: expect.stringContaining('there is no file missing.tar') });
    expect(await ctl('image load .')).toMatchObject({ code: 1, err: expect.stringContaining('. is not a file') });
  });
});

describe('build', () => {
  const built = 'name: shop\nservices: { web: { build: . }, db: { image: "app:1" } }\n';
  beforeEach(() => file('compose.yaml', built));

  it('says that there is no builder, and what each said; nothing has changed', async () => {
    const { code, err } = await ctl('build');
    expect(code).toBe(1);
    expect(err).toContain('error: there is no builder of images on this machine\nwhy:   docker buildx: ');
    expect(err).toContain('ENOENT');
    expect(await ctl('up --build --builder podman')).toMatchObject({
      code: 1,
      err: expect.stringContaining('podman cannot build images on this machine'),
    });
    expect(twin.called('applyStack')).toEqual([]);
  });

  it('is about services that are built', async () => {
    expect(await ctl('build db')).toMatchObject({ code: 1, err: expect.stringContaining('the service db has no "build"') });
    expect(await ctl('build gone')).toMatchObject({ code: 1, err: expect.stringContaining('the stack has no service gone') });
    expect(await ctl('build --build-arg A')).toMatchObject({ code: 2, err: expect.stringContaining('"A" is no build argument') });
    expect(await ctl('build --builder make')).toMatchObject({ code: 2 });
  });

  it('up asks no registry for what it would build, and says in a dry run that it would', async () => {
    expect(await ctl('up --no-build')).toMatchObject({ code: 1, err: expect.stringContaining('the image shop-web is on no node') });
    expect((await ctl('up --dry-run')).err).toContain('image shop-web would be built\n');
    expect(twin.called('prepareImages')).toEqual([]);
  });
});

describe('image push', () => {
  it('sends what the nodes lack, in messages of bounded size, and nothing twice', async () => {
    const layer = 'x'.repeat(600 * 1024);
    await writeFile(join(dir, 'one.tar'), await dockerArchive('app:1', layer));
    await writeFile(join(dir, 'two.tar'), await dockerArchive('app:2', layer));
    const first = await ctl('image push one.tar');
    expect(first).toMatchObject({ code: 0, out: expect.stringMatching(/^loaded docker.io\/library\/app:1 sha256:[0-9a-f]{64}\n$/) });
    expect([...twin.blobs.values()].map(String)).toContain(layer);
    for (const [digest, bytes] of twin.blobs) expect(digest).toBe(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
    const again = await ctl('image push one.tar');
    expect(again.err).toContain('one.tar: the nodes have all of it\n');
    expect(twin.blobs.size).toBe(3);
    expect((await ctl('image push two.tar')).code).toBe(0);
    expect(twin.blobs.size).toBe(5);
  });

  it('tells what is wrong with it, before it speaks to the cluster', async () => {
    expect(await ctl('image push -', 'garbage')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('the archive') });
    expect(await ctl('image push missing.tar')).toMatchObject({ code: 1, err: expect.stringContaining('there is no file missing.tar') });
  });
});

describe('contexts', () => {
  it('are created by a token, from a controller whose CA the token pins', async () => {
    const token = makeToken(caDigest(ca.certPem));
    const join_ = await startServer({
      address: '127.0.0.1',
      port: 0,
      joinOnly: true,
      identity: await issue(ca, { role: 'controller', id: 'k1', clusterId: 'c1' }),
      services: [
        {
          definition: JoinService,
          implementation: {
            signCertificate: unary(['none'], async (r: api.SignCertificateRequest) => {
              if (r.token !== token.text.split('.').slice(2).join('.')) throw new WeftError('TOKEN_INVALID', 'the token is not known');
              const certificatePem = await signCsr(ca, r.csrPem, { role: 'admin', id: 'you', clusterId: 'c1' });
              return { certificatePem, caPem: ca.certPem, nodeId: '', clusterId: 'c1', controllers: [`127.0.0.1:${apiPort}`] };
            }),
          },
        },
      ],
    });
    try {
      const at = `127.0.0.1:${join_.port}`;
      expect(await ctl(`context create second --join ${at} --token -`, token.text)).toMatchObject({
        code: 0,
        err: `context "second" speaks to 127.0.0.1:${apiPort}\n`,
      });
      expect((await ctl('node ls --context second')).out).toContain('node1');
      expect((await stat(join(dir, 'config/contexts/second/key.pem'))).mode & 0o777).toBe(0o600);
      const foreign = makeToken('00'.repeat(32)).text;
      expect(await ctl(`context create third --join ${at} --token ${foreign}`)).toMatchObject({
        code: 1,
        err: expect.stringContaining('not of the cluster that the token was made for'),
      });
      expect(await ctl(`context create third --join ${at} --token ${makeToken(caDigest(ca.certPem)).text}`)).toMatchObject({
        code: 1,
        err: expect.stringContaining('the token is not known'),
      });
      expect(JSON.parse((await ctl('context ls --format json')).out).map((r: { name: string }) => r.name)).toEqual(['second', 'test']);
    } finally {
      await join_.stop();
    }
  });

  it('take up the identity that the first controller made for its own host', async () => {
    const made = join(dir, 'made');
    expect(await ctl(`context import local --identity ${made} --endpoint 127.0.0.1:${apiPort}`)).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no identity'),
    });
    await saveIdentity(made, await issue(ca, { role: 'admin', id: 'admin', clusterId: 'c1' }));
    expect((await ctl(`context import local --identity ${made} --endpoint 127.0.0.1:${apiPort}`)).code).toBe(0);
    expect((await ctl('node ls --context local')).out).toContain('node1');
    expect((await ctl('context rm local')).code).toBe(0);
  });

  it('are chosen by --context, WEFT_CONTEXT and use, and forgotten by rm', async () => {
    expect(await ctl('--context nope ls')).toMatchObject({ code: 1, err: expect.stringContaining('there is no context "nope"') });
    expect((await ctl('ls --context nope')).code).toBe(1);
    expect((await ctl('ls', '', { WEFT_CONTEXT: 'nope' })).code).toBe(1);
    expect((await ctl('context use nope')).code).toBe(1);
    expect((await ctl(['context', 'use', '../x'])).err).toContain('is not a valid name');
    expect((await ctl('context rm test')).code).toBe(0);
    expect(await ctl('ls')).toMatchObject({ code: 1, err: expect.stringContaining('no cluster is chosen') });
  });

  it('with several controllers take one that answers', async () => {
    const env = { WEFT_CONFIG_DIR: join(dir, 'config') };
    await saveContext(
      'many',
      { endpoints: ['127.0.0.1:1', `127.0.0.1:${apiPort}`] },
      await issue(ca, { role: 'admin', id: 'me', clusterId: 'c1' }),
      env,
    );
    expect((await ctl('version --context many --format json')).out).toContain('"controller": "9.9"');
    await saveContext('dead', { endpoints: ['127.0.0.1:1'] }, await issue(ca, { role: 'admin', id: 'me', clusterId: 'c1' }), env);
    expect(await ctl('ls --context dead')).toMatchObject({
      code: 1,
      err: expect.stringContaining('error: cannot reach the controller at 127.0.0.1:1 (context "dead")'),
    });
    expect((await ctl('version --context dead')).code).toBe(0);
  });
});

describe('usage', () => {
  it.each([
    ['frob'],
    ['up --wat'],
    ['up web'],
    ['ls --format xml'],
    ['up --timeout x'],
    ['exec web'],
    ['node'],
    ['node token --ttl soon'],
    [''],
  ])('%j is exit code 2', async (line) => {
    const { code, out } = await ctl(line === '' ? [] : line);
    expect({ code, out }).toEqual({ code: 2, out: '' });
  });

  it('help goes to standard output', async () => {
    expect(await ctl('--help')).toMatchObject({ code: 0, err: '', out: expect.stringContaining('ctl dev up') });
    expect(await ctl('up --help')).toMatchObject({ code: 0, err: '', out: expect.stringContaining('Examples:') });
    expect(await ctl('help logs')).toMatchObject({ code: 0, out: expect.stringContaining('--since') });
    const { version } = JSON.parse(await readFile('package.json', 'utf8'));
    expect(await ctl('--version')).toEqual({ code: 0, err: '', out: `${version}\n` });
  });

  it.each(['up', 'down', 'ps', 'ls', 'logs', 'exec', 'config', 'node', 'network', 'image', 'context', 'dev', 'version'])(
    '%s explains itself',
    async (name) => {
      expect(await ctl(`${name} --help`)).toMatchObject({ code: 0, err: '', out: expect.stringContaining(`Usage: ctl ${name}`) });
    },
  );

  it('a file that is not there, or no file at all, is said', async () => {
    expect(await ctl('up -f gone.yaml')).toMatchObject({ code: 1, err: expect.stringContaining('there is no file gone.yaml') });
    expect(await ctl('up')).toMatchObject({ code: 1, err: expect.stringContaining('there is no compose file here') });
    expect(await ctl('down')).toMatchObject({ code: 1, err: expect.stringContaining('-p NAME') });
  });

  it('a token is data, how to use it is not', async () => {
    const { out, err } = await ctl('node token --role admin --ttl 30m');
    expect(out).toBe('weft1.admin.1800000\n');
    expect(err).toContain('ctl context create NAME --join 192.0.2.9:7701');
  });
});
