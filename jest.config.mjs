/**
 * Six projects, by what a test needs: `unit` and `simulation` run anywhere, `contract` starts real etcd and containerd processes,
 * `netns` needs root and iproute2/nft, `cluster` starts whole clusters. `npm test` runs these, in that order;
 * `vm` boots virtual machines, by `npm run test:vm`.
 */
const base = {
  rootDir: '.',
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2023', parser: { syntax: 'typescript', decorators: true }, transform: { legacyDecorator: true } } },
    ],
  },
  moduleNameMapper: {
    '^#([a-z-]+)/(.*)\\.js$': '<rootDir>/libs/$1/$2.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  modulePathIgnorePatterns: ['<rootDir>/dist'],
};
const project = (displayName, testMatch, extra = {}) => ({
  ...base,
  displayName,
  testMatch: testMatch.map((m) => `<rootDir>/${m}`),
  ...extra,
});

export default {
  testSequencer: '<rootDir>/test/longest-first.mjs',
  // A busy machine is no failure: tests wait for what they need, and this only bounds those that wait for ever. Milliseconds.
  testTimeout: 60_000,
  projects: [
    project('unit', ['libs/**/*.spec.ts', 'apps/**/*.spec.ts', 'test/architecture/**/*.spec.ts', 'test/corpus/**/*.spec.ts']),
    project('simulation', ['test/simulation/**/*.spec.ts'], {
      globalSetup: '<rootDir>/test/simulation/bundle.mjs',
      globalTeardown: '<rootDir>/test/simulation/remove-bundle.mjs',
    }),
    project('contract', ['test/contract/**/*.spec.ts']),
    project('netns', ['test/netns/**/*.spec.ts']),
    project('cluster', ['test/cluster/**/*.spec.ts']),
    project('vm', ['test/vm/**/*.spec.ts']),
  ],
};
