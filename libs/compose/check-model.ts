/** What a model must be as a whole, whatever runs it: what is named is there, and nothing contradicts. */
import { textsOf } from './complete.js';
import { isTold, report, type Context } from './context.js';
import { placeSeenFrom, quote } from './issue.js';
import { dependenciesOf, itemsIn, keysOf, servicesOf } from './profiles.js';
import { entryOf, textOf, valueOf } from './short-forms.js';
import type { Entry, MapValue, Value } from './tree.js';

interface Check {
  c: Context;
  model: MapValue;
  /** The services that no profile lets run, too. */
  all: ReadonlySet<string>;
  services: ReadonlySet<string>;
}

export function checkModel(c: Context, model: MapValue, all: MapValue): void {
  const services = servicesOf(model);
  const check: Check = {
    c,
    model,
    all: new Set(servicesOf(all).map((entry) => entry.key)),
    services: new Set(services.map((entry) => entry.key)),
  };
  checkServicesThere(c, all);
  for (const entry of services) checkService(check, entry);
  checkCircles(c, services);
  for (const section of ['configs', 'secrets'] as const) {
    const found = valueOf(model, section);
    if (found?.kind === 'map') for (const entry of found.entries) checkContent(c, entry, section);
  }
}

function checkServicesThere(c: Context, all: MapValue): void {
  const entry = entryOf(all, 'services');
  const start = { ...all.at, line: 1, column: 1 };
  if (!entry) return c.issues.length > 0 ? undefined : report(c, start, '', 'the key "services" is missing');
  if (entry.value.kind === 'map' && entry.value.entries.length === 0 && c.issues.length === 0)
    report(c, entry.at, 'services', 'expected at least one service');
}

function checkService(check: Check, entry: Entry): void {
  const { c } = check;
  const path = `services.${entry.key}`;
  const service = entry.value;
  const sources = ['image', 'build', 'provider'];
  // What it extends may have had one.
  const isEcho = isTold(c, path, ...sources, '<<') || c.issues.some((issue) => /^services\..*\.extends\b/.test(issue.path));
  if (!sources.some((key) => entryOf(service, key)) && !isEcho)
    report(c, entry.at, path, 'the key "image" is missing', 'or "build", to make the image');
  const image = entryOf(service, 'image');
  // Printed without it, the model would be another.
  if (image?.value.kind === 'scalar' && image.value.text === '' && !entryOf(service, 'build'))
    report(c, image.value.at, `${path}.image`, '"" is not the name of an image: it is empty', 'is a variable in it not set?');
  checkNames(check, entry, path);
  checkDependencies(check, entry, path);
  checkReplicas(c, service, path);
  checkLimits(c, service, path);
  checkTargets(c, service, path);
  checkHealth(c, service, path);
  const mode = entryOf(service, 'network_mode');
  if (mode && keysOf(valueOf(service, 'networks')).length > 0)
    report(c, mode.at, `${path}.network_mode`, 'a service has "network_mode" or "networks", not both');
}

/** Networks, volumes, configs and secrets that a service names have to be declared at the top level. */
function checkNames({ c, model }: Check, { value: service }: Entry, path: string): void {
  const networks = valueOf(service, 'networks');
  for (const { key, at } of networks?.kind === 'map' ? networks.entries : [])
    if (!entryOf(valueOf(model, 'networks'), key))
      report(c, at, `${path}.networks`, `the network ${quote(key)} is not declared`, 'add it under the top-level "networks"');
  itemsIn(service, 'volumes').forEach((item, i) => {
    const source = entryOf(item, 'source');
    const name = textOf(item, 'source');
    if (textOf(item, 'type') !== 'volume' || !source || name === undefined || entryOf(valueOf(model, 'volumes'), name)) return;
    const hint = 'add it under the top-level "volumes", or begin a path with "./" or "/"';
    report(c, source.value.at, `${path}.volumes[${i}]`, `the volume ${quote(name)} is not declared`, hint);
  });
  for (const section of ['configs', 'secrets'] as const) {
    itemsIn(service, section).forEach((item, i) => {
      const name = textOf(item, 'source');
      if (name === undefined || entryOf(valueOf(model, section), name)) return;
      const what = section.slice(0, -1);
      report(
        c,
        item.at,
        `${path}.${section}[${i}]`,
        `the ${what} ${quote(name)} is not declared`,
        `add it under the top-level "${section}"`,
      );
    });
  }
}

function checkDependencies({ c, all, services }: Check, entry: Entry, path: string): void {
  for (const { name, entry: dependency, required } of dependenciesOf(entry.value)) {
    if (services.has(name) || !required) continue;
    if (name === '') continue;
    const message = all.has(name)
      ? `the service ${quote(name)} is left out: none of its profiles is asked for`
      : `there is no service ${quote(name)}`;
    report(c, dependency.at, `${path}.depends_on`, message, all.has(name) ? 'add --profile, or "required: false"' : undefined);
  }
}

/** Services that wait for one another in a circle never start. */
function checkCircles(c: Context, services: readonly Entry[]): void {
  const byName = new Map(services.map((entry) => [entry.key, entry]));
  const done = new Set<string>();
  for (const start of services) {
    const path: string[] = [];
    const stack: { name: string; next: { name: string; entry: Entry }[] }[] = [];
    const open = (name: string, entry: Entry): void => {
      path.push(name);
      stack.push({ name, next: dependenciesOf(entry.value) });
    };
    if (!done.has(start.key)) open(start.key, start);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const next = top.next.shift();
      if (!next) {
        done.add(top.name);
        path.pop();
        stack.pop();
        continue;
      }
      const at = path.indexOf(next.name);
      if (at >= 0)
        report(
          c,
          next.entry.at,
          `services.${top.name}.depends_on`,
          `these services wait for one another: ${[...path.slice(at), next.name].join(' → ')}`,
        );
      const entry = byName.get(next.name);
      if (at < 0 && entry && !done.has(next.name)) open(next.name, entry);
    }
  }
}

function checkReplicas(c: Context, service: Value, path: string): void {
  const scale = entryOf(service, 'scale');
  const replicas = entryOf(valueOf(service, 'deploy'), 'replicas');
  const counts = [scale, replicas].map((entry) => (entry?.value.kind === 'scalar' ? entry.value.text : undefined));
  if (scale && replicas && counts[0] !== counts[1]) {
    const where = placeSeenFrom(scale.at, replicas.at);
    report(c, scale.at, `${path}.scale`, `scale is ${counts[0]}, but deploy.replicas at ${where} is ${counts[1]}`);
  }
  const name = entryOf(service, 'container_name');
  const count = Number(counts[0] ?? counts[1] ?? 1);
  if (name && count > 1)
    report(c, name.at, `${path}.container_name`, `${count} containers cannot have one name`, 'leave "container_name" out');
}

const SPELLINGS: readonly [string, readonly string[]][] = [
  ['cpus', ['limits', 'cpus']],
  ['mem_limit', ['limits', 'memory']],
  ['pids_limit', ['limits', 'pids']],
  ['mem_reservation', ['reservations', 'memory']],
];

/** A limit may be written in two places, but not twice in two sizes. */
function checkLimits(c: Context, service: Value, path: string): void {
  const resources = valueOf(valueOf(service, 'deploy'), 'resources');
  for (const [key, [group = '', name = '']] of SPELLINGS) {
    const short = entryOf(service, key);
    const long = entryOf(valueOf(resources, group), name);
    const [a, b] = [short, long].map((entry) => (entry?.value.kind === 'scalar' ? entry.value.text : undefined));
    if (short && long && a !== b)
      report(
        c,
        short.at,
        `${path}.${key}`,
        `this is ${a}, but deploy.resources.${group}.${name} at ${placeSeenFrom(short.at, long.at)} is ${b}`,
      );
  }
}

function checkTargets(c: Context, service: Value, path: string): void {
  const seen = new Map<string, { path: string; value: Value }>();
  const add = (target: string, value: Value, keyPath: string): void => {
    const first = seen.get(target);
    if (first)
      report(
        c,
        value.at,
        keyPath,
        `something is already mounted at ${quote(target)} by ${first.path} at ${placeSeenFrom(value.at, first.value.at)}`,
      );
    else seen.set(target, { path: keyPath, value });
  };
  itemsIn(service, 'volumes').forEach((item, i) => add(textOf(item, 'target') ?? '', item, `${path}.volumes[${i}]`));
  itemsIn(service, 'tmpfs').forEach((item, i) => {
    if (item.kind === 'scalar') add(item.text.split(':')[0] ?? '', item, `${path}.tmpfs[${i}]`);
  });
}

function checkHealth(c: Context, service: Value, path: string): void {
  const test = valueOf(valueOf(service, 'healthcheck'), 'test');
  const first = textsOf(test)[0];
  if (first && !['CMD', 'CMD-SHELL', 'NONE'].includes(first.text))
    report(c, first.at, `${path}.healthcheck.test`, `expected CMD, CMD-SHELL or NONE as the first word, found ${quote(first.text)}`);
}

const SOURCES = { configs: ['file', 'environment', 'content'], secrets: ['file', 'environment'] } as const;

function checkContent(c: Context, entry: Entry, section: 'configs' | 'secrets'): void {
  const keys = SOURCES[section];
  const given = keys.filter((key) => entryOf(entry.value, key));
  const path = `${section}.${entry.key}`;
  const external = textOf(entry.value, 'external') === 'true';
  if (given.length > 1) report(c, entry.at, path, `one of ${keys.join(', ')} is enough, found ${given.join(' and ')}`);
  if (given.length === 0 && !external && !entryOf(entry.value, 'driver') && !isTold(c, path, ...keys, 'external'))
    report(c, entry.at, path, `nothing says where it comes from`, `give ${keys.join(', ')} or "external: true"`);
}
