import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentialsFor, loadDockerConfig } from './registry-credentials.js';

let dir: string;
const env = () => ({ PATH: dir, DOCKER_CONFIG: dir });

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), `weft-creds-${process.pid}-`));
});
afterEach(() => rm(dir, { recursive: true }));

/** A credential helper that does what the script says with the registry it was asked for (`r`). */
async function helper(name: string, script: string): Promise<void> {
  const path = join(dir, `docker-credential-${name}`);
  await writeFile(path, `#!${process.execPath}\nconst r = require('node:fs').readFileSync(0, 'utf8');\n${script}\n`);
  await chmod(path, 0o755);
}

const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });

describe('the docker config', () => {
  it('may be missing, and is checked when it is there', async () => {
    expect(await loadDockerConfig(env())).toEqual({});
    await writeFile(join(dir, 'config.json'), '{"auths": {"a": {"auth": 5}}}');
    await expect(loadDockerConfig(env())).rejects.toMatchObject({ code: 'CORRUPT' });
    await writeFile(join(dir, 'config.json'), '{"HttpHeaders": {}, "auths": {"a.b": {}}}');
    expect(await loadDockerConfig(env())).toEqual({ auths: { 'a.b': {} } });
  });
});

describe('a login', () => {
  it('is that of its registry, under any of the names Docker gives it', async () => {
    const auths = {
      'a.io': auth('u:p:q'),
      'https://b.io': auth('b:c'),
      'https://index.docker.io/v1/': auth('hub:x'),
      'c.io': { username: 'n', password: 's' },
    };
    const of = (registry: string) => credentialsFor(registry, { auths }, env());
    expect(await of('a.io')).toEqual({ username: 'u', password: 'p:q' });
    expect(await of('b.io')).toEqual({ username: 'b', password: 'c' });
    expect(await of('c.io')).toEqual({ username: 'n', password: 's' });
    expect(await of('docker.io')).toEqual({ username: 'hub', password: 'x' });
    expect(await of('other.io')).toBeUndefined();
    await expect(credentialsFor('a.io', { auths: { 'a.io': auth('nothing') } }, env())).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });

  it('comes from a helper, asked by name on its standard input', async () => {
    await helper('one', 'console.log(JSON.stringify({ Username: process.argv.slice(2).join(), Secret: r }));');
    expect(await credentialsFor('a.io', { credHelpers: { 'a.io': 'one' } }, env())).toEqual({ username: 'get', password: 'a.io' });
    expect(await credentialsFor('b.io', { credsStore: 'one' }, env())).toEqual({ username: 'get', password: 'b.io' });
  });

  it('that a helper does not have may be in the file', async () => {
    await helper('none', "console.log('credentials not found in native keychain'); process.exit(1);");
    expect(await credentialsFor('a.io', { credsStore: 'none' }, env())).toBeUndefined();
    expect(await credentialsFor('a.io', { credsStore: 'none', auths: { 'a.io': auth('u:p') } }, env())).toEqual({
      username: 'u',
      password: 'p',
    });
  });

  it.each([
    ['is not there', 'gone', 'the program is not installed'],
    ['fails', 'bad', 'it ended with 3'],
    ['answers nonsense', 'odd', 'its answer is not of the form it should have'],
    ['holds a token', 'token', 'it holds an identity token, which Weft does not support yet'],
    ['has no proper name', '../x', 'this is no name of a program'],
  ])('cannot come from a helper that %s', async (_, name, why) => {
    await helper('bad', 'process.exit(3);');
    await helper('odd', 'console.log("secret-text");');
    await helper('token', 'console.log(JSON.stringify({ Username: "<token>", Secret: "secret-text" }));');
    const error: unknown = await credentialsFor('a.io', { credsStore: name }, env()).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'BAD_VALUE', why });
    expect(String(error)).not.toContain('secret-text');
  });
});
