import { FakeRuntime } from '#runtime/fake-runtime.js';
import { describeRuntime } from './contract.js';

let count = 0;

describeRuntime('fake', () => {
  const runtime = new FakeRuntime({ images: ['busybox:test'] });
  return Promise.resolve({
    runtime,
    spec: (changes = {}) => ({
      id: `task-${++count}`,
      image: 'docker.io/library/busybox:test',
      env: {},
      hostname: 'box',
      labels: {},
      mounts: [],
      netnsPath: '/run/netns/none',
      stdio: { stdout: '', stderr: '' },
      ...changes,
    }),
    withInput: (spec) => ({ ...spec, stdio: { ...spec.stdio, stdin: 'an input' } }),
    leaveHalfMade: (spec) => Promise.resolve(runtime.leaveHalfMade(spec)),
    ready: () => Promise.resolve(),
    archive: async (name) => {
      await Promise.resolve();
      return (async function* () {
        await Promise.resolve();
        yield Buffer.from(JSON.stringify([name]));
      })();
    },
    destroy: () => runtime.close(),
  });
});
