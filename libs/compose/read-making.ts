/** What of a service the machine of the user does: its image is built, its files are watched. */
import { PULL_POLICIES, type PullPolicy } from './build-wish.js';
import { isNull, readString, reject, report, type Context, type Field } from './context.js';
import type { ServiceDraft } from './draft.js';
import { quote } from './issue.js';
import { readBuild } from './read-build.js';
import { readDevelop } from './read-watch.js';

/** What this machine has to do for the service: needs the name of the image. */
export function readMaking(c: Context, { at, path }: Field, { build, develop, pull, project, name, container }: ServiceDraft): void {
  if (build && !isNull(build.value)) {
    const wish = readBuild(c, build, project, name, container.image);
    container.image = wish.image;
    project.builds.set(name, wish);
  }
  const rules = develop ? readDevelop(c, develop, project.builds.has(name)) : [];
  if (rules.length > 0) project.watches.set(name, rules);
  if (pull === 'build' && !project.builds.has(name))
    report(c, at, path, 'there is nothing to build the image from', 'add "build" to the service');
  if (pull) project.pulls.set(name, pull);
}

export function readPullPolicy(c: Context, field: Field): PullPolicy | undefined {
  const text = readString(c, field);
  const found = PULL_POLICIES.find((policy) => policy === text);
  if (text !== undefined && !found)
    reject(c, field, `Weft asks for images when a stack is brought up, not ${quote(text)}`, 'use always or missing');
  return found;
}
