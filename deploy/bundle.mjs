/**
 * The last step of the build: makes one file of `ctl` and everything it imports, and keeps the code that V8 compiled of it.
 * Finding, reading and compiling some 400 modules takes most of the time of a short command; this way it takes next to none.
 *
 * The loader is put in place of dist/apps/ctl/main.js: whoever compiles again without bundling gets the modules back, and
 * never an old bundle.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import vm from 'node:vm';

const DIST = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist');
const HOME = join(DIST, 'apps/ctl');
const BUNDLE = join(HOME, 'bundle');
/** The rest of the modules' names for themselves is theirs, bundled or not. */
const URL_OF = '__urlOf';

const ENTRY = `export { program } from './program.js';\nexport { run } from './run.js';\nexport { processShell } from './shell.js';\n`;

/** Modules find their neighbours by import.meta.url, which a bundle has not: each keeps the one it had. */
const ownUrls = {
  name: 'own-urls',
  setup({ onLoad }) {
    onLoad({ filter: /[/\\]dist[/\\](apps|libs)[/\\].*\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!text.includes('import.meta.url')) return undefined;
      return { contents: text.replaceAll('import.meta.url', `${URL_OF}(${JSON.stringify(relative(DIST, path))})`), loader: 'js' };
    });
  },
};

async function bundle(build) {
  const { outputFiles } = await build({
    stdin: { contents: ENTRY, resolveDir: HOME },
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    legalComments: 'inline',
    logLevel: 'warning',
    plugins: [ownUrls],
    banner: {
      js: `const ${URL_OF} = (path) => require('node:url').pathToFileURL(require('node:path').join(__dirname, '../../..', path)).href;`,
    },
  });
  return outputFiles[0].text;
}

/** Also what the loader runs. The text stays readable, for stack traces. */
const wrapped = (text) => `(function (exports, require, module, __filename, __dirname) {${text}\n})`;

const loader = (name) => `#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';

const filename = fileURLToPath(new URL('./bundle/${name}.cjs', import.meta.url));
let cachedData;
try {
  cachedData = readFileSync(filename + '.cache');
} catch {
  // Slower, and right all the same; so is one of another version of Node, which V8 refuses by itself.
}
// 'latin1': the bundler writes ASCII only.
const script = new vm.Script(readFileSync(filename, 'latin1'), { filename, cachedData });
const module = { exports: {} };
script.runInThisContext()(module.exports, createRequire(filename), module, filename, fileURLToPath(new URL('./bundle', import.meta.url)));
await module.exports.program(process.argv.slice(2));
`;

/** Runs usual commands in one process, so that the cache holds the functions that they use. */
async function warm(filename) {
  const script = new vm.Script(readFileSync(filename, 'latin1'), { filename });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(filename), module, filename, dirname(filename));
  const dir = mkdtempSync(join(tmpdir(), 'weft-build-'));
  try {
    await runUsualCommands(module.exports, dir);
    writeFileSync(`${filename}.cache`, script.createCachedData());
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function runUsualCommands({ run, processShell }, dir) {
  const nowhere = () => new Writable({ write: (_chunk, _encoding, done) => done() });
  const shell = {
    ...processShell(() => undefined),
    stdout: nowhere(),
    stderr: nowhere(),
    cwd: dir,
    env: { WEFT_CONFIG_DIR: dir, HOME: dir },
  };
  const file = join(dir, 'compose.yaml');
  writeFileSync(file, SAMPLE);
  await run(['config'], shell);
  await makeContext(dir);
  // No controller answers there. What it takes to ask is compiled all the same.
  for (const words of [['ls'], ['ps', '-p', 'x'], ['up', '--dry-run'], ['down', '-p', 'x']]) await run(words, shell);
}

async function makeContext(dir) {
  const trust = await import(pathToFileURL(join(DIST, 'libs/trust/ca.js')).href);
  const identity = await trust.issue(await trust.createCa('build'), { role: 'admin', id: 'build', clusterId: 'build' });
  const context = join(dir, 'contexts/build');
  mkdirSync(context, { recursive: true });
  for (const [name, text] of [
    ['ca.pem', identity.caPem],
    ['cert.pem', identity.certPem],
    ['key.pem', identity.keyPem],
    ['context.json', JSON.stringify({ name: 'build', endpoints: ['127.0.0.1:9'] })],
    ['../../current', 'build\n'],
  ])
    writeFileSync(join(context, name), text);
}

const SAMPLE = `name: x
services:
  web:
    image: \${IMAGE:-web}
    command: [serve, --port, '80']
    environment: {A: b}
    ports: ['8080:80']
    networks: [front]
    volumes: ['data:/data']
    deploy: {replicas: 2}
networks: {front: {}}
volumes: {data: {}}
`;

async function main() {
  const [flag, filename] = process.argv.slice(2);
  if (flag === '--warm') return warm(filename);
  const esbuild = await import('esbuild').catch(() => undefined);
  if (!esbuild) return console.warn('esbuild is not installed (npm install): ctl is not bundled, and starts more slowly');
  const text = wrapped(await bundle(esbuild.build));
  // V8 knows a cache by the length of its source: another text needs another name.
  const name = createHash('sha256').update(text).digest('hex').slice(0, 16);
  rmSync(BUNDLE, { recursive: true, force: true });
  mkdirSync(BUNDLE, { recursive: true });
  writeFileSync(join(BUNDLE, `${name}.cjs`), text);
  const { status, stderr } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), '--warm', join(BUNDLE, `${name}.cjs`)], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the bundle of ctl does not run:\n${stderr}`);
  writeFileSync(join(HOME, 'main.js'), loader(name));
  chmodSync(join(HOME, 'main.js'), 0o755);
}

await main();
