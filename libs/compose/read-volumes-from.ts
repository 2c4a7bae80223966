/**
 * `volumes_from`: a service mounts what another one of the file mounts, at the same places (Compose Specification, `volumes_from`).
 * The mounts are copied here, so that the cluster needs to know of nothing but where the other one is.
 */
import { SERVICE_PATTERN } from '#model/names.js';
import { isGlobal } from '#model/service-mode.js';
import type { MountWish, Service } from '#model/stack.js';
import { isNull, itemsOf, readString, reject, report, type Context, type Field } from './context.js';
import type { PlacedVolumesFrom, ProjectDraft, ServiceDraft } from './draft.js';
import { quote } from './issue.js';

const FORMS = 'SERVICE, SERVICE:ro or SERVICE:rw';

/** That the services are there, and wait for one another in no circle, has been checked. */
export function readVolumesFrom(c: Context, field: Field, { project, name }: ServiceDraft): void {
  if (isNull(field.value)) return;
  const found = (itemsOf(c, field, `a list of ${FORMS}`) ?? []).flatMap((item): PlacedVolumesFrom[] => {
    const text = readString(c, item, FORMS) ?? '';
    if (text.startsWith('container:')) {
      reject(c, item, 'what a container of another stack mounts may change without this one', 'name the volume, with "external: true"');
      return [];
    }
    const [service = '', mode = 'rw', ...more] = text.split(':');
    if (more.length > 0 || !SERVICE_PATTERN.test(service) || (mode !== 'ro' && mode !== 'rw')) {
      reject(c, item, `expected ${FORMS}, found ${quote(text)}`);
      return [];
    }
    return [{ service, readOnly: mode === 'ro', at: item.value.at, path: item.path }];
  });
  if (found.length > 0) project.volumesFrom.set(name, found);
}

/** Copies the mounts, once all services are read: those that others have from others, too. */
export function takeVolumesFrom(c: Context, project: ProjectDraft): void {
  const done = new Set<string>();
  const take = (name: string): void => {
    const service = project.services.get(name);
    if (!service || done.has(name)) return;
    done.add(name);
    for (const from of project.volumesFrom.get(name) ?? []) {
      take(from.service);
      const other = project.services.get(from.service);
      if (other) copyMounts(c, service, other, from);
    }
  };
  for (const name of project.volumesFrom.keys()) take(name);
}

/** What the service itself mounts at a place counts more. A tmpfs is no volume: each container has its own, as with Docker. */
function copyMounts(c: Context, service: Service, other: Service, { readOnly, at, path }: PlacedVolumesFrom): void {
  const taken = new Set([...service.container.mounts, ...(service.container.files ?? [])].map((mount) => mount.target));
  const mounts = other.container.mounts.filter((mount) => mount.type !== 'tmpfs' && !taken.has(mount.target));
  if (mounts.some((mount) => mount.seed))
    report(
      c,
      at,
      path,
      `${quote(other.name)} has a copy of its own of a file or directory (x-weft: seed)`,
      'keep what both write in a volume',
    );
  service.container.mounts.push(...mounts.map((mount): MountWish => ({ ...mount, readOnly: mount.readOnly || readOnly })));
  // A volume brings its services together by itself, and a global service is everywhere.
  if (!mounts.some((mount) => mount.type === 'bind') || isGlobal(other)) return;
  if (service.placedWith !== undefined && service.placedWith !== other.name)
    return report(
      c,
      at,
      path,
      `it would have to be on the nodes of both ${quote(service.placedWith)} and ${quote(other.name)}`,
      'mount paths of the node from one service only',
    );
  service.placedWith = other.name;
  if (isGlobal(service) || service.replicas > other.replicas)
    report(
      c,
      at,
      path,
      `it has more tasks than ${quote(other.name)}, whose paths of the node it mounts`,
      'each task is beside the one of the same number: give both as many replicas',
    );
}
