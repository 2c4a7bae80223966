/**
 * Before the histories are played: the simulation and all that it imports, as one file for `outside.ts`. jest runs modules in a
 * context of their own, in which every look at a global costs; a third of the time went there.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * The sources, as jest takes them too; what package.json says leads to what was built last. But for the codec: all processes of a
 * simulated cluster are in one, and read the same texts.
 */
const rooms = {
  name: 'rooms',
  setup({ onResolve }) {
    onResolve({ filter: /^#model\/codec\.js$/ }, () => ({ path: join(ROOT, 'test/simulation/common-codec.ts') }));
    onResolve({ filter: /^#[a-z-]+\// }, ({ path }) => ({ path: join(ROOT, 'libs', path.slice(1).replace(/\.js$/, '.ts')) }));
  },
};

/** Told by jest; `SIMULATION` says where the file is to those that it starts. */
export default async function makeBundle() {
  const directory = await mkdtemp(join(tmpdir(), 'weft-simulation-'));
  process.env.SIMULATION = join(directory, 'player.cjs');
  await build({
    entryPoints: [join(ROOT, 'test/simulation/player.ts')],
    outfile: process.env.SIMULATION,
    absWorkingDir: ROOT,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    sourcemap: 'inline',
    logLevel: 'warning',
    plugins: [rooms],
  });
}

export async function removeBundle() {
  await rm(join(process.env.SIMULATION, '..'), { recursive: true, force: true });
}
