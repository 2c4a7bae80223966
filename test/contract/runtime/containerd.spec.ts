import { ContainerdClient } from '#runtime/client.js';
import { ContainersService } from '#runtime/gen/services/containers/v1/containers.js';
import { makeBusyboxArchive } from './busybox-archive.js';
import { describeRuntime } from './contract.js';
import { RealHarness, chunked } from './real-harness.js';

describeRuntime('containerd', async () => {
  const h = await RealHarness.start();
  return {
    runtime: h.runtime,
    spec: (changes) => h.spec(changes),
    withInput: (spec) => ({ ...spec, stdio: { ...spec.stdio, stdin: h.output(spec.id).stdin } }),
    leaveHalfMade: async (spec) => {
      const client = new ContainerdClient(h.containerd.socket, h.namespace);
      const container = {
        id: spec.id,
        image: spec.image,
        labels: {},
        runtime: { name: 'io.containerd.runc.v2', options: undefined },
        spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') },
        snapshotter: 'overlayfs',
        snapshotKey: spec.id,
        createdAt: undefined,
        updatedAt: undefined,
        extensions: {},
      };
      await client.call(ContainersService.create, { container });
      client.close();
    },
    ready: (id) => h.output(id).waitFor('ready'),
    archive: async (name) => chunked(await makeBusyboxArchive({ name, format: 'oci', files: { name } })),
    destroy: () => h.destroy(),
  };
});
