import { stackSchema, type Stack } from '#model/stack.js';
import { judgePaths, pathNeeds, pathsByNode, type FoundPaths } from './host-paths.js';
import { World } from './spec-kit.js';

const bind = (source: string, more: object = {}) => ({ type: 'bind', source, target: `/m${source}`, ...more });
const service = (mounts: object[], parts: object = {}) => ({ container: { image: 'x', mounts }, ...parts });
const stackWith = (services: Record<string, object>, volumes: object = {}): Stack =>
  stackSchema.parse({
    name: 's',
    services: Object.fromEntries(Object.entries(services).map(([name, parts]) => [name, { name, ...parts }])),
    volumes,
  });
const askedOf = (world: World, stack: Stack) =>
  Object.fromEntries([...pathsByNode(pathNeeds(world.model, stack)).values()].map(({ node, paths }) => [node.name, paths]));
const found = (world: World, kinds: Record<string, Record<string, string>>, unasked: Record<string, string> = {}): FoundPaths => ({
  kinds: new Map(Object.entries(kinds).map(([node, paths]) => [world.nodeId(node), new Map(Object.entries(paths))])),
  unasked: new Map(Object.entries(unasked).map(([node, why]) => [world.nodeId(node), why])),
});

describe('paths of the nodes that a stack mounts', () => {
  it('are asked of every node that a task could go to, once, and of no other', () => {
    const world = new World(['n1', 'n2', 'n3']);
    world.setNodeState('n3', 'down');
    const stack = stackWith({
      a: service([bind('/x'), bind('/y')]),
      b: service([bind('/x')]),
      c: service([]),
      d: service([bind('/z')], { replicas: 0 }),
    });
    expect(askedOf(world, stack)).toEqual({ n1: ['/x', '/y'], n2: ['/x', '/y'] });
    const only = stackWith({ a: service([bind('/x')], { placement: { constraints: ['node.hostname == n2'] } }) });
    expect(askedOf(world, only)).toEqual({ n2: ['/x'] });
  });

  it('are not asked for again where nothing changed; what stays on its node is asked of that alone', () => {
    const world = new World(['n1', 'n2', 'n3']);
    const stack = stackWith({ a: service([bind('/x')]) });
    world.up(stack);
    world.settle();
    expect(askedOf(world, stack)).toEqual({});
    const home = world.model.nodes.get([...world.model.tasks.values()][0]?.nodeId ?? '')?.name ?? '';
    expect(askedOf(world, stackWith({ a: service([bind('/x'), bind('/y')]) }))).toEqual({ [home]: ['/x', '/y'] });
    expect(Object.keys(askedOf(world, stackWith({ a: service([bind('/x')], { replicas: 2 }) })))).toEqual(['n1', 'n2', 'n3']);
  });

  it('that volumes are count, too', () => {
    const world = new World(['n1']);
    const volumeOptions = { type: 'none', device: '/srv', options: ['bind'] };
    const needs = pathNeeds(world.model, stackWith({ a: service([{ type: 'volume', source: 'v', target: '/v', volumeOptions }]) }));
    expect(needs).toMatchObject([{ path: '/srv', directory: true, made: false }]);
    expect(() => judgePaths('s', needs, found(world, { n1: { '/srv': 'other' } }))).toThrow(
      expect.objectContaining({ why: 'service a: /srv is no directory on n1' }),
    );
  });

  it('that are missing are an error with path and nodes, or are said to be made', () => {
    const world = new World(['n1', 'n2']);
    const needs = pathNeeds(
      world.model,
      stackWith({ a: service([bind('/x'), bind('/y', { createHostPath: true })]), b: service([bind('/z')]) }),
    );
    const there = { '/x': 'directory', '/y': 'missing', '/z': 'other' };
    expect([...judgePaths('s', needs, found(world, { n1: there, n2: there }))]).toEqual([
      ['a', ['/y is not there on n1, n2: the directory is made where a task mounts it']],
    ]);
    expect(() => judgePaths('s', needs, found(world, { n1: there, n2: { '/x': 'missing', '/y': 'directory' } }))).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND', why: 'service a: there is no /x on n2; service b: there is no /z on n2' }),
    );
  });

  it('are an error where a node does not say', () => {
    const world = new World(['n1', 'n2']);
    const needs = pathNeeds(world.model, stackWith({ a: service([bind('/x', { createHostPath: true })]) }));
    expect(() => judgePaths('s', needs, found(world, { n1: { '/x': 'directory' } }, { n2: 'no answer within 5 s' }))).toThrow(
      expect.objectContaining({ code: 'UNAVAILABLE', why: 'node n2 does not answer: no answer within 5 s' }),
    );
  });
});
