/**
 * The order in which spec files begin: those that take long first, so that none of them is left alone at the end. jest knows how
 * long a file took last time, but not on a machine that has never run it.
 */
import { createRequire } from 'node:module';

const { default: Sequencer } = createRequire(import.meta.url)('@jest/test-sequencer');

/** Files of a quarter of a minute and more, longest first. */
const LONG = [
  'simulation/everything',
  'cluster/updates',
  'contract/controller/faults',
  'cluster/modes',
  'cluster/files',
  'cluster/containers',
  'cluster/bad-input',
  'cluster/examples',
  'cluster/controllers',
  'cluster/stack',
  'contract/controller/several',
  'netns/overlay',
  'netns/mesh6',
  'cluster/drift',
  'cluster/nodes',
  'cluster/operations',
  'netns/kernel',
  'cluster/faults',
  'netns/mesh',
  'netns/safety',
  'netns/log-keeper',
  'netns/encrypted',
  'contract/store/etcd',
  'netns/multicast',
  'netns/ipv6',
  'cluster/trace',
  'cluster/quarantine',
  'cluster/ports',
  'netns/agent',
  'cluster/addresses',
  'cluster/discovery',
  'contract/controller/cut-off',
  'contract/store/memory',
  'cluster/registry',
  'cluster/logs',
  'contract/controller/files',
  'contract/runtime/container-keys',
  'contract/runtime/restart',
  'contract/build/buildah',
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
