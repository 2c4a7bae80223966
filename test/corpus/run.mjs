/** Bundles main.ts with the compiled libraries (npm run build first) and runs it. */
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const outfile = fileURLToPath(new URL('../../dist/test/corpus.mjs', import.meta.url));
await build({
  entryPoints: [fileURLToPath(new URL('main.ts', import.meta.url))],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  external: ['#*'],
  logLevel: 'warning',
});
await import(pathToFileURL(outfile).href);
