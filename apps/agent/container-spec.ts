/** From a task to what the runtime is asked for. Pure. */
import { runtimeKeysSchema, type RuntimeKeys } from '#model/container-keys.js';
import type { Task } from '#model/task.js';
import type { ContainerSpec, Mount } from '#runtime/runtime.js';
import { hostnameOf, type FilesPlace } from './container-files.js';
import { NAME_LABEL, ORDER_LABEL, TASK_LABEL } from './plan-tasks.js';

export interface Prepared {
  /** Reference of the image as the runtime stores it. */
  image: string;
  mounts: Mount[];
  netnsPath: string;
  place?: FilesPlace;
  stdio: { stdin?: string; stdout: string; stderr: string };
  /** See HowToRun. */
  order?: number | undefined;
}

export function containerSpec(task: Task, prepared: Prepared): ContainerSpec {
  const wish = task.container;
  return {
    ...runtimeKeys(wish),
    id: task.id,
    image: prepared.image,
    command: wish.command,
    entrypoint: wish.entrypoint,
    env: wish.environment,
    user: wish.user,
    workingDir: wish.workingDir,
    hostname: hostnameOf(task, prepared.place),
    domainname: wish.domainname,
    labels: {
      ...wish.labels,
      [TASK_LABEL]: task.id,
      [NAME_LABEL]: task.name,
      'weft.stack': task.stack,
      'weft.service': task.service,
      'weft.slot': String(task.slot),
      ...(prepared.order === undefined ? {} : { [ORDER_LABEL]: String(prepared.order) }),
    },
    mounts: prepared.mounts,
    netnsPath: prepared.netnsPath,
    readOnlyRootfs: wish.readOnlyRootfs,
    capAdd: wish.capAdd,
    capDrop: wish.capDrop,
    limits: { ...wish.limits, memoryReservationBytes: task.reservations?.memoryBytes },
    stdio: prepared.stdio,
    stopSignal: wish.stopSignal,
  };
}

const RUNTIME_KEYS = Object.keys(runtimeKeysSchema.shape) as (keyof RuntimeKeys)[];

/** What the wish says of the keys that the runtime takes as they stand. */
const runtimeKeys = (wish: RuntimeKeys): RuntimeKeys =>
  Object.fromEntries(RUNTIME_KEYS.filter((key) => wish[key] !== undefined).map((key) => [key, wish[key]]));
