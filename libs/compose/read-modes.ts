/** In whose network a service's tasks live, and whom they know by a link. */
import { HOSTNAME_PATTERN, SERVICE_PATTERN } from '#model/names.js';
import type { Link, NetworkMode, Service } from '#model/stack.js';
import { itemsOf, isNull, readString, reject, report, type Context, type Field } from './context.js';
import type { PlacedMode, ProjectDraft, ServiceDraft } from './draft.js';
import { quote } from './issue.js';

const WORDS = ['bridge', 'host', 'none'] as const;
const FORMS = 'bridge, host, none, service:NAME or container:NAME';

export function readNetworkMode(c: Context, field: Field, draft: ServiceDraft): void {
  const text = readString(c, field, FORMS);
  if (text === undefined) return;
  const mode = modeIn(text);
  if (mode) draft.networkMode = { mode, at: field.value.at, path: field.path };
  else reject(c, field, `expected ${FORMS}, found ${quote(text)}`, 'for networks of its own, name them under "networks"');
}

function modeIn(text: string): NetworkMode | undefined {
  const word = WORDS.find((w) => w === text);
  if (word) return { kind: word };
  const [kind, ...rest] = text.split(':');
  const name = rest.join(':');
  if (kind === 'service' && SERVICE_PATTERN.test(name)) return { kind, service: name };
  if (kind === 'container' && HOSTNAME_PATTERN.test(name)) return { kind, container: name };
  return undefined;
}

/** `SERVICE[:ALIAS]`. That the service is there has been checked. */
export const readLinks = (c: Context, field: Field): Link[] =>
  linksIn(c, field, 'a service, or SERVICE:ALIAS', (name) => ({ service: name }));

/** `CONTAINER[:ALIAS]`: a task of any stack, by its name. */
export const readExternalLinks = (c: Context, field: Field): Link[] =>
  linksIn(c, field, 'the name of a container, or CONTAINER:ALIAS', (name) => ({ container: name }));

function linksIn(c: Context, field: Field, expected: string, targetOf: (name: string) => Omit<Link, 'alias'>): Link[] {
  if (isNull(field.value)) return [];
  return (itemsOf(c, field) ?? []).flatMap((item) => {
    const text = readString(c, item, expected) ?? '';
    const [name = '', alias = name, ...more] = text.split(':');
    if (more.length === 0 && HOSTNAME_PATTERN.test(name) && HOSTNAME_PATTERN.test(alias)) return [{ ...targetOf(name), alias }];
    reject(c, item, `expected ${expected}, found ${quote(text)}`, 'names are letters, digits, "-", "_" and "."');
    return [];
  });
}

/** What cannot be together with a mode of a service. Read when the whole service is. */
export function checkMode(c: Context, { networkMode: placed, ports, links, project, name }: ServiceDraft): void {
  if (!placed) return;
  project.networkModes.set(name, placed);
  const { kind } = placed.mode;
  if (kind === 'networks' || kind === 'bridge') return;
  const port = ports[0];
  if (port) {
    const hint = kind === 'host' ? 'its ports are those of the node: leave "ports" out' : hintFor(placed.mode);
    report(c, port.at, port.path, `a service with network_mode ${showMode(placed.mode)} cannot publish ports`, hint);
  }
  if (links && links.length > 0)
    report(c, placed.at, placed.path, `a service with network_mode ${showMode(placed.mode)} cannot have links`, 'leave one of the two out');
}

function hintFor(mode: NetworkMode): string {
  if (mode.kind === 'service') return `publish them with the service ${mode.service}, whose network it shares`;
  return mode.kind === 'container' ? 'publish them with the container whose network it shares' : 'it has no network at all';
}

export const showMode = (mode: NetworkMode): string =>
  mode.kind === 'service' ? `service:${mode.service}` : mode.kind === 'container' ? `container:${mode.container}` : mode.kind;

/** Modes of services against one another. */
export function checkModes(c: Context, project: ProjectDraft): void {
  for (const [name, placed] of project.networkModes) {
    if (placed.mode.kind === 'service') checkOwner(c, project, name, placed, placed.mode.service);
  }
}

function checkOwner(c: Context, project: ProjectDraft, name: string, { at, path }: PlacedMode, owner: string): void {
  // That it is there at all has been checked with the dependencies.
  const target = project.services.get(owner);
  const own = project.services.get(name);
  if (!target || !own) return;
  if (circle(project, name)) return report(c, at, path, `its network is its own, in a circle: ${circle(project, name)}`);
  if (project.networkModes.get(owner)?.mode.kind === 'host')
    report(c, at, path, `the service ${quote(owner)} lives in the network of its node`, 'say "network_mode: host" here too');
  if (own.replicas > target.replicas)
    report(
      c,
      at,
      path,
      `it has ${tasksOf(own)}, and shares the network of ${quote(owner)}, which has ${tasksOf(target)}`,
      'each task shares with the one of the same number: give both as many replicas',
    );
}

const tasksOf = ({ replicas }: Service): string => `${replicas} replica${replicas === 1 ? '' : 's'}`;

/** `a → b → a`, if following the modes from `name` comes back to it. */
function circle(project: ProjectDraft, name: string): string | undefined {
  const seen = [name];
  for (;;) {
    const mode = project.networkModes.get(seen.at(-1) ?? '')?.mode;
    if (mode?.kind !== 'service') return undefined;
    if (mode.service === name) return [...seen, name].join(' → ');
    if (seen.includes(mode.service)) return undefined;
    seen.push(mode.service);
  }
}
