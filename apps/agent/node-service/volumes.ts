/** Volumes on this node, as controllers ask for them. */
import { WeftError } from '#base/errors.js';
import type { RemoveVolumeResponse } from '#rpc/gen/weft/v1/api.js';
import { removeVolume } from '../volumes.js';

export interface VolumeCallDeps {
  /** Directory of the volumes. */
  volumes: string;
  /** Names of the tasks here that mount a volume. */
  volumeUsers: (name: string) => string[];
}

/** Deletes a volume and its data. @throws CONFLICT while a task here mounts it, BAD_NAME */
export async function removeVolumeOf({ volumes, volumeUsers }: VolumeCallDeps, name: string): Promise<RemoveVolumeResponse> {
  const users = volumeUsers(name);
  if (users.length > 0) throw new WeftError('CONFLICT', { what: `volume ${name} is in use on this node`, why: `by ${users.join(', ')}` });
  await removeVolume(volumes, name);
  return {};
}
