/**
 * Makes one file of a program or a spec and of all it imports: an emulated machine takes minutes to find and read some hundreds of
 * small ones. What runs is the same code.
 *
 *   node test/vm/bundle.mjs OUT_DIRECTORY FILE…
 */
import { build } from 'esbuild';

const common = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  banner: { js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);" },
  logLevel: 'error',
};

const [outdir, ...entryPoints] = process.argv.slice(2);
await build({ ...common, entryPoints, outdir, external: ['@jest/globals'], outExtension: { '.js': '.mjs' } });
