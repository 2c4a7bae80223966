/**
 * The order in which spec files begin: those that take long first, so that none of them is left alone at the end. jest knows how
 * long a file took last time, but not on a machine that has never run it.
 */
import { createRequire } from 'node:module';

const { default: Sequencer } = createRequire(import.meta.url)('@jest/test-sequencer');

/** Files of half a minute and more, longest first. */
const LONG = [
  'simulation/everything',
  'cluster/updates',
  'cluster/modes',
  'contract/controller/faults',
  'cluster/controllers',
  'contract/controller/several',
  'cluster/containers',
  'cluster/examples',
  'cluster/files',
  'cluster/stack',
  'cluster/bad-input',
  'netns/overlay',
  'cluster/drift',
  'cluster/nodes',
  'netns/mesh6',
  'cluster/operations',
  'netns/safety',
  'cluster/faults',
  'contract/controller/cut-off',
  'cluster/quarantine',
  'contract/runtime/restart',
].map((name) => `/test/${name}.spec.ts`);

const rank = ({ path }) => {
  const at = LONG.findIndex((end) => path.endsWith(end));
  return at === -1 ? LONG.length : at;
};

export default class LongestFirst extends Sequencer {
  sort(tests) {
    return [...super.sort(tests)].sort((a, b) => rank(a) - rank(b));
  }
}
