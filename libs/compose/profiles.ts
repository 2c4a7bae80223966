/** Which services of a model are meant, and what they need: profiles, services named by the caller, resources in use. */
import { report, type Context } from './context.js';
import { textsOf } from './complete.js';
import { quote } from './issue.js';
import { nearest } from './nearest.js';
import { textOf, valueOf } from './short-forms.js';
import type { Entry, MapValue, Value } from './tree.js';

export const servicesOf = (model: MapValue): Entry[] => {
  const services = valueOf(model, 'services');
  return services?.kind === 'map' ? services.entries : [];
};

/** Names that `depends_on` has, and whether the service must be there. */
export const dependenciesOf = (service: Value): { name: string; entry: Entry; required: boolean }[] => {
  const found = valueOf(service, 'depends_on');
  const entries = found?.kind === 'map' ? found.entries : [];
  return entries.map((entry) => ({ name: entry.key, entry, required: textOf(entry.value, 'required') !== 'false' }));
};

/** The model with the services that are meant ("Profiles"). */
export function selectServices(c: Context, model: MapValue, profiles: readonly string[], names: readonly string[]): MapValue {
  const all = new Map(servicesOf(model).map((entry) => [entry.key, entry]));
  const active = new Set(profiles);
  for (const name of names) {
    const entry = all.get(name);
    const near = nearest(name, [...all.keys()]);
    if (!entry) report(c, { ...model.at, line: 1, column: 1 }, '', `there is no service ${quote(name)}`, near && `did you mean "${near}"?`);
    for (const { text } of textsOf(valueOf(entry?.value, 'profiles'))) active.add(text);
  }
  const enabled = new Set([...all.values()].filter(({ value }) => isEnabled(value, active)).map((entry) => entry.key));
  const chosen =
    names.length === 0
      ? enabled
      : closure(
          all,
          names.filter((name) => all.has(name)),
          enabled,
        );
  const entries = [...all.values()].filter((entry) => chosen.has(entry.key)).map((entry) => withoutLost(entry, chosen));
  return replaceEntry(model, 'services', entries);
}

function isEnabled(service: Value, active: ReadonlySet<string>): boolean {
  const own = textsOf(valueOf(service, 'profiles'));
  return own.length === 0 || active.has('*') || own.some(({ text }) => active.has(text));
}

function closure(all: ReadonlyMap<string, Entry>, names: readonly string[], enabled: ReadonlySet<string>): Set<string> {
  const found = new Set<string>();
  const queue = [...names];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    const entry = all.get(name);
    if (!entry || found.has(name)) continue;
    found.add(name);
    for (const dependency of dependenciesOf(entry.value)) if (enabled.has(dependency.name)) queue.push(dependency.name);
  }
  return found;
}

/** A dependency that is not required goes with the service it names. */
function withoutLost(entry: Entry, chosen: ReadonlySet<string>): Entry {
  const lost = dependenciesOf(entry.value).filter(({ name, required }) => !required && !chosen.has(name));
  if (lost.length === 0 || entry.value.kind !== 'map') return entry;
  const gone = new Set(lost.map((one) => one.entry));
  const given = valueOf(entry.value, 'depends_on');
  const left = given?.kind === 'map' ? given.entries.filter((one) => !gone.has(one)) : [];
  return { ...entry, value: replaceEntry(entry.value, 'depends_on', left) };
}

/** Another content for a map within a map; none when it is empty. */
function replaceEntry(map: MapValue, key: string, entries: Entry[]): MapValue {
  return {
    ...map,
    entries: map.entries.flatMap((entry) => {
      if (entry.key !== key || entry.value.kind !== 'map') return [entry];
      return entries.length === 0 && key !== 'services' ? [] : [{ ...entry, value: { ...entry.value, entries } }];
    }),
  };
}

/** Without the networks, volumes, configs, secrets and models that no service uses. */
export function onlyUsed(model: MapValue): MapValue {
  const services = servicesOf(model);
  const used = {
    networks: new Set<string>(),
    volumes: new Set<string>(),
    configs: new Set<string>(),
    secrets: new Set<string>(),
    models: new Set<string>(),
  };
  for (const { value } of services) {
    for (const key of keysOf(valueOf(value, 'networks'))) used.networks.add(key);
    for (const key of keysOf(valueOf(value, 'models'))) used.models.add(key);
    for (const item of itemsIn(value, 'volumes')) if (textOf(item, 'type') === 'volume') used.volumes.add(textOf(item, 'source') ?? '');
    for (const item of itemsIn(value, 'configs')) used.configs.add(textOf(item, 'source') ?? '');
    for (const item of [...itemsIn(value, 'secrets'), ...itemsIn(valueOf(value, 'build'), 'secrets')])
      used.secrets.add(textOf(item, 'source') ?? '');
  }
  let whole = model;
  for (const [section, keys] of Object.entries(used)) {
    const given = valueOf(whole, section);
    if (given?.kind === 'map')
      whole = replaceEntry(
        whole,
        section,
        given.entries.filter((entry) => keys.has(entry.key)),
      );
  }
  return whole;
}

export const keysOf = (value: Value | undefined): string[] => (value?.kind === 'map' ? value.entries.map((entry) => entry.key) : []);
export const itemsIn = (value: Value | undefined, key: string): Value[] => {
  const found = valueOf(value, key);
  return found?.kind === 'list' ? found.items : [];
};
