/** Names that services give their containers (`container_name`): nobody else in the cluster may have one. */
import { WeftError } from '#base/errors.js';
import type { Service, Stack } from '#model/stack.js';
import type { ClusterState } from './cluster-state.js';

interface Given {
  stack: string;
  service: string;
  name: string;
}

/** @throws CONFLICT naming whose the name is */
export function checkContainerNames(state: ClusterState, stack: Stack): void {
  const others = [...state.stacks.values()].map(({ spec }) => spec).filter(({ name }) => name !== stack.name);
  const seen = new Map(others.flatMap(givenIn).map((given) => [given.name.toLowerCase(), given]));
  for (const given of seen.values()) {
    const mine = makerOf(stack, given.name);
    if (mine) throw taken({ stack: stack.name, service: mine.name, name: given.name }, given);
  }
  for (const given of givenIn(stack)) {
    const key = given.name.toLowerCase();
    const holder = seen.get(key) ?? [stack, ...others].flatMap((s) => holderIn(s, given.name))[0];
    if (holder) throw taken(given, holder);
    seen.set(key, given);
  }
}

const givenIn = (stack: Stack): Given[] =>
  Object.values(stack.services).flatMap(({ name: service, container: { containerName: name } }) =>
    name === undefined ? [] : [{ stack: stack.name, service, name }],
  );

/** The service of this stack whose tasks have such a name by themselves: `<stack>-<service>-<slot>`. */
function makerOf({ name: stack, services }: Stack, name: string): Service | undefined {
  const [, service = ''] = name.startsWith(`${stack}-`) ? (/^(.+)-\d+$/.exec(name.slice(stack.length + 1)) ?? []) : [];
  const found = Object.hasOwn(services, service) ? services[service] : undefined;
  return found?.container.containerName === undefined ? found : undefined;
}

function holderIn(stack: Stack, name: string): Given[] {
  const maker = makerOf(stack, name);
  return maker ? [{ stack: stack.name, service: maker.name, name }] : [];
}

const taken = (wanted: Given, holder: Given): WeftError =>
  new WeftError('CONFLICT', {
    what: `the container of service ${wanted.service} cannot be named ${wanted.name}`,
    why: `service ${holder.service} of the stack ${holder.stack} has that name`,
    hint: 'Names of containers are one set for the whole cluster: choose another "container_name", or leave it out.',
    path: ['services', wanted.service, 'container_name'],
  });
