/** How jest runs the bundled specs (bundle.mjs) in a machine: there is nothing to compile, and nothing else to look through. */
export default {
  rootDir: '../../bundles',
  testEnvironment: 'node',
  testMatch: ['<rootDir>/**/*.spec.mjs'],
  transform: {},
  // An emulated machine is slow in everything. Milliseconds.
  testTimeout: 300_000,
};
