/**
 * The last step of the build: makes one file of each program and everything it imports, and keeps the code that V8 compiled
 * of it. Finding, reading and compiling hundreds of modules takes most of the time of a short command, and of an agent's or a
 * controller's start; this way it takes next to none.
 *
 * The loader is put in place of the program's main.js: whoever compiles again without bundling gets the modules back, and
 * never an old bundle.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { cachedDataVersionTag } from 'node:v8';
import vm from 'node:vm';
import { DIST } from './dist.mjs';
import { runUsualCommands } from './usual-commands.mjs';

/**
 * Each has a program.js with a function `program`. Code is compiled for the flags a process was started with: they come from
 * the module that starts it. Without one it is started with none.
 */
const PROGRAMS = [
  {
    home: 'apps/ctl',
    more: `export { run } from './run.js';\nexport { processShell } from './shell.js';\n`,
    // First words of a command line, and the one command that they need.
    alone: { config: 'config', convert: 'config' },
  },
  { home: 'apps/agent', startedBy: 'apps/ctl/dev/up.js' },
  { home: 'apps/controller', startedBy: 'apps/ctl/dev/up.js' },
  { home: 'apps/agent/name-server', startedBy: 'apps/agent/name-server-link.js' },
  { home: 'apps/agent/port-proxy', startedBy: 'apps/agent/port-proxy/link.js' },
  { home: 'apps/agent/log-keeper', startedBy: 'apps/agent/log-keeper/ensure.js' },
  { home: 'apps/agent/command-helper', startedBy: 'libs/linux/helper-client.js' },
];

/** Parts of NestJS that nobody here installed; it asks for them when they are used. */
const NOT_INSTALLED = ['@nestjs/websockets*', '@nestjs/microservices*', 'class-validator', 'class-transformer'];

/** Modules find their neighbours by import.meta.url or __dirname, which a bundle has not: each keeps the one it had. */
const ownPlaces = {
  name: 'own-places',
  setup({ onLoad }) {
    onLoad({ filter: /\.[cm]?js$/, namespace: 'file' }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!/import\.meta\.url|\b__dirname\b/.test(text)) return undefined;
      const place = JSON.stringify(relative(DIST, path));
      return {
        contents: text.replaceAll('import.meta.url', `__urlOf(${place})`).replaceAll(/\b__dirname\b/g, `__dirOf(${place})`),
        loader: 'js',
      };
    });
  },
};
/**
 * Of ctl, one command and no other: to read and deserialize the whole of it would take longer than this command does. Which one it
 * is has been decided when it is loaded, so that the others are not missed.
 */
const onlyCommand = (command) => ({
  name: 'only-command',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\/commands\/[a-z-]+\.js$/ }, ({ path, importer }) =>
      importer === join(DIST, 'apps/ctl/run.js') && path !== `./commands/${command}.js` ? { path, namespace: 'elsewhere' } : undefined,
    );
    onLoad({ filter: /^/, namespace: 'elsewhere' }, () => ({ contents: 'export {};' }));
  },
});
const PLACES = `const __fileOf = (path) => require('node:path').join(__dirname, UP, path);
const __urlOf = (path) => require('node:url').pathToFileURL(__fileOf(path)).href;
const __dirOf = (path) => require('node:path').dirname(__fileOf(path));`;

async function bundle(build, { home, more = '' }, command) {
  const { outputFiles } = await build({
    stdin: { contents: `export { program } from './program.js';\n${more}`, resolveDir: join(DIST, home) },
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: NOT_INSTALLED,
    legalComments: 'inline',
    logLevel: 'warning',
    plugins: command === undefined ? [ownPlaces] : [ownPlaces, onlyCommand(command)],
    banner: { js: PLACES.replace('UP', JSON.stringify(relative(join(DIST, home, 'bundle'), DIST))) },
  });
  return outputFiles[0].text;
}

/** Also what the loader runs. The text stays readable, for stack traces. */
const wrapped = (text) => `(function (exports, require, module, __filename, __dirname) {${text}\n})`;

/** @param alone first word of the command line → bundle that is enough for it */
const loader = (name, alone) => `#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { cachedDataVersionTag } from 'node:v8';
import vm from 'node:vm';

const name = ${alone.length === 0 ? `'${name}'` : `new Map(${JSON.stringify(alone)}).get(process.argv[2]) ?? '${name}'`};
const filename = fileURLToPath(new URL(\`./bundle/\${name}.cjs\`, import.meta.url));
let cachedData;
try {
  cachedData = readFileSync(\`\${filename}.\${cachedDataVersionTag()}\`);
} catch {
  // Another version of Node, or other flags: slower, and right all the same.
}
// 'latin1': the bundler writes ASCII only.
const script = new vm.Script(readFileSync(filename, 'latin1'), {
  filename,
  cachedData,
  importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
const module = { exports: {} };
script.runInThisContext()(module.exports, createRequire(filename), module, filename, fileURLToPath(new URL('./bundle', import.meta.url)));
await module.exports.program(process.argv.slice(2));
`;

/** Loads a bundle as its loader will, and keeps what V8 compiled: what every start runs, and of ctl what usual commands run. */
async function warm(filename, command) {
  const script = new vm.Script(readFileSync(filename, 'latin1'), {
    filename,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(filename), module, filename, dirname(filename));
  const dir = mkdtempSync(join(tmpdir(), 'weft-build-'));
  try {
    if (module.exports.run) await runUsualCommands(module.exports, dir, command);
    writeFileSync(`${filename}.${cachedDataVersionTag()}`, script.createCachedData());
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  // What was only loaded may keep a process all the same.
  process.exit(0);
}

async function make(build, program) {
  const home = join(DIST, program.home);
  const directory = join(home, 'bundle');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const { alone = {} } = program;
  const commands = [...new Set(Object.values(alone))];
  const [name, ...names] = await Promise.all([undefined, ...commands].map((command) => makeOne(build, program, directory, command)));
  const words = Object.entries(alone).map(([word, command]) => [word, names[commands.indexOf(command)]]);
  writeFileSync(join(home, 'main.js'), loader(name, words));
  chmodSync(join(home, 'main.js'), 0o755);
}

/** @returns the name of the bundle: of the whole program, or of one command alone */
async function makeOne(build, program, directory, command) {
  const text = wrapped(await bundle(build, program, command));
  // V8 knows a cache by the length of its source: another text needs another name.
  const name = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const filename = join(directory, `${name}.cjs`);
  writeFileSync(filename, text);
  const { NODE_FLAGS = [] } = program.startedBy ? await import(pathToFileURL(join(DIST, program.startedBy)).href) : {};
  const child = spawn(
    process.execPath,
    [...NODE_FLAGS, fileURLToPath(import.meta.url), '--warm', filename, ...(command === undefined ? [] : [command])],
    {
      stdio: 'inherit',
    },
  );
  const [status] = await once(child, 'exit');
  if (status !== 0) throw new Error(`the bundle of ${program.home} does not run`);
  return name;
}

async function main() {
  const [flag, filename, command] = process.argv.slice(2);
  if (flag === '--warm') return warm(filename, command);
  const esbuild = await import('esbuild').catch(() => undefined);
  if (!esbuild) return console.warn('esbuild is not installed (npm install): programs are not bundled, and start more slowly');
  await Promise.all(PROGRAMS.map((program) => make(esbuild.build, program)));
}

await main();
