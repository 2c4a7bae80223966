/** What tasks mount that comes from the controllers, or has to be mounted on the node first. */
import type { Clock } from '#base/clock.js';
import type { Log } from '#base/log.js';
import { run as runHere, type Run } from '#linux/runner.js';
import { contentFetcher } from './contents/fetch-content.js';
import { FileMounts } from './contents/file-mounts.js';
import { ensureMemoryDir } from './contents/memory-dir.js';
import { TreeMounts } from './contents/tree-mounts.js';
import type { Membership } from './join.js';
import type { Layout } from './layout.js';
import { VolumeMounts } from './volume-mounts.js';

export interface MountParts {
  nodeName: string;
  layout: Layout;
  membership: Membership;
  /** Runs commands; in this process if left out. */
  run?: Run | undefined;
  clock: Clock;
  log: Log;
}

export interface TaskMounts {
  fileMounts: FileMounts;
  treeMounts: TreeMounts;
  volumeMounts: VolumeMounts;
}

export function openMounts({ nodeName, layout, membership, run = runHere, clock, log }: MountParts): TaskMounts {
  const { identity, controllers } = membership;
  const fetch = contentFetcher(() => controllers, identity);
  const { configsDir, secrets: secretsDir, trees: treesDir, seedsDir } = layout;
  return {
    fileMounts: new FileMounts({ fetch, configsDir, secretsDir, openSecrets: (path) => ensureMemoryDir(path, run) }),
    treeMounts: new TreeMounts({ fetch, treesDir, seedsDir, run, clock }),
    volumeMounts: new VolumeMounts({ dir: layout.volumeMounts, nodeName, run, log }),
  };
}
